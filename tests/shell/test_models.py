import os
import pickle

import pytest
from sklearn.dummy import DummyClassifier

from sktransfer.shell.models import check_target, load_model, save_model


def test_a_model_is_saved_and_loaded(tmp_path):
    path = tmp_path / "model.skt"
    path.write_text("old")
    model = DummyClassifier().fit([[0], [1]], ["a", "a"])
    save_model(model, path)
    assert load_model(str(path)).predict([[0]]).tolist() == ["a"]
    assert os.listdir(tmp_path) == ["model.skt"]


def test_an_old_file_stays_if_a_model_can_not_be_saved(tmp_path):
    path = tmp_path / "model.skt"
    path.write_text("old")
    with pytest.raises((pickle.PicklingError, AttributeError)):
        save_model(lambda: 0, path)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["model.skt"]


@pytest.mark.parametrize("content", [b"", b"no model", b"\x80\x04]\x94(K"])
def test_other_files(tmp_path, content):
    path = tmp_path / "model.skt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="not a model file, or is damaged"):
        load_model(str(path))
    with pytest.raises(FileNotFoundError):
        load_model(str(tmp_path / "missing"))


def test_targets_are_checked_before_the_work(tmp_path):
    assert check_target(str(tmp_path / "x")) == tmp_path / "x"
    with pytest.raises(IsADirectoryError, match="is a folder"):
        check_target(str(tmp_path))
    with pytest.raises(FileNotFoundError, match="does not exist"):
        check_target(str(tmp_path / "a" / "b"))
