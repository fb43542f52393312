"""Parameters that contradict each other: each error names both sides, and what mends it."""

import re

import numpy as np
import pytest
import torch
from sklearn.model_selection import GroupShuffleSplit, KFold, ShuffleSplit
from torch import nn

from sktransfer.estimators.conflicts import check_conflicts, check_partial_fit
from sktransfer.exceptions import ParameterError
from tests.conftest import make_pictures
from tests.small_estimators import make_classifier

CUSTOM = nn.MultiMarginLoss

# Parameters, what fit is given beside X and y, and the words that the error must have.
CONTRADICTIONS = [
    ({"optimizer": "lbfgs", "unfreeze_depth": 1}, {}, ["optimizer='lbfgs'", "unfreeze_depth=1"]),
    ({"optimizer": "lbfgs", "unfreeze_depth": "all"}, {}, ["lbfgs", "unfreeze_depth='all'"]),
    ({"optimizer": "lbfgs", "hidden_layer_sizes": (8,)}, {}, ["lbfgs", "hidden_layer_sizes=(8,)"]),
    ({"optimizer": "lbfgs", "dropout": 0.5}, {}, ["lbfgs", "dropout=0.5"]),
    ({"optimizer": "lbfgs", "mixup": 0.2}, {}, ["lbfgs", "mixup=0.2"]),
    ({"optimizer": "lbfgs", "cutmix": 1.0}, {}, ["lbfgs", "cutmix=1.0"]),
    ({"optimizer": "lbfgs", "loss": "focal"}, {}, ["lbfgs", "loss='focal'"]),
    ({"optimizer": "lbfgs", "loss": CUSTOM}, {}, ["lbfgs", "MultiMarginLoss"]),
    ({"optimizer": "lbfgs", "gradient_clipping": 1.0}, {}, ["lbfgs", "gradient_clipping=1.0"]),
    ({"optimizer": "lbfgs", "ema_decay": 0.9}, {}, ["lbfgs", "ema_decay=0.9"]),
    ({"optimizer": "lbfgs", "augment": "light"}, {}, ["lbfgs", "augment='light'", "n_views=None"]),
    ({}, {"groups": [0, 1]}, ["groups", "validation_fraction=None"]),
    ({"validation_fraction": 0.2}, {"groups": [0, 1]}, ["groups", "validation_fraction=0.2"]),
    (
        {"validation_fraction": 0.2},
        {"validation_data": True},
        ["validation_data", "validation_fraction=0.2"],
    ),
    (
        {"validation_fraction": KFold(3)},
        {"validation_data": True},
        ["validation_data", "validation_fraction=KFold("],
    ),
    ({"early_stopping": True}, {}, ["early_stopping=True", "validation_fraction=None"]),
    ({"calibrate": "temperature"}, {}, ["calibrate='temperature'", "validation_fraction=None"]),
    ({"n_views": 3}, {}, ["n_views=3", "augment=None"]),
    ({"cutmix": 1.0}, {}, ["cutmix=1.0", "unfreeze_depth=0"]),
    ({"mc_dropout": 5}, {}, ["mc_dropout=5", "dropout=0"]),
    ({"label_smoothing": 0.1, "loss": CUSTOM}, {}, ["label_smoothing=0.1", "MultiMarginLoss"]),
    ({"mixup": 0.2, "loss": CUSTOM}, {}, ["mixup=0.2", "MultiMarginLoss"]),
    ({"cutmix": 0.2, "unfreeze_depth": 1, "loss": CUSTOM}, {}, ["cutmix=0.2", "MultiMarginLoss"]),
    (
        {"checkpoint_dir": "somewhere", "random_state": None},
        {},
        ["checkpoint_dir='somewhere'", "random_state=None"],
    ),
    (
        {"checkpoint_dir": "somewhere", "random_state": np.random.RandomState(0)},
        {},
        ["checkpoint_dir='somewhere'", "random_state=RandomState"],
    ),
    ({"gradual_unfreezing": True}, {}, ["gradual_unfreezing=True", "unfreeze_depth=0"]),
    ({"gradual_unfreezing": [0]}, {}, ["gradual_unfreezing=[0]", "unfreeze_depth=0"]),
    (
        {"gradual_unfreezing": [0, 2], "unfreeze_depth": 3},
        {},
        ["gradual_unfreezing=[0, 2]", "unfreeze_depth=3"],
    ),
    (
        {"gradual_unfreezing": [0, 5], "unfreeze_depth": 2, "max_epochs": 5},
        {},
        ["gradual_unfreezing=[0, 5]", "max_epochs=5"],
    ),
    ({"gradual_unfreezing": [2, 0], "unfreeze_depth": 2}, {}, ["gradual_unfreezing", "[2, 0]"]),
    ({"gradual_unfreezing": [-1, 0], "unfreeze_depth": 2}, {}, ["gradual_unfreezing", "[-1, 0]"]),
    ({"gradual_unfreezing": [0.5], "unfreeze_depth": 1}, {}, ["gradual_unfreezing", "[0.5]"]),
]


def check(parameters, **given):
    classifier = make_classifier(**parameters)
    classifier._validate_params()
    validates = classifier.validation_fraction is not None or given.get("validation", False)
    told = {"groups": False, "validation": False, **given}
    check_conflicts(classifier, held_out=validates, **told)


@pytest.mark.parametrize(("parameters", "given", "words"), CONTRADICTIONS)
def test_a_contradiction_names_both_sides(parameters, given, words):
    X, y = make_pictures(2)
    if "validation_data" in given:
        given = {"validation_data": (X, y)}
    with pytest.raises(ParameterError) as caught:
        make_classifier(**parameters).fit(X, y, **given)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    "parameters", [parameters for parameters, *_ in CONTRADICTIONS[:11]], ids=str
)
def test_lbfgs_is_the_only_one_that_minds(parameters):
    others = {name: value for name, value in parameters.items() if name != "optimizer"}
    check({"unfreeze_depth": 1, **others})


@pytest.mark.parametrize(
    ("parameters", "given"),
    [
        ({}, {}),
        ({"optimizer": "lbfgs"}, {}),
        ({"optimizer": "lbfgs", "hidden_layer_sizes": []}, {}),
        ({"optimizer": "lbfgs", "loss": "binary_cross_entropy", "label_smoothing": 0.1}, {}),
        ({"optimizer": "lbfgs", "augment": "light", "n_views": 2}, {}),
        ({"optimizer": "lbfgs", "sampling": "balanced", "class_weight": "balanced"}, {}),
        ({"optimizer": "lbfgs", "validation_fraction": 0.2, "early_stopping": True}, {}),
        ({"validation_fraction": GroupShuffleSplit(1)}, {"groups": True}),
        ({"validation_fraction": ShuffleSplit(1)}, {}),
        ({"early_stopping": True}, {"validation": True}),
        ({"calibrate": "temperature", "validation_fraction": 0.1}, {}),
        ({"augment": "light"}, {}),
        ({"augment": "light", "n_views": 1}, {}),
        ({"cutmix": 1.0, "mixup": 0.2, "unfreeze_depth": 1}, {}),
        ({"mixup": 0.2}, {}),
        ({"mc_dropout": 5, "dropout": 0.1}, {}),
        ({"label_smoothing": 0.1, "loss": "focal"}, {}),
        ({"loss": CUSTOM, "class_weight": "balanced"}, {}),
        ({"checkpoint_dir": "somewhere", "random_state": np.int64(3)}, {}),
        ({"gradual_unfreezing": True, "unfreeze_depth": 2}, {}),
        ({"gradual_unfreezing": [0, 4], "unfreeze_depth": 2, "max_epochs": 5}, {}),
        ({"gradual_unfreezing": (0, 0), "unfreeze_depth": 2}, {}),
        ({"gradual_unfreezing": [0, 1, 2, 3, 4, 5], "unfreeze_depth": "all"}, {}),
        ({"gradual_unfreezing": np.False_}, {}),
        ({"gradual_unfreezing": np.True_, "unfreeze_depth": 1}, {}),
        ({"tta": 3}, {}),
    ],
    ids=str,
)
def test_valid_neighbours_pass(parameters, given):
    check(parameters, **given)


def test_a_contradiction_is_told_before_a_picture_is_read(tmp_path):
    path = tmp_path / "no_picture.png"
    path.write_bytes(b"no picture")
    with pytest.raises(ParameterError, match="n_views=3"):
        make_classifier(n_views=3).fit([str(path)] * 4, [0, 1, 0, 1])


def test_bools_of_numpy_unfreeze_too():
    X, y = make_pictures(6)
    parameters = {"unfreeze_depth": 2, "max_epochs": 2, "head_init": "random"}
    expected = make_classifier(gradual_unfreezing=True, **parameters).fit(X, y).predict_proba(X)
    fitted = make_classifier(gradual_unfreezing=np.True_, **parameters).fit(X, y)
    np.testing.assert_array_equal(fitted.predict_proba(X), expected)


def test_one_epoch_for_each_stage_of_all():
    X, y = make_pictures(6)
    classifier = make_classifier(gradual_unfreezing=[0, 1], unfreeze_depth="all", max_epochs=2)
    with pytest.raises(ParameterError, match=r"gradual_unfreezing=\[0, 1\].*unfreeze_depth='all'"):
        classifier.fit(X, y)


# Against y.


INDICATOR = np.array([[1, 0, 1], [0, 1, 0], [1, 1, 0], [0, 0, 1]])


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({}, ["indicator", "loss='cross_entropy'", "binary_cross_entropy"]),
        ({"loss": "binary_cross_entropy", "sampling": "oversample"}, ["sampling='oversample'"]),
        ({"loss": "focal", "sampling": "balanced"}, ["sampling='balanced'", "indicator"]),
    ],
)
def test_several_labels_rule_out(parameters, words):
    with pytest.raises(ParameterError) as caught:
        make_classifier(**parameters).fit(make_pictures(4)[0], INDICATOR)
    for word in words:
        assert word in str(caught.value)


# In partial_fit.


@pytest.mark.parametrize(
    "parameters",
    [
        {"optimizer": "lbfgs"},
        {"class_weight": "balanced"},
        {"early_stopping": True},
        {"validation_fraction": 0.2},
        {"validation_fraction": KFold(3)},
        {"calibrate": "temperature"},
        {"gradual_unfreezing": True, "unfreeze_depth": 1},
        {"gradual_unfreezing": [0], "unfreeze_depth": 1},
        {"checkpoint_dir": "somewhere"},
        {"n_views": 2, "augment": "light"},
    ],
    ids=str,
)
def test_pieces_have_no_use_for(parameters):
    name, value = next(iter(parameters.items()))
    with pytest.raises(ParameterError, match=f"partial_fit.*{name}={re.escape(repr(value))}"):
        make_classifier(**parameters).partial_fit(*make_pictures(4))


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"class_weight": {0: 1, 1: 3}},
        {"optimizer": "sgd", "schedule": "cosine"},
        {"optimizer": torch.optim.RMSprop},
        {"unfreeze_depth": 1, "mixup": 0.2, "augment": "light"},
        {"gradual_unfreezing": np.False_},
        {"sampling": "balanced", "dropout": 0.5, "mc_dropout": 3, "tta": 2},
    ],
    ids=str,
)
def test_pieces_go_with(parameters):
    check_partial_fit(make_classifier(**parameters))
    check(parameters)


@pytest.mark.parametrize("parameters", [{"n_views": 3}, {"mc_dropout": 5}, {"cutmix": 0.5}])
def test_contradictions_are_told_by_partial_fit_too(parameters):
    with pytest.raises(ParameterError, match=next(iter(parameters))):
        make_classifier(**parameters).partial_fit(*make_pictures(4))
