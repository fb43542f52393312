"""Measurements: one script a question, both sides in one run."""
