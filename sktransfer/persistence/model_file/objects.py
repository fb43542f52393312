"""Objects of scikit-learn in the format of skops, with our estimators taken out of them.

skops writes and opens estimators of scikit-learn without pickle, by a list of types that it trusts.
Ours are never given to it: their nets would be opaque bytes to its audit.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from sklearn.utils.metadata_routing import MetadataRequest

from sktransfer.estimators.base import BackboneEstimator
from sktransfer.exceptions import (
    BackboneError,
    ModelFileError,
    WeightsError,
    WeightsUnavailableError,
)
from sktransfer.persistence.model_file.object_archive import check_object_archive
from sktransfer.persistence.model_file.routing import requests_of, set_requests
from sktransfer.persistence.model_file.trees import check_trees

# Types of scikit-learn, numpy and scipy that skops does not trust by itself. Each of them holds
# numbers and names; none calls what a file names.
_TRUSTED = (
    "numpy.dtype",
    "scipy.sparse._csr.csr_matrix",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.gaussian_process._gpc._BinaryGaussianProcessClassifierLaplace",
    "sklearn.gaussian_process.kernels.ConstantKernel",
    "sklearn.gaussian_process.kernels.Product",
    "sklearn.gaussian_process.kernels.RBF",
    "sklearn.gaussian_process.kernels.Sum",
    "sklearn.gaussian_process.kernels.WhiteKernel",
    "sklearn.feature_selection._univariate_selection.chi2",
    "sklearn.feature_selection._univariate_selection.f_classif",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
    "sklearn.tree._tree.Tree",
    "sklearn.utils._bunch.Bunch",
    *(
        f"sklearn.model_selection._split.{name}"
        for name in (
            *("GroupKFold", "GroupShuffleSplit", "KFold", "LeaveOneGroupOut", "LeavePGroupsOut"),
            *("PredefinedSplit", "RepeatedKFold", "RepeatedStratifiedKFold", "ShuffleSplit"),
            *("StratifiedGroupKFold", "StratifiedKFold", "StratifiedShuffleSplit"),
            *("TimeSeriesSplit",),
        )
    ),
)
_HINTS = {
    "sklearn.neighbors._kd_tree.KDTree": "use algorithm='brute'",
    "sklearn.neighbors._ball_tree.BallTree": "use algorithm='brute'",
}
# In place of our estimators, and of metadata requests, in which skops would run in circles.
_ESTIMATOR, _REQUESTS = "__sktransfer_estimator__", "__sktransfer_requests__"


class NotTrustedError(ValueError):
    """An object holds types that no model file may hold."""


def object_bytes(thing: Any, number_of: Callable[[Any], int]) -> bytes:
    """An object of scikit-learn as skops writes it.

    Parameters
    ----------
    thing : object
    number_of : callable
        Gives the number of one of our estimators within it.

    Raises
    ------
    NotTrustedError
        If it holds other types than those of scikit-learn, numpy and scipy that are trusted.
    """
    skops = _skops()
    memo: dict[int, Any] = {}
    for each in parts_of(thing):
        if isinstance(each, BackboneEstimator):
            memo[id(each)] = {_ESTIMATOR: number_of(each)}
        elif isinstance(each, MetadataRequest):
            memo[id(each)] = {_REQUESTS: requests_of(each)}
    try:
        without_ours = copy.deepcopy(thing, memo)
        _remove_folders(without_ours)
        content: bytes = skops.dumps(without_ours)
        unknown = set(skops.get_untrusted_types(data=content)) - set(_TRUSTED)
    # Of any type: skops refuses what it does not know in several ways.
    except Exception as error:
        raise NotTrustedError(f"{type(thing).__name__} can't be written: {error}") from error
    if unknown:
        raise NotTrustedError(f"{type(thing).__name__} holds {_named(unknown)}")
    return content


def object_of(content: bytes, estimator: Callable[[int], Any]) -> Any:
    """The object that `object_bytes` wrote.

    Parameters
    ----------
    content : bytes
    estimator : callable
        Gives our estimator of a number.

    Raises
    ------
    ModelFileError
    """
    skops = _skops()
    try:
        check_object_archive(content)
        unknown = set(skops.get_untrusted_types(data=content)) - set(_TRUSTED)
        if unknown:
            raise ModelFileError(f"It holds {_named(unknown)}, which no model file may hold.")
        thing = skops.loads(content, trusted=list(_TRUSTED))
        memo: dict[int, Any] = {}
        for each in parts_of(thing):
            if isinstance(each, dict) and each.keys() == {_ESTIMATOR}:
                memo[id(each)] = estimator(each[_ESTIMATOR])
        thing = copy.deepcopy(thing, memo)
        parts = [*parts_of(thing)]
        check_trees(parts)
        for each in parts:
            _refuse_folders(each)
            _restore_requests(each)
    except (ModelFileError, BackboneError, WeightsError, WeightsUnavailableError):
        raise
    # Of any type: the state of an object may have any form.
    except Exception as error:
        raise ModelFileError(f"An object of scikit-learn can't be read: {error!r:.200}") from error
    return thing


def _remove_folders(thing: Any) -> None:
    """Take the folders out of an object in which a Pipeline caches its fits."""
    for each in parts_of(thing):
        if getattr(each, "__dict__", {}).get("memory") is not None:
            each.memory = None


def _refuse_folders(thing: Any) -> None:
    """Raise if a fit would write into a folder that a file has chosen."""
    if getattr(thing, "__dict__", {}).get("memory") is not None:
        raise ModelFileError("It holds a Pipeline with memory, a folder of another machine.")


def _restore_requests(thing: Any) -> None:
    kept = getattr(thing, "__dict__", {}).get("_metadata_request")
    if isinstance(kept, dict) and kept.keys() == {_REQUESTS}:
        del vars(thing)["_metadata_request"]
        set_requests(thing, kept[_REQUESTS])


def parts_of(thing: Any, seen: dict[int, Any] | None = None) -> Iterator[Any]:
    """Yield an object and all that it holds, but for what our estimators hold.

    Parameters
    ----------
    thing : object
    seen : dict
        What was yielded, by `id`.
    """
    seen = {} if seen is None else seen
    if id(thing) in seen or isinstance(thing, str | bytes | int | float | type):
        return
    seen[id(thing)] = thing
    yield thing
    if isinstance(thing, BackboneEstimator | MetadataRequest):
        return
    inner: list[Any] = []
    if isinstance(thing, Mapping):
        inner = [*thing.values()]
    elif isinstance(thing, list | tuple | set | frozenset):
        inner = [*thing]
    elif isinstance(thing, np.ndarray):
        inner = thing.ravel().tolist() if thing.dtype.hasobject else []
    for each in (*inner, *getattr(thing, "__dict__", {}).values()):
        yield from parts_of(each, seen)


def _named(types: set[str]) -> str:
    return ", ".join(
        f"{name} ({_HINTS[name]})" if name in _HINTS else name for name in sorted(types)
    )[:500]


def _skops() -> Any:
    try:
        import skops.io
    except ImportError as error:
        raise ImportError(
            "A model file with objects of scikit-learn, such as a Pipeline, needs the package "
            'skops. Use: pip install "sktransfer[pipelines]"'
        ) from error
    return skops.io
