import pytest
import torch
from torch import nn

from sktransfer.activations.views import FreshViews
from sktransfer.backbones.freezing import TrainableStages
from sktransfer.training.batches import Rows
from sktransfer.training.checkpoints import CheckpointFiles
from sktransfer.training.data import TrainingData
from sktransfer.training.head import NormalisedLinear
from sktransfer.training.solve_head import is_convex, solve_head
from sktransfer.training.task import OneLabel, SeveralLabels
from tests.training.helpers import CLASSES, feature_rows, settings_of, small_stages

NOTHING = TrainableStages()
ROWS = feature_rows()


def asked(stages=NOTHING, rows=ROWS, head=None, **settings):
    return is_convex(settings_of(**settings), TrainingData(stages, rows, earlier_head=head))


@pytest.mark.parametrize(
    "settings", [{}, {"optimizer": "lbfgs", "loss": "binary_cross_entropy"}], ids=str
)
def test_a_linear_head_on_frozen_stages_is_a_convex_problem(settings):
    assert asked(**settings)


@pytest.mark.parametrize(
    "settings",
    [
        {"stages": small_stages()},
        {"rows": Rows(FreshViews(lambda _: torch.zeros(4, 1), 4, bytes))},
        {"hidden_layer_sizes": (2,)},
        {"dropout": 0.1},
        {"mixup": 0.2},
        {"cutmix": 0.2},
        {"ema_decay": 0.9},
        {"optimizer": "adamw"},
        {"loss": "focal"},
        {"loss": nn.CrossEntropyLoss},
    ],
    ids=lambda settings: " ".join(settings),
)
def test_nothing_else_is(settings):
    assert not asked(**settings)


def test_a_piece_continues_by_solving_from_a_solved_head_alone():
    solved = nn.Sequential(NormalisedLinear(torch.zeros(6), torch.tensor(1.0), CLASSES))
    stepped = nn.Sequential(nn.Linear(6, CLASSES))
    assert asked(head=stepped)
    piece = settings_of().for_a_piece(None)
    data = [TrainingData(NOTHING, ROWS, None, head) for head in (None, solved, stepped)]
    assert [is_convex(piece, each) for each in data] == [True, True, False]


@pytest.mark.parametrize("loss", ["focal", nn.MultiMarginLoss])
@pytest.mark.parametrize(
    ("task", "solved_by"),
    [(OneLabel(), "cross_entropy"), (SeveralLabels(), "binary_cross_entropy")],
)
def test_where_a_loss_is_not_convex_the_cross_entropy_of_the_task_solves(loss, task, solved_by):
    y = torch.eye(CLASSES)[ROWS.targets.y] if task.multilabel else ROWS.targets.y
    rows, files = Rows(ROWS.views, y), CheckpointFiles(None, str)
    ours, theirs = (
        solve_head(settings_of(name, task=task), rows, None, files) for name in (loss, solved_by)
    )
    assert torch.equal(ours.scores_of(rows), theirs.scores_of(rows))
    assert ours.task == task
