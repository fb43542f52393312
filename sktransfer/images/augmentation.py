"""Changed copies of pictures that keep their meaning: flipped, cropped, turned, recoloured."""

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
from torchvision.transforms.v2.functional import pil_to_tensor

from sktransfer._common.random import OwnGenerator, derived_seed, seeded
from sktransfer.exceptions import ParameterError
from sktransfer.images.preprocessing import Picture, as_image

AUGMENTATIONS = ("light", "standard", "keras", "trivial")

Transform = Callable[[Any], Any]


class KerasClassic(v2.Transform):  # type: ignore[misc]
    """ImageDataGenerator's classic set: turned, shifted, sheared, zoomed and flipped at once.

    rotation_range=40, width_shift_range=height_shift_range=shear_range=zoom_range=0.2,
    horizontal_flip=True, fill_mode="nearest", bilinear. As in Keras, shear_range is an angle
    in degrees, so that 0.2 hardly shows, and width and height are zoomed independently.

    Source: Chollet, "Building powerful image classification models using very little data",
    blog.keras.io, 2016; matrices as in Keras' ``apply_affine_transform``.
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
        """A PIL image of the same size; what lies outside repeats the nearest pixel."""
        shift = params["shift"] * inpt.size
        changed = _sampled(np.asarray(inpt), params["matrix"], shift)
        return Image.fromarray(changed[:, ::-1] if params["flip"] else changed)


def _sampled(pixels: np.ndarray, matrix: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Each pixel taken from where `matrix`, about the centre, and `shift`, in pixels, say.

    Sampled by torch, which is several times as fast as Pillow and repeats the border. What is
    around it is NumPy's, for torch would share it among threads, which the readers are already.
    """
    height, width = pixels.shape[:2]
    x = np.arange(width, dtype=np.float32) + (1 - width) / 2
    y = np.arange(height, dtype=np.float32)[:, None] + (1 - height) / 2
    # torch's coordinates are -1 and 1 at the borders.
    rows = np.column_stack([matrix, shift]) / [[width / 2], [height / 2]]
    grid = np.stack([a * x + b * y + c for a, b, c in rows.tolist()], axis=-1)
    sampled = grid_sample(
        torch.from_numpy(pixels.astype(np.float32)).permute(2, 0, 1)[None],
        torch.from_numpy(grid)[None],
        padding_mode="border",
        align_corners=False,
    )
    return np.rint(sampled[0].permute(1, 2, 0).numpy()).astype(np.uint8)


@lru_cache
def named_transform(name: str, size: int) -> v2.Transform:
    """The torchvision transform that a name stands for, on PIL images.

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
    """One view of pictures that have the size of the network's input.

    Used where a `Preprocessing` is. What is drawn for a picture depends on its pixels, the
    seed and the number of the view alone: not on threads, batches, or other pictures.

    Parameters
    ----------
    augment : str, callable or None
        One of `AUGMENTATIONS`, a torchvision v2 transform that takes and gives uint8 tensors
        of shape (3, h, w), or None for the pictures as they are.
    crop_size : int
        Side of the pictures in pixels.
    seed, number : int
    """

    augment: str | Transform | None
    crop_size: int
    seed: int = 0
    number: int = 0

    @property
    def cache_key(self) -> str:
        """How a picture of the network's size becomes pixels, for the keys of the store."""
        if self.augment is None:  # the same whatever the seed
            return f"size {self.crop_size}"
        return f"size {self.crop_size} augment {self.augment} seed {self.seed} view {self.number}"

    def __call__(self, picture: Picture) -> np.ndarray:
        """Pixels of the augmented picture.

        Parameters
        ----------
        picture : PIL.Image.Image of mode "RGB", or ndarray of shape (h, w, 3), uint8
            Of the network's size.

        Returns
        -------
        ndarray of shape (crop_size, crop_size, 3), uint8

        Raises
        ------
        ParameterError
            If a transform gives anything but such pixels.
        """
        if self.augment is None:
            return np.asarray(picture)
        image = as_image(picture)
        seed = derived_seed(self.seed, self.number, zlib.crc32(image.tobytes()))
        if isinstance(self.augment, str):
            with OwnGenerator(seed):
                return np.asarray(named_transform(self.augment, self.crop_size)(image))
        # How the user's draws nobody knows: one picture at a time, from the process's generator.
        with seeded(seed):
            return self._checked(self.augment(pil_to_tensor(image)))

    def _checked(self, got: Any) -> np.ndarray:
        shape = (3, self.crop_size, self.crop_size)
        if not isinstance(got, Tensor) or got.dtype != torch.uint8 or tuple(got.shape) != shape:
            what = type(got).__name__
            if isinstance(got, Tensor):
                what = f"{got.dtype} of shape {tuple(got.shape)}"
            raise ParameterError(
                f"augment={self.augment!r} must give uint8 tensors of shape {shape}, as it is "
                f"given; got {what}. Normalisation follows by itself; leave it out."
            )
        return got.permute(1, 2, 0).numpy()
