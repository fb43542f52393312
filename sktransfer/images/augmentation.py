"""Changed copies of pictures that keep their meaning: flipped, cropped, turned, recoloured."""

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2.functional import pil_to_tensor

from sktransfer._devices import derived_seed, seeded
from sktransfer.exceptions import ParameterError

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
        size = np.array(inpt.size)
        changed = _affine(inpt, params["matrix"], params["shift"] * size)
        return changed.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if params["flip"] else changed


def _affine(image: Image.Image, matrix: np.ndarray, shift: np.ndarray) -> Image.Image:
    """Each pixel taken from where `matrix`, about the centre, and `shift` say.

    Pillow fills what lies outside with one colour, so the picture is continued first by
    its outermost pixels, as far as is needed.
    """
    size = np.array(image.size)
    corners = np.array([[-1, -1], [-1, 1], [1, -1], [1, 1]]) * size / 2
    sources = corners @ matrix.T + shift + size / 2
    before = np.maximum(0, np.ceil(-sources.min(axis=0))).astype(int) + 1
    after = np.maximum(0, np.ceil(sources.max(axis=0) - size)).astype(int) + 1
    (left, top), (right, bottom) = before.tolist(), after.tolist()
    wider = np.pad(np.asarray(image), ((top, bottom), (left, right), (0, 0)), mode="edge")
    padded = Image.fromarray(wider)
    offset = size / 2 + before + shift - matrix @ (size / 2)
    data = (*matrix[0], offset[0], *matrix[1], offset[1])
    return padded.transform(
        image.size, Image.Transform.AFFINE, data, resample=Image.Resampling.BILINEAR
    )


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
    def of_pixels(self) -> str:
        """In words, how a picture of the network's size becomes pixels."""
        return f"size {self.crop_size} augment {self.augment} seed {self.seed} view {self.number}"

    def __call__(self, image: Image.Image) -> np.ndarray:
        """Pixels of the augmented picture.

        Parameters
        ----------
        image : PIL.Image.Image
            Mode "RGB", of the network's size.

        Returns
        -------
        ndarray of shape (crop_size, crop_size, 3), uint8

        Raises
        ------
        ParameterError
            If a transform gives anything but such pixels.
        """
        if self.augment is None:
            return np.asarray(image)
        # torch's generator is the process's own: one picture at a time draws from it.
        with seeded(derived_seed(self.seed, self.number, zlib.crc32(image.tobytes()))):
            if isinstance(self.augment, str):
                return np.asarray(named_transform(self.augment, self.crop_size)(image))
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
