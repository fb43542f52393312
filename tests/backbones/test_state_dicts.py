import json
import os
import pickle

import pytest
import torch
from safetensors.torch import save_file

from sktransfer.backbones.state_dicts import read_state_dict
from sktransfer.exceptions import WeightsError
from tests.backbones.helpers import TINY_STATE, same_values, saved


@pytest.mark.parametrize("wrap", [dict, lambda s: {"state_dict": s}, lambda s: {"model": s}])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_wrappings(tmp_path, wrap, prefix):
    state = {f"{prefix}{key}": value for key, value in TINY_STATE.items()}
    torch.save({**wrap(state)}, path := tmp_path / "w.pth")
    assert same_values(read_state_dict(path), TINY_STATE)


def test_a_training_checkpoint_is_unwrapped(tmp_path):
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(2))])
    checkpoint = {"epoch": 3, "state_dict": TINY_STATE, "optimizer": optimizer.state_dict()}
    torch.save(checkpoint, path := tmp_path / "w.pth")
    assert same_values(read_state_dict(path), TINY_STATE)


def test_module_is_only_removed_in_front(tmp_path):
    state = {"module.module.weight": torch.zeros(1), "module.a.module.bias": torch.zeros(1)}
    torch.save(state, path := tmp_path / "w.pth")
    assert list(read_state_dict(path)) == ["module.weight", "a.module.bias"]


def test_safetensors(tmp_path):
    save_file(TINY_STATE, path := tmp_path / "w.safetensors")
    assert same_values(read_state_dict(path), TINY_STATE)


def test_old_format_of_torch(tmp_path):
    torch.save(TINY_STATE, path := tmp_path / "w.pth", _use_new_zipfile_serialization=False)
    assert same_values(read_state_dict(path), TINY_STATE)


def broken_files():
    header = json.dumps({"a": {"dtype": "F32", "shape": [9], "data_offsets": [0, 36]}}).encode()
    whole = saved(torch.save)
    contents = {
        "empty.pth": b"",
        "text.pth": b"<html>Not found</html>",
        "truncated.pth": whole[: len(whole) // 2],
        "empty.safetensors": b"",
        "text.safetensors": b"<html>Not found</html>",
        "truncated.safetensors": len(header).to_bytes(8, "little") + header + b"\0" * 8,
        "pickle.safetensors": whole,
    }
    return [pytest.param(name, content, id=name) for name, content in contents.items()]


@pytest.mark.parametrize(("name", "content"), broken_files())
def test_damaged_file(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError, match=name):
        read_state_dict(tmp_path / name)


@pytest.mark.parametrize(
    "content",
    [
        [torch.zeros(1)],
        torch.zeros(1),
        {"a": 1.0},
        {"state_dict": {"a": [1, 2]}},
        {0: torch.zeros(1)},
    ],
)
def test_something_else_than_a_state_dict(tmp_path, content):
    torch.save(content, path := tmp_path / "w.pth")
    with pytest.raises(WeightsError, match="does not hold a state dict"):
        read_state_dict(path)


class Bomb:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("save", [torch.save, lambda x, path: path.write_bytes(pickle.dumps(x))])
def test_code_in_a_file_is_never_run(tmp_path, save):
    target = tmp_path / "made_by_the_file"
    save({"a.weight": torch.zeros(1), "b": Bomb(target)}, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match="refused"):
        read_state_dict(tmp_path / "w.pth")
    assert not target.exists()


def test_the_bomb_would_go_off(tmp_path):
    target = tmp_path / "made_by_the_file"
    pickle.loads(pickle.dumps(Bomb(target)))
    assert target.exists()


def test_a_whole_pickled_module_is_refused(tmp_path):
    torch.save(torch.nn.Linear(2, 2), path := tmp_path / "w.pth")
    with pytest.raises(WeightsError, match="refused"):
        read_state_dict(path)
