"""Keeps fitted estimators: model files, and graphs that other runtimes run."""
