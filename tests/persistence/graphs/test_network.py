import numpy as np
import pytest
import torch

from sktransfer import adapt_batch_norm
from sktransfer.persistence.graphs.network import network_of
from tests.conftest import make_pictures
from tests.persistence.graphs.conftest import TINY, fitted_classifier, pictures_of
from tests.small_estimators import make_classifier, make_extractor

SIZES = [(30, 41), (16, 16), (7, 90)]


def outputs(fitted, pictures, given="pictures"):
    with torch.no_grad():
        return [each.numpy() for each in network_of(fitted, given).module(torch.tensor(pictures))]


def assert_same(classifier, channels=3):
    for height, width in SIZES:
        pictures = pictures_of(height, width, channels=channels)
        probabilities, label = outputs(classifier._model, pictures)
        np.testing.assert_allclose(
            probabilities, classifier.predict_proba(pictures), rtol=1e-5, atol=1e-6
        )
        predicted = classifier.predict(pictures)
        labels = label if classifier._model.task.multilabel else classifier.classes_[label]
        np.testing.assert_array_equal(labels, predicted)


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        *({"resize": resize} for resize in ("squash", "pad", "auto")),
        *({"pooling": pooling} for pooling in ("avg", "max", "flatten")),
        *({"loss": loss} for loss in ("binary_cross_entropy", "focal")),
        {"image_size": 24},
        {"class_weight": "balanced"},
        {"calibrate": "temperature", "validation_fraction": 0.3},
        {"hidden_layer_sizes": (4,), "dropout": 0.5, "max_epochs": 1},
        {"dropout": 0.5, "max_epochs": 1, "head_init": "random"},
        {"unfreeze_depth": 1, "max_epochs": 1},
        {"unfreeze_depth": "all", "max_epochs": 1, "batch_norm": "train", "ema_decay": 0.5},
        {"loss": torch.nn.MultiMarginLoss, "max_epochs": 1},
    ],
    ids=repr,
)
def test_each_parameter_comes_through(parameters):
    assert_same(fitted_classifier(**parameters))


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_other_channels(channels):
    X = pictures_of(20, 20, n=12, channels=channels)
    classifier = make_classifier(in_channels=channels, resize="pad")
    assert_same(classifier.fit(X, np.arange(12) % 2), channels)


def test_several_labels():
    X, y = make_pictures(24)
    indicator = np.stack([y, 1 - y, np.arange(24) % 3 == 0], axis=1).astype(int)
    assert_same(fitted_classifier(loss="binary_cross_entropy").fit(X, indicator))


def test_probabilities_that_round_to_one():
    """Labels are decided by scores, where probabilities would tie."""
    classifier = fitted_classifier()
    head = classifier.net_.module_.head[-1].linear
    with torch.no_grad():
        head.bias.copy_(torch.tensor([60.0, 60.5]) + head.bias)
        head.weight.zero_()
    pictures = pictures_of(16, 16)
    assert (outputs(classifier._model, pictures)[1] == 1).all()


@pytest.mark.parametrize("unfreeze_depth", [0, "all"])
def test_adapted_statistics(unfreeze_depth):
    classifier = fitted_classifier(unfreeze_depth=unfreeze_depth, max_epochs=10)
    others = pictures_of(16, 16, n=8) // 3
    adapted = adapt_batch_norm(classifier, others)
    assert np.abs(adapted.predict_proba(others) - classifier.predict_proba(others)).max() > 1e-4
    assert_same(adapted)


@pytest.mark.parametrize(
    "parameters",
    [{}, {"stage": "0"}, {"stage": ["0", "1"]}, {"pooling": "max"}, {"resize": "pad"}],
    ids=repr,
)
def test_features(parameters):
    X, _ = make_pictures(2)
    tiny = {"backbone": TINY, "weights": "DEFAULT", "image_size": None}
    extractor = make_extractor(**{**tiny, **parameters}).fit(X)
    for height, width in SIZES:
        pictures = pictures_of(height, width)
        (features,) = outputs(extractor._fitted, pictures)
        np.testing.assert_allclose(features, extractor.transform(pictures), rtol=1e-4, atol=1e-5)


def test_prepared_squares(classifier):
    squares = pictures_of(16, 16)
    given = squares.copy()
    probabilities, _ = outputs(classifier._model, squares, "prepared")
    pixels = torch.from_numpy(given).permute(0, 3, 1, 2)
    activations = classifier._model.frozen_network()(pixels)
    expected = classifier.net_.scores(activations).softmax(1)
    np.testing.assert_allclose(probabilities, expected, rtol=1e-5)


def test_tensors_are_shared_but_modes_are_not(classifier):
    module = network_of(classifier._model, "prepared").module
    addresses = {p.data_ptr() for p in classifier.net_.module_.parameters()}
    assert addresses <= {p.data_ptr() for p in module.parameters()}
    assert not any(p.requires_grad for p in module.parameters())
    classifier.net_.module_.train()
    assert not any(each.training for each in module.modules())
