"""Numbers of Python in place of NumPy's, for formats that know no others."""

from typing import Any

import numpy as np


def with_python_numbers(value: Any) -> Any:
    """Return nested dicts, lists and tuples with Python's numbers and strings for NumPy's.

    A search over an array hands over NumPy's, for example as `lr`.
    """
    if isinstance(value, dict):
        return {key: with_python_numbers(each) for key, each in value.items()}
    if type(value) in (list, tuple):
        return type(value)(map(with_python_numbers, value))
    return value.item() if isinstance(value, np.generic) else value
