"""List pictures that are sorted into one subfolder per class."""

import re
from pathlib import Path

from sktransfer._common.warning import warn
from sktransfer.exceptions import ImageError, ImageWarning
from sktransfer.images.decoding import EXTENSIONS, FORMATS, is_picture_file

# Common formats of phones and cameras that sktransfer does not read. Users would miss such
# files, so leaving them out is worth a warning.
_OTHER_PICTURES = {
    *(".heic", ".heif", ".avif", ".jxl"),
    *(".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".raf", ".rw2"),
}

# Names of the parts of a split data set.
_PARTS = {"train", "training", "val", "valid", "validation", "test", "testing"}


def list_class_folders(path: Path) -> tuple[list[Path], list[str], list[str]]:
    """List the pictures below `path`, with the names of their class folders.

    Parameters
    ----------
    path : Path
        A folder with one subfolder per class. A class folder may have subfolders.

    Returns
    -------
    files : list of Path
        In natural order (``img2`` before ``img10``) within each class.
    labels : list of str
        Name of each file's class.
    classes : list of str
        Names of the class folders with at least one picture, in natural order.

    Raises
    ------
    ImageError
        If `path` is not a folder, if its subfolders hold no picture, or if links lead to the
        same folder twice.
    """
    _check_folder(path, "a folder with one subfolder per class")
    files: list[Path] = []
    labels: list[str] = []
    classes: list[str] = []
    seen = {path.resolve(): path}
    left_out: list[Path] = []
    for folder in _natural_order(p for p in path.iterdir() if p.is_dir() and not _hidden(p)):
        found = _natural_order(_pictures_below(folder, seen, left_out))
        if not found:
            warn(
                f"The class folder {str(folder)!r} holds no picture and is left out.",
                ImageWarning,
            )
            continue
        classes.append(folder.name)
        files += found
        labels += [folder.name] * len(found)
    _tell_of(left_out, path)
    if not files:
        raise ImageError(
            f"No picture found in the subfolders of {str(path)!r}. Expected one subfolder per "
            f"class with {', '.join(FORMATS)} files, such as {', '.join(EXTENSIONS)}."
        )
    # Else the classifier would learn to tell training pictures from validation pictures.
    if len(classes) > 1 and {name.casefold() for name in classes} <= _PARTS:
        warn(
            f"The classes below {str(path)!r} are {classes}, which are names of the parts of a "
            "data set. To use its classes, load each part by itself.",
            ImageWarning,
        )
    return files, labels, classes


def list_pictures(path: Path) -> list[Path]:
    """List the pictures in a folder and its subfolders, in natural order.

    Raises
    ------
    ImageError
        If `path` is not a folder, holds no picture, or if links lead to the same folder twice.
    """
    _check_folder(path, "a folder of pictures")
    left_out: list[Path] = []
    files = _natural_order(_pictures_below(path, {}, left_out))
    _tell_of(left_out, path)
    if not files:
        raise ImageError(
            f"No picture found in {str(path)!r}. Expected {', '.join(FORMATS)} files, such as "
            f"{', '.join(EXTENSIONS)}."
        )
    return files


def _check_folder(path: Path, expected: str) -> None:
    if not path.is_dir():
        what = "is not a folder" if path.exists() else "does not exist"
        raise ImageError(f"path={str(path)!r} {what}. Pass {expected}.")


def _tell_of(left_out: list[Path], path: Path) -> None:
    if left_out:
        warn(
            f"{len(left_out)} files below {str(path)!r} are left out, such as "
            f"{str(min(left_out))!r}: broken links, or pictures in a format that is not supported. "
            "Convert such pictures to JPEG or PNG.",
            ImageWarning,
        )


def _pictures_below(folder: Path, seen: dict[Path, Path], left_out: list[Path]) -> list[Path]:
    """Return the pictures in a folder and its subfolders, following links.

    Files that the user would take for pictures, but that can't be read, are added to
    `left_out`.
    """
    resolved = folder.resolve()
    # Either links form a loop, or each picture in the folder would be listed twice.
    if resolved in seen:
        raise ImageError(
            f"{str(folder)!r} is the same folder as {str(seen[resolved])!r}. Remove the link."
        )
    seen[resolved] = folder
    pictures = []
    for path in folder.iterdir():
        if _hidden(path):
            continue
        if path.is_dir():
            pictures += _pictures_below(path, seen, left_out)
        elif path.is_file() and is_picture_file(path):
            pictures.append(path)
        # EXTENSIONS too: a file that gets here and has one of these is a broken link.
        elif path.suffix.lower() in (*_OTHER_PICTURES, *EXTENSIONS):
            left_out.append(path)
    return pictures


def _hidden(path: Path) -> bool:
    return path.name.startswith(".")


def _natural_order(paths) -> list[Path]:  # type: ignore[no-untyped-def]
    """Sort paths so that digits in names are compared as numbers."""

    def key(path: Path) -> list[tuple[int, int | str]]:
        parts = re.split(r"(\d+)", str(path).casefold())
        # isdecimal, because isdigit is also true for "²", which int rejects.
        return [(0, int(part)) if part.isdecimal() else (1, part) for part in parts]

    # The path itself decides between names that differ in case or leading zeros only: the
    # order must not depend on the file system.
    return sorted(paths, key=lambda path: (key(path), str(path)))
