import pytest
import torch

from sktransfer.exceptions import ModelFileError, ParameterError
from sktransfer.persistence.model_file.tensors import Tensors, check_size, digest, read_tensors


def of(**tensors):
    written = Tensors()
    written.put_all("a", tensors)
    return written


def test_tensors_come_back():
    shared = torch.arange(12.0).reshape(3, 4)
    given = {
        "float": shared,
        "view": shared.t(),
        "number": torch.tensor(7),
        "none": torch.ones(0, 3),
        "short": torch.ones(2, dtype=torch.bfloat16),
        "bool": torch.tensor([True, False]),
        "double": torch.tensor(0.1, dtype=torch.float64),
        "channels": torch.rand(2, 3, 4, 4).to(memory_format=torch.channels_last),
    }
    written = of(**given)
    read = read_tensors(written.as_bytes(), written.table())
    found = read.take_all("a", given)
    read.end()
    for name, tensor in given.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)


def test_they_lie_in_memory_as_those_of_torch_do():
    # Sums in another order have other last bits.
    given = {str(n): torch.rand(n) for n in range(1, 9)}
    written = of(**given)
    read = read_tensors(written.as_bytes(), written.table())
    assert {tensor.data_ptr() % 64 for tensor in read.take_all("a", given).values()} == {0}


def test_each_is_taken_once():
    written = of(x=torch.ones(2))
    read = read_tensors(written.as_bytes(), written.table())
    with pytest.raises(ModelFileError, match="of no use"):
        read.end()
    read.take("a/x")
    with pytest.raises(ModelFileError, match="missing, or used twice"):
        read.take("a/x")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_are_finite(value):
    with pytest.raises(ParameterError, match="NaN"):
        of(x=torch.tensor([1.0, value]))
    bad = Tensors({"x": torch.tensor([1.0, value])})
    with pytest.raises(ModelFileError, match="'x' is not the one"):
        read_tensors(bad.as_bytes(), bad.table())


def test_values_of_a_kind_that_nothing_computes_with():
    with pytest.raises(ParameterError, match="complex64"):
        of(x=torch.ones(2, dtype=torch.complex64))


def changed(table, **fields):
    return {"a/x": {**table["a/x"], **fields}}


@pytest.mark.parametrize(
    "change",
    [
        lambda _: {},
        lambda table: {**table, "a/y": table["a/x"]},
        lambda table: changed(table, dtype="float16"),
        lambda table: changed(table, shape=[3, 2]),
        lambda table: changed(table, shape="2, 3"),
        lambda table: changed(table, sha256="0" * 64),
        lambda table: changed(table, other=1),
    ],
)
def test_the_table_must_name_the_tensors(change):
    written = of(x=torch.ones(2, 3))
    with pytest.raises(ModelFileError):
        read_tensors(written.as_bytes(), change(written.table()))


@pytest.mark.parametrize("content", [b"", b"\xff" * 8, b"\x02\x00\x00\x00\x00\x00\x00\x00{}x"])
def test_what_is_no_file_of_tensors(content):
    with pytest.raises(ModelFileError):
        read_tensors(content, {})


@pytest.mark.parametrize(
    "fields",
    [
        {"shape": [2**39, 2**39]},
        {"shape": [2**39] * 1000},
        {"shape": [-2, -3]},
        {"shape": ["2"]},
        {"dtype": "complex64"},
    ],
    ids=lambda fields: f"{fields!s:.40}",
)
def test_sizes_are_compared_before_tensors_are_read(fields):
    written = of(x=torch.ones(2, 3))
    size = len(written.as_bytes())
    check_size(size, written.table())
    with pytest.raises(ModelFileError):
        check_size(size, changed(written.table(), **fields))
    with pytest.raises(ModelFileError, match="Its tensors take"):
        check_size(2**40, written.table())


def test_digests_are_of_the_values():
    assert digest(torch.ones(4)) != digest(torch.zeros(4))
    assert digest(torch.arange(6.0).reshape(2, 3).t().contiguous()) == digest(
        torch.arange(6.0).reshape(2, 3).t()
    )
