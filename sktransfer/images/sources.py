"""Turn any supported form of X into a sequence of pictures that are read one at a time."""

import os
import re
import reprlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from io import BufferedReader, BytesIO
from threading import Lock
from typing import Any

import numpy as np
import torch
from PIL import Image

from sktransfer._common.forks import after_fork_in_child
from sktransfer.exceptions import ImageError, ImageWarning, UnreadableImageError
from sktransfer.images.arrays import (
    array_to_image,
    array_to_pixels,
    check_dense,
    check_layout,
    refuse_masked,
    tensor_to_array,
    to_uint8,
)
from sktransfer.images.decoding import (
    DAMAGE,
    FORMATS,
    check_file,
    check_pixel_limit,
    decode_file,
    pil_to_rgb,
)
from sktransfer.images.preprocessing import Picture

_URL = re.compile(r"^([a-z][a-z0-9+.-]+://|data:[a-z]+/)", re.IGNORECASE)
# Characters of a path that messages show: a table may hold the text of files in place of paths.
_SHOWN = 1000

# A PIL image opened from a file is decoded on first use. Two threads must not do this at once,
# and the same image can be in several rows. A single lock would prevent different images from
# being decoded in parallel. The number of locks is prime because ids are multiples of 16: of 64
# locks only 4 would be used.
_LOCKS = tuple(Lock() for _ in range(61))

# Kinds of arrays that hold paths or pictures: objects, bytes (for which reading them raises), and
# strings of fixed and variable width.
_OF_OBJECTS = "OSUT"

_forked = False


def _reset_after_fork() -> None:
    """Replace the locks, which threads that do not exist in the child may hold."""
    global _LOCKS, _forked
    _LOCKS, _forked = tuple(Lock() for _ in _LOCKS), True


after_fork_in_child(_reset_after_fork)


@dataclass(frozen=True)
class ImageSource:
    """The user's pictures, each of which is opened only when it is read.

    Parameters
    ----------
    items : sequence
        Paths, PIL images, arrays and tensors, in any mixture, one per picture.
    image_shape : tuple of int, optional
        The shape that the user declared for arrays.
    rows : sequence of int, optional
        Rows of X that the pictures are, for errors; by default all.
    channels : int
        Number of channels of the pictures that are read.
    """

    items: Sequence[Any]
    image_shape: tuple[int, ...] | None = None
    rows: Sequence[int] | None = None
    channels: int = 3

    def __len__(self) -> int:
        return len(self.items)

    def taken(self, rows: Sequence[int]) -> "ImageSource":
        """Some of the pictures; errors name their rows of X."""
        of_X = rows if self.rows is None else [self.rows[row] for row in rows]
        return replace(self, items=[self.items[row] for row in rows], rows=of_X)

    def paths(self) -> Iterator[tuple[int, str]]:
        """Yield row and path of each picture that is a file."""
        for row, item in enumerate(self.items):
            if isinstance(item, str | os.PathLike):
                yield row, str(os.fspath(item))

    def describe(self, row: int) -> str:
        """Return how errors refer to a picture: by its row, and by its path if it has one."""
        item = self.items[row]
        number = row if self.rows is None else self.rows[row]
        if not isinstance(item, str | os.PathLike):
            return f"row {number} of X"
        path = os.fspath(item)
        return f"row {number} of X ({path[:_SHOWN]!r}{'...' if len(path) > _SHOWN else ''})"

    def read(self, row: int) -> Picture:
        """Return one picture. Errors name its row.

        Returns
        -------
        PIL.Image.Image of mode "RGB", or ndarray of shape (h, w, channels), uint8
            An array, without a copy, if X holds such arrays. Always an array if `channels` is
            not 3.
        """
        try:
            return self._read(self.items[row])
        except ImageError as error:
            raise type(error)(f"{self.describe(row)}: {error}") from error

    def all_square(self) -> bool:
        """Return True if all pictures are square. Files are opened, and not decoded.

        For pictures that were read before: errors of files are not translated.
        """
        return all(self._is_square(item) for item in self.items)

    def check(self, *, missing_ok: bool = False) -> None:
        """Check all pictures as far as possible without decoding a file.

        Checks the layout and values of arrays, and that files exist, so that an error in the
        last row is raised at once and not after an hour.

        Parameters
        ----------
        missing_ok : bool, default=False
            Do not raise for files that do not exist.

        Raises
        ------
        ImageError
            For the first row with an error.
        """
        for row, item in enumerate(self.items):
            try:
                self._check(item)
            except UnreadableImageError as error:
                if not missing_ok:
                    raise type(error)(f"{self.describe(row)}: {error}") from error
            except ImageError as error:
                raise type(error)(f"{self.describe(row)}: {error}") from error

    def _read(self, item: Any) -> Picture:
        if isinstance(item, str | os.PathLike):
            return self._of_colours(decode_file(_local_path(item)))
        if isinstance(item, Image.Image):
            return self._of_colours(_read_pil(item))
        array = _as_array(item, self.channels)
        # The usual case is left as an array: a PIL image would copy its pixels.
        if array.dtype == np.uint8 and array.shape[2:] == (self.channels,):
            check_layout(array.shape, self.image_shape, self.channels)
            return array
        if self.channels == 3:
            return array_to_image(array, self.image_shape)
        return array_to_pixels(array, self.image_shape, self.channels)

    def _of_colours(self, image: Image.Image) -> Picture:
        """An RGB image with the channels that are asked for: its own, or its grey values."""
        return image if self.channels == 3 else np.asarray(image.convert("L"))[..., None]

    def _is_square(self, item: Any) -> bool:
        if isinstance(item, str | os.PathLike):
            with Image.open(_local_path(item), formats=FORMATS) as image:
                return image.width == image.height
        if isinstance(item, Image.Image):
            return item.width == item.height
        height, width, *_ = _as_array(item, self.channels).shape
        return bool(height == width)

    def _check(self, item: Any) -> None:
        is_path = isinstance(item, str | os.PathLike)
        if (is_path or isinstance(item, Image.Image)) and self.channels not in (1, 3):
            raise ImageError(
                f"in_channels={self.channels} needs arrays of shape (h, w, {self.channels}), but "
                f"this is a {'path' if is_path else 'PIL image'}, which is read as RGB or, with "
                "in_channels=1, as grey. Read the channels into arrays first."
            )
        if is_path:
            check_file(_local_path(item))
        elif not isinstance(item, Image.Image):
            array = _as_array(item, self.channels)
            check_layout(array.shape, self.image_shape, self.channels)
            if array.dtype != np.uint8:
                to_uint8(array, self.channels)


def _read_pil(image: Image.Image) -> Image.Image:
    try:
        check_pixel_limit(image.size)
        with _LOCKS[id(image) % len(_LOCKS)]:
            return pil_to_rgb(_from_file_of_its_own(image) if _forked else image)
    except (ImageError, ImageWarning):
        raise
    # Pillow raises AttributeError or AssertionError for an image whose file is closed.
    except (*DAMAGE, AttributeError) as error:
        if isinstance(error, AttributeError | AssertionError) or "closed" in str(error):
            # No damage: on_error="nan" would hide that all images were closed by mistake.
            raise ImageError(
                "The PIL image or its file was closed before it was read. Pass the path, or call "
                "image.load() before the file is closed."
            ) from error
        raise UnreadableImageError(f"The PIL image can't be read: {error}.") from error


def _from_file_of_its_own(image: Image.Image) -> Image.Image:
    """Open an image that is not decoded yet again, from a copy of its file in memory.

    The child of a fork shares the position in an open file with its parent, so each of them
    would continue to read where the other had stopped.
    """
    file = getattr(image, "fp", None)
    if not getattr(image, "tile", None) or not isinstance(file, BufferedReader):
        return image
    size = os.fstat(file.fileno()).st_size
    # MPO is a JPEG with a second picture. Pillow opens it as a JPEG first, and then detects it.
    formats = ["JPEG" if image.format == "MPO" else image.format] if image.format else None
    copy = Image.open(BytesIO(os.pread(file.fileno(), size, 0)), formats=formats)
    copy.seek(image.tell())
    return copy


def _local_path(item: str | os.PathLike[str]) -> str:
    path = os.fspath(item)
    if not path:
        raise ImageError("An empty string is not a path.")
    if isinstance(path, bytes):
        raise ImageError(f"A path is a str or pathlib.Path; got bytes {path!r}.")
    if _URL.match(path):
        raise ImageError(
            "A picture is a path, not a URL: sktransfer does not download pictures. Save the file "
            "first."
        )
    return path


def _as_array(item: Any, channels: int) -> np.ndarray:
    if isinstance(item, torch.Tensor):
        return tensor_to_array(item, channels)
    if isinstance(item, np.ndarray):
        refuse_masked(item)
        return item
    missing = item is None or (isinstance(item, float) and np.isnan(item))
    got = "a missing value" if missing else f"{type(item).__name__}"
    raise ImageError(
        f"A picture is a path, a PIL image, an array or a tensor; got {got}: {reprlib.repr(item)}."
    )


def as_images(X: Any, image_shape: tuple[int, ...] | None = None, channels: int = 3) -> ImageSource:
    """Unpack a container of pictures, after checking its form.

    Parameters
    ----------
    X : array, tensor, list, Series or one-column DataFrame
        Arrays of shape (n, h, w), (n, h, w, 1), (n, h, w, 3) or (n, h, w, 4); tensors
        (n, 3, h, w) or (n, 1, h, w); a sequence of paths, PIL images, arrays or tensors.
    image_shape : tuple of int, optional
        Declared shape of one picture, (h, w) or (h, w, c).
    channels : int
        Number of channels of the pictures. If it is not 3, arrays and tensors must have as many.

    Returns
    -------
    ImageSource

    Raises
    ------
    ImageError
        If X is not such a container, or is empty.
    """
    if isinstance(X, str | bytes | os.PathLike):
        shown = X if isinstance(X, bytes) else str(X)  # NumPy's strings show their type
        raise ImageError(f"X must be a list of pictures, not one path. Use [{shown!r}].")
    if isinstance(X, Image.Image):
        raise ImageError("X must be a list of pictures, not one PIL image. Use [image].")
    if isinstance(X, torch.Tensor):
        items: Sequence[Any] = _tensor_items(X, channels)
    elif isinstance(X, list | tuple):
        items = X
    elif isinstance(X, np.ndarray):
        items = _array_items(X, image_shape, channels)
    elif (column := _column(X)) is not None:
        items = _array_items(column, image_shape, channels)
    else:
        raise ImageError(
            "X must be an array, a tensor, a list, a Series or a one-column DataFrame of "
            f"pictures or paths; got {type(X).__name__}."
        )
    if len(items) == 0:
        # "0 sample(s)" is scikit-learn's wording of this error.
        raise ImageError("X is empty: at least one picture is required (0 sample(s) found).")
    return ImageSource(items, image_shape, channels=channels)


def holds_images(X: Any) -> bool:
    """Return True if X holds pictures or paths, and False if its rows are flattened pixels."""
    if isinstance(X, torch.Tensor | np.ndarray) and X.ndim > 2:
        return True
    if isinstance(X, str | bytes | os.PathLike | Image.Image):
        return True  # a single picture, for which as_images raises
    first = _first(X)
    if isinstance(first, np.ndarray | torch.Tensor):
        return first.ndim > 1
    return isinstance(first, str | bytes | os.PathLike | Image.Image)


def _first(X: Any) -> Any:
    """Return the first element of a container of any kind, or None."""
    if isinstance(X, list | tuple):
        return X[0] if len(X) > 0 else None
    if not isinstance(X, np.ndarray):
        X = _column(X)
    return X.flat[0] if X is not None and X.size and X.dtype.kind in _OF_OBJECTS else None


def _column(X: Any) -> np.ndarray | None:
    """Return the values of a Series, a DataFrame (pandas, polars) or a pyarrow array or table."""
    # pyarrow's own to_numpy refuses to copy by default, and strings can't be had without a copy.
    if hasattr(X, "to_pylist"):
        return np.asarray(X)
    return X.to_numpy() if hasattr(X, "to_numpy") else None


def _tensor_items(X: torch.Tensor, channels: int) -> Sequence[torch.Tensor]:
    if X.ndim != 4:
        form = "(n, 3, h, w) or (n, 1, h, w)" if channels == 3 else f"(n, {channels}, h, w)"
        raise ImageError(f"A torch tensor of pictures has shape {form}; got {tuple(X.shape)}.")
    check_dense(X)
    return X.detach().cpu().unbind(0)


def _array_items(
    X: np.ndarray, image_shape: tuple[int, ...] | None, channels: int
) -> Sequence[Any]:
    if X.ndim and len(X) == 0:  # an empty table has columns of any type
        return []
    if X.dtype.kind in _OF_OBJECTS or _are_all_missing(X):
        if X.ndim == 2 and X.shape[1] == 1:
            X = X[:, 0]
        if X.ndim != 1:
            raise ImageError(
                f"Paths and pictures come in one column; got an array of shape {X.shape}. "
                "Select the column that holds them."
            )
        return X.tolist()
    if X.ndim in (0, 1):
        raise ImageError(
            f"X must hold pictures or paths; got a {X.ndim}-D array of numbers. Reshape your data."
        )
    if X.ndim == 2:
        raise ImageError(
            f"X is 2-D, of shape {X.shape}: rows of flattened pixels need image_shape=(h, w) or "
            "(h, w, c); a single picture needs X[None]."
        )
    if X.ndim == 3 and X.shape[1:] != image_shape:
        _check_not_one_picture(X.shape, channels)
    return list(X)


def _are_all_missing(X: np.ndarray) -> bool:
    """Return True for a column of which each value is missing, which has the type of numbers."""
    is_column = X.ndim == 1 or (X.ndim == 2 and X.shape[1] == 1)
    return is_column and X.dtype.kind == "f" and bool(np.isnan(X).all())


def _check_not_one_picture(shape: tuple[int, ...], channels: int) -> None:
    """Raise if an array (n, h, w) is more likely one colour picture than n grey ones."""
    if channels not in (1, 3):
        raise ImageError(
            f"in_channels={channels} needs arrays of shape (n, h, w, {channels}); got {shape}. Use "
            "X[None] for one picture."
        )
    if channels == 1:  # the user says that there is no colour
        return
    several = "or X[..., None] or image_shape=(h, w) for grey ones."
    if shape[2] in (1, 3, 4):
        raise ImageError(
            f"An array of shape {shape} looks like one colour picture rather than n grey ones. "
            f"Use X[None] for one picture, {several}"
        )
    if shape[0] == 3:
        raise ImageError(
            f"An array of shape {shape} can be read as one channels-first colour picture or as "
            f"3 grey ones. Use X.transpose(1, 2, 0)[None] for one picture, {several}"
        )
