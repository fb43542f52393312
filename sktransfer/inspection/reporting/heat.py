"""A map drawn over its picture."""

from __future__ import annotations

import numpy as np
from PIL import Image

_RED = np.array([214, 40, 40], dtype=np.float32)
# How much of the red covers the picture where the map is 1: what is marked must stay visible.
_STRENGTH = 0.65


def heated(picture: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Colour a picture by a map of it.

    What the network did not see is pale.

    Parameters
    ----------
    picture : ndarray of shape (h, w, 3), uint8
    heat : ndarray of shape (h', w'), float32
        In 0..1; NaN where the network did not see the picture. It is resized if need be.

    Returns
    -------
    marked : ndarray of shape (h, w, 3), uint8
        Grey and red.
    """
    heat = _resized(heat, picture.shape[:2])
    grey = np.repeat(picture.mean(axis=2, keepdims=True, dtype=np.float32), 3, axis=2)
    cover = _STRENGTH * np.nan_to_num(heat)[:, :, None]
    marked = (1 - cover) * grey + cover * _RED
    unseen = np.isnan(heat)
    marked[unseen] = 0.3 * marked[unseen] + 0.7 * 255
    return np.asarray(np.round(marked), dtype=np.uint8)


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
