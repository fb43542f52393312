"""scikit-learn's private helpers, imported here and nowhere else.

When a scikit-learn release moves one of them, this is the only file to change.
"""

from typing import Any

from sklearn.linear_model._base import LinearClassifierMixin
from sklearn.model_selection._search import BaseSearchCV
from sklearn.utils._optional_dependencies import check_matplotlib_support
from sklearn.utils._param_validation import HasMethods, Interval, Options, StrOptions
from sklearn.utils._pprint import _EstimatorPrettyPrinter
from sklearn.utils.validation import _check_sample_weight as check_sample_weight

try:
    from sklearn.utils._repr_html.estimator import _VisualBlock
except ImportError:  # scikit-learn 1.6
    from sklearn.utils._estimator_html_repr import _VisualBlock

__all__ = [
    "BaseSearchCV",
    "HasMethods",
    "Interval",
    "LinearClassifierMixin",
    "Options",
    "StrOptions",
    "captioned_block",
    "check_matplotlib_support",
    "check_sample_weight",
    "printed_as_estimators_are",
]


def printed_as_estimators_are(cls: Any) -> Any:
    """Let scikit-learn break the lines of a class that has a `__repr__` of its own.

    scikit-learn looks estimators up by their `__repr__`, and breaks no lines of others.
    """
    _EstimatorPrettyPrinter._dispatch[cls.__repr__] = _EstimatorPrettyPrinter._pprint_estimator
    return cls


def captioned_block(estimator: Any, caption: str) -> Any:
    """The HTML block of an estimator, with a line below its name."""
    name = type(estimator).__name__
    return _VisualBlock(
        "single", estimator, names=name, name_details=str(estimator), name_caption=caption
    )
