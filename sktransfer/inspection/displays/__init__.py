"""Displays in the style of scikit-learn, and what they draw on."""
