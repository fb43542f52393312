"""Activations on disk.

``database`` is the SQLite file. ``cache`` uses it so that no fault of the disk gets past.
``picture_keys`` tells by what a picture is known, and ``stored`` finds the activations of a
set of pictures at every link of a network.
"""
