"""MistakesDisplay: the pictures that a classifier gets most wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.utils import check_consistent_length

from sktransfer.exceptions import ParameterError
from sktransfer.images.sources import ImageSource, as_images
from sktransfer.inspection.displays.gallery import (
    FAINT,
    RIGHT,
    SIDE,
    WRONG,
    Line,
    cells,
    check_counts,
    draw,
    write,
)
from sktransfer.inspection.explanation.explain import explained
from sktransfer.inspection.outcomes import Outcomes, outcomes, outcomes_of
from sktransfer.inspection.subject import Subject, subject_of
from sktransfer.inspection.thumbnails import thumbnails

# What comes first, by the value of `order`.
_ORDERS: Mapping[str, str] = {
    "loss": "largest loss first",
    "confidence": "most confident first",
    "uncertainty": "least certain first",
    "row": "in their order",
}


class MistakesDisplay:
    """The pictures that a classifier gets most wrong, with truth, prediction and probability.

    Use :meth:`from_estimator` or :meth:`from_predictions` to create one.

    Parameters
    ----------
    outcomes : Outcomes
        Truth, prediction and probabilities of all pictures.
    rows : ndarray of shape (n_shown,)
        The rows of X that are shown, in their order.
    pictures : list of ndarray of shape (h, w, 3), uint8
        Small copies of them.
    unreadable : list of int
        Rows of pictures that could not be read; grey squares stand for them.
    order : str
        See :meth:`from_estimator`.
    maps : list of ndarray of shape (h, w), optional
        What speaks for the prediction, as :func:`explain` finds it; NaN where the network does
        not look.

    Attributes
    ----------
    figure_ : matplotlib Figure
    axes_ : ndarray of matplotlib Axes, of shape (n_rows, n_columns)

    Examples
    --------
    >>> from sktransfer import MistakesDisplay, PretrainedImageClassifier, load_clipart
    >>> paths, labels = load_clipart(return_X_y=True)
    >>> classifier = PretrainedImageClassifier("efficientnet_lite0", random_state=0)
    >>> classifier = classifier.fit(paths[::10], labels[::10])
    >>> display = MistakesDisplay.from_estimator(
    ...     classifier, paths[1::10], labels[1::10], n_pictures=4
    ... )
    >>> display.axes_.shape
    (1, 4)
    """

    def __init__(
        self,
        *,
        outcomes: Outcomes,
        rows: np.ndarray,
        pictures: Sequence[np.ndarray],
        unreadable: Sequence[int] = (),
        order: str = "loss",
        maps: Sequence[np.ndarray] | None = None,
    ) -> None:
        self.outcomes = outcomes
        self.rows = rows
        self.pictures = pictures
        self.unreadable = unreadable
        self.order = order
        self.maps = maps

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: Any,
        *,
        order: str = "loss",
        n_pictures: int = 12,
        maps: bool | str = False,
        n_columns: int = 6,
        figure: Any = None,
    ) -> MistakesDisplay:
        """Predict, and show the pictures that are most wrong.

        Parameters
        ----------
        estimator : classifier
            A fitted PretrainedImageClassifier, a Pipeline that begins with a
            PretrainedFeatureExtractor, a search over one of these, or any other classifier of
            pictures.
        X : array, tensor, list, Series or one-column DataFrame
            Pictures that did not train, in any form that `fit` takes.
        y : array-like of shape (n,), or indicator of shape (n, n_classes)
        order : {"loss", "confidence", "uncertainty", "row"}, default="loss"
            Which pictures come first: those with the largest loss (the negative log-likelihood of
            the truth), right or wrong; the most confident mistakes; those whose two most likely
            classes are nearest to each other, right or wrong; or the mistakes in the order of X,
            which needs no probabilities.
        n_pictures : int, default=12
            How many pictures are shown at most.
        maps : bool or {"auto", "cam", "gradcam", "occlusion"}, default=False
            Show what speaks for the prediction, by this method of :func:`explain`; True is
            "auto". With several labels, what speaks for the wrong one that was predicted, or left
            out, with most confidence. Pictures that can't be read have none.
        n_columns : int, default=6
            Number of pictures side by side.
        figure : matplotlib Figure, optional
            Figure to draw on. By default a new one is made.

        Returns
        -------
        display : MistakesDisplay

        Raises
        ------
        TypeError, NotFittedError
            If `estimator` is no fitted classifier.
        ValueError
            If X and y have different lengths, a parameter is invalid, or `order` needs
            probabilities and there are none.
        ImportError
            If matplotlib is missing.
        """
        _check(order, n_pictures, n_columns)
        subject = subject_of(estimator, "MistakesDisplay")
        found = outcomes_of(subject, X, y)
        rows = ordered(found, order, subject.why_no_probabilities)[:n_pictures]
        images = subject.pictures(X)
        display = cls._shown(found, rows, images, order)
        if maps and len(rows):
            method = "auto" if maps is True else str(maps)
            display.maps = _maps(subject, X, images, display, method)
        return display.plot(n_columns=n_columns, figure=figure)

    @classmethod
    def from_predictions(
        cls,
        X: Any,
        y_true: Any,
        y_pred: Any,
        *,
        y_proba: Any = None,
        classes: Any = None,
        order: str = "loss",
        n_pictures: int = 12,
        n_columns: int = 6,
        figure: Any = None,
    ) -> MistakesDisplay:
        """Show the pictures whose given predictions are most wrong.

        Parameters
        ----------
        X : array, tensor, list, Series or one-column DataFrame
            Pictures or paths. Files may be gone: grey squares stand for them.
        y_true, y_pred : array-like of shape (n,), or indicators of shape (n, n_classes)
            Labels and predictions.
        y_proba : array-like of shape (n, n_classes), optional
            Probabilities; only ``order="row"`` does without them. For two classes, those of the
            second one are enough.
        classes : array-like of shape (n_classes,), optional
            The labels in the order of the columns of `y_proba`, such as ``classes_`` of a
            classifier. By default the sorted labels of `y_true` and `y_pred`.
        order, n_pictures, n_columns, figure
            See :meth:`from_estimator`.

        Returns
        -------
        display : MistakesDisplay

        Raises
        ------
        ValueError
            As in :meth:`from_estimator`.
        ImportError
            If matplotlib is missing.
        """
        _check(order, n_pictures, n_columns)
        images = as_images(X)
        check_consistent_length(images.items, y_true)
        found = outcomes(y_true, y_pred, y_proba, classes)
        rows = ordered(found, order, "y_proba was not given.")[:n_pictures]
        return cls._shown(found, rows, images, order).plot(n_columns=n_columns, figure=figure)

    @classmethod
    def _shown(
        cls,
        found: Outcomes,
        rows: np.ndarray,
        images: ImageSource,
        order: str,
    ) -> MistakesDisplay:
        shown = thumbnails(images, rows, SIDE)
        return cls(
            outcomes=found,
            rows=rows,
            pictures=shown.pictures,
            unreadable=shown.unreadable,
            order=order,
        )

    def plot(self, *, n_columns: int = 6, figure: Any = None) -> MistakesDisplay:
        """Draw the pictures.

        Parameters
        ----------
        n_columns : int, default=6
            Number of pictures side by side.
        figure : matplotlib Figure, optional
            Figure to draw on. By default a new one is made.

        Returns
        -------
        display : MistakesDisplay
        """
        n = max(1, len(self.rows))
        self.axes_ = cells(
            n,
            n_lines=2,
            n_columns=min(n_columns, n),
            caller=f"{type(self).__name__}.plot",
            title=self._title(),
            figure=figure,
        )
        self.figure_ = self.axes_.flat[0].figure
        for i, row in enumerate(self.rows):
            draw(self.axes_.flat[i], self.pictures[i], None if self.maps is None else self.maps[i])
            write(self.axes_.flat[i], self._lines(int(row)))
        return self

    def _lines(self, row: int) -> list[Line]:
        found = self.outcomes
        prediction = found.names(found.predicted[row])
        truth = found.names(found.truth[row])
        predicted_at, true_at = "", ""
        if found.probabilities is not None:
            predicted_at = f"{found.probability_of_prediction(row):.2f}"
            true_at = f"{found.probability_of_truth(row):.2f}"
        if not found.wrong[row]:
            return [Line(prediction, RIGHT, predicted_at), Line("right", FAINT)]
        return [Line(prediction, WRONG, predicted_at), Line(f"is {truth}", FAINT, true_at)]

    def _title(self) -> str:
        n_wrong, n = int(self.outcomes.wrong.sum()), len(self.outcomes)
        share = f"{n_wrong} of {n} pictures are predicted wrongly"
        if not len(self.rows):
            return f"{share}: there is nothing to show"
        title = f"{share}; {_ORDERS[self.order]}"
        if self.unreadable:
            title += f"; {len(self.unreadable)} can't be read"
        return title


def ordered(found: Outcomes, order: str, why_no_probabilities: str) -> np.ndarray:
    """The rows of pictures to show, in an order of `MistakesDisplay`.

    Raises
    ------
    ParameterError
        If the order needs probabilities, and there are none.
    """
    if order == "row":
        return np.flatnonzero(found.wrong)
    if found.probabilities is None:
        raise ParameterError(
            f"order={order!r} needs probabilities. {why_no_probabilities} Or use order='row', "
            "which shows the mistakes in the order of X."
        )
    if order == "loss":
        return np.argsort(-found.losses, kind="stable")
    if order == "uncertainty":
        return np.argsort(found.margins, kind="stable")
    wrong = np.flatnonzero(found.wrong)
    return wrong[np.argsort(-found.confidence[wrong], kind="stable")]


def _maps(
    subject: Subject, X: Any, images: ImageSource, display: MistakesDisplay, method: str
) -> list[np.ndarray]:
    """Maps of the pictures that are shown; NaN for those that can't be read."""
    maps = [np.full((SIDE, SIDE), np.nan, dtype=np.float32)] * len(display.rows)
    # A pipeline may have predicted others too, by an imputer.
    places = np.flatnonzero(~np.isin(display.rows, display.unreadable))
    if len(places):
        rows = display.rows[places]
        codes = display.outcomes.explained[rows]
        explanation = explained(subject, X, images, rows, codes, method)
        for i, place in enumerate(places):
            maps[place] = explanation.on_original(i, SIDE)
    return maps


def _check(order: str, n_pictures: int, n_columns: int) -> None:
    if order not in _ORDERS:
        raise ParameterError(f"order must be one of {list(_ORDERS)}; got {order!r}.")
    check_counts(n_pictures=n_pictures, n_columns=n_columns)
