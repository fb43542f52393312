"""Resize and crop a picture to the pixels a network was trained on."""

from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

# One picture as its source holds it: uint8 pixels (h, w, 3), or an image of mode "RGB".
Picture = Image.Image | np.ndarray

_RESAMPLING = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}


# How many times larger than its crop a picture may become when it is resized whole.
_MAX_STRETCH = 16


def as_image(picture: Picture) -> Image.Image:
    """The same picture as a PIL image."""
    if isinstance(picture, Image.Image):
        return picture
    return Image.fromarray(np.ascontiguousarray(picture))


def _size(picture: Picture) -> tuple[int, int]:
    if isinstance(picture, Image.Image):
        return picture.size
    height, width, _ = picture.shape
    return width, height


@dataclass(frozen=True)
class Preprocessing:
    """What a weights entry says about its input.

    Parameters
    ----------
    resize_size : int
        Length of the shorter side after resizing, in pixels.
    crop_size : int
        Side of the central square that is kept, in pixels.
    interpolation : {"nearest", "bilinear", "bicubic"}
        Filter of the resizing, always with antialiasing.
    mean, std : tuple of 3 floats
        Subtracted from, and dividing, each channel of pixels scaled to 0..1. The engine
        does this on the device; here pixels stay uint8.
    """

    resize_size: int
    crop_size: int
    interpolation: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def at_size(self, image_size: int | None) -> "Preprocessing":
        """The same preset for another crop size, resized in proportion."""
        if image_size is None or image_size == self.crop_size:
            return self
        resize_size = round(self.resize_size * image_size / self.crop_size)
        return replace(self, resize_size=max(resize_size, image_size), crop_size=image_size)

    @property
    def cache_key(self) -> str:
        """How a picture becomes pixels, for the keys of the store: all of it but mean and std."""
        return f"resize {self.resize_size} {self.interpolation} crop {self.crop_size}"

    def __call__(self, picture: Picture) -> np.ndarray:
        """Pixels of the resized and cropped picture.

        Within 2/255 of torchvision's ``ImageClassification`` preset on the same picture.

        Parameters
        ----------
        picture : PIL.Image.Image of mode "RGB", or ndarray of shape (h, w, 3), uint8

        Returns
        -------
        ndarray of shape (crop_size, crop_size, 3), uint8
        """
        width, height = _size(picture)
        size, crop = self._resized(width, height), self.crop_size
        left, top = round((size[0] - crop) / 2), round((size[1] - crop) / 2)
        if isinstance(picture, np.ndarray) and size == (width, height):
            # Pillow would copy every pixel twice, while it keeps all other threads waiting.
            return picture[top : top + crop, left : left + crop]
        image = as_image(picture)
        resample = _RESAMPLING[self.interpolation]
        # Bicubic overshoots, and Pillow clips between its two passes, so its result
        # depends on the pass it runs first, which depends on the size asked for: only
        # the whole picture gives torchvision's pixels. Very long pictures are the
        # exception, or a 20,000 x 1 one would unpack to gigabytes.
        if self.interpolation == "bicubic" and size[0] * size[1] <= _MAX_STRETCH * crop**2:
            whole = image.resize(size, resample)
            return np.asarray(whole.crop((left, top, left + crop, top + crop)))
        # Otherwise only the kept part is computed, which saves a third of the time.
        x_scale, y_scale = image.width / size[0], image.height / size[1]
        box = (
            max(0.0, left * x_scale),
            max(0.0, top * y_scale),
            min(float(image.width), (left + crop) * x_scale),
            min(float(image.height), (top + crop) * y_scale),
        )
        return np.asarray(image.resize((crop, crop), resample, box))

    def _resized(self, width: int, height: int) -> tuple[int, int]:
        """Size after resizing; the longer side is truncated, as torchvision does."""
        if width <= height:
            return self.resize_size, int(self.resize_size * height / width)
        return int(self.resize_size * width / height), self.resize_size
