"""Fitted estimators as graphs that run without this package and without torch."""
