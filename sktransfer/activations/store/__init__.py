"""Activations on disk.

``folder`` says which files a store owns, ``connection`` opens its SQLite file, and
``database`` reads and writes entries: all of them raise when something fails. ``cache`` wraps
them and never raises for a fault of the disk. ``picture_keys`` digests pictures, ``models``
keeps converted networks, and ``stored`` finds the activations of a set of pictures at every
link of a network.
"""
