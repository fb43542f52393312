"""A hash of 64 bits that stays nearly the same if a picture is resized or compressed again."""

import numpy as np
from PIL import Image, ImageOps


def difference_hash(grey: Image.Image) -> tuple[int, int]:
    """Tell for each of 8 x 8 fields if it is brighter than its left neighbour.

    N. Krawetz, "Kind of Like That", 2013, hackerfactor.com/blog ("dHash"). It is computed here in a
    few lines, because the package `imagehash` would bring PyWavelets, which only its other hashes
    need.

    Parameters
    ----------
    grey : PIL.Image.Image of mode "L"

    Returns
    -------
    as_it_is, mirrored : int
        Hashes of the picture and of its mirror image, in 64 bits.
    """
    # The filter of BILINEAR covers all pixels of a field where a picture becomes smaller.
    small = grey.resize((9, 8), Image.Resampling.BILINEAR)
    return _bits(small), _bits(ImageOps.mirror(small))


def _bits(small: Image.Image) -> int:
    fields = np.asarray(small)
    return int.from_bytes(np.packbits(fields[:, 1:] > fields[:, :-1]).tobytes(), "big")
