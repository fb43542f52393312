"""ConfusionDisplay: scikit-learn's confusion matrix, with a picture in each cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.metrics import ConfusionMatrixDisplay
from sklearn.utils import check_consistent_length

from sktransfer.exceptions import ParameterError
from sktransfer.images.sources import ImageSource, as_images
from sktransfer.inspection.displays.axes import as_it_is, axes_or_new
from sktransfer.inspection.displays.gallery import INK, RIGHT, WRONG, shortened
from sktransfer.inspection.outcomes import Outcomes, outcomes, outcomes_of
from sktransfer.inspection.subject import subject_of
from sktransfer.inspection.thumbnails import thumbnails

# More cells could not be told apart.
_MAX_CLASSES = 30
# Inches of a cell, at most, and of the whole matrix; pixels of a thumbnail.
_CELL, _WHOLE, _SIDE = 0.85, 9.0, 96


class ConfusionDisplay:
    """A confusion matrix with a picture in each cell: the most confident one of its kind.

    Rows are true classes and columns predicted ones. Counts are in the corners of the cells.

    Use :meth:`from_estimator` or :meth:`from_predictions` to create one.

    Parameters
    ----------
    matrix : ndarray of shape (n_classes, n_classes), int
    labels : sequence of str
    pictures : mapping of (int, int) to ndarray of shape (h, w, 3), uint8
        A small picture by the row and column of its cell.
    rows : mapping of (int, int) to int
        The row of X that each picture is.
    unreadable : sequence of int
        Rows of pictures that could not be read; grey squares stand for them.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure

    Examples
    --------
    >>> from sktransfer import ConfusionDisplay, PretrainedImageClassifier, load_clipart
    >>> paths, labels = load_clipart(return_X_y=True)
    >>> classifier = PretrainedImageClassifier("efficientnet_lite0", random_state=0)
    >>> classifier = classifier.fit(paths[::10], labels[::10])
    >>> display = ConfusionDisplay.from_estimator(classifier, paths[1::10], labels[1::10])
    >>> int(display.matrix.sum()) == len(paths[1::10])
    True
    """

    def __init__(
        self,
        *,
        matrix: np.ndarray,
        labels: Sequence[str],
        pictures: Mapping[tuple[int, int], np.ndarray],
        rows: Mapping[tuple[int, int], int],
        unreadable: Sequence[int] = (),
    ) -> None:
        self.matrix = matrix
        self.labels = labels
        self.pictures = pictures
        self.rows = rows
        self.unreadable = unreadable

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any, y: Any, *, labels: Any = None, ax: Any = None
    ) -> ConfusionDisplay:
        """Predict, and plot the matrix.

        Parameters
        ----------
        estimator : classifier
            Any fitted classifier of pictures.
        X : array, tensor, list, Series or one-column DataFrame
            Pictures, in any form that `fit` takes.
        y : array-like of shape (n,)
        labels : array-like, optional
            The classes to show, at most 30; pictures of others, or predicted as others, are left
            out. By default all that occur.
        ax : matplotlib Axes, optional
            Axes to draw on. By default a new figure is made.

        Returns
        -------
        display : ConfusionDisplay

        Raises
        ------
        TypeError, NotFittedError
            If `estimator` is no fitted classifier.
        ValueError
            If X and y have different lengths, a label is unknown, there are more than 30 classes,
            or pictures have several labels.
        ImportError
            If matplotlib is missing.
        """
        subject = subject_of(estimator, "ConfusionDisplay")
        found = outcomes_of(subject, X, y)
        return cls._of(found, subject.pictures(X), labels).plot(ax=ax)

    @classmethod
    def from_predictions(
        cls,
        X: Any,
        y_true: Any,
        y_pred: Any,
        *,
        y_proba: Any = None,
        classes: Any = None,
        labels: Any = None,
        ax: Any = None,
    ) -> ConfusionDisplay:
        """Plot the matrix of given predictions.

        Parameters
        ----------
        X : array, tensor, list, Series or one-column DataFrame
            Pictures or paths. Files may be gone: grey squares stand for them.
        y_true, y_pred : array-like of shape (n,)
            Labels and predictions.
        y_proba : array-like of shape (n, n_classes), optional
            Probabilities. Without them, the first picture of each cell is shown.
        classes : array-like of shape (n_classes,), optional
            The labels in the order of the columns of `y_proba`.
        labels, ax
            See :meth:`from_estimator`.

        Returns
        -------
        display : ConfusionDisplay

        Raises
        ------
        ValueError
            As in :meth:`from_estimator`.
        ImportError
            If matplotlib is missing.
        """
        images = as_images(X)
        check_consistent_length(images.items, y_true)
        return cls._of(outcomes(y_true, y_pred, y_proba, classes), images, labels).plot(ax=ax)

    @classmethod
    def _of(cls, found: Outcomes, images: ImageSource, labels: Any) -> ConfusionDisplay:
        shown = _shown_classes(found, labels)
        # Later ones replace earlier ones, so the most confident of each cell stays.
        order = np.arange(len(found))[::-1]
        if found.probabilities is not None:
            order = np.argsort(found.confidence, kind="stable")
        places = {code: place for place, code in enumerate(shown.tolist())}
        rows: dict[tuple[int, int], int] = {}
        matrix = np.zeros((len(shown), len(shown)), dtype=int)
        for row in order.tolist():
            cell = (places.get(int(found.truth[row])), places.get(int(found.predicted[row])))
            if cell[0] is not None and cell[1] is not None:
                rows[cell[0], cell[1]] = row
                matrix[cell] += 1
        small = thumbnails(images, list(rows.values()), _SIDE)
        return cls(
            matrix=matrix,
            labels=[str(label) for label in found.classes[shown]],
            pictures=dict(zip(rows, small.pictures, strict=True)),
            rows=rows,
            unreadable=small.unreadable,
        )

    def plot(self, *, ax: Any = None) -> ConfusionDisplay:
        """Plot the matrix.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Axes to draw on. By default a new figure is made.

        Returns
        -------
        display : ConfusionDisplay
        """
        is_new = ax is None
        self.ax_ = axes_or_new(ax, f"{type(self).__name__}.plot")
        self.figure_ = self.ax_.figure
        n = len(self.labels)
        if is_new:
            side = min(_WHOLE, _CELL * n) + 1.2
            self.figure_.set_size_inches(side, side)
        names = [as_it_is(shortened(label, 18)) for label in self.labels]
        plain = ConfusionMatrixDisplay(self.matrix, display_labels=names)
        plain.plot(ax=self.ax_, colorbar=False, cmap="Greys", xticks_rotation="vertical")
        plain.im_.set(alpha=0)  # pictures and numbers say more than a shade
        for (i, j), picture in self.pictures.items():
            height, width = np.array(picture.shape[:2]) / max(picture.shape[:2]) * 0.42
            self.ax_.imshow(picture, extent=(j - width, j + width, i + height, i - height))
        for (i, j), text in np.ndenumerate(plain.text_):
            text.set_visible(bool(self.matrix[i, j]))
            text.set(position=(j + 0.45, i + 0.45), ha="right", va="bottom", fontsize="small")
            text.set(color=RIGHT if i == j else WRONG, fontweight="bold")
            text.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 1.2, "alpha": 0.8})
        self._label_axes(n)
        return self

    def _label_axes(self, n: int) -> None:
        ax = self.ax_
        ax.set(xlim=(-0.5, n - 0.5), ylim=(n - 0.5, -0.5))  # imshow takes those of its picture
        ax.set_xlabel("predicted", color=INK)
        ax.set_ylabel("true", color=INK)
        lines = np.arange(n + 1) - 0.5
        ax.set_xticks(lines, minor=True)
        ax.set_yticks(lines, minor=True)
        ax.grid(which="minor", color="0.85", linewidth=0.8)
        ax.tick_params(which="both", length=0)
        ax.spines[:].set_visible(False)
        if self.unreadable:
            ax.set_title(f"{len(self.unreadable)} can't be read", fontsize="small")


def _shown_classes(found: Outcomes, labels: Any) -> np.ndarray:
    """Positions of the classes to show."""
    if found.multilabel:
        raise ParameterError(
            "A confusion matrix needs one label for each picture, and these have several. Plot one "
            "label after the other: y[:, 0]."
        )
    if labels is None:
        shown = np.union1d(found.truth, found.predicted)
    else:
        codes = {label: code for code, label in enumerate(found.classes.tolist())}
        wanted = np.asarray(labels).tolist()
        unknown = [label for label in wanted if label not in codes]
        if unknown:
            raise ParameterError(f"labels holds {unknown[:10]}, which are not among the classes.")
        shown = np.array([codes[label] for label in wanted], dtype=int)
    if not 0 < len(shown) <= _MAX_CLASSES:
        raise ParameterError(
            f"ConfusionDisplay draws 1 to {_MAX_CLASSES} classes; got {len(shown):,}. Choose some "
            "by labels=."
        )
    return shown
