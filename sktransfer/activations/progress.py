"""A progress bar over pictures, or none."""

import contextlib
from collections.abc import Callable, Iterator

from tqdm.auto import tqdm


@contextlib.contextmanager
def counting(title: str | None, n_pictures: int) -> Iterator[Callable[[int], object]]:
    """Give a function to call with each number of pictures done; a title shows a bar."""
    if title is None:  # tqdm starts a thread that stays, even for a bar that is disabled
        yield lambda _: None
        return
    with tqdm(total=n_pictures, desc=title, unit="img") as bar:
        yield bar.update
