"""A fitted classifier whose probabilities are learned beside the labels."""

from __future__ import annotations

from typing import Any

import numpy as np

from sktransfer.exceptions import ParameterError
from sktransfer.training.task import OneLabel, SeveralLabels, Task


def check_teacher(teacher: Any, classes: np.ndarray) -> None:
    """Raise unless a teacher is fitted and knows the same classes.

    Raises
    ------
    ParameterError
    """
    known = getattr(teacher, "classes_", None)
    if known is None:
        raise ParameterError(
            f"distill_from={type(teacher).__name__} is not fitted. Fit it first; in a search or a "
            "cross-validation, which clone it, give sklearn.frozen.FrozenEstimator(teacher)."
        )
    if not np.array_equal(known, classes):
        raise ParameterError(
            f"distill_from knows the classes {np.asarray(known).tolist()}, but y has "
            f"{classes.tolist()}. Fit the teacher on the same labels."
        )


def softened_probabilities(
    teacher: Any, X: Any, shape: tuple[int, int], task: Task, temperature: float
) -> np.ndarray:
    """A teacher's probabilities for X, softened by a temperature.

    Parameters
    ----------
    teacher : classifier
    X : as `fit` gets it
    shape : (n, n_classes)
    task : Task
        Of the student.
    temperature : float
        The teacher's scores are divided by it.

    Raises
    ------
    ParameterError
        If the teacher gives anything but finite probabilities of that shape.
    """
    shares = np.asarray(teacher.predict_proba(X), np.float64)
    if shares.shape != shape or not np.isfinite(shares).all():
        raise ParameterError(
            f"distill_from={type(teacher).__name__} must give finite probabilities of shape "
            f"{shape}; got shape {shares.shape}."
        )
    # Probabilities of one label sum to 1 whatever loss the student has, as softmax makes them.
    teachers_task = SeveralLabels() if task.multilabel else OneLabel()
    return teachers_task.probabilities(teachers_task.scores(shares) / temperature)
