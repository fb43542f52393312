import pytest
import torch
from torch import nn

from sktransfer.exceptions import ModelFileError
from sktransfer.persistence.model_file.fields import Fields
from sktransfer.persistence.model_file.head_records import head_of, head_records, n_scores, width_of
from sktransfer.persistence.model_file.tensors import Tensors
from sktransfer.training.head import NormalisedLinear, Scaled, build_head


def solved():
    layer = NormalisedLinear(torch.arange(6.0), torch.tensor(2.0), 3).per_feature()
    nn.init.normal_(layer.linear.weight)
    layer.n_rows = 17.0
    return layer


HEADS = {
    "linear": lambda: build_head(6, (), 0.0, 3),
    "layers": lambda: build_head(6, (5, 4), 0.5, 3),
    "scaled": lambda: nn.Sequential(Scaled(torch.rand(4, 6) * 9), *build_head(6, (), 0.3, 3)),
    "solved": lambda: nn.Sequential(solved()),
}


def written(head):
    tensors = Tensors()
    return head_records(head, tensors, "head"), tensors


def read(records, tensors):
    table = tensors.table()
    from sktransfer.persistence.model_file.tensors import read_tensors

    again = read_tensors(tensors.as_bytes(), table)
    head = head_of([Fields(each, "head") for each in records], again, "head")
    again.end()
    return head


@pytest.mark.parametrize("name", HEADS)
def test_heads_come_back(name):
    head = HEADS[name]().eval()
    found = read(*written(head))
    features = torch.randn(5, 6)
    assert torch.equal(found(features), head(features))
    assert repr(found) == repr(head)
    assert (width_of(found), n_scores(found)) == (6, 3)
    if name == "solved":
        assert found[0].numbers == head[0].numbers
        assert torch.equal(found[0].per_row()(features), head[0].per_row()(features))


@pytest.mark.parametrize(
    "change",
    [
        {"layer": "Module"},
        {"layer": "ReLU"},
        {"has_length": 1},
        {"row_length": None},
        {"more": 1},
    ],
    ids=str,
)
def test_records_of_other_layers(change):
    (record,), tensors = written(HEADS["solved"]())
    with pytest.raises(ModelFileError):
        read([{**record, **change}], tensors)


@pytest.mark.parametrize("p", [-0.1, 1.5, "0.5"])
def test_dropout_of_a_share(p):
    records, tensors = written(HEADS["layers"]())
    records[2]["p"] = p
    with pytest.raises(ModelFileError):
        read(records, tensors)


def tensors_of(**given):
    tensors = Tensors()
    tensors.put_all("head/0", {"weight": torch.ones(3, 6), "bias": torch.ones(3), **given})
    return tensors


@pytest.mark.parametrize(
    "given",
    [
        {"weight": torch.ones(3, 6, dtype=torch.float64)},
        {"weight": torch.ones(18)},
        {"weight": torch.ones(0, 6), "bias": torch.ones(0)},
        {"bias": torch.ones(4)},
    ],
    ids=lambda given: str({name: tuple(value.shape) for name, value in given.items()}),
)
def test_tensors_that_do_not_fit(given):
    with pytest.raises(ModelFileError):
        read([{"layer": "Linear"}], tensors_of(**given))


def test_layers_that_do_not_fit_each_other():
    records, tensors = written(HEADS["layers"]())
    with pytest.raises(ModelFileError, match="do not fit each other"):
        read([records[0], *[{"layer": "ReLU"}] * 5, records[6]], tensors)
    with pytest.raises(ModelFileError, match="do not fit each other"):
        read([{"layer": "ReLU"}], Tensors())
