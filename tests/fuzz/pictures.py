"""Fuzz the reading of pictures: ``python -m tests.fuzz.pictures --count 1000000 --seed 0``.

A case is a seed with several changes. Reading it as the estimators do must give a picture, of the
size that its header states, or raise an `ImageError`.
"""

import argparse
import sys
import tempfile
import warnings
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from random import Random

import numpy as np
from PIL import ExifTags, Image

from sktransfer.exceptions import ImageError, ImageWarning
from sktransfer.images.decoding import FORMATS
from sktransfer.images.preprocessing import Preprocessing
from sktransfer.images.sources import as_images
from tests.fuzz.bombs import bombs, claims_a_size
from tests.fuzz.headers import size_in_header
from tests.fuzz.mutations import changed, spliced
from tests.fuzz.seeds import seeds
from tests.fuzz.structure import changed_parts
from tests.fuzz.supervision import Result, Verdict, run
from tests.fuzz.tiff_entries import changed_entries

ALLOWED = ("read", "refused")
_TO_SQUARE = Preprocessing(36, 32, "bilinear", (0.5,) * 3, (0.5,) * 3)
_MEMORY_FILES = Path("/dev/shm")
# Where EXIF or XMP could state an orientation; other files need not be opened to know.
_MAY_BE_TURNED = (b"Exif", b"eXIf", b"EXIF", b"Orientation", b"II*\0", b"MM\0*", b"II+", b"MM\0+")


def case(seed: int, index: int) -> bytes:
    """The file of a case."""
    rng = Random(f"{seed} {index}")
    files = _seeds()
    data = rng.choice(files)
    for _ in range(rng.choice((1, 1, 2, 3, 5, 8))):
        change = rng.random()
        if change < 0.45:
            other = next((f for f in rng.choices(files, k=8) if f[:3] == data[:3]), data)
            data = changed_parts(rng, data, other)
        elif change < 0.52:
            data = claims_a_size(rng, data)
        elif change < 0.55:
            data = spliced(rng, data, rng.choice(files))
        elif data[:2] in (b"II", b"MM") and change < 0.85:
            data = changed_entries(rng, data)
        else:
            data = changed(rng, data)
    return data


@cache
def _seeds() -> Sequence[bytes]:
    return seeds()


def check(data: bytes, path: Path, *, strictly: bool) -> Verdict:
    """Read a file as the estimators do, and judge what comes of it.

    Parameters
    ----------
    data : bytes
    path : Path
        Where the file is written for reading.
    strictly : bool
        If warnings are errors, as many users have them: a warning of Pillow must not be the
        error that they see.
    """
    path.write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("error" if strictly else "ignore")
        try:
            source = as_images([str(path)])
            source.check()
            picture = source.read(0)
            square = _TO_SQUARE(picture)
        except (ImageError, ImageWarning):
            return Verdict("refused")
    assert square.shape == (32, 32, 3)
    shape, expected = np.asarray(picture).shape, _shape_in_header(data, path)
    if shape != expected:
        return Verdict("wrong size", f"{shape}, and not {expected}")
    return Verdict("read")


def _shape_in_header(data: bytes, path: Path) -> tuple[int, ...]:
    """The shape that a picture must have, from its header and its orientation."""
    size, is_turned = size_in_header(data), False
    if size is None or any(each in data for each in _MAY_BE_TURNED):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path, formats=FORMATS) as image:
                is_turned = image.getexif().get(ExifTags.Base.Orientation) in (5, 6, 7, 8)
                if size is None:  # too damaged for a strict reader
                    # Pillow has turned that of a TIFF already.
                    size, is_turned = image.size, is_turned and image.format != "TIFF"
    width, height = size[::-1] if is_turned else size
    return height, width, 3


def fuzz(count: int, seed: int, n_processes: int = 2, first: int = 0) -> Result:
    """Check cases in other processes, and count what comes of them."""
    _seeds()  # before the processes, which share them
    with tempfile.TemporaryDirectory(dir=_MEMORY_FILES if _MEMORY_FILES.is_dir() else None) as name:

        def judged(index: int) -> Verdict:
            # One file for each process, because as many are written as there are cases.
            path = Path(name) / f"{(index - first) % n_processes}"
            return check(case(seed, index), path, strictly=index % 2 == 0)

        return run(judged, count, ALLOWED, n_processes=n_processes, first=first)


def explode() -> Result:
    """Check the bombs, in one process."""
    files = list(bombs())
    with tempfile.TemporaryDirectory() as name:

        def judged(index: int) -> Verdict:
            return check(files[index][1], Path(name) / "bomb", strictly=False)

        result = run(judged, len(files), ALLOWED, n_processes=1)
    result.findings = [
        each._replace(detail=f"{files[each.index][0]}: {each.detail}") for each in result.findings
    ]
    return result


def report(result: Result, count: int) -> str:
    """The counts and findings as text."""
    kinds = ("read", "refused", "hang", "crash", "memory", "other exception", "wrong size")
    lines = [f"{count:,} files", *(f"{result.counts[kind]:>10,} {kind}" for kind in kinds)]
    seconds, index = result.slowest
    lines.append(f"slowest: case {index}, {seconds:.2f} s of a processor")
    return "\n".join([*lines, *(f"case {i}: {kind}: {text}" for i, kind, text in result.findings)])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the script; the exit status is 1 if there are findings."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.pictures", description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0, help="index of the first case")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--bombs", action="store_true", help="check the bombs instead")
    parser.add_argument("--case", type=int, help="read one case here, with its traceback")
    parser.add_argument("--keep", type=Path, help="folder into which files with findings go")
    options = parser.parse_args(arguments)
    if options.case is not None:
        data = case(options.seed, options.case)
        if options.keep:
            (options.keep / f"picture_{options.seed}_{options.case}").write_bytes(data)
        with tempfile.TemporaryDirectory() as name:
            print(check(data, Path(name) / "case", strictly=options.case % 2 == 0))
        return 0
    if options.bombs:
        result = explode()
        print(report(result, result.counts.total()))
        return int(bool(result.findings))
    result = fuzz(options.count, options.seed, options.processes, options.first)
    print(report(result, options.count))
    if options.keep:
        for index, *_ in result.findings:
            path = options.keep / f"picture_{options.seed}_{index}"
            path.write_bytes(case(options.seed, index))
    return int(bool(result.findings))


if __name__ == "__main__":
    sys.exit(main())
