"""Model files: pickles, until there is a format that is safe to open."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import joblib

from sktransfer._common.files import replaced_when_complete


def check_target(path: str) -> Path:
    """The path of a file that is to be written, checked before any work is done for it.

    Raises
    ------
    OSError
        If there is a folder of that name, or none to write it into.
    """
    target = Path(path)
    if target.is_dir():
        raise IsADirectoryError(f"{path} is a folder. Give the name of a file with -o.")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"The folder {target.parent} of {path} does not exist. Make it.")
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
    except (pickle.UnpicklingError, EOFError, KeyError, IndexError, AttributeError) as error:
        raise ValueError(f"{path} is not a model file, or is damaged: {error!r}") from error
