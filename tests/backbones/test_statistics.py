import pytest
import torch
from torch import nn

from sktransfer.backbones.loading import load_backbone
from sktransfer.backbones.statistics import (
    Statistics,
    batch_norms,
    batch_norms_of,
    with_statistics,
)
from tests.backbones.helpers import pixels, run, same_values, values_of


@pytest.fixture
def backbone():
    return load_backbone("mnasnet0_5", None, 0)


def shifted(layer):
    return Statistics(layer.running_mean + 1, layer.running_var * 2)


def test_only_layers_with_statistics_count():
    network = nn.ModuleDict(
        {
            "conv": nn.Conv2d(3, 4, 3),
            "of_maps": nn.BatchNorm2d(4),
            "of_vectors": nn.Sequential(nn.BatchNorm1d(4)),
            "without": nn.BatchNorm2d(4, track_running_stats=False),
            "of_rows": nn.LayerNorm(4),
        }
    )
    assert list(batch_norms(network)) == ["of_maps", "of_vectors.0"]


def test_names_begin_with_the_stage(backbone):
    stages = [stage.name for stage in backbone.stages]
    names = list(batch_norms_of(backbone))
    assert {name.split(".")[0] for name in names} <= set(stages)
    assert len(names) == len(set(names)) > 20


def test_only_the_statistics_that_are_named_change(backbone):
    before = {stage.name: values_of(stage.module) for stage in backbone.stages}
    name, layer = list(batch_norms_of(backbone).items())[5]
    twin = with_statistics(backbone, {name: shifted(layer)})
    changed = set()
    for stage, other in zip(backbone.stages, twin.stages, strict=True):
        assert same_values(before[stage.name], stage.module.state_dict())
        others = other.module.state_dict()
        changed |= {
            f"{stage.name}.{key}"
            for key, value in before[stage.name].items()
            if not torch.equal(value, others[key])
        }
    assert changed == {f"{name}.running_mean", f"{name}.running_var"}
    assert torch.equal(batch_norms_of(twin)[name].running_mean, layer.running_mean + 1)


def test_weights_are_shared_and_statistics_are_not(backbone):
    twin = with_statistics(backbone, {})
    for stage, other in zip(backbone.stages, twin.stages, strict=True):
        own = stage.module.state_dict()
        for key, value in other.module.state_dict().items():
            shared = value.data_ptr() == own[key].data_ptr()
            assert shared != key.endswith(("running_mean", "running_var"))


def test_the_digests_of_other_statistics_are_others(backbone):
    same = with_statistics(backbone, {})
    name, layer = list(batch_norms_of(backbone).items())[-1]
    other = with_statistics(backbone, {name: shifted(layer)})
    assert same.digest == backbone.digest != other.digest
    # What comes before the layer is found in the store.
    ours, theirs = (each.feature_network().digests("") for each in (backbone, other))
    assert ours[:3] == theirs[:3]
    assert ours[-1] != theirs[-1]


def test_networks_compute_with_the_other_statistics(backbone):
    x = pixels(2, 32)
    before = run([backbone.feature_network()], x)
    names = batch_norms_of(backbone)
    twin = with_statistics(backbone, {name: shifted(layer) for name, layer in names.items()})
    after = run([twin.feature_network()], x)
    assert not torch.allclose(before, after)
    assert torch.equal(before, run([backbone.feature_network()], x))
