"""A map drawn over its picture, as the displays draw it."""

from __future__ import annotations

import numpy as np
from PIL import Image

from sktransfer.inspection.displays.gallery import OUTLINE, UNSEEN, VEIL


def heated(picture: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Darken what does not count in a picture, leave what does, and outline its half.

    What the network did not see is pale.

    Parameters
    ----------
    picture : ndarray of shape (h, w, 3), uint8
    heat : ndarray of shape (h', w'), float32
        In 0..1; NaN where the network did not see the picture. It is resized if need be.

    Returns
    -------
    marked : ndarray of shape (h, w, 3), uint8
    """
    heat = _resized(heat, picture.shape[:2])
    counts, unseen = np.nan_to_num(heat), np.isnan(heat)
    marked = picture * (1 - VEIL * (1 - counts))[:, :, None]
    marked[_border(counts > 0.5)] = [int(OUTLINE[i : i + 2], 16) for i in (1, 3, 5)]
    marked[unseen] = (1 - UNSEEN) * picture[unseen] + UNSEEN * 255
    return np.asarray(np.round(marked), dtype=np.uint8)


def _border(inside: np.ndarray) -> np.ndarray:
    """The outermost two pixels of a part of a picture, (h, w) bool; not along the edges."""
    inner = inside
    for _ in range(2):
        padded = np.pad(inner, 1, mode="edge")
        above, below = padded[:-2, 1:-1], padded[2:, 1:-1]
        left, right = padded[1:-1, :-2], padded[1:-1, 2:]
        inner = inner & above & below & left & right
    return inside & ~inner


def _resized(heat: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if heat.shape == shape:
        return heat
    size = shape[1], shape[0]
    # NaN would spread to its neighbours, so it is resized apart.
    seen = Image.fromarray((~np.isnan(heat)).astype(np.uint8))
    values = Image.fromarray(np.nan_to_num(heat).astype(np.float32))
    is_seen = np.asarray(seen.resize(size, Image.Resampling.NEAREST)) > 0
    enlarged = np.asarray(values.resize(size, Image.Resampling.BILINEAR))
    return np.where(is_seen, enlarged, np.nan)
