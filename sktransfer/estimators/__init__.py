"""The two estimators: parameters, pictures and labels in; features and predictions out."""
