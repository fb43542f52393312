"""Properties of files that have nothing to do with what is on the picture."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sktransfer.inspection.data_checks.picture_facts import PictureFacts

# Part of the pictures whose folder goes with their label, above which it is the folder of a class,
# some of whose labels were changed.
_CLASS_FOLDER = 0.8


@dataclass(frozen=True)
class Property:
    """A property of pictures, with its values.

    Parameters
    ----------
    family : str
        Properties of one family are so much alike that one finding tells of all of them.
    words : str
        How a sentence begins that names it.
    values : list of str or None
        One for each picture; None where it has none.
    in_pixels : bool
        Whether a network may see it.
    """

    family: str
    words: str
    values: list[str | None]
    in_pixels: bool


def properties_of_pictures(facts: Sequence[PictureFacts]) -> list[Property]:
    """Camera, size and format."""
    sizes = [each.size for each in facts]
    return [
        Property("camera", "The camera (in EXIF)", [each.camera for each in facts], True),
        Property("size", "The rough size", [_rough(w, h) for w, h in sizes], True),
        Property("size", "The size", [f"{w} x {h} pixels" for w, h in sizes], True),
        Property("format", "The file format", [each.file_format for each in facts], True),
    ]


def properties_of_paths(
    facts: Sequence[PictureFacts], codes: np.ndarray, classes: Sequence[object]
) -> list[Property]:
    """The beginning of each file's name, and folders that are not those of the classes."""
    labels = {str(label).casefold() for label in classes}
    names = {words for label in labels if (words := _words(label))}
    paths = [os.path.normpath(each.path or "") for each in facts]
    found = [
        Property("name", "The beginning of the file name", [_stem(p, names) for p in paths], False)
    ]
    # Seen from the file: "photos/camera1/bird/1.jpg" has "bird", then "camera1".
    folders = [path.split(os.sep)[-2::-1] for path in paths]
    for level in range(max(map(len, folders), default=0)):
        values = [parts[level] if level < len(parts) else None for parts in folders]
        if len(set(values)) > 1 and not _are_class_folders(values, codes, labels):
            found.append(Property("folder", "The folder", values, False))
    return found


def _rough(width: int, height: int) -> str:
    """The root of the area, in steps of a half octave: sizes that vary still fall into groups."""
    steps = round(2 * np.log2(np.sqrt(width * height)))
    return f"about {2 ** (steps / 2):.0f} pixels"


def _words(text: str) -> tuple[str, ...]:
    return tuple(re.findall(r"[^\W_]+", text.casefold()))


def _stem(path: str, names: set[tuple[str, ...]]) -> str | None:
    """The name of a file up to its first digit: "IMG_" of "IMG_0042.jpg"."""
    stem = re.split(r"\d", os.path.splitext(os.path.basename(path))[0])[0]
    words = _words(stem)
    # Files that are named after their class are no leak. As whole words: an "a" is in many names.
    parts = {words[i:j] for i in range(len(words)) for j in range(i + 1, len(words) + 1)}
    return stem if words and parts.isdisjoint(names) else None


def _are_class_folders(values: Sequence[str | None], codes: np.ndarray, labels: set[str]) -> bool:
    """Tell if the labels are made from these folders, also where some were changed later."""
    named = np.mean([str(value).casefold() in labels for value in values])
    if named >= _CLASS_FOLDER:
        return True
    names, group = np.unique([repr(value) for value in values], return_inverse=True)
    table = np.zeros((len(names), int(codes.max()) + 1), dtype=np.int64)
    np.add.at(table, (group, codes), 1)
    # Each folder holds one class, perhaps in several folders: sessions of it, say.
    if (np.count_nonzero(table, axis=1) == 1).all():
        return True
    one_each = len(set(table.argmax(axis=1))) == len(names) == np.count_nonzero(table.any(axis=0))
    return bool(one_each and table.max(axis=1).sum() >= _CLASS_FOLDER * len(codes))
