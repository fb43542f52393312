"""AttentionMapDisplay: pictures, and which of their parts speak for a class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sktransfer.exceptions import ParameterError
from sktransfer.inspection.displays.gallery import (
    FAINT,
    INK,
    SIDE,
    Line,
    cells,
    check_counts,
    draw,
    write,
)
from sktransfer.inspection.explanation.explain import Explanation, check_method, explained
from sktransfer.inspection.explanation.targets import target_codes
from sktransfer.inspection.subject import subject_of
from sktransfer.inspection.thumbnails import thumbnails

# Each picture has two cells and a line: more could not be looked at.
_MAX_PICTURES = 200


class AttentionMapDisplay:
    """Pictures, each beside a copy on which the parts that speak for a class stay bright.

    The line goes around what counts at least half as much as the strongest part. What the
    network does not see, because `resize` crops it, is pale.

    Use :meth:`from_estimator` to create one, or give it an explanation that you have.

    Parameters
    ----------
    explanation : Explanation
        What :func:`explain` returns.
    probabilities : ndarray of shape (n,), optional
        The probability of each target.

    Attributes
    ----------
    figure_ : matplotlib Figure
    axes_ : ndarray of matplotlib Axes, of shape (n_rows, n_columns)
        Each picture is followed by its copy.

    Examples
    --------
    >>> from sktransfer import AttentionMapDisplay, PretrainedImageClassifier, load_clipart
    >>> paths, labels = load_clipart(return_X_y=True)
    >>> classifier = PretrainedImageClassifier("efficientnet_lite0", random_state=0)
    >>> classifier = classifier.fit(paths[::10], labels[::10])
    >>> display = AttentionMapDisplay.from_estimator(classifier, paths[1:3])
    >>> display.axes_.shape
    (1, 4)
    """

    def __init__(
        self, *, explanation: Explanation, probabilities: Sequence[float] | np.ndarray | None = None
    ) -> None:
        self.explanation = explanation
        self.probabilities = probabilities

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        target: Any = None,
        *,
        method: str = "auto",
        n_columns: int = 3,
        figure: Any = None,
    ) -> AttentionMapDisplay:
        """Explain pictures, and show their maps.

        Parameters
        ----------
        estimator : classifier
            As for :func:`explain`.
        X : array, tensor, list, Series or one-column DataFrame
            Pictures, in any form that `fit` takes; at most 200.
        target : label or array-like of shape (n,), optional
            The class to look for, one for all pictures or one for each. By default the predicted
            class of each picture.
        method : {"auto", "cam", "gradcam", "occlusion"}, default="auto"
            See :func:`explain`.
        n_columns : int, default=3
            Number of pictures side by side.
        figure : matplotlib Figure, optional
            Figure to draw on. By default a new one is made.

        Returns
        -------
        display : AttentionMapDisplay

        Raises
        ------
        TypeError, NotFittedError
            If `estimator` is no fitted classifier.
        ParameterError
            If a target is unknown, a parameter is invalid, or the estimator does not allow the
            method.
        ImportError
            If matplotlib is missing.
        """
        check_counts(n_columns=n_columns)
        check_method(method)
        subject = subject_of(estimator, "AttentionMapDisplay")
        images = subject.pictures(X)
        n = len(images)
        if n > _MAX_PICTURES:
            raise ParameterError(
                f"AttentionMapDisplay draws at most {_MAX_PICTURES} pictures; got {n:,}. Give some "
                "of them, or call explain, which has no limit."
            )
        codes = target_codes(target, subject, X, n)
        explanation = explained(subject, X, images, np.arange(n), codes, method)
        chances = subject.probabilities(X)
        if chances is not None:
            chances = chances[np.arange(n), codes]
        display = cls(explanation=explanation, probabilities=chances)
        return display.plot(n_columns=n_columns, figure=figure)

    def plot(self, *, n_columns: int = 3, figure: Any = None) -> AttentionMapDisplay:
        """Draw the pictures and their maps.

        Parameters
        ----------
        n_columns : int, default=3
            Number of pictures side by side.
        figure : matplotlib Figure, optional
            Figure to draw on. By default a new one is made.

        Returns
        -------
        display : AttentionMapDisplay
        """
        explanation = self.explanation
        n = len(explanation)
        shown = thumbnails(explanation.images, range(n), SIDE)
        self.axes_ = cells(
            2 * n,
            n_lines=1,
            n_columns=2 * min(n_columns, n),
            caller=f"{type(self).__name__}.plot",
            figure=figure,
        )
        self.figure_ = self.axes_[0, 0].figure
        for i in range(n):
            before, after = self.axes_.flat[2 * i], self.axes_.flat[2 * i + 1]
            draw(before, shown.pictures[i])
            if i in shown.unreadable:
                write(before, [Line("can't be read", FAINT)])
                continue
            chance = "" if self.probabilities is None else f"{self.probabilities[i]:.2f}"
            write(before, [Line(str(explanation.target[i]), INK, chance)])
            draw(after, shown.pictures[i], explanation.on_original(i, SIDE))
            write(after, [Line(_BY[explanation.method], FAINT)])
        return self


_BY = {"cam": "class activation map", "gradcam": "Grad-CAM", "occlusion": "occlusion"}
