from sktransfer.training.data import TrainingData
from tests.training.helpers import map_rows, small_stages


def test_rows_are_moved_and_all_else_is_the_same(monkeypatch):
    data = TrainingData(small_stages(), map_rows(), validation=map_rows(seed=1))
    there = map_rows(seed=2)
    monkeypatch.setattr(type(data.rows), "on", lambda rows, device: there if device else rows)
    moved = data.on("cpu")
    assert moved.rows is there
    assert moved.stages is data.stages
    assert moved.validation is data.validation
    assert moved.earlier_head is None
