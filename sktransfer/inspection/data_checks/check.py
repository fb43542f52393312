"""check_pictures: all checks of the data, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sktransfer.images.sources import ImageSource
from sktransfer.inspection.data_checks.class_sizes import find_class_sizes
from sktransfer.inspection.data_checks.data_check import DataCheck
from sktransfer.inspection.data_checks.exact_duplicates import find_exact_duplicates
from sktransfer.inspection.data_checks.features import FeatureMaker, feature_maker
from sktransfer.inspection.data_checks.findings import Finding, NotMade
from sktransfer.inspection.data_checks.label_errors import find_label_errors
from sktransfer.inspection.data_checks.material import Material, labels_of
from sktransfer.inspection.data_checks.names import names_of
from sktransfer.inspection.data_checks.near_duplicates import find_near_duplicates
from sktransfer.inspection.data_checks.odd_pictures import find_odd_pictures
from sktransfer.inspection.data_checks.outliers import find_outliers
from sktransfer.inspection.data_checks.picture_facts import facts_of, readable
from sktransfer.inspection.data_checks.shift import find_shift
from sktransfer.inspection.data_checks.shortcuts import find_shortcuts
from sktransfer.inspection.data_checks.unreadable import find_unreadable


class _Check(NamedTuple):
    find: Callable[[Material], list[Finding]]
    missed: tuple[str, ...]  # kinds that are not, or not wholly, found if it can't be made


# Equal pictures are looked at in any case.
_OF_COPIES = ("label_conflict", "leakage")
_CHECKS = (
    _Check(find_unreadable, ("unreadable",)),
    _Check(find_exact_duplicates, ("exact_duplicate",)),
    _Check(find_near_duplicates, ("near_duplicate", *_OF_COPIES)),
    _Check(find_label_errors, ("label_error",)),
    _Check(find_odd_pictures, ("blank", "tiny", "extreme_aspect")),
    _Check(find_outliers, ("outlier",)),
    _Check(find_class_sizes, ("single_class", "small_class", "imbalance")),
    _Check(find_shortcuts, ("shortcut",)),
    _Check(find_shift, ("shift",)),
)


def check_pictures(
    X: Any,
    y: Any = None,
    *,
    X_test: Any = None,
    features: Any = None,
    cache: str | Path | None = None,
) -> DataCheck:
    """Look for what may be wrong with pictures and their labels, before anything is trained.

    Each picture is read once for its pixels, size and file, and passes once through a pretrained
    network for its features. Nothing is changed.

    Parameters
    ----------
    X : array, tensor, list, Series or one-column DataFrame
        Pictures, in any form that :class:`PretrainedFeatureExtractor` takes. Paths tell more than
        arrays: a file has a format, a name and perhaps a camera.
    y : array-like of shape (n,), or indicator of shape (n, n_classes), optional
        Labels; without them only the pictures are checked. With several labels per picture, wrong
        labels and shortcuts are not looked for.
    X_test : same as X, optional
        Pictures that a score is computed on. They should not be in X too.
    features : PretrainedFeatureExtractor, classifier, matrix or pair of matrices, optional
        Where features come from, by which near copies, wrong labels and outliers are found:

        - None: "resnet18", if its default weights are on this machine, else
          "efficientnet_lite0" (extra ``offline``). If neither is, these checks are not made.
        - an extractor, fitted or not.
        - a fitted :class:`PretrainedImageClassifier`, or a Pipeline that begins with an extractor.
          If stages of its backbone, hidden layers or a step such as LDA were trained on labels,
          these checks are not made: pictures of one class are alike in such features, and wrong
          labels may have been learned by heart.
        - a matrix (n, d) with one row for each picture in X, or with `X_test` a pair
          ``(features of X, features of X_test)``. NaN where there are none.
    cache : str, path or None, default=None
        A folder that keeps features, as that of the estimators.

    Returns
    -------
    check : DataCheck
        A sequence of :class:`Finding`, the most severe first, with ``print``, ``to_frame()``,
        ``html()``, ``of_kind(kind)``, ``counts``, ``not_made`` (kinds that were not looked for,
        and why) and ``write_corrections(path)``. Kinds, and their scores:

        - ``unreadable`` : error. A picture that an estimator would refuse.
        - ``exact_duplicate``, ``near_duplicate`` : warning, note. Pictures of equal pixels, or
          nearly so: compressed again, resized, mirrored, cropped, recoloured. The score is the
          largest cosine of the features.
        - ``label_conflict``, ``leakage`` : error if exact, else warning. Such copies with
          different labels, or in both X and X_test.
        - ``single_class`` : error. All labels are equal.
        - ``label_error`` : warning; note without the extra ``labels`` (cleanlab), which tells how
          many there are. Score: the probability of the label by a head that did not train on the
          row. `suggestion` is the likeliest label.
        - ``blank``, ``tiny`` : warning. Score: spread of the values; shorter side in pixels.
        - ``extreme_aspect`` : note. Score: ratio of the sides.
        - ``outlier`` : note. Score: distance to its neighbours, relative to the median.
        - ``small_class`` : warning below 5 rows, note below 10. Score: number of rows.
        - ``imbalance`` : note. Score: ratio of the largest to the smallest class.
        - ``shortcut`` : warning, or note where a network can't see it. Camera, size, format, folder
          or name of the file tell one class from the others. Score: part of the entropy of "of
          this class or not" that is removed.
        - ``shift`` : note. The same for X and X_test.

    Raises
    ------
    ImageError
        If X or X_test is no container of pictures, or is empty. Single pictures that can't be
        read are findings.
    ValueError
        If y is malformed, has missing values, or another length than X.
    ParameterError
        If `features` is none of the above or has other rows, or `cache` has no use.

    See Also
    --------
    read_corrections : Reads the labels that were corrected in a spreadsheet.

    Notes
    -----
    The search for near copies compares all pairs: its time grows with the square of the number of
    pictures, its memory does not. Groups of pictures that belong together, but are no copies, such
    as frames of a film, are not found.

    Examples
    --------
    >>> from sktransfer import PretrainedFeatureExtractor, check_pictures, load_clipart
    >>> paths, labels = load_clipart(return_X_y=True)
    >>> extractor = PretrainedFeatureExtractor("efficientnet_lite0", image_size=96)
    >>> X, y = [*paths[::8], paths[0]], [*labels[::8], "bug"]
    >>> check = check_pictures(X, y, features=extractor)
    >>> check[0].kind, check[0].rows
    ('label_conflict', (0, 61))
    >>> print(check[0].message)
    bird/bird_001.webp ('bird') and bird/bird_001.webp ('bug') are the same picture.
    """
    maker = feature_maker(features, cache)
    sources = [maker.pictures(X)]
    if X_test is not None:
        sources.append(maker.pictures(X_test))
    maker.check(sources)
    return check_sources(sources, y, maker)


def check_sources(sources: Sequence[ImageSource], y: Any, maker: FeatureMaker) -> DataCheck:
    """The same for pictures that were found in X, and in X_test if there are two sources."""
    n_rows = len(sources[0])
    labels = labels_of(y, n_rows)
    names = names_of(sources)
    facts = [
        each
        for source, some in zip(sources, (names[:n_rows], names[n_rows:]), strict=False)
        for each in facts_of(source, some)
    ]
    material = Material(
        facts,
        n_rows,
        labels,
        maker.features(sources, readable(facts)),
        why_no_features=maker.why_not or "no picture can be read",
        features_saw_labels=maker.saw_labels,
    )
    findings, not_made = _made(material)
    return DataCheck(
        findings,
        not_made=not_made,
        n_rows=n_rows,
        n_test_rows=material.n_test_rows,
        y=None if labels is None else _as_given(material),
        pictures=[each.path or each.name for each in facts[:n_rows]],
    )


def _made(material: Material) -> tuple[list[Finding], dict[str, str]]:
    """The findings of all checks, and why some were not made."""
    findings: list[Finding] = []
    not_made: dict[str, str] = {}
    for check in _CHECKS:
        try:
            findings += check.find(material)
        except NotMade as reason:
            not_made |= {kind: _why(kind, reason) for kind in check.missed}
    # Where there is nothing to compare, not even equal pictures are found.
    if material.labels is None:
        not_made["label_conflict"] = "y was not given"
    if not material.n_test_rows:
        not_made["leakage"] = "X_test was not given"
    return findings, not_made


def _why(kind: str, reason: NotMade) -> str:
    return f"only equal pictures were compared: {reason}" if kind in _OF_COPIES else str(reason)


def _as_given(material: Material) -> np.ndarray:
    """The labels as y has them."""
    labels: Any = material.labels
    found: np.ndarray = labels.y if labels.multilabel else labels.classes[labels.y]
    return found
