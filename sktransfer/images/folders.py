"""Pictures in one subfolder a class."""

import re
from pathlib import Path

from sktransfer._common.warning import warn
from sktransfer.exceptions import ImageError, ImageWarning
from sktransfer.images.decoding import EXTENSIONS, FORMATS, is_picture_file

# Pictures that are not read here: a phone's or a camera's folder is full of them.
_OTHER_PICTURES = {
    *(".heic", ".heif", ".avif", ".jxl"),
    *(".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".raf", ".rw2"),
}


def list_class_folders(path: Path) -> tuple[list[Path], list[str], list[str]]:
    """List the pictures below `path` with the class that each one's folder names.

    Parameters
    ----------
    path : Path
        A folder with one subfolder a class; a class may have folders of its own.

    Returns
    -------
    files : list of Path
        In natural order (``img2`` before ``img10``) within each class.
    labels : list of str
        Name of each file's class.
    classes : list of str
        The classes that hold at least one picture, in natural order.

    Raises
    ------
    ImageError
        If `path` is not a folder, holds no picture in a subfolder, or holds one folder twice
        by links.
    """
    if not path.is_dir():
        what = "is not a folder" if path.exists() else "does not exist"
        raise ImageError(f"path={str(path)!r} {what}. Give a folder with one subfolder a class.")
    files: list[Path] = []
    labels: list[str] = []
    classes: list[str] = []
    seen = {path.resolve(): path}
    left_out: list[Path] = []
    for folder in _naturally(p for p in path.iterdir() if p.is_dir() and not _hidden(p)):
        found = _naturally(_pictures_below(folder, seen, left_out))
        if not found:
            warn(
                f"The class folder {str(folder)!r} holds no picture and is left out.",
                ImageWarning,
            )
            continue
        classes.append(folder.name)
        files += found
        labels += [folder.name] * len(found)
    if left_out:
        warn(
            f"{len(left_out)} files below {str(path)!r} are left out, such as "
            f"{str(min(left_out))!r}: links to nothing, or pictures in a format that is not read. "
            "Convert those to JPEG or PNG.",
            ImageWarning,
        )
    if not files:
        raise ImageError(
            f"No picture found in the subfolders of {str(path)!r}. Expected one subfolder a class "
            f"with {', '.join(FORMATS)} files, such as {', '.join(EXTENSIONS)}."
        )
    return files, labels, classes


def _pictures_below(folder: Path, seen: dict[Path, Path], left_out: list[Path]) -> list[Path]:
    """Pictures in a folder and in those below it, linked ones too, each folder once.

    Files that a user would call pictures, and that are none, are added to `left_out`.
    """
    place = folder.resolve()
    if place in seen:  # a loop of links, or pictures that would count twice
        raise ImageError(
            f"{str(folder)!r} is the same folder as {str(seen[place])!r}. Remove the link."
        )
    seen[place] = folder
    pictures = []
    for path in folder.iterdir():
        if _hidden(path):
            continue
        if path.is_dir():
            pictures += _pictures_below(path, seen, left_out)
        elif path.is_file() and is_picture_file(path):
            pictures.append(path)
        elif path.suffix.lower() in (*_OTHER_PICTURES, *EXTENSIONS):  # the latter: links to nothing
            left_out.append(path)
    return pictures


def _hidden(path: Path) -> bool:
    return path.name.startswith(".")


def _naturally(paths) -> list[Path]:  # type: ignore[no-untyped-def]
    """Sorted with runs of digits compared as numbers."""

    def key(path: Path) -> list[tuple[int, int | str]]:
        parts = re.split(r"(\d+)", str(path).casefold())
        return [(0, int(part)) if part.isdecimal() else (1, part) for part in parts]

    return sorted(paths, key=lambda path: (key(path), str(path)))
