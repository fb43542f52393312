"""One report on a fitted classifier: an HTML page, Markdown or data."""
