import functools
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from sktransfer.exceptions import ModelFileError
from sktransfer.persistence.model_file.fields import Fields
from sktransfer.persistence.model_file.values import (
    NotPlainError,
    array_of,
    array_record,
    from_plain,
    plain,
)

VALUES = [
    *(None, True, 3, -(2**80), 0.1, -0.0, math.inf, "grün", ["a", ["b"]], (1, (2,)), Path("a/b")),
    *({"a": 1, 2: (3,)}, np.float32(0.1), np.int64(3), np.bool_(True), np.str_("x")),
    *(torch.optim.SGD, torch.optim.lr_scheduler.ReduceLROnPlateau, torch.nn.BCEWithLogitsLoss),
]


def there_and_back(value):
    return from_plain(json.loads(json.dumps(plain(value), allow_nan=False)), "place")


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_values_come_back(value):
    found = there_and_back(value)
    assert type(found) is type(value)
    assert repr(found) == repr(value)


def test_nan_comes_back():
    assert math.isnan(there_and_back(math.nan))


ARRAYS = [
    np.array(["rot", "grün"]),
    np.array(["a"], dtype="<U20"),
    np.arange(4, dtype=">i2"),
    np.array([[0.1, np.nan], [np.inf, -1]], dtype=np.float32),
    np.array(["a", 1, None, 2.5], dtype=object),
    np.array([True, False]),
    np.zeros((0, 3)),
]


@pytest.mark.parametrize("array", ARRAYS, ids=repr)
def test_arrays_come_back(array):
    found = there_and_back(array)
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)


@pytest.mark.parametrize(
    "value",
    [
        *(len, lambda x: x, functools.partial(print), object(), {1, 2}, b"x", 1j, torch.ones(2)),
        *(dict, torch.nn.Linear, torch.optim, np.array(["2020"], dtype="M8[D]"), range(3)),
        np.random.default_rng(0),
    ],
    ids=lambda value: type(value).__name__,
)
def test_code_and_other_types_are_refused(value):
    with pytest.raises(NotPlainError):
        plain(value)


def test_values_within_values():
    deep = []
    for _ in range(100):
        deep = [deep]
    with pytest.raises(NotPlainError, match="too deep"):
        plain(deep)
    with pytest.raises(ModelFileError, match="too deep"):
        from_plain(deep, "place")


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"kind": "code", "value": "print()"},
        {"kind": "float", "value": "1"},
        {"kind": "path", "value": 3},
        {"kind": "path", "value": "a", "more": 1},
        {"kind": "tuple", "values": "ab"},
        {"kind": "dict", "items": [[1]]},
        {"kind": "dict", "items": [[1, 2], [1, 3]]},
        {"kind": "dict", "items": [[[1], 2]]},
        {"kind": "dict", "items": [[2**70, 2]]},
        {"kind": "dict", "items": [[{"kind": "tuple", "values": [1]}, 2]]},
        {"kind": "dict", "items": [[i, 0] for i in range(100_001)]},
        [{"kind": "array", "array": {"dtype": "<U20000000", "shape": [1], "values": [""]}}] * 4,
        {"kind": "torch", "module": "os", "name": "system"},
        {"kind": "torch", "module": "nn", "name": "Module"},
        {"kind": "torch", "module": "optim", "name": "Optimizer.__init__"},
        {"kind": "torch", "module": "optim", "name": "sys"},
        {"kind": "random_state", "values": [[1, 2], 0, 0, 0.0]},
        {"kind": "random_state", "values": [[0] * 624, 10**9, 0, 0.0]},
        {"kind": "random_state", "values": [[-1] * 624, 0, 0, 0.0]},
        {"kind": "number", "array": {"dtype": "<f8", "shape": [2], "values": [1.0, 2.0]}},
    ],
    ids=lambda given: f"{given!s:.60}",
)
def test_records_that_nobody_writes(given):
    with pytest.raises(ModelFileError):
        from_plain(given, "place")


@pytest.mark.parametrize(
    "change",
    [
        {"dtype": "O8"},
        {"dtype": "object"},
        {"dtype": "<U1"},
        {"dtype": "<i8"},
        {"dtype": "V8"},
        {"dtype": "<U999999999"},
        {"dtype": "<f4,<f4"},
        {"dtype": 3},
        {"shape": [3]},
        {"shape": [-2, -1]},
        {"shape": [2.0]},
        {"shape": [2, 1] * 10},
        {"values": ["red"]},
        {"values": [1, 2]},
        {"values": [["red"], ["green"]]},
        {"values": [{"kind": "torch", "module": "optim", "name": "SGD"}, "green"]},
        {"more": 1},
    ],
    ids=str,
)
def test_arrays_that_nobody_writes(change):
    record = {**array_record(np.array(["red", "green"])), **change}
    with pytest.raises(ModelFileError):
        array_of(Fields(record, "place"))
