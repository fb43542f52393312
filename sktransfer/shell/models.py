"""Model files: pickles, until there is a format that is safe to open."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import joblib

from sktransfer._common.files import check_writable, replaced_when_complete


def check_target(path: str, *inputs: str) -> Path:
    """The path of a file that is to be written, checked before any work is done for it.

    Raises
    ------
    OSError
        If there is a folder of that name, or no file can be written there.
    ValueError
        If it is one of the files that are read.
    """
    target = Path(path)
    for each in inputs:
        if target.exists() and Path(each).exists() and target.samefile(each):
            raise ValueError(f"-o names {each}, which is read. Give the name of another file.")
    check_writable(target)
    return target


def save_model(estimator: Any, path: Path) -> None:
    """Write a fitted estimator; a file that exists is replaced once the new one is complete."""
    with replaced_when_complete(path) as unfinished:
        joblib.dump(estimator, unfinished)


def load_model(path: str) -> Any:
    """Open a fitted estimator.

    Raises
    ------
    OSError
        If there is no such file.
    ValueError
        If it is no model file.
    """
    try:
        return joblib.load(path)
    except OSError:
        raise
    except ImportError:  # a package that the model needs
        raise
    # Bytes that are no pickle may look like one for a while, and fail in any way.
    except Exception as error:
        raise ValueError(f"{path} is not a model file, or is damaged: {error!r}") from error
