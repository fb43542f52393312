"""Fuzz the opening of model files: ``python -m tests.fuzz.model_files --count 100000 --seed 0``.

A mutated file must be refused by `ModelFileError`, or open as the model that it was. One whose
checksums and digests were made right again may also be another valid model, which predicts. In no
case may opening it run, write, import or connect to anything.
"""

import argparse
import sys
import tempfile
import warnings
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from sktransfer import load
from sktransfer.exceptions import ModelFileError, WeightsError, WeightsUnavailableError
from tests.conftest import make_pictures
from tests.fuzz.model_mutations import mutated
from tests.fuzz.supervision import Result, Verdict, run

ALLOWED = ("refused", "other weights", "same", "another model")
FOLDER = Path(__file__).parents[1] / "persistence" / "model_file" / "files"
_MEMORY_FILES = Path("/dev/shm")
_X = make_pictures(2)[0]
# Events of Python's audit that opening a file must not cause. Reading the file is "open" as well;
# NumPy's reader of arrays compiles, and does not run, the literal that describes one.
_FORBIDDEN = (
    *("socket.", "subprocess.", "os.exec", "os.system", "os.fork", "os.spawn", "os.posix_spawn"),
    *("os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.chmod"),
    *("os.truncate", "shutil.", "pickle.find_class", "ctypes.dlopen", "exec"),
    *("tempfile.", "urllib.", "import"),
)


class Watch:
    """Notes what happens while it is on. An audit hook can't be removed, only be switched off."""

    def __init__(self) -> None:
        self.is_on, self.seen = False, list[str]()
        sys.addaudithook(self._hook)

    def _hook(self, event: str, args: tuple[Any, ...]) -> None:
        if not self.is_on:
            return
        if event == "open":
            path, mode, flags = args
            if (isinstance(mode, str) and set(mode) & set("wax+")) or (flags or 0) & 3:
                self.seen.append(f"open {path!r:.80} {mode}")
        elif event == "import" and args[0] in sys.modules:
            return
        elif event == "ctypes.dlopen" and "nvidia-ml" in str(args[0]):
            return  # torch asks for graphics cards
        elif event.startswith(_FORBIDDEN):
            self.seen.append(f"{event} {args!r:.100}")


@cache
def watch() -> Watch:
    """The only one of this process."""
    return Watch()


def case(seed: int, index: int) -> tuple[bytes, bool, str]:
    """The file of a case, whether it was made consistent, and the name of its seed."""
    rng = Random(f"models {seed} {index}")
    name = rng.choice(list(_seeds()))
    other = rng.choice(list(_seeds().values()))
    return (*mutated(rng, _seeds()[name], other), name)


@cache
def _seeds() -> dict[str, bytes]:
    return {path.stem: path.read_bytes() for path in sorted(FOLDER.glob("*.skt"))}


@cache
def _expected(name: str) -> bytes:
    """Predictions of a seed; also loads all that opening needs, before it is watched."""
    if find_spec("timm"):  # which the message about an unknown backbone asks for names like it
        import timm  # noqa: F401
    return _predictions(load(FOLDER / f"{name}.skt", device="cpu"))


def _predictions(estimator: Any) -> bytes:
    method = "predict_proba" if hasattr(estimator, "predict_proba") else "transform"
    return np.asarray(getattr(estimator, method)(_X)).tobytes()


def check(content: bytes, is_consistent: bool, name: str, path: Path) -> Verdict:
    """Open a file, and judge what comes of it.

    Parameters
    ----------
    content : bytes
    is_consistent : bool
        If it may be another valid file.
    name : str
        The seed from which it was made.
    path : Path
        Where the file is written for opening.
    """
    path.write_bytes(content)
    expected, watching = _expected(name), watch()
    watching.seen.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        watching.is_on = True
        try:
            estimator = load(path, device="cpu")
        except ModelFileError:
            verdict = Verdict("refused")
        except (WeightsError, WeightsUnavailableError):
            verdict = Verdict("other weights")
        else:
            verdict = Verdict("opened")
        finally:
            watching.is_on = False
        if watching.seen:
            return Verdict("side effect", "; ".join(watching.seen[:3]))
        if verdict.kind != "opened":
            return verdict
        try:
            predictions = _predictions(estimator)
        except Exception as error:
            if not is_consistent:
                raise
            # What is not fitted says so, and a pipeline may have other parts.
            return Verdict("another model", type(error).__name__)
    # The end of another seed may make it that one.
    if predictions == expected or predictions in map(_expected, _seeds()):
        return Verdict("same")
    return Verdict("another model" if is_consistent else "wrong model")


def fuzz(count: int, seed: int, n_processes: int = 2, first: int = 0) -> Result:
    """Check cases in other processes, and count what comes of them."""
    for name in _seeds():
        _expected(name)
    watch()
    with tempfile.TemporaryDirectory(dir=_MEMORY_FILES if _MEMORY_FILES.is_dir() else None) as name:

        def judged(index: int) -> Verdict:
            path = Path(name) / f"{(index - first) % n_processes}.skt"
            return check(*case(seed, index), path)

        return run(judged, count, ALLOWED, n_processes=n_processes, first=first)


def report(result: Result, count: int) -> str:
    """The counts and findings as text."""
    kinds = (*ALLOWED, "wrong model", "side effect", "hang", "crash", "memory", "other exception")
    lines = [f"{count:,} files", *(f"{result.counts[kind]:>10,} {kind}" for kind in kinds)]
    seconds, index = result.slowest
    lines.append(f"slowest: case {index}, {seconds:.2f} s of a processor")
    return "\n".join([*lines, *(f"case {i}: {kind}: {text}" for i, kind, text in result.findings)])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the script; the exit status is 1 if there are findings."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.model_files", description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0, help="index of the first case")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--case", type=int, help="open one case here, with its traceback")
    parser.add_argument("--keep", type=Path, help="folder into which files with findings go")
    options = parser.parse_args(arguments)
    if options.case is not None:
        content, is_consistent, name = case(options.seed, options.case)
        if options.keep:
            (options.keep / f"model_{options.seed}_{options.case}.skt").write_bytes(content)
        with tempfile.TemporaryDirectory() as folder:
            print(name, check(content, is_consistent, name, Path(folder) / "case.skt"))
        return 0
    result = fuzz(options.count, options.seed, options.processes, options.first)
    print(report(result, options.count))
    if options.keep:
        for index, *_ in result.findings:
            path = options.keep / f"model_{options.seed}_{index}.skt"
            path.write_bytes(case(options.seed, index)[0])
    return int(bool(result.findings))


if __name__ == "__main__":
    sys.exit(main())
