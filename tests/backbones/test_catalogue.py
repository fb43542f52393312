import numpy as np
import pandas as pd
import pytest

from sktransfer.backbones.catalogue import list_backbones
from sktransfer.backbones.names import backbone_names

KEYS = ["name", "stages", "parameters", "input_size", "features", "weights", "license"]


@pytest.fixture(scope="module")
def records():
    return list_backbones()


@pytest.fixture(scope="module")
def by_name(records):
    return {record["name"]: record for record in records}


def test_one_record_per_backbone_in_order(records):
    assert [record["name"] for record in records] == list(backbone_names())
    assert len(records) == 83


def test_every_record_has_all_facts(records):
    for record in records:
        assert list(record) == KEYS
        assert record["parameters"] > 100_000
        assert 224 <= record["input_size"] <= 600
        assert record["features"] >= 320
        assert record["weights"]


def test_data_frame(records):
    table = pd.DataFrame(records)
    assert list(table.columns) == KEYS
    assert len(table) == 83
    assert table["parameters"].dtype.kind == table["features"].dtype.kind == "i"


@pytest.mark.parametrize(
    ("name", "stages"),
    [
        ("resnet18", {"stem": 5, "layer1": 4, "layer2": 3, "layer3": 2, "layer4": 1, "neck": 0}),
        (
            "mobilenet_v2",
            {"level1": 5, "level2": 4, "level3": 3, "level4": 2, "level5": 1, "neck": 0},
        ),
    ],
)
def test_stages_and_depths(by_name, name, stages):
    assert by_name[name]["stages"] == stages
    assert list(by_name[name]["stages"]) == list(stages)


@pytest.mark.parametrize(
    ("name", "parameters", "features", "size"),
    [
        ("resnet18", 11_689_512 - 513_000, 512, 224),
        ("mobilenet_v2", 3_504_872 - 1_281_000, 1280, 224),
        ("efficientnet_lite0", 4_652_008 - 1_281_000, 1280, 224),
        ("efficientnet_lite2", 6_092_072 - 1_281_000, 1280, 260),
        ("squeezenet1_1", 1_235_496 - 513_000, 512, 224),
        ("vit_b_32", 88_224_232 - 769_000, 768, 224),
    ],
)
def test_numbers_are_the_published_ones_without_the_classifier(
    by_name, name, parameters, features, size
):
    record = by_name[name]
    found = record["parameters"], record["features"], record["input_size"]
    assert found == (parameters, features, size)


@pytest.mark.parametrize("head", ["googlenet", "inception_v3"])
def test_auxiliary_heads_are_not_counted(by_name, head):
    assert by_name[head]["parameters"] < {"googlenet": 6e6, "inception_v3": 22e6}[head]


def test_first_weights_are_the_default(by_name):
    assert next(iter(by_name["mobilenet_v2"]["weights"].items())) == ("IMAGENET1K_V2", 72.154)
    assert list(by_name["resnet50"]["weights"]) == ["IMAGENET1K_V2", "IMAGENET1K_V1"]
    assert by_name["efficientnet_lite0"]["weights"] == {"IMAGENET1K_V1": 75.1}


def test_accuracies_are_percentages_or_unknown(records):
    accuracies = np.array([v for record in records for v in record["weights"].values()])
    known = accuracies[~np.isnan(accuracies)]
    assert len(known) > 0.95 * len(accuracies)
    assert ((known > 50) & (known < 90)).all()


def test_editing_a_record_does_not_change_the_next_call(records):
    mine = list_backbones()
    mine[0]["name"] = "edited"
    mine[0]["stages"].clear()
    mine[0]["weights"]["mine"] = 100.0
    mine.pop()
    assert str(list_backbones()) == str(records)  # as text, because NaN is not NaN
