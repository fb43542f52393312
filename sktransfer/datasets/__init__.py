"""Labelled pictures: a folder of the user's, and the packaged clip art."""

from sktransfer.datasets._loaders import load_clipart, load_image_folder

__all__ = ["load_clipart", "load_image_folder"]
