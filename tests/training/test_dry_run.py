from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler

from sktransfer.activations.streaming import FrozenPass
from sktransfer.exceptions import ParameterError
from sktransfer.training.dry_run import dry_run
from tests.conftest import make_pictures
from tests.small_estimators import make_classifier


def tried(**given):
    """`dry_run` of some parameters, all others as they are by default."""
    plain = {
        "loss": "cross_entropy",
        "optimizer": "auto",
        "schedule": "cosine",
        "checkpoint_dir": None,
        "lr": 3e-4,
        "weight_decay": 1e-4,
        "n_classes": 3,
        "multilabel": False,
    }
    dry_run(**{**plain, **given})


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"loss": nn.CrossEntropyLoss},
        {"loss": partial(nn.CrossEntropyLoss, label_smoothing=0.1)},
        {"loss": nn.MultiMarginLoss, "n_classes": 2},
        {"loss": nn.BCEWithLogitsLoss, "multilabel": True},
        {"loss": nn.MSELoss, "multilabel": True},
        {"optimizer": torch.optim.RAdam},
        {"optimizer": partial(torch.optim.SGD, momentum=0.9)},
        {"optimizer": torch.optim.Rprop, "weight_decay": 0.0},
        {"schedule": None},
        {"schedule": partial(lr_scheduler.StepLR, step_size=3)},
        {"schedule": lr_scheduler.ReduceLROnPlateau},
        {"schedule": partial(lr_scheduler.ReduceLROnPlateau, patience=1)},
        {"schedule": partial(lr_scheduler.CosineAnnealingWarmRestarts, T_0=5)},
    ],
    ids=str,
)
def test_what_works_passes(given):
    tried(**given)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        # With three classes a batch of three rows would be compared crosswise.
        ({"loss": nn.MSELoss}, "loss=.*MSELoss.*name or a class of torch.nn"),
        ({"loss": nn.MSELoss, "n_classes": 2}, "loss=.*MSELoss"),
        ({"loss": nn.CosineEmbeddingLoss}, "loss=.*CosineEmbeddingLoss"),
        ({"loss": nn.CrossEntropyLoss()}, r"loss=CrossEntropyLoss\(\).*reduction='none'"),
        ({"loss": nn.Linear}, "loss=.*Linear.*reduction='none'"),
        ({"optimizer": dict}, "optimizer=.*dict.*a class of torch.optim"),
        ({"optimizer": torch.optim.Rprop}, "Rprop.*takes no weight_decay"),
        ({"optimizer": partial(torch.optim.SGD, momentum=-1)}, "SGD.*Invalid momentum"),
        ({"optimizer": torch.optim.LBFGS}, "LBFGS.*several times per step.*optimizer='lbfgs'"),
        ({"optimizer": partial(torch.optim.LBFGS, max_iter=5)}, "LBFGS.*optimizer='lbfgs'"),
        ({"optimizer": torch.optim.SparseAdam, "weight_decay": 0.0}, "SparseAdam.*dense"),
        ({"schedule": lr_scheduler.StepLR}, "schedule=.*functools.partial.*step_size"),
        ({"schedule": print}, "schedule=.*print.*must be a name from"),
        ({"schedule": partial(lr_scheduler.OneCycleLR, max_lr=1)}, "OneCycleLR.*total_steps"),
    ],
    ids=str,
)
def test_what_does_not_is_told_by_its_parameter(given, told):
    with pytest.raises(ParameterError, match=told):
        tried(**given)


def test_a_folder_for_checkpoints_is_made(tmp_path):
    tried(checkpoint_dir=str(tmp_path / "new" / "folder"))
    assert (tmp_path / "new" / "folder").is_dir()


def test_a_file_is_no_folder_for_checkpoints(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ParameterError, match=r"checkpoint_dir='.*file.*Give a folder"):
            tried(checkpoint_dir=path)


def test_a_folder_that_can_not_be_written_to(tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(ParameterError, match=r"checkpoint_dir=.*can't be written to"):
        tried(checkpoint_dir=tmp_path)


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_no_picture_is_read_before(monkeypatch, method):
    X, y = make_pictures(6)
    monkeypatch.setattr(FrozenPass, "collect", lambda *_: pytest.fail("a picture was read"))
    classifier = make_classifier(loss=nn.MSELoss)
    with pytest.raises(ParameterError, match="MSELoss"):
        getattr(classifier, method)(X, np.asarray(y))
