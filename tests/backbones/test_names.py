from functools import cache

import pytest

from sktransfer.backbones.names import SOURCES, backbone_names, source_of
from sktransfer.backbones.sources import registered
from sktransfer.backbones.sources.lite import Lite
from sktransfer.backbones.sources.torchvision import Torchvision
from sktransfer.exceptions import BackboneError


def test_names_are_torchvisions_and_lites():
    names = backbone_names()
    assert len(names) == 83
    assert list(names) == sorted(set(names))
    assert {"efficientnet_lite0", "efficientnet_lite2", "resnet18", "vit_h_14", "maxvit_t"} <= set(
        names
    )


@pytest.mark.parametrize(
    ("name", "kind"), [("resnet18", Torchvision), ("efficientnet_lite2", Lite)]
)
def test_source_of_a_name(name, kind):
    assert isinstance(source_of(name), kind)


@pytest.mark.parametrize(
    ("name", "near"), [("resnet-18", "resnet18"), ("mobilenetv2", "mobilenet_v2")]
)
def test_misspelt_name_gets_a_hint(name, near):
    with pytest.raises(BackboneError, match=f"Did you mean .*'{near}'.*83"):
        source_of(name)


@pytest.mark.parametrize("name", ["", "zzzzzzzzzz", "ResNet18_Weights.DEFAULT.x.y.z" * 3])
def test_name_like_no_other_gets_no_hint(name):
    with pytest.raises(BackboneError, match=r"is not a known backbone\. list_backbones"):
        source_of(name)


def test_each_source_has_the_names_it_lists_and_no_other(monkeypatch):
    # Else the files of all installed packages are read for each of two thousand names.
    monkeypatch.setattr(registered, "entry_points", cache(registered.entry_points))
    for source in SOURCES.values():
        others = [name for each in SOURCES.values() if each is not source for name in each.names()]
        assert all(source.has(name) for name in source.names())
        assert not any(source.has(name) for name in others)
