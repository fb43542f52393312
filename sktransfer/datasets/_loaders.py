"""load_image_folder and load_clipart: functions that return paths and labels."""

import os
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.utils import Bunch

from sktransfer.images.folders import list_class_folders

_CLIPART = Path(__file__).parent / "clipart"


def load_image_folder(path: str | os.PathLike[str], *, return_X_y: bool = False) -> Any:
    """List the pictures in a folder with one subfolder per class.

    Pictures are recognised by their extension, or else by their first bytes, so a JPEG without
    an extension is listed too. A TIFF without one of its extensions is only listed if its name
    has no extension at all, because raw files of cameras begin with the same bytes. Hidden
    files and folders are ignored, and so are other kinds of files. Class folders without
    pictures, pictures in unsupported formats such as HEIC, and broken links are left out with
    a warning. Another one tells of classes that are named train, val or test.

    Parameters
    ----------
    path : str or path-like
        For example a folder ``photos`` with ``photos/ant/1.jpg`` and ``photos/bee/2.png``.
        Subfolders of a class folder, also linked ones, are searched too; their pictures have
        the label of the class folder.
    return_X_y : bool, default=False
        Return ``(data, target)`` instead of a Bunch.

    Returns
    -------
    data : Bunch
        With the attributes

        - ``data`` : ndarray of shape (n,), str. Paths, sorted by class and then in natural
          order (``img2`` before ``img10``).
        - ``target`` : ndarray of shape (n,), str. Class of each path: the subfolder's name.
        - ``target_names`` : list of str. The classes, in natural order.
        - ``DESCR`` : str. A short description.

    Raises
    ------
    ImageError
        If `path` is not a folder or contains no picture, or if links lead to the same folder
        twice, such as a link to a parent folder.

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
    # As strings: NumPy has no dtype for Path objects, and would make an array of objects.
    data, target = np.array([str(file) for file in files]), np.array(labels)
    if return_X_y:
        return data, target
    text = f"{len(files)} pictures of {len(classes)} classes in {folder}."
    return Bunch(data=data, target=target, target_names=classes, DESCR=text)


def load_clipart(*, return_X_y: bool = False) -> Any:
    """Load the packaged sample data set: 481 drawings in 8 classes.

    The drawings are from the Open Clip Art Library, release 0.18, whose contributors placed
    them in the public domain (Creative Commons Public Domain Dedication, CC-PD). They were
    rendered from SVG on white, with a longest side of at most 160 pixels, and centred on a
    white square that is a seventh larger (183 pixels for most). The crop of a network's
    preprocessing (224 of 256) then removes margin and not drawing.

    Each drawing occurs once. Drawings that were in two classes were labelled by hand. Of
    drawings that differ only in a detail, a mirror image or a colour, one was kept, so that no
    near-duplicate is in both a training and a test set. The file numbers therefore have gaps.

    The classes are unbalanced, and the drawings differ from the photos that networks are
    pretrained on, so the data set is a small but realistic test of transfer learning.

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
    # The description by load_image_folder would show the folder of the installation.
    bunch.DESCR = (
        "481 drawings in 8 classes from the Open Clip Art Library, release 0.18; public domain "
        "(CC-PD). Drawings of up to 160 pixels, each on a white square that is a seventh larger."
    )
    return bunch
