"""python -m sktransfer predict."""

from __future__ import annotations

import csv
import sys
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from sktransfer._common.files import replaced_when_complete
from sktransfer.images.folders import list_pictures
from sktransfer.inspection.readable import outcome_of_readable
from sktransfer.inspection.subject import Subject, subject_of
from sktransfer.persistence.model_file.load import load
from sktransfer.shell.targets import check_target

SOME_UNREADABLE = 3


def predict(options: Namespace) -> int:
    """Predict all pictures of a folder, and write a table."""
    target = None if options.output is None else check_target(options.output, options.model)
    subject = subject_of(load(options.model), "predict")
    paths = np.array([_as_cell(path) for path in list_pictures(Path(options.folder))])
    if hasattr(subject.estimator, "verbose") and not options.quiet:
        subject.estimator.set_params(verbose=1)
    readable, predictions, probabilities = outcome_of_readable(
        subject, paths, subject.pictures(paths), "the folder"
    )
    with _opened(target) as file:
        writer = csv.writer(file, lineterminator="\n")
        classes = [] if probabilities is None else subject.classes.tolist()
        writer.writerow(["path", "prediction", *(f"probability of {label}" for label in classes)])
        place = 0
        for path, can_be_read in zip(paths, readable, strict=True):
            if not can_be_read:
                writer.writerow([path, *[""] * (1 + len(classes))])
                continue
            row = [] if probabilities is None else [f"{p:.6f}" for p in probabilities[place]]
            writer.writerow([path, _text(predictions[place], subject), *row])
            place += 1
    n_lost = int((~readable).sum())
    if n_lost:
        first = paths[~readable][0]
        print(
            f"warning: {n_lost} of {len(paths)} pictures can't be read, and have no prediction; "
            f"the first is {first}.",
            file=sys.stderr,
        )
    return SOME_UNREADABLE if n_lost else 0


def _as_cell(path: Path) -> str:
    """A path that no spreadsheet takes for a formula."""
    text = str(path)
    return f"./{text}" if text[0] in "=+-@" else text


def _text(prediction: Any, subject: Subject) -> str:
    """A label; of several, those that are present, by their column numbers."""
    if not subject.multilabel:
        return str(prediction)
    return " ".join(str(label) for label in subject.classes[np.asarray(prediction) > 0])


@contextmanager
def _opened(target: Path | None) -> Iterator[TextIO]:
    if target is None:
        yield sys.stdout
        return
    with (
        replaced_when_complete(target) as unfinished,
        # Python's csv asks for files that do not translate the ends of lines.
        unfinished.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file,
    ):
        yield file
