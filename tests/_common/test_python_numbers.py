import numpy as np
import torch

from sktransfer._common.python_numbers import with_python_numbers


def test_numbers_become_those_of_python():
    given = {"a": np.float32(0.5), "b": [np.int64(1), (np.bool_(True), np.str_("x"))], "c": None}
    found = with_python_numbers(given)
    assert found == {"a": 0.5, "b": [1, (True, "x")], "c": None}
    assert [type(found["a"]), *map(type, found["b"][1])] == [float, bool, str]
    assert type(found["b"][0]) is int


def test_arrays_and_tensors_stay():
    array, tensor = np.ones(2), torch.ones(2)
    found = with_python_numbers([array, tensor])
    assert found[0] is array
    assert found[1] is tensor
