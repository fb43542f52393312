"""FeatureMapDisplay: pictures as points in a plane, near to each other where features are alike."""

from __future__ import annotations

from importlib.util import find_spec
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.utils import check_array, check_consistent_length, check_random_state, column_or_1d

from sktransfer.estimators.extractor import PretrainedFeatureExtractor
from sktransfer.estimators.labels import check_none_missing, is_indicator
from sktransfer.exceptions import ParameterError
from sktransfer.images.sources import ImageSource, as_images
from sktransfer.inspection.displays.axes import as_it_is, axes_or_new
from sktransfer.inspection.displays.gallery import INK, shortened
from sktransfer.inspection.subject import subject_of
from sktransfer.inspection.thumbnails import thumbnails

METHODS = ("pca", "umap", "tsne")
# Seven colours that most people who do not see all colours can tell apart (Okabe & Ito, "Color
# Universal Design", 2008, without yellow, which is pale on white), and three more.
_COLOURS = (
    *("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#4d4d4d"),
    *("#7b4fa3", "#8c6d31", "#a9c34f"),
)
_MARKERS = "osD^v"
_OTHERS = "#c4c9ce"
# Pixels of a thumbnail, and the share of the axes that it takes.
_SIDE, _SHARE = 96, 0.075
# Principal components that t-SNE and UMAP are given: more cost time, and hold hardly anything.
_COMPONENTS = 50


class FeatureMapDisplay:
    """Pictures as points in a plane, near to each other where their features are alike.

    Use :meth:`from_estimator` or :meth:`from_features` to create one.

    Parameters
    ----------
    points : ndarray of shape (n, 2)
    labels : ndarray of shape (n,) or None
    method : {"pca", "umap", "tsne"}
        How the points were found.
    explained : ndarray of shape (2,) or None
        With "pca", the shares of the variance that the axes hold.
    pictures : list of ndarray of shape (h, w, 3), uint8
        Small pictures to draw.
    picture_rows : sequence of int
        The rows that they belong to.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    scatters_ : dict of matplotlib PathCollection
        The points of each class, by its label.

    Examples
    --------
    >>> from sktransfer import FeatureMapDisplay, PretrainedFeatureExtractor, load_clipart
    >>> paths, labels = load_clipart(return_X_y=True)
    >>> extractor = PretrainedFeatureExtractor("efficientnet_lite0").fit(paths)
    >>> display = FeatureMapDisplay.from_estimator(extractor, paths[::10], labels[::10])
    >>> list(display.scatters_)[:3]
    ['bird', 'bug', 'flower']
    """

    def __init__(
        self,
        *,
        points: np.ndarray,
        labels: np.ndarray | None = None,
        method: str = "pca",
        explained: np.ndarray | None = None,
        pictures: list[np.ndarray] | None = None,
        picture_rows: Any = (),
    ) -> None:
        self.points = points
        self.labels = labels
        self.method = method
        self.explained = explained
        self.pictures = pictures or []
        self.picture_rows = picture_rows

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: Any = None,
        *,
        method: str = "pca",
        n_thumbnails: int = 0,
        random_state: Any = 0,
        ax: Any = None,
        **scatter_kw: Any,
    ) -> FeatureMapDisplay:
        """Compute features, and plot them.

        Parameters
        ----------
        estimator : classifier or PretrainedFeatureExtractor
            Fitted: a PretrainedImageClassifier, a Pipeline that begins with a
            PretrainedFeatureExtractor, a search over one of these, or such an extractor. The
            features of a classifier are those that its last layer, or last step, takes; they are
            read from its cache where it has them.
        X : array, tensor, list, Series or one-column DataFrame
            Pictures, in any form that `fit` takes.
        y : array-like of shape (n,), optional
            Labels, which colour the points. By default, a classifier's predictions; for an
            extractor, or where a picture may have several labels, no colours.
        method, n_thumbnails, random_state, ax, **scatter_kw
            See :meth:`from_features`.

        Returns
        -------
        display : FeatureMapDisplay

        Raises
        ------
        TypeError, NotFittedError
            If `estimator` is neither, or is not fitted.
        ValueError
            As in :meth:`from_features`.
        ImportError
            If matplotlib is missing.
        """
        _check(method, n_thumbnails)
        options = {"method": method, "n_thumbnails": n_thumbnails, "random_state": random_state}
        if isinstance(estimator, PretrainedFeatureExtractor):
            features = estimator.transform(X)
            backbone = estimator._fitted.backbone
            form = backbone.image_shape, backbone.in_channels
            pictures = estimator._images(X, *form, missing_ok=True)
        else:
            subject = subject_of(estimator, "FeatureMapDisplay")
            features, pictures = subject.features(X), subject.pictures(X)
            y = subject.predict(X) if y is None and not subject.multilabel else y
        return cls.from_features(np.asarray(features), y, pictures, ax=ax, **options, **scatter_kw)

    @classmethod
    def from_features(
        cls,
        features: Any,
        y: Any = None,
        X: Any = None,
        *,
        method: str = "pca",
        n_thumbnails: int = 0,
        random_state: Any = 0,
        ax: Any = None,
        **scatter_kw: Any,
    ) -> FeatureMapDisplay:
        """Plot features that you have.

        Parameters
        ----------
        features : array-like of shape (n, n_features)
        y : array-like of shape (n,), optional
            Labels, which colour the points.
        X : array, tensor, list, Series or one-column DataFrame, optional
            The pictures, for `n_thumbnails`.
        method : {"pca", "umap", "tsne"}, default="pca"
            "pca" shows the two directions of largest variance: distances are true, as far as two
            dimensions go. "tsne" (van der Maaten & Hinton, JMLR 2008) and "umap" (McInnes et al.,
            2018; needs the package umap-learn) keep near points together; how far apart groups
            lie, and how large they are, means little there.
        n_thumbnails : int, default=0
            Number of points that are drawn as pictures at most. They are chosen so that they do
            not cover each other.
        random_state : int, RandomState or None, default=0
            Of "tsne", "umap" and the choice of thumbnails.
        ax : matplotlib Axes, optional
            Axes to draw on. By default a new figure is made.
        **scatter_kw
            Keyword arguments of matplotlib's ``scatter``.

        Returns
        -------
        display : FeatureMapDisplay

        Raises
        ------
        ValueError
            If lengths differ, features are not finite, labels are missing, there are fewer than
            four rows or more labels than one for each, or a parameter is invalid.
        ImportError
            If matplotlib is missing, or umap-learn with ``method="umap"``.
        """
        _check(method, n_thumbnails)
        features = check_array(features, dtype=np.float64, ensure_min_samples=4)
        labels = None if y is None else _labels(y, features)
        points, explained = _points(features, method, random_state)
        rows, pictures = np.zeros(0, dtype=int), []
        if n_thumbnails:
            if X is None:
                raise ParameterError(f"n_thumbnails={n_thumbnails} needs the pictures: X=.")
            images = as_images(X) if not isinstance(X, ImageSource) else X
            check_consistent_length(features, images.items)
            rows = _apart(points, n_thumbnails, random_state)
            pictures = thumbnails(images, rows, _SIDE).pictures
        display = cls(
            points=points,
            labels=labels,
            method=method,
            explained=explained,
            pictures=pictures,
            picture_rows=rows,
        )
        return display.plot(ax=ax, **scatter_kw)

    def plot(self, *, ax: Any = None, **scatter_kw: Any) -> FeatureMapDisplay:
        """Plot one point for each picture.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Axes to draw on. By default a new figure is made.
        **scatter_kw
            Keyword arguments of matplotlib's ``scatter``.

        Returns
        -------
        display : FeatureMapDisplay
        """
        is_new = ax is None
        self.ax_ = axes_or_new(ax, f"{type(self).__name__}.plot")
        self.figure_ = self.ax_.figure
        if is_new:
            self.figure_.set_size_inches(8, 5.5)
        self.scatters_ = {}
        for label, rows, style in self._groups():
            if not {"facecolor", "facecolors"} & set(scatter_kw):
                style["edgecolors"] = "white"
            if "c" in scatter_kw:  # scatter takes one of the two
                del style["color"]
            style = {"s": 22, "linewidths": 0.4, **style, **scatter_kw}
            self.scatters_[label] = self.ax_.scatter(*self.points[rows].T, **style)
        self._draw_pictures()
        self._label_axes()
        return self

    def _groups(self) -> list[tuple[Any, np.ndarray, dict[str, Any]]]:
        """Label, rows and style of each class; the smallest of many classes are one group."""
        if self.labels is None:
            return [("pictures", np.arange(len(self.points)), {"color": _COLOURS[0]})]
        classes, counts = np.unique(self.labels, return_counts=True)
        n_styles = len(_COLOURS) * len(_MARKERS)
        shown = classes
        if len(classes) > n_styles:
            shown = np.sort(classes[np.argsort(-counts, kind="stable")[: n_styles - 1]])
        groups: list[tuple[Any, np.ndarray, dict[str, Any]]] = []
        rest = ~np.isin(self.labels, shown)
        if rest.any():  # first, so that they lie below the others
            name = f"{len(classes) - len(shown)} others"
            groups.append((name, np.flatnonzero(rest), {"color": _OTHERS}))
        for i, label in enumerate(shown.tolist()):
            style = {
                "color": _COLOURS[i % len(_COLOURS)],
                "marker": _MARKERS[i // len(_COLOURS)],
            }
            groups.append((label, np.flatnonzero(self.labels == label), style))
        return groups

    def _draw_pictures(self) -> None:
        from matplotlib.offsetbox import AnnotationBbox, OffsetImage

        if not self.pictures:
            return
        colours = {
            int(row): colour
            for (_, rows, _), scatter in zip(self._groups(), self.scatters_.values(), strict=True)
            for row, colour in zip(rows, _colours_of(scatter, len(rows)), strict=True)
        }
        width = self.ax_.get_window_extent().width
        for row, picture in zip(self.picture_rows, self.pictures, strict=True):
            zoom = _SHARE * width / max(picture.shape[:2]) * 72 / self.figure_.dpi
            box = AnnotationBbox(
                OffsetImage(picture, zoom=zoom),
                self.points[row],
                pad=0.12,
                bboxprops={"edgecolor": colours[int(row)], "linewidth": 1.4},
            )
            self.ax_.add_artist(box)

    def _label_axes(self) -> None:
        ax = self.ax_
        name = {"pca": "component", "umap": "UMAP", "tsne": "t-SNE"}[self.method]
        labels = [f"{name} {number}" for number in (1, 2)]
        if self.explained is not None:
            shares = zip(labels, self.explained, strict=True)
            labels = [f"{label}, {share:.0%} of the variance" for label, share in shares]
        ax.set_xlabel(labels[0], color=INK)
        ax.set_ylabel(labels[1], color=INK)
        # Values have no meaning.
        ax.set(xticks=[], yticks=[])
        ax.spines[["top", "right"]].set_visible(False)
        ax.spines[["left", "bottom"]].set_color(_OTHERS)
        ax.margins(0.07)
        if self.labels is not None:
            names = [as_it_is(shortened(str(label), 24)) for label in self.scatters_]
            ax.legend(
                list(self.scatters_.values()),
                names,
                loc="upper left",
                bbox_to_anchor=(1.01, 1),
                frameon=False,
                borderaxespad=0,
                ncols=1 if len(names) <= 20 else 2,
                fontsize="small" if len(names) <= 20 else "x-small",
            )


def _colours_of(scatter: Any, n: int) -> np.ndarray:
    """Colours (n, 4) of points; those of their edges where they are not filled."""
    scatter.update_scalarmappable()  # of numbers, which become colours when they are drawn
    colours = scatter.get_facecolor()
    colours = colours if len(colours) else scatter.get_edgecolor()
    return colours[np.arange(n) % len(colours)] if len(colours) else np.zeros((n, 4))


def _check(method: str, n_thumbnails: int) -> None:
    if method not in METHODS:
        raise ParameterError(f"method must be one of {list(METHODS)}; got {method!r}.")
    is_whole = isinstance(n_thumbnails, Integral) and not isinstance(n_thumbnails, bool)
    if not is_whole or n_thumbnails < 0:
        raise ParameterError(
            f"n_thumbnails must be a whole number, at least 0; got {n_thumbnails!r}."
        )
    if method == "umap" and find_spec("umap") is None:
        raise ImportError(
            "method='umap' needs the package umap-learn. Use: pip install umap-learn. Or use "
            "method='tsne'."
        )


def _labels(y: Any, features: np.ndarray) -> np.ndarray:
    check_consistent_length(features, y)
    if is_indicator(y):
        raise ParameterError(
            "Points are coloured by one label each, and y is an indicator of several. Give one "
            "column: y[:, 0]."
        )
    check_none_missing(y)
    labels = np.asarray(column_or_1d(y))
    check_none_missing(labels.tolist())
    return labels


def _points(
    features: np.ndarray, method: str, random_state: Any
) -> tuple[np.ndarray, np.ndarray | None]:
    """Points (n, 2), and the shares of the variance that principal components hold."""
    if not np.ptp(features, axis=0).any():  # equal pictures: no method has anything to show
        return np.zeros((len(features), 2)), None
    if features.shape[1] == 1:
        features = np.hstack([features, np.zeros_like(features)])
    if method == "pca":
        pca = PCA(2, svd_solver="full" if min(features.shape) < 500 else "arpack", random_state=0)
        points = pca.fit_transform(features)
        return points, pca.explained_variance_ratio_
    n_components = min(_COMPONENTS, *features.shape)
    reduced = PCA(n_components, random_state=0).fit_transform(features)
    random = check_random_state(random_state)
    if method == "tsne":
        perplexity = min(30.0, (len(features) - 1) / 3)
        tsne = TSNE(2, perplexity=perplexity, init="pca", random_state=random)
        return np.asarray(tsne.fit_transform(reduced), dtype=np.float64), None
    from umap import UMAP

    # One job: several would not give the same points again.
    umap = UMAP(
        n_neighbors=min(15, len(features) - 1),
        init="spectral" if len(features) > 15 else "random",
        random_state=random.randint(2**31 - 1),
        n_jobs=1,
    )
    return np.asarray(umap.fit_transform(reduced), dtype=np.float64), None


def _apart(points: np.ndarray, n: int, random_state: Any) -> np.ndarray:
    """Some rows whose thumbnails do not cover each other."""
    span = np.ptp(points, axis=0)
    places = (points - points.min(axis=0)) / np.where(span > 0, span, 1)
    chosen: list[int] = []
    for row in check_random_state(random_state).permutation(len(points)):
        if len(chosen) == n:
            break
        # In either direction: axes are wider than high.
        gaps = abs(places[chosen] - places[row]) / (1.15 * _SHARE, 1.7 * _SHARE)
        if not len(chosen) or (gaps.max(axis=1) > 1).all():
            chosen.append(int(row))
    return np.sort(chosen).astype(int)
