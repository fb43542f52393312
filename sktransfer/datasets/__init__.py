"""Labelled sets of pictures: a folder of one's own, and the packaged clip-art."""

from sktransfer.datasets._loaders import load_clipart, load_image_folder

__all__ = ["load_clipart", "load_image_folder"]
