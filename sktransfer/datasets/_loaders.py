"""load_image_folder and load_clipart."""

import os
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.utils import Bunch

from sktransfer.images.folders import list_class_folders

_CLIPART = Path(__file__).parent / "clipart"


def load_image_folder(path: str | os.PathLike[str], *, return_X_y: bool = False) -> Any:
    """List the pictures of a folder with one subfolder a class.

    Files count by their extension, unopened, or else by their first bytes, so that a JPEG
    without an extension is a picture too; the bytes of a TIFF count only without an
    extension, as the raw files of cameras begin like them. Hidden files and folders are
    ignored, and so are files that are no pictures. A class folder without pictures is left
    out with a warning, and so are pictures that are not read, such as HEIC, and links to
    nothing.

    Parameters
    ----------
    path : str or path-like
        For example a folder ``photos`` with ``photos/ant/1.jpg`` and ``photos/bee/2.png``.
        Pictures in folders below a class folder count too, also in linked ones; they have the
        label of the class folder.
    return_X_y : bool, default=False
        Return ``(data, target)`` instead of a Bunch.

    Returns
    -------
    data : Bunch
        With the attributes

        - ``data`` : ndarray of shape (n,), str. Paths, class by class in natural order
          (``img2`` before ``img10``).
        - ``target`` : ndarray of shape (n,), str. The subfolder's name of each path.
        - ``target_names`` : list of str. The classes, in natural order.
        - ``DESCR`` : str

    Raises
    ------
    ImageError
        If `path` is not a folder or holds no picture, or if links make a folder count twice,
        as one that leads back to its parent does.

    Examples
    --------
    >>> from sktransfer import load_clipart, load_image_folder
    >>> from pathlib import Path
    >>> folder = Path(load_clipart().data[0]).parents[1]
    >>> bunch = load_image_folder(folder)
    >>> len(bunch.data), bunch.target_names[:3]
    (481, ['bird', 'bug', 'flower'])
    """
    folder = Path(path)
    files, labels, classes = list_class_folders(folder)
    data, target = np.array([str(file) for file in files]), np.array(labels)
    if return_X_y:
        return data, target
    text = f"{len(files)} pictures of {len(classes)} classes in {folder}."
    return Bunch(data=data, target=target, target_names=classes, DESCR=text)


def load_clipart(*, return_X_y: bool = False) -> Any:
    """The packaged sample set: 481 drawings of 8 classes.

    The drawings are from the Open Clip Art Library, release 0.18, whose contributors put
    them into the public domain (Creative Commons Public Domain Dedication, CC-PD). They
    were rendered from SVG, flattened on white, scaled down to a longest side of 160 pixels
    at most, and centred on a white square a seventh larger (183 for most), so that the crop
    of a network's preprocessing (224 of 256) takes margin and not drawing. Each drawing is
    there once: what stood in two classes has the label that a person gives it, and of
    drawings that differ by a touch, a mirror or a colour one is left, so that no fold of a
    cross-validation knows another's pictures; hence the gaps in the files' numbers. The
    classes are unbalanced, and no network was trained on pictures like these: a small,
    honest test of transfer.

    Parameters
    ----------
    return_X_y : bool, default=False
        Return ``(data, target)`` instead of a Bunch.

    Returns
    -------
    data : Bunch
        As from :func:`load_image_folder`: ``data`` (paths), ``target`` (class names),
        ``target_names``, ``DESCR``.

    Examples
    --------
    >>> from sktransfer import load_clipart
    >>> clipart = load_clipart()
    >>> clipart.data.shape, clipart.target_names
    ((481,), ['bird', 'bug', 'flower', 'fruit', 'house', 'mammal', 'music', 'vehicle'])
    """
    bunch = load_image_folder(_CLIPART)
    if return_X_y:
        return bunch.data, bunch.target
    bunch.DESCR = (
        "481 drawings of 8 classes from the Open Clip Art Library, release 0.18; public domain "
        "(CC-PD). Drawings of up to 160 pixels, each on a white square with a margin of a seventh."
    )
    return bunch
