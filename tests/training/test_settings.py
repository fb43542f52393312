from dataclasses import MISSING, FrozenInstanceError, fields

import pytest

from sktransfer.training.pace import epochs
from sktransfer.training.settings import TrainingSettings
from tests.training.helpers import settings_of


def changes(before, after):
    """Return the names of the settings that differ."""
    names = [field.name for field in fields(TrainingSettings)]
    return {name for name in names if getattr(before, name) != getattr(after, name)}


def test_the_classifier_alone_has_defaults():
    for field in fields(TrainingSettings):
        assert field.default is field.default_factory is MISSING, field.name


def test_settings_are_frozen():
    with pytest.raises(FrozenInstanceError):
        settings_of().lr = 1.0


def test_a_piece_trains_for_one_epoch_without_a_schedule():
    whole = settings_of(max_epochs=7, schedule="cosine")
    piece = whole.for_a_piece({0: "state"}, weight=2.0)
    assert changes(whole, piece) == {"max_epochs", "schedule", "piece"}
    assert (piece.max_epochs, piece.schedule) == (1, None)
    assert piece.piece == (2.0, {0: "state"})


def test_settings_of_the_stages_are_dropped_for_the_head_alone():
    whole = settings_of(cutmix=1.0, gradual_unfreezing=[0, 1], callbacks=["the user's"])
    alone = whole.for_the_head_alone()
    assert changes(whole, alone) == {"cutmix", "gradual_unfreezing", "callbacks"}
    assert (alone.cutmix, alone.gradual_unfreezing, alone.callbacks) == (0.0, False, ())


@pytest.mark.parametrize(
    ("asked", "alone"), [("auto", "auto"), (3, epochs("auto")), (500, 500)], ids=str
)
def test_a_head_alone_has_at_least_the_usual_epochs(asked, alone):
    assert settings_of(max_epochs=asked).for_the_head_alone().max_epochs == alone


def test_a_head_alone_begins_without_the_optimizers_state():
    piece = settings_of().for_a_piece({0: "of head and stages"}, weight=2.0)
    assert piece.for_the_head_alone().piece == (2.0, None)
