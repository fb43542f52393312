"""From the square that a network sees back to the picture that it was made of."""

from __future__ import annotations

import numpy as np

# left, top, right, bottom of a square, in pixels of the picture.
Box = tuple[float, float, float, float]


def on_picture(
    square: np.ndarray, box: Box, size: tuple[int, int], shown: tuple[int, int]
) -> np.ndarray:
    """A map of a square, drawn on the picture by bilinear interpolation.

    Parameters
    ----------
    square : ndarray of shape (h, w)
    box : tuple
        Where the square lies in the picture.
    size : tuple (width, height)
        Of the picture.
    shown : tuple (width, height)
        Of the result, which may be smaller than the picture.

    Returns
    -------
    ndarray of shape (height, width), float32
        NaN outside of the square.
    """
    left, top, right, bottom = box
    columns = _places(left, right, size[0], shown[0], square.shape[1])
    rows = _places(top, bottom, size[1], shown[1], square.shape[0])
    along = _interpolated(square.astype(np.float32), rows)
    return _interpolated(along.T, columns).T


def _places(start: float, end: float, length: int, n: int, n_values: int) -> np.ndarray:
    """Where the middles of n pixels lie among the values of a square, counted from 0."""
    middles = (np.arange(n) + 0.5) * (length / n)
    return (middles - start) / (end - start) * n_values - 0.5


def _interpolated(values: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Rows between the rows of `values`; NaN outside of them."""
    last = len(values) - 1
    inside = np.clip(places, 0, last)
    before = np.minimum(np.floor(inside).astype(int), max(0, last - 1))
    after = np.minimum(before + 1, last)
    share = (inside - before).astype(np.float32)[:, None]
    rows = (1 - share) * values[before] + share * values[after]
    # Values reach half a pixel to each side.
    rows[(places < -0.5 - 1e-6) | (places > last + 0.5 + 1e-6)] = np.nan
    return rows
