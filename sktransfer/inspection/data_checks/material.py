"""What the checks look at: facts of all pictures, their labels and their features."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from sktransfer.estimators.labels import Labels, encoded, is_missing
from sktransfer.inspection.data_checks.findings import Finding, NotMade
from sktransfer.inspection.data_checks.given_labels import given_labels
from sktransfer.inspection.data_checks.near_copies import NearCopies, near_copies
from sktransfer.inspection.data_checks.picture_facts import PictureFacts, readable

# Grey levels, of 255: a wall out of focus has more. JPEG's own errors on an even area have less.
_BLANK = 2.0

_SAW_LABELS = (
    "what gave the features was trained on labels, so that pictures of one class are alike in them "
    "and wrong labels look right; give check_pictures features=None or a PretrainedFeatureExtractor"
)


@dataclass(frozen=True)
class Material:
    """Everything that the checks look at.

    Pictures have positions: first the rows of X, then those of X_test.

    Parameters
    ----------
    facts : sequence of PictureFacts
    n_rows : int
        Number of rows of X.
    labels : Labels or None
        Of the rows of X.
    features : ndarray of shape (n, d), or None
        NaN where a picture can't be read.
    why_no_features : str
    features_saw_labels : bool
        True if what gave them was, or may have been, trained on labels of the same task.
    """

    facts: Sequence[PictureFacts]
    n_rows: int
    labels: Labels | None = None
    features: np.ndarray | None = None
    why_no_features: str = ""
    features_saw_labels: bool = False

    @property
    def n_test_rows(self) -> int:
        """Number of rows of X_test."""
        return len(self.facts) - self.n_rows

    @cached_property
    def seen(self) -> list[int]:
        """Positions of the pictures that can be read and are not blank."""
        return [
            i
            for i, each in enumerate(self.facts)
            if each.error is None and not is_blank(each.spread)
        ]

    @cached_property
    def described(self) -> list[int]:
        """Positions of the pictures that have features which can be compared."""
        if self.features is None:
            raise NotMade(self.why_no_features)
        if self.features_saw_labels:
            raise NotMade(_SAW_LABELS)
        finite = np.isfinite(self.features).all(axis=1)
        found = [i for i in self.seen if finite[i]]
        if not found:
            raise NotMade("no picture has features: none can be read, all are blank, or have NaN")
        return found

    @cached_property
    def equal(self) -> list[list[int]]:
        """Positions of all pictures but those of one colour, those of equal pixels together.

        Files of the same bytes have the same pixels; so have a BMP and the PNG that was made of it.
        """
        groups: defaultdict[bytes, list[int]] = defaultdict(list)
        for position in readable(self.facts):
            if not self.facts[position].is_plain:
                groups[self.facts[position].digest].append(position)
        return list(groups.values())

    @cached_property
    def near(self) -> NearCopies:
        """Groups of pictures that are equal, or nearly so."""
        described = set(self.described)
        equal = [group for group in self.equal if not described.isdisjoint(group)]
        firsts = [next(i for i in group if i in described) for group in equal]
        return near_copies(equal, self.units(firsts), [self.facts[i].hashes for i in firsts])

    def units(self, positions: Sequence[int]) -> np.ndarray:
        """Features of some pictures, divided by their lengths, float32."""
        assert self.features is not None
        chosen = np.asarray(self.features[list(positions)], dtype=np.float32)
        lengths = np.linalg.norm(chosen, axis=1, keepdims=True)
        return chosen / np.where(lengths > 0, lengths, 1)

    def one_label_each(self) -> Labels:
        """Labels, where each picture has one of several classes.

        Raises
        ------
        NotMade
        """
        labels = self.any_labels()
        if labels.multilabel:
            raise NotMade("it is for one label per picture, and y has several")
        if len(labels.classes) < 2:
            raise NotMade("y has only one class")
        return labels

    def any_labels(self) -> Labels:
        """Labels of any form.

        Raises
        ------
        NotMade
        """
        if self.labels is None:
            raise NotMade("y was not given")
        return self.labels

    def need_test_rows(self) -> None:
        """Raise unless there is X_test.

        Raises
        ------
        NotMade
        """
        if not self.n_test_rows:
            raise NotMade("X_test was not given")

    @cached_property
    def class_names(self) -> list[Any]:
        """The classes as y has them, in Python's types."""
        assert self.labels is not None
        names: list[Any] = self.labels.classes.tolist()
        return names

    def label_of(self, position: int) -> Any:
        """The label of a row of X, as y has it."""
        assert self.labels is not None
        if self.labels.multilabel:
            return np.flatnonzero(self.labels.y[position]).tolist()
        return self.class_names[self.labels.y[position]]

    def finding(
        self,
        kind: str,
        severity: str,
        positions: Iterable[int],
        message: str,
        advice: str,
        score: float | None = None,
        suggestion: Any = None,
    ) -> Finding:
        """A finding about some pictures of X and X_test."""
        positions = sorted(positions)
        return Finding(
            kind,
            severity,
            message,
            advice,
            rows=tuple(int(i) for i in positions if i < self.n_rows),
            test_rows=tuple(int(i - self.n_rows) for i in positions if i >= self.n_rows),
            score=score,
            suggestion=suggestion,
        )


def is_blank(spread: float) -> bool:
    """Tell if there is nothing to see in a picture, by the spread of its values."""
    return spread < _BLANK


def labels_of(y: Any, n_rows: int) -> Labels | None:
    """Check y, which may have one class only here: that is a finding.

    Raises
    ------
    ValueError
        If y is of another length, has missing values, or is no labels.
    """
    if y is None:
        return None
    given = given_labels(y)
    try:
        return encoded(given, n_rows, "check_pictures")
    except ValueError:
        labels = given_labels(np.asarray(given))
        different = set(labels.tolist()) if labels.ndim == 1 else set()
        if len(different) != 1 or len(labels) != n_rows or not _is_class(*different):
            raise
        return Labels(np.unique(labels), np.zeros(n_rows, dtype=np.int64))


def _is_class(label: Any) -> bool:
    is_measure = isinstance(label, float) and not label.is_integer()
    return not is_missing(label) and not is_measure
