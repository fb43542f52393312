"""Turn a picture of any shape into the square that a network sees."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from PIL import Image

# A decoded picture: uint8 pixels (h, w, c), or a PIL image of mode "RGB".
Picture = Image.Image | np.ndarray

RESAMPLING = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}

# How a picture of any shape becomes a square; the words are those of fastai and timm.
RESIZES = ("crop", "squash", "pad")
# What "crop" may mean: see `Preprocessing`.
CROP_MODES = ("center", "squash", "border")

# A picture is not resized as a whole if it would have more pixels than this multiple of the crop.
MAX_STRETCH = 16


def as_image(picture: Picture) -> Image.Image:
    """Return a picture as a PIL image."""
    if isinstance(picture, Image.Image):
        return picture
    return Image.fromarray(np.ascontiguousarray(picture))


def changed(picture: Picture, change: Callable[[Image.Image], Image.Image]) -> np.ndarray:
    """Return the pixels (h, w, c) of a picture that Pillow changes.

    Pillow has images of one channel and of three. Other pictures are changed channel by channel,
    which is also how it resizes those of three: their channels get the same pixels either way.

    Parameters
    ----------
    picture : PIL.Image.Image of mode "RGB", or ndarray of shape (h, w, c), uint8
    change : callable
        Must change all channels in the same way.
    """
    if isinstance(picture, Image.Image) or picture.shape[2] == 3:
        return np.asarray(change(as_image(picture)))
    channels = [np.asarray(change(as_image(each))) for each in np.moveaxis(picture, 2, 0)]
    return np.dstack(channels)


def of_channels(values: Sequence[float], channels: int) -> tuple[float, ...]:
    """Return one value for each of `channels`, from those of red, green and blue.

    In turn, as the weights of a first convolution are repeated for them; the mean for a single
    channel, whose weights are the sum of the three (`backbones.input_channels`). So the inputs of
    the network keep the scale on which it was trained.
    """
    if channels == 1:
        return (sum(values) / len(values),)
    return tuple(values[channel % len(values)] for channel in range(channels))


def _size(picture: Picture) -> tuple[int, int]:
    if isinstance(picture, Image.Image):
        return picture.size
    height, width, _ = picture.shape
    return width, height


@dataclass(frozen=True)
class Preprocessing:
    """The input size and normalisation that belong to a network's weights.

    Parameters
    ----------
    resize_size : int
        Length of the shorter side after resizing, in pixels.
    crop_size : int
        Side of the central square that is kept, in pixels.
    interpolation : {"nearest", "bilinear", "bicubic"}
        Filter used for resizing, always with antialiasing.
    mean, std : tuple of float
        Mean and standard deviation of each channel, for pixels scaled to 0..1: of red, green and
        blue, or of as many channels as the network takes (`with_channels`). The engine normalises
        on the device; pixels stay uint8 here, which are a quarter of the memory.
    resize : {"crop", "squash", "pad"}
        "crop" is the preset's own way, see `crop_mode`. "squash" resizes the whole picture to the
        square, and changes the ratio of its sides. "pad" resizes the longer side, and fills the
        rest of the square.
    crop_mode : {"center", "squash", "border"}
        What ``resize="crop"`` means, in timm's words. "center", the way of nearly all weights,
        resizes the shorter side to `resize_size` and keeps the central square. "squash" resizes
        both sides to it before the crop. "border" pads with the mean colour.
    """

    resize_size: int
    crop_size: int
    interpolation: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    # Not in the repr, which a backbone's digest is made of: the weights do not depend on it.
    resize: str = field(default="crop", repr=False)
    crop_mode: str = field(default="center", repr=False)

    def at_size(self, image_size: int | None) -> "Preprocessing":
        """Return the preset for another crop size, with a proportional `resize_size`."""
        if image_size is None or image_size == self.crop_size:
            return self
        resize_size = round(self.resize_size * image_size / self.crop_size)
        return replace(self, resize_size=max(resize_size, image_size), crop_size=image_size)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape (c, size, size) of the pictures that the network gets."""
        return len(self.mean), self.crop_size, self.crop_size

    def with_channels(self, channels: int) -> "Preprocessing":
        """Return the preset of RGB pictures for pictures of other channels."""
        if channels == len(self.mean):
            return self
        mean, std = (of_channels(values, channels) for values in (self.mean, self.std))
        return replace(self, mean=mean, std=std)

    def resized(self, resize: str) -> "Preprocessing":
        """Return the preset with another way to make a square, one of `RESIZES`."""
        return replace(self, resize=resize)

    @property
    def cache_key(self) -> str:
        """Part of the store's keys; equal for presets that give equal pixels."""
        # Without mean and std, which are applied to the pixels later.
        other = "" if len(self.mean) == 3 else f"{len(self.mean)} channels "
        if self.resize == "crop":
            mode = "" if self.crop_mode == "center" else f"{self.crop_mode} {self.mean} "
            size = f"resize {self.resize_size} {self.interpolation} crop {self.crop_size}"
            return f"{other}{mode}{size}"
        return f"{other}{self.resize} {self.crop_size} {self.interpolation}"

    def __call__(self, picture: Picture) -> np.ndarray:
        """Return the pixels of the network's square.

        Those of "crop" differ by at most 2/255 from torchvision's ``ImageClassification``.

        Parameters
        ----------
        picture : PIL.Image.Image of mode "RGB", or ndarray of shape (h, w, c), uint8

        Returns
        -------
        ndarray of shape (crop_size, crop_size, c), uint8
        """
        if self.resize == "squash":
            return self._resized(picture, (self.crop_size, self.crop_size))
        if self.resize == "pad":
            return self._padded(picture)
        if self.crop_mode == "squash":
            whole = self._resized(picture, (self.resize_size, self.resize_size))
            start = round((self.resize_size - self.crop_size) / 2)
            return whole[start : start + self.crop_size, start : start + self.crop_size]
        if self.crop_mode == "border":
            return self._padded(picture, tuple(round(255 * value) for value in self.mean))
        return self._cropped(picture)

    def _resized(self, picture: Picture, size: tuple[int, int]) -> np.ndarray:
        """Return the whole picture at a size, by one resize with antialiasing."""
        if isinstance(picture, np.ndarray) and size == _size(picture):
            return picture
        resample = RESAMPLING[self.interpolation]
        return changed(picture, lambda image: image.resize(size, resample))

    def _padded(self, picture: Picture, colour: tuple[int, ...] | None = None) -> np.ndarray:
        """Return the whole picture in the middle of a square, by default of its border's colour."""
        side, sides = self.crop_size, _size(picture)
        # A picture of 20,000 x 1 keeps one row of pixels.
        width, height = (max(1, round(side * each / max(sides))) for each in sides)
        content = self._resized(picture, (width, height))
        left, top = (side - width) // 2, (side - height) // 2
        square = np.empty((side, side, content.shape[2]), dtype=np.uint8)
        square[:] = _border_colour(content) if colour is None else colour
        square[top : top + height, left : left + width] = content
        return square

    def _cropped(self, picture: Picture) -> np.ndarray:
        """Return the middle of the picture, as it was done when the weights were trained."""
        width, height = _size(picture)
        size, crop = self._size_before_crop(width, height), self.crop_size
        left, top = round((size[0] - crop) / 2), round((size[1] - crop) / 2)
        if isinstance(picture, np.ndarray) and size == (width, height):
            # Pillow would copy all pixels twice, holding the interpreter lock meanwhile.
            return picture[top : top + crop, left : left + crop]
        resample = RESAMPLING[self.interpolation]
        # Bicubic interpolation overshoots, and Pillow clips between its horizontal and its
        # vertical pass. The result therefore depends on their order, which Pillow chooses by
        # the output size: only resizing the whole picture gives torchvision's pixels. Very long
        # pictures are the exception, because one of 20,000 x 1 would need gigabytes.
        if self.interpolation == "bicubic" and size[0] * size[1] <= MAX_STRETCH * crop**2:
            middle = (left, top, left + crop, top + crop)
            return changed(picture, lambda image: image.resize(size, resample).crop(middle))
        # Otherwise only the cropped part is computed, which saves a third of the time.
        x_scale, y_scale = width / size[0], height / size[1]
        box = (
            max(0.0, left * x_scale),
            max(0.0, top * y_scale),
            min(float(width), (left + crop) * x_scale),
            min(float(height), (top + crop) * y_scale),
        )
        return changed(picture, lambda image: image.resize((crop, crop), resample, box))

    def seen(self, width: int, height: int) -> tuple[float, float, float, float]:
        """Return where the network's square lies in a picture of this size.

        Returns
        -------
        left, top, right, bottom : float
            In pixels of the picture. Outside of it where the square is padded.
        """
        side, sides = self.crop_size, (width, height)
        if self.resize == "squash":
            return 0.0, 0.0, float(width), float(height)
        if self.resize == "pad" or self.crop_mode == "border":
            content = tuple(max(1, round(side * each / max(sides))) for each in sides)
            starts = tuple(-((side - each) // 2) for each in content)
        else:
            whole = (self.resize_size, self.resize_size)
            content = whole if self.crop_mode == "squash" else self._size_before_crop(*sides)
            starts = tuple(round((each - side) / 2) for each in content)
        scales = [each / resized for each, resized in zip(sides, content, strict=True)]
        left, top = (start * scale for start, scale in zip(starts, scales, strict=True))
        return left, top, left + side * scales[0], top + side * scales[1]

    def _size_before_crop(self, width: int, height: int) -> tuple[int, int]:
        """Return the size after resizing; the longer side is rounded down, as in torchvision."""
        if width <= height:
            return self.resize_size, int(self.resize_size * height / width)
        return int(self.resize_size * width / height), self.resize_size


def _border_colour(pixels: np.ndarray) -> np.ndarray:
    """Return the median colour, (c,), of the outermost pixels."""
    edges = (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1])
    return np.median(np.concatenate(edges), axis=0)
