"""Helpers that any part of the library may import; they import only `exceptions`."""
