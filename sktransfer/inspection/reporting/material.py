"""What the sections of a report draw from: each prediction and picture is made once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from sklearn.utils import _safe_indexing, check_consistent_length, column_or_1d

from sktransfer.estimators.labels import check_none_missing, is_indicator
from sktransfer.exceptions import ImageError, ParameterError, UnreadableImageError
from sktransfer.images.sources import ImageSource
from sktransfer.inspection.outcomes import Outcomes, outcomes
from sktransfer.inspection.readable import outcome_of_readable, readable_rows
from sktransfer.inspection.reporting.blocks import Picture
from sktransfer.inspection.reporting.caching import with_cache
from sktransfer.inspection.reporting.heat import heated
from sktransfer.inspection.subject import Subject, subject_of
from sktransfer.inspection.thumbnails import thumbnails


@dataclass(frozen=True, eq=False)
class Part:
    """Pictures and labels that a report is about: those of the test, or of the training.

    Parameters
    ----------
    X : array, list, Series or DataFrame
        As the estimator takes it.
    y : ndarray of shape (n,), or (n, n_classes) for an indicator
    rows : ndarray of shape (n,), int
        Where the pictures are in what the user gave.
    pictures : ImageSource or None
        None if X holds no pictures.
    """

    X: Any
    y: np.ndarray
    rows: np.ndarray
    pictures: ImageSource | None

    def __len__(self) -> int:
        return len(self.y)

    def taken(self, rows: np.ndarray) -> Part:
        """Some of the rows."""
        pictures = None if self.pictures is None else self.pictures.taken([int(r) for r in rows])
        return Part(_safe_indexing(self.X, rows), self.y[rows], self.rows[rows], pictures)

    def name_of(self, i: int) -> str:
        """A short name of a picture: its file, or its row."""
        paths = {} if self.pictures is None else self._paths
        path = paths.get(i)
        return f"row {self.rows[i]}" if path is None else path.replace("\\", "/").split("/")[-1]

    @cached_property
    def _paths(self) -> dict[int, str]:
        assert self.pictures is not None
        return dict(self.pictures.paths())


@dataclass(frozen=True, eq=False)
class Material:
    """All that sections need.

    Parameters
    ----------
    subject : Subject
    runner : Subject
        The same, which keeps activations for as long as the report is made.
    test : Part
        Without pictures that can't be read.
    train : Part or None
    unreadable : list of str
        Pictures of the test that can't be read, as errors name them.
    y_pred : ndarray
        Predictions, in the form of ``test.y``.
    probabilities : ndarray of shape (n, n_classes) or None
        In the order of ``subject.classes``.
    groups : ndarray of shape (n,) or None
    learning_curve : bool
    card : mapping of str to str
        What the user has filled in.
    seed : int
    """

    subject: Subject
    runner: Subject
    test: Part
    train: Part | None
    unreadable: list[str]
    y_pred: np.ndarray
    probabilities: np.ndarray | None
    groups: np.ndarray | None
    learning_curve: bool
    card: Any
    seed: int

    @property
    def multilabel(self) -> bool:
        return self.subject.multilabel

    @cached_property
    def labels(self) -> list[Any]:
        """All labels, first those that the classifier knows, then those of the test alone."""
        labels = self.subject.classes.tolist()
        if self.multilabel:
            return labels
        known = set(labels)
        return labels + [label for label in unique(self.test.y) if label not in known]

    @cached_property
    def outcomes(self) -> Outcomes:
        """Truth and predictions; labels that the classifier does not know have probability 0."""
        labels = np.array(self.labels, dtype=object)
        probabilities = self.probabilities
        if probabilities is not None:
            n_unknown = len(labels) - probabilities.shape[1]
            probabilities = np.pad(probabilities, [(0, 0), (0, n_unknown)])
        return outcomes(self.test.y, self.y_pred, probabilities, labels)

    @property
    def true(self) -> np.ndarray:
        """Positions (n,) of the true labels in `labels`."""
        return self.outcomes.truth

    @property
    def predicted(self) -> np.ndarray:
        """Positions (n,) of the predicted labels in `labels`."""
        return self.outcomes.predicted

    @property
    def right(self) -> np.ndarray:
        """Rows (n,) whose labels are all predicted correctly."""
        return ~self.outcomes.wrong

    @property
    def why_no_probabilities(self) -> str:
        """A sentence that says why there are none; "" where there are."""
        if self.probabilities is not None:
            return ""
        nan = f"{self.subject.name} gives NaN as the probabilities of some pictures."
        return self.subject.why_no_probabilities or nan

    @cached_property
    def train_features(self) -> np.ndarray:
        """Features (n, d) of the training pictures; NaN for those that can't be read."""
        assert self.train is not None
        return _features(self.runner, self.train)

    @cached_property
    def test_features(self) -> np.ndarray:
        """Features (n, d) of the test pictures."""
        return _features(self.runner, self.test)

    def texts_of(self, y: np.ndarray) -> np.ndarray:
        """Labels as text, whatever their types are; an indicator as it is."""
        return y if self.multilabel else np.array([str(label) for label in y.tolist()])

    def label_text(self, label: Any) -> str:
        """A label in words; of an indicator, all labels that are present."""
        if not self.multilabel:
            return str(label)
        present = self.subject.classes[np.asarray(label) > 0]
        return ", ".join(map(str, present)) or "none"

    def shown(
        self,
        part: Part,
        rows: Sequence[int] | np.ndarray,
        side: int,
        lines: Sequence[Sequence[str]],
        maps: Sequence[np.ndarray | None] | None = None,
    ) -> list[Picture]:
        """Small pictures of some rows of a part, with lines of text; [] if it has no pictures.

        Where there is a map, the picture is shown again with the map on it.
        """
        if part.pictures is None:
            return []
        pixels = thumbnails(part.pictures, rows, side).pictures
        return [
            Picture(
                small,
                f"{part.name_of(row)}: {', '.join(text)}",
                [*text, part.name_of(row)],
                int(part.rows[row]),
                None if heat is None else heated(small, heat),
            )
            for small, row, text, heat in zip(
                *(pixels, map(int, rows), lines, maps or [None] * len(pixels)), strict=True
            )
        ]


def material(
    estimator: Any,
    X_test: Any,
    y_test: Any,
    *,
    X_train: Any,
    y_train: Any,
    groups: Any,
    cache: str,
    **more: Any,
) -> Material:
    """Check what the user gave, and predict.

    Activations are kept in the folder `cache`, unless the estimator has one of its own.

    Raises
    ------
    NotFittedError, TypeError
        If the estimator is not fitted, or no classifier.
    ParameterError
        If X and y contradict each other, or no picture can be read.
    """
    subject = subject_of(estimator, "report")
    test = _part(subject, X_test, y_test, "X_test", "y_test")
    _check_known(subject, test.y, "y_test")
    if groups is not None:
        groups = column_or_1d(np.asarray(groups, dtype=object))
        if len(groups) != len(test):
            raise ParameterError(
                f"X_test has {len(test)} pictures, but groups has {len(groups)} entries."
            )
    if (X_train is None) != (y_train is None):
        given, missing = ("y_train", "X_train") if X_train is None else ("X_train", "y_train")
        raise ParameterError(f"{given} is given without {missing}. Give both, or neither.")
    train = None if X_train is None else _part(subject, X_train, y_train, "X_train", "y_train")
    if train is not None:
        _check_known(subject, train.y, "y_train")
    n_rows = len(test)
    network = subject.network
    has_cache = network is not None and network.cache is not None
    runner = subject if has_cache else with_cache(subject, cache)
    readable, y_pred, probabilities = outcome_of_readable(runner, test.X, test.pictures, "X_test")
    unreadable: list[str] = []
    if not readable.all():
        assert test.pictures is not None
        unreadable = [test.pictures.describe(int(row)) for row in np.flatnonzero(~readable)]
        test = test.taken(np.flatnonzero(readable))
    if probabilities is not None and np.isnan(probabilities).any():
        probabilities = None  # some classifiers give NaN far from all training rows
    if groups is not None and len(test) < n_rows:
        groups = groups[test.rows]
    return Material(
        subject=subject,
        runner=runner,
        test=test,
        train=train,
        unreadable=unreadable,
        y_pred=y_pred,
        probabilities=probabilities,
        groups=groups,
        **more,
    )


def unique(y: np.ndarray) -> list[Any]:
    """The labels in y, in order; by their text if they can't be compared."""
    try:
        return sorted(set(y.tolist()))
    except TypeError:
        return sorted(set(y.tolist()), key=repr)


def _features(subject: Subject, part: Part) -> np.ndarray:
    """Features (n, d) of a part, NaN for pictures that can't be read."""
    try:
        return subject.features(part.X)
    except UnreadableImageError:
        if part.pictures is None:
            raise
    readable = np.flatnonzero(readable_rows(part.pictures))
    if not len(readable):
        raise ParameterError(f"None of the {len(part)} training pictures can be read.")
    some = subject.features(part.taken(readable).X)
    found = np.full((len(part), some.shape[1]), np.nan, dtype=np.float32)
    found[readable] = some
    return found


def _part(subject: Subject, X: Any, y: Any, X_name: str, y_name: str) -> Part:
    pictures = _pictures(subject, X)
    labels = _labels(subject, y, y_name)
    n_rows = len(labels) if pictures is None else len(pictures)
    if n_rows != len(labels):
        raise ParameterError(
            f"{X_name} has {n_rows} pictures, but {y_name} has {len(labels)} labels."
        )
    check_consistent_length(X, labels)
    if not n_rows:
        raise ParameterError(f"{X_name} holds no pictures.")
    return Part(X, labels, np.arange(n_rows), pictures)


def _check_known(subject: Subject, y: np.ndarray, name: str) -> None:
    """Raise if the classifier knows no label at all: then all would count as mistakes."""
    known = subject.classes.tolist()
    if not subject.multilabel and not set(y.tolist()) & set(known):
        raise ParameterError(
            f"{subject.name} knows none of the labels in {name}: it knows {known[:10]}, and {name} "
            f"holds {unique(y)[:10]}. Give the labels that it was fitted with."
        )


def _pictures(subject: Subject, X: Any) -> ImageSource | None:
    """The pictures in X; None if a classifier without a backbone takes something else."""
    if subject.backbone is not None:
        return subject.pictures(X)
    try:
        pictures = subject.pictures(X)
        pictures.check(missing_ok=True)
    except ImageError:
        return None
    return pictures


def _labels(subject: Subject, y: Any, name: str) -> np.ndarray:
    if subject.multilabel:
        if not is_indicator(y) or np.shape(y)[1] != len(subject.classes):
            raise ParameterError(
                f"{subject.name} predicts several labels, so {name} must be an indicator of shape "
                f"(n, {len(subject.classes)}); got the shape {np.shape(y)}."
            )
        return np.asarray(y.toarray() if hasattr(y, "toarray") else y).astype(np.int64)
    check_none_missing(y, name)
    labels: np.ndarray = column_or_1d(y)
    check_none_missing(labels.tolist(), name)
    return labels
