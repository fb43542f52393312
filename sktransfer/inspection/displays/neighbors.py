"""NeighborsDisplay: the training pictures that are most like a picture, to the classifier."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.utils import check_consistent_length, column_or_1d

from sktransfer.exceptions import ParameterError
from sktransfer.inspection.displays.gallery import (
    FAINT,
    INK,
    RIGHT,
    SIDE,
    WRONG,
    Line,
    cells,
    check_counts,
    draw,
    write,
)
from sktransfer.inspection.nearest import MOST_ROWS, nearest
from sktransfer.inspection.subject import subject_of
from sktransfer.inspection.thumbnails import thumbnails

METRICS = ("cosine", "euclidean")


class NeighborsDisplay:
    """Pictures beside the training pictures that are nearest to them in feature space.

    Features are those that the last layer, or the last step of a pipeline, takes: pictures that
    are near to each other there get similar scores. Each row begins with a picture and its
    prediction; its neighbors follow with their labels and distances, green where the label is
    the prediction.

    Use :meth:`from_estimator` to create one.

    Parameters
    ----------
    pictures : list of ndarray of shape (h, w, 3), uint8
        Small copies of the pictures.
    predictions : sequence of str
    neighbors : ndarray of shape (n, n_neighbors), int
        Rows of the training pictures, the nearest first.
    distances : ndarray of shape (n, n_neighbors)
    neighbor_pictures : list of list of ndarray
    neighbor_labels : list of list of str
    unreadable : list of int
        Rows of the training pictures that could not be read; grey squares stand for them.

    Attributes
    ----------
    figure_ : matplotlib Figure
    axes_ : ndarray of matplotlib Axes, of shape (n, 1 + n_neighbors)

    Examples
    --------
    >>> from sktransfer import NeighborsDisplay, PretrainedImageClassifier, load_clipart
    >>> paths, labels = load_clipart(return_X_y=True)
    >>> classifier = PretrainedImageClassifier("efficientnet_lite0", random_state=0)
    >>> classifier = classifier.fit(paths[::10], labels[::10])
    >>> display = NeighborsDisplay.from_estimator(
    ...     classifier, paths[1:3], paths[::10], labels[::10], n_neighbors=3
    ... )
    >>> display.neighbors.shape
    (2, 3)
    """

    def __init__(
        self,
        *,
        pictures: Sequence[np.ndarray],
        predictions: Sequence[str],
        neighbors: np.ndarray,
        distances: np.ndarray,
        neighbor_pictures: Sequence[Sequence[np.ndarray]],
        neighbor_labels: Sequence[Sequence[str]],
        unreadable: Sequence[int] = (),
    ) -> None:
        self.pictures = pictures
        self.predictions = predictions
        self.neighbors = neighbors
        self.distances = distances
        self.neighbor_pictures = neighbor_pictures
        self.neighbor_labels = neighbor_labels
        self.unreadable = unreadable

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        X_train: Any,
        y_train: Any,
        *,
        n_neighbors: int = 5,
        metric: str = "cosine",
        figure: Any = None,
    ) -> NeighborsDisplay:
        """Find the nearest training pictures, and show them.

        Features are read from the estimator's cache where it has them. The search is exact.

        Parameters
        ----------
        estimator : classifier
            A fitted PretrainedImageClassifier, a Pipeline that begins with a
            PretrainedFeatureExtractor, or a search over one of these.
        X : array, tensor, list, Series or one-column DataFrame
            A few pictures, in any form that `fit` takes. The figure has one row for each.
        X_train : array, tensor, list, Series or one-column DataFrame
            The pictures to find neighbors among, at most 100,000.
        y_train : array-like of shape (n_train,), or indicator of shape (n_train, n_classes)
            Their labels.
        n_neighbors : int, default=5
        metric : {"cosine", "euclidean"}, default="cosine"
            Distance of features. "cosine" does not depend on their length: 0 for the same
            direction, 1 for a right angle.
        figure : matplotlib Figure, optional
            Figure to draw on. By default a new one is made.

        Returns
        -------
        display : NeighborsDisplay

        Raises
        ------
        TypeError, NotFittedError
            If `estimator` is no fitted classifier.
        ValueError
            If it has no backbone, there are more than 100,000 training pictures or fewer than
            `n_neighbors`, lengths differ, or a parameter is invalid.
        ImportError
            If matplotlib is missing.
        """
        check_counts(n_neighbors=n_neighbors)
        if metric not in METRICS:
            raise ParameterError(f"metric must be one of {list(METRICS)}; got {metric!r}.")
        subject = subject_of(estimator, "NeighborsDisplay")
        images, training = subject.pictures(X), subject.pictures(X_train)
        check_consistent_length(training.items, y_train)
        _check_number(len(training), n_neighbors)
        labels = _as_texts(y_train, subject.classes)
        distances, neighbors = nearest(
            subject.features(X_train), subject.features(X), n_neighbors, metric
        )
        shown = thumbnails(training, neighbors.ravel(), SIDE)
        display = cls(
            pictures=thumbnails(images, range(len(images)), SIDE).pictures,
            predictions=_as_texts(subject.predict(X), subject.classes),
            neighbors=neighbors,
            distances=distances,
            neighbor_pictures=[
                shown.pictures[start : start + n_neighbors]
                for start in range(0, neighbors.size, n_neighbors)
            ],
            neighbor_labels=[[labels[i] for i in row] for row in neighbors],
            unreadable=sorted(set(shown.unreadable)),  # a picture may be near to several
        )
        return display.plot(figure=figure)

    def plot(self, *, figure: Any = None) -> NeighborsDisplay:
        """Draw one row for each picture.

        Parameters
        ----------
        figure : matplotlib Figure, optional
            Figure to draw on. By default a new one is made.

        Returns
        -------
        display : NeighborsDisplay
        """
        n, n_neighbors = self.neighbors.shape
        title = "Each picture, and the training pictures nearest to it"
        if self.unreadable:
            title += f"; {len(self.unreadable)} can't be read"
        self.axes_ = cells(
            n * (1 + n_neighbors),
            n_lines=1,
            n_columns=1 + n_neighbors,
            caller=f"{type(self).__name__}.plot",
            title=title,
            figure=figure,
        )
        self.figure_ = self.axes_[0, 0].figure
        for i, axes in enumerate(self.axes_):
            draw(axes[0], self.pictures[i])
            write(axes[0], [Line(self.predictions[i], INK, "predicted")])
            axes[0].add_patch(_frame())
            of_row = zip(
                axes[1:],
                self.neighbor_pictures[i],
                self.neighbor_labels[i],
                self.distances[i],
                strict=True,
            )
            for ax, picture, label, distance in of_row:
                draw(ax, picture)
                colour = RIGHT if label == self.predictions[i] else WRONG
                write(ax, [Line(label, colour, f"{distance:.2f}")])
        return self


def _frame() -> Any:
    """A thin frame, which tells a picture from its neighbors."""
    from matplotlib.patches import Rectangle

    return Rectangle((0, 0), 1, 1, fill=False, edgecolor=FAINT, linewidth=1, clip_on=False)


def _check_number(n_training: int, n_neighbors: int) -> None:
    if n_training > MOST_ROWS:
        raise ParameterError(
            f"The search is exact, for at most {MOST_ROWS:,} training pictures; got "
            f"{n_training:,}. Give a random part of them."
        )
    if n_neighbors > n_training:
        raise ParameterError(
            f"n_neighbors={n_neighbors} is more than there are training pictures: {n_training}."
        )


def _as_texts(labels: Any, classes: np.ndarray) -> list[str]:
    """Labels, or all labels of each row of an indicator, in words."""
    labels = labels.toarray() if hasattr(labels, "toarray") else np.asarray(labels)
    if labels.ndim == 1 or labels.shape[1] == 1:
        labels = column_or_1d(labels)
        # A 0 among the labels is the class 0.0, and is written as that.
        known = dict(zip(classes.tolist(), classes, strict=True))
        keys = zip(labels.tolist(), labels, strict=True)
        return [str(known.get(key, label)) for key, label in keys]
    return [", ".join(str(label) for label in classes[row > 0]) or "none" for row in labels]
