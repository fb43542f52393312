import torch
from torch import nn

from sktransfer.backbones.freezing import TrainableStages
from sktransfer.training.module import TransferModule
from tests.training.helpers import CLASSES, maps, small_stages


def test_the_head_works_on_what_the_stages_give():
    X, _ = maps()
    stages, head = small_stages().eval(), nn.Sequential(nn.Linear(6, CLASSES))
    scores = TransferModule(stages, head)(X)
    assert scores.shape == (len(X), CLASSES)
    assert torch.equal(scores, head(stages(X)))


def test_without_stages_the_head_works_on_the_activations():
    head = nn.Sequential(nn.Linear(6, CLASSES))
    features = torch.randn(4, 6)
    assert torch.equal(TransferModule(TrainableStages(), head)(features), head(features))


def test_all_that_trains_is_in_its_state():
    module = TransferModule(small_stages(), nn.Sequential(nn.Linear(6, CLASSES)))
    parts = {name.split(".")[0] for name in module.state_dict()}
    assert parts == {"stages", "head"}
