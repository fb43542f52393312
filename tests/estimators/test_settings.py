"""Each parameter of the classifier that training obeys arrives in its settings."""

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from sktransfer.estimators.labels import Labels
from sktransfer.estimators.settings import hidden_layer_sizes, training_settings
from sktransfer.training.losses import as_loss
from sktransfer.training.settings import TrainingSettings
from sktransfer.training.task import OneLabel, SeveralLabels
from tests.small_estimators import make_classifier

ONE = Labels(np.arange(3), np.array([0, 1, 2, 2]))
SEVERAL = Labels(np.arange(2), np.array([[1, 0], [0, 1], [0, 0], [0, 1]], np.float32))


def settings(labels=ONE, **parameters):
    classifier = make_classifier(**parameters)
    return training_settings(
        classifier, labels, np.ones(4), device="mps:0", precision="float16", seed=7
    )


def test_parameters_of_the_same_name_arrive_as_they_are():
    given = {
        "label_smoothing": 0.1,
        "distill_weight": 0.25,
        "distill_temperature": 3.0,
        "hidden_layer_sizes": (5, 6),
        "dropout": 0.4,
        "sampling": "oversample",
        "mixup": 0.2,
        "cutmix": 0.3,
        "optimizer": "sgd",
        "lr": 0.01,
        "lr_decay": 0.8,
        "weight_decay": 0.02,
        "feature_penalty": 0.03,
        "schedule": "plateau",
        "gradient_clipping": 1.5,
        "ema_decay": 0.99,
        "max_epochs": 3,
        "batch_size": 9,
        "head_init": "random",
        "gradual_unfreezing": [0, 1],
        "early_stopping": True,
        "n_iter_no_change": 2,
        "callbacks": ["one"],
        "checkpoint_dir": Path("kept"),
        "verbose": 2,
    }
    found = settings(**given)
    assert {name: getattr(found, name) for name in given} == given
    others = {field.name for field in fields(TrainingSettings)} - set(given)
    of_the_fit = {"task", "n_classes", "loss", "positive_weight", "seed", "piece"}
    assert others == of_the_fit | {"device", "precision"}


def test_the_fit_says_the_rest():
    found = settings()
    assert (found.n_classes, found.device, found.seed, found.piece) == (3, "mps:0", 7, None)
    assert found.precision == "float16"


@pytest.mark.parametrize(
    ("labels", "loss", "task"),
    [
        (ONE, "cross_entropy", OneLabel()),
        (ONE, "binary_cross_entropy", OneLabel(one_vs_rest=True)),
        (SEVERAL, "binary_cross_entropy", SeveralLabels()),
    ],
)
def test_labels_and_loss_make_the_task(labels, loss, task):
    found = settings(labels, loss=loss)
    assert found.loss == as_loss(loss)
    assert found.task == task


def test_class_weights_are_settings_of_several_labels_alone():
    several = {"loss": "binary_cross_entropy", "class_weight": {0: 4.0}}
    assert list(settings(SEVERAL, **several).positive_weight) == [4, 1]
    assert settings(class_weight={0: 4.0}).positive_weight is None


@pytest.mark.parametrize("given", [8, [8], (8,), np.int64(8), (np.int64(8),)], ids=repr)
def test_sizes_of_layers_are_a_tuple_of_ints(given):
    sizes = hidden_layer_sizes(given)
    assert sizes == (8,)
    assert type(sizes[0]) is int


@pytest.mark.parametrize("given", [0, (8, -1), (0.5,), ("8",)], ids=repr)
def test_sizes_of_layers_are_positive_integers(given):
    with pytest.raises(ValueError, match="hidden_layer_sizes must hold positive integers"):
        hidden_layer_sizes(given)


def test_what_others_say_in_their_own_types_is_pythons():
    assert settings(gradual_unfreezing=np.True_).gradual_unfreezing is True
    assert settings(checkpoint_dir="kept").checkpoint_dir == Path("kept")
    assert settings(callbacks=None).callbacks == ()
