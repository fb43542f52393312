"""The same from the shell: ``python -m sktransfer fit, predict, report``."""
