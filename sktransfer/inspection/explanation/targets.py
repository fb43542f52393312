"""Which class each map is for."""

from __future__ import annotations

from typing import Any

import numpy as np

from sktransfer.exceptions import ParameterError
from sktransfer.inspection.subject import Subject


def target_codes(target: Any, subject: Subject, X: Any, n_pictures: int) -> np.ndarray:
    """Positions in `subject.classes` of the class that each map is for.

    Parameters
    ----------
    target : None, label or array-like of shape (n,)
        None for the predicted class; with several labels, for the most likely one.

    Returns
    -------
    codes : ndarray of shape (n,), int

    Raises
    ------
    ParameterError
        If a label is unknown, or there is another number of them than of pictures.
    """
    if target is None:
        return _predicted(subject, X)
    labels = np.asarray(target)
    if labels.ndim > 1:
        raise ParameterError(
            f"target is one label, or one for each picture, but has shape {labels.shape}. Of "
            "several labels, explain one after the other."
        )
    if labels.ndim == 0:
        labels = np.repeat(labels[None], n_pictures)
    if len(labels) != n_pictures:
        raise ParameterError(
            f"target has {len(labels)} labels, but X has {n_pictures} pictures. Give one label "
            "for all, or one for each picture."
        )
    codes = _positions(subject)
    unknown = sorted({label for label in labels.tolist() if label not in codes}, key=repr)
    if unknown:
        raise ParameterError(
            f"target holds {unknown}, which the classifier does not know. Its classes are "
            f"{list(codes)[:20]}{' and more' if len(codes) > 20 else ''}."
        )
    return np.array([codes[label] for label in labels.tolist()])


def _predicted(subject: Subject, X: Any) -> np.ndarray:
    if subject.multilabel:
        probabilities = subject.probabilities(X)
        if probabilities is None:
            raise ParameterError(
                f"{subject.why_no_probabilities} Or say which label to explain: target=0."
            )
        return probabilities.argmax(axis=1)
    codes = _positions(subject)
    return np.array([codes[label] for label in subject.predict(X).tolist()])


def _positions(subject: Subject) -> dict[Any, int]:
    """The position of each label in `subject.classes`."""
    return {label: code for code, label in enumerate(subject.classes.tolist())}
