"""Progress on the screen: a bar over pictures, or none, and lines beside the bars."""

import contextlib
import sys
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


def tell(line: str) -> None:
    """Print a line where the bars are, without breaking one that is shown."""
    tqdm.write(line, file=sys.stderr)
