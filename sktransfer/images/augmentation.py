"""Random augmentation of pictures: flips, crops, rotations and changes of colour."""

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import grid_sample
from torchvision.transforms import v2

from sktransfer._common.random import OwnGenerator, derived_seed, seeded
from sktransfer.exceptions import ParameterError
from sktransfer.images.preprocessing import Picture, changed

AUGMENTATIONS = ("light", "standard", "keras", "trivial")
# Those that change colours, which only pictures of red, green and blue have.
_OF_COLOUR = ("standard", "trivial")

Transform = Callable[[Any], Any]


class KerasClassic(v2.Transform):  # type: ignore[misc]
    """Keras' classic augmentation: rotate, shift, shear, zoom and flip in one step.

    The ranges are those of ImageDataGenerator's well-known example: rotation_range=40,
    width_shift_range=height_shift_range=shear_range=zoom_range=0.2, horizontal_flip=True and
    fill_mode="nearest", with bilinear interpolation. As in Keras, shear_range is an angle in
    degrees, so 0.2 is hardly visible, and width and height are zoomed independently.

    Source: Chollet, "Building powerful image classification models using very little data",
    blog.keras.io, 2016. The matrices are those of Keras' ``apply_affine_transform``.
    """

    _ROTATION, _SHIFT, _SHEAR, _ZOOM = 40.0, 0.2, 0.2, 0.2

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        drawn = (2 * torch.rand(6) - 1).double().numpy()
        angle, slant = np.deg2rad(drawn[:2] * (self._ROTATION, self._SHEAR))
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        shear = np.array([[1, -np.sin(slant)], [0, np.cos(slant)]])
        zoom = np.diag(1 + self._ZOOM * drawn[2:4])
        return {
            "matrix": turn @ shear @ zoom,
            "shift": turn @ (self._SHIFT * drawn[4:]),
            "flip": bool(torch.rand(()) < 0.5),
        }

    def transform(self, inpt: Image.Image, params: dict[str, Any]) -> Image.Image:
        """Transform a PIL image to one of the same size; beyond the border, pixels repeat."""
        shift, pixels = params["shift"] * inpt.size, np.asarray(inpt)
        sampled = _sampled(np.atleast_3d(pixels), params["matrix"], shift).reshape(pixels.shape)
        return Image.fromarray(sampled[:, ::-1] if params["flip"] else sampled)


def _sampled(pixels: np.ndarray, matrix: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Apply an affine transform about the centre; `shift` is in pixels.

    `matrix` and `shift` map the coordinates of the result to those of the input.
    """
    height, width = pixels.shape[:2]
    # The coordinates are computed with NumPy: torch would spread this over several threads, and
    # the threads that read pictures already use all cores.
    x = np.arange(width, dtype=np.float32) + (1 - width) / 2
    y = np.arange(height, dtype=np.float32)[:, None] + (1 - height) / 2
    # grid_sample's coordinates are -1 and 1 at the borders.
    rows = np.column_stack([matrix, shift]) / [[width / 2], [height / 2]]
    grid = np.stack([a * x + b * y + c for a, b, c in rows.tolist()], axis=-1)
    # grid_sample is several times as fast as Pillow's transform, which can't repeat the border.
    sampled = grid_sample(
        torch.from_numpy(pixels.astype(np.float32)).permute(2, 0, 1)[None],
        torch.from_numpy(grid)[None],
        padding_mode="border",
        align_corners=False,
    )
    return np.rint(sampled[0].permute(1, 2, 0).numpy()).astype(np.uint8)


def check_augment(augment: Any, channels: int) -> None:
    """Raise if an augmentation changes colours of pictures that have none.

    Raises
    ------
    ParameterError
    """
    if channels != 3 and isinstance(augment, str) and augment in _OF_COLOUR:
        raise ParameterError(
            f"augment={augment!r} changes the colours of RGB pictures, but in_channels={channels}. "
            "Use augment='light' or 'keras', which only move pixels, or a transform of your own."
        )


@lru_cache
def named_transform(name: str, size: int) -> v2.Transform:
    """Return the transform of PIL images that belongs to a name.

    Parameters
    ----------
    name : {"light", "standard", "keras", "trivial"}
    size : int
        Side of the picture in pixels.
    """
    flip = v2.RandomHorizontalFlip()
    if name == "light":
        return v2.Compose([v2.RandomResizedCrop(size, scale=(0.8, 1), ratio=(0.9, 1.1)), flip])
    if name == "standard":
        colour = v2.ColorJitter(brightness=0.2, contrast=0.2, saturation=0.2)
        return v2.Compose([v2.RandomResizedCrop(size, scale=(0.5, 1)), flip, colour])
    if name == "keras":
        return KerasClassic()
    return v2.Compose([flip, v2.TrivialAugmentWide()])


@dataclass(frozen=True)
class AugmentedView:
    """Draw one augmented view per picture, for pictures of the network's input size.

    A view can be used in place of a `Preprocessing`. The random numbers for a picture depend
    only on its pixels, the seed and the number of the view, and not on threads, batches or
    other pictures.

    Parameters
    ----------
    augment : str, callable or None
        One of `AUGMENTATIONS`, or a torchvision v2 transform that takes and returns uint8
        tensors of shape (c, h, w). None leaves pictures unchanged.
    crop_size : int
        Side of the pictures in pixels.
    seed : int
    number : int
        Number of the view; each number gives a different view of the same picture.
    """

    augment: str | Transform | None
    crop_size: int
    seed: int = 0
    number: int = 0

    @property
    def cache_key(self) -> str:
        """Part of the store's keys; equal for views that give equal pixels."""
        if self.augment is None:  # the seed has no effect
            return f"size {self.crop_size}"
        return f"size {self.crop_size} augment {self.augment} seed {self.seed} view {self.number}"

    def __call__(self, picture: Picture) -> np.ndarray:
        """Return the pixels of the augmented picture.

        Parameters
        ----------
        picture : PIL.Image.Image of mode "RGB", or ndarray of shape (h, w, c), uint8
            Its height and width must be `crop_size`.

        Returns
        -------
        ndarray of shape (crop_size, crop_size, c), uint8

        Raises
        ------
        ParameterError
            If the user's transform returns anything but uint8 pixels of this size.
        """
        pixels = np.asarray(picture)
        if self.augment is None:
            return pixels
        # Seeded by the pixels rather than by the position in X: then the order of pictures has
        # no effect, and two pictures of one view are not changed in the same way.
        seed = derived_seed(self.seed, self.number, zlib.crc32(np.ascontiguousarray(pixels).data))
        if isinstance(self.augment, str):
            transform = named_transform(self.augment, self.crop_size)

            def drawn(image: Image.Image) -> Image.Image:
                with OwnGenerator(seed):  # anew for each channel, which all move alike
                    moved: Image.Image = transform(image)
                    return moved

            return changed(picture, drawn)
        # A transform of the user may call any random function of torch, so it needs the global
        # generator, which only one thread can have at a time.
        with seeded(seed):
            tensor = torch.from_numpy(pixels.copy()).permute(2, 0, 1)
            return self._checked(self.augment(tensor), tuple(tensor.shape))

    def _checked(self, got: Any, shape: tuple[int, ...]) -> np.ndarray:
        if not isinstance(got, Tensor) or got.dtype != torch.uint8 or tuple(got.shape) != shape:
            what = type(got).__name__
            if isinstance(got, Tensor):
                what = f"{got.dtype} of shape {tuple(got.shape)}"
            raise ParameterError(
                f"augment={self.augment!r} must return uint8 tensors of shape {shape}, like its "
                f"input; got {what}. Leave out normalisation; the estimator applies it afterwards."
            )
        return got.permute(1, 2, 0).numpy()
