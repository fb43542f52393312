"""Choices made by evidence: candidates are compared on rows that did not train them.

What a fit decides by itself is decided here, on activations that are computed once.
"""
