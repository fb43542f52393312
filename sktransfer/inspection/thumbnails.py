"""Small copies of pictures, with a placeholder for those that can't be read any more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from sktransfer._common.threads import in_reading_threads
from sktransfer.exceptions import UnreadableImageError
from sktransfer.images.preprocessing import Picture, as_image
from sktransfer.images.sources import ImageSource

# Grey, with darker diagonals: no picture looks like this.
_GREY, _DARKER = (225, 225, 225), (190, 190, 190)


class Thumbnails(NamedTuple):
    """Small copies of pictures.

    Parameters
    ----------
    pictures : list of ndarray of shape (h, w, 3), uint8
        Each in the shape of its original.
    unreadable : list of int
        The rows, of those asked for, that could not be read: a placeholder stands for them.
    """

    pictures: list[np.ndarray]
    unreadable: list[int]


def thumbnails(
    images: ImageSource, rows: Sequence[int] | np.ndarray, side: int, n_jobs: int | None = None
) -> Thumbnails:
    """Small copies of some pictures.

    Parameters
    ----------
    images : ImageSource
    rows : sequence of int
        Numbers of the pictures; one may occur several times.
    side : int
        Length of the longer side, in pixels. Smaller pictures keep their size.
    n_jobs : int, optional
        Number of threads that read; by default as many as torch uses.

    Returns
    -------
    Thumbnails
    """
    wanted = [int(row) for row in rows]

    def read(row: int) -> np.ndarray | None:
        try:
            return _small(_as_rgb(images.read(row)), side)
        except UnreadableImageError:
            return None

    distinct = sorted(set(wanted))
    found = dict(zip(distinct, in_reading_threads(read, distinct, n_jobs), strict=True))
    pictures = [found[row] for row in wanted]
    return Thumbnails(
        [placeholder(side) if picture is None else picture for picture in pictures],
        [row for row in wanted if found[row] is None],
    )


def placeholder(side: int) -> np.ndarray:
    """A grey square (side, side, 3), uint8, for a picture that can't be read."""
    square = np.full((side, side, 3), _GREY, dtype=np.uint8)
    rows, columns = np.indices((side, side))
    width = max(1, side // 64)
    diagonals = (abs(rows - columns) < width) | (abs(rows + columns - side + 1) < width)
    square[diagonals] = _DARKER
    return square


def _as_rgb(picture: Picture) -> Image.Image:
    """A picture to look at: of several channels the first three, of fewer the first as grey."""
    if isinstance(picture, np.ndarray) and picture.shape[2] != 3:
        channels = [0, 1, 2] if picture.shape[2] > 3 else [0, 0, 0]
        return as_image(picture[..., channels])
    return as_image(picture)


def _small(picture: Image.Image, side: int) -> np.ndarray:
    scale = side / max(picture.size)
    if scale < 1:
        width, height = (max(1, round(scale * each)) for each in picture.size)
        # Twice as fast for large photos, and no worse to look at.
        picture = picture.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=2.0)
    return np.asarray(picture)
