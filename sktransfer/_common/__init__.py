"""What every part of the library may use, and what uses nothing of it."""
