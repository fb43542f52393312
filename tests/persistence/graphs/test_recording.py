import logging
import warnings

import pytest
import torch
from torch import nn

from sktransfer.exceptions import ExportError
from sktransfer.persistence.graphs.network import Network, network_of
from sktransfer.persistence.graphs.recording import quietly, recorded
from tests.persistence.graphs.conftest import pictures_of


class Branches(nn.Module):
    def forward(self, x):
        return (x if x.float().sum() > 0 else -x.float(),)


@pytest.mark.parametrize("given", ["pictures", "prepared"])
def test_any_number_of_pictures(classifier, given):
    network = network_of(classifier._model, given)
    program = recorded(network).module()
    size = (30, 21) if given == "pictures" else (16, 16)
    for n in (1, 2, 5):
        pictures = torch.from_numpy(pictures_of(*size, n=n))
        for got, wanted in zip(program(pictures), network.module(pictures), strict=True):
            torch.testing.assert_close(got, wanted)


def test_a_network_that_can_not_be_recorded(classifier):
    preset = classifier._model.backbone.preprocessing
    network = Network(Branches(), "prepared", ("features",), preset)
    with pytest.raises(ExportError, match="torch can't record this network as a graph"):
        recorded(network)


def test_messages_are_heard_again_afterwards():
    logger = logging.getLogger("torch.onnx")
    level, filters = logger.level, [*warnings.filters]
    with quietly():
        warnings.warn("not heard", stacklevel=1)
    assert (logger.level, warnings.filters) == (level, filters)
