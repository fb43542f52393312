import numpy as np
import pytest
import torch

from sktransfer.exceptions import ExportError
from sktransfer.persistence.graphs.network import network_of
from sktransfer.persistence.graphs.verification import check_same, expected, margins
from tests.persistence.graphs.conftest import pictures_of


@pytest.fixture
def network(classifier):
    return network_of(classifier._model, "pictures")


def torch_runs(network):
    def run(pictures):
        with torch.no_grad():
            return [each.numpy() for each in network.module(torch.from_numpy(pictures))]

    return run


def test_expected_is_what_the_estimator_gives(classifier):
    pictures = pictures_of(30, 20)
    probabilities, codes = expected(classifier._model, pictures)
    np.testing.assert_allclose(probabilities, classifier.predict_proba(pictures), rtol=1e-5)
    assert (classifier.classes_[codes] == classifier.predict(pictures)).all()


def test_the_same_network_passes(classifier, network):
    check_same(torch_runs(network), classifier._model, network)


@pytest.mark.parametrize(
    ("spoil", "match"),
    [
        (lambda p, label: [p + 0.01, label], "differ from the estimator's by"),
        (lambda p, label: [p * np.nan, label], "differ from the estimator's by nan"),
        (lambda p, label: [p, 1 - label], "other labels than the estimator"),
        (lambda p, label: [p[:1], label[:1]], "other shapes than the estimator"),
        (lambda p, label: [p, label, *p.no_such_thing], "can't be run: AttributeError"),
    ],
)
def test_another_one_does_not(classifier, network, spoil, match):
    run = torch_runs(network)
    with pytest.raises(ExportError, match=match):
        check_same(lambda pictures: spoil(*run(pictures)), classifier._model, network)


def test_margins():
    one_label = margins(np.array([[0.2, 0.5, 0.3]]), np.array([1]))
    np.testing.assert_allclose(one_label, [0.2])
    several = margins(np.array([[0.2, 0.5]]), np.array([[0, 0]]))
    np.testing.assert_allclose(several, [[0.6, 0]])
