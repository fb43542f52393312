"""Requests of metadata, such as that of `sample_weight`, as plain values."""

from __future__ import annotations

from typing import Any

import sklearn
from sklearn.utils.metadata_routing import MetadataRequest

from sktransfer.exceptions import ModelFileError

_METHODS = (
    *("fit", "partial_fit", "predict", "predict_proba", "predict_log_proba", "decision_function"),
    *("score", "split", "transform", "inverse_transform"),
)


def requests_of(request: MetadataRequest) -> dict[str, dict[str, bool | str | None]]:
    """What is requested, by method and argument; None where nothing is said."""
    given = {name: getattr(request, name).requests for name in _METHODS if hasattr(request, name)}
    return {method: dict(requests) for method, requests in given.items() if requests}


def set_requests(estimator: Any, requests: Any) -> None:
    """Request it again, by the methods of scikit-learn, which check the names.

    Raises
    ------
    ModelFileError
    """
    try:
        with sklearn.config_context(enable_metadata_routing=True):
            for method, arguments in requests.items():
                if method not in _METHODS:
                    raise ValueError(f"{method!r:.80} is no method")
                if not all(isinstance(value, bool | str | None) for value in arguments.values()):
                    raise ValueError("a request is neither a bool nor a name")
                getattr(estimator, f"set_{method}_request")(**arguments)
    except (ValueError, TypeError, AttributeError) as error:
        raise ModelFileError(f"It requests metadata in an unknown way: {error}") from error
