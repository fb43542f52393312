"""scikit-learn's private helpers, imported here and nowhere else.

When a scikit-learn release moves one of them, this is the only file to change.
"""

from sklearn.utils._optional_dependencies import check_matplotlib_support
from sklearn.utils._param_validation import HasMethods, Interval, Options, StrOptions
from sklearn.utils.validation import _check_sample_weight as check_sample_weight

__all__ = [
    "HasMethods",
    "Interval",
    "Options",
    "StrOptions",
    "check_matplotlib_support",
    "check_sample_weight",
]
