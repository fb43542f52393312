import os
import tempfile
from functools import partial

import pytest
import torch
from numpy.testing import assert_array_equal

from sktransfer.activations import results
from sktransfer.activations.memory import allocate
from sktransfer.exceptions import ImageError
from tests.conftest import make_pictures
from tests.small_estimators import LITE0, make_classifier, make_extractor


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The folder of temporary files."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(("limit", "maps"), [("48B", False), ("47B", True), ("0", True)])
@pytest.mark.usefixtures("folder")
def test_larger_than_the_limit_is_mapped(monkeypatch, mapped, limit, maps):
    monkeypatch.setenv("SKTRANSFER_MEMORY", limit)
    tensor = allocate((3, 4), torch.float32, may_map=True)
    assert tensor.shape == (3, 4)
    assert tensor.dtype == torch.float32
    assert mapped == ([(3, 4)] if maps else [])


def test_nothing_is_mapped_unless_it_may_be(monkeypatch, mapped):
    monkeypatch.setenv("SKTRANSFER_MEMORY", "0")
    allocate((3, 4), torch.float32)
    assert mapped == []


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.uint8])
def test_a_mapped_tensor_holds_values_and_leaves_no_file(monkeypatch, folder, dtype):
    monkeypatch.setenv("SKTRANSFER_MEMORY", "1kB")
    values = (torch.arange(30 * 40 * 50) % 251).reshape(30, 40, 50).to(dtype)
    tensor = allocate(values.shape, dtype, may_map=True)
    assert list(folder.iterdir()) == []
    for row in range(30):
        tensor[row] = values[row]
    assert torch.equal(tensor, values)
    assert torch.equal(tensor[[3, 1]], values[[3, 1]])
    assert list(folder.iterdir()) == []


@pytest.mark.skipif(not os.path.exists("/proc/self/maps"), reason="not on Linux")
def test_the_file_goes_with_the_tensor(monkeypatch, folder):
    monkeypatch.setenv("SKTRANSFER_MEMORY", "0")

    def mappings():
        with open("/proc/self/maps") as lines:
            return [line for line in lines if str(folder) in line]

    tensor = allocate((100, 100), torch.float32, may_map=True)
    row = tensor[5]
    assert len(mappings()) == 1
    del tensor
    assert len(mappings()) == 1
    del row
    assert mappings() == []


def test_open_files_do_not_pile_up(monkeypatch, folder):  # noqa: ARG001
    monkeypatch.setenv("SKTRANSFER_MEMORY", "0")
    if not os.path.exists("/proc/self/fd"):
        pytest.skip("not on Linux")
    before = len(os.listdir("/proc/self/fd"))
    tensors = [allocate((10, 10), torch.float32, may_map=True) for _ in range(20)]
    assert len(os.listdir("/proc/self/fd")) - before <= len(tensors)
    del tensors
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_missing_folder_for_the_file_is_an_error(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    monkeypatch.setenv("SKTRANSFER_MEMORY", "0")
    with pytest.raises(FileNotFoundError, match="missing"):
        allocate((3, 4), torch.float32, may_map=True)


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="blocks can't be counted here")
def test_room_on_the_disk_is_reserved_at_once(monkeypatch, folder):  # noqa: ARG001
    # Otherwise a disk that fills up later ends the process by SIGBUS, without an error.
    monkeypatch.setenv("SKTRANSFER_MEMORY", "0")
    copies = []
    original = tempfile.TemporaryFile

    def recorded(*args, **options):
        file = original(*args, **options)
        copies.append(os.dup(file.fileno()))
        return file

    monkeypatch.setattr(tempfile, "TemporaryFile", recorded)
    tensor = allocate((1000, 1000), torch.float32, may_map=True)
    (copy,) = copies
    taken = os.fstat(copy).st_blocks * 512
    os.close(copy)
    assert taken >= tensor.nbytes


# In a fit.


classifier = partial(make_classifier, backbone=LITE0, max_epochs=2, lr=1e-5)


@pytest.mark.parametrize(
    "parameters",
    [
        {"unfreeze_depth": 1},
        {"unfreeze_depth": 1, "validation_fraction": 0.25, "head_init": "random"},
        {"unfreeze_depth": "all", "max_epochs": 1},
        {"max_epochs": 10},
    ],
    ids=str,
)
def test_little_memory_changes_nothing_in_a_fit(monkeypatch, folder, mapped, parameters):
    X, y = make_pictures(24)
    expected = classifier(**parameters).fit(X, y).predict_proba(X)
    assert mapped == []
    monkeypatch.setenv("SKTRANSFER_MEMORY", "10kB")
    fitted = classifier(**parameters).fit(X, y)
    assert len(mapped) == 1
    assert mapped[0][0] == 24
    assert_array_equal(fitted.predict_proba(X), expected)
    assert len(mapped) == 1  # the scores are small, and no activations
    assert list(folder.iterdir()) == []


@pytest.mark.usefixtures("folder")
def test_unreadable_pictures_stop_a_mapped_fit_too(monkeypatch, picture_files):
    paths, y = picture_files
    with open(paths[20], "wb") as file:
        file.write(b"no picture")
    monkeypatch.setenv("SKTRANSFER_MEMORY", "0")
    with pytest.raises(ImageError, match="row 20 of X"):
        classifier().fit(paths, y)


def test_features_are_never_mapped(monkeypatch, mapped, pictures):
    monkeypatch.setenv("SKTRANSFER_MEMORY", "0")
    assert make_extractor(backbone=LITE0).fit_transform(pictures[0]).shape == (24, 1280)
    assert mapped == []


def test_an_invalid_limit_is_an_error_in_fit(monkeypatch, pictures):
    monkeypatch.setenv("SKTRANSFER_MEMORY", "plenty")
    with pytest.raises(ValueError, match=r"SKTRANSFER_MEMORY.*'plenty'"):
        classifier().fit(*pictures)


def test_values_are_allocated_once(monkeypatch):
    asked = []

    def recorded(shape, dtype, **options):
        asked.append(tuple(shape))
        return allocate(shape, dtype, **options)

    monkeypatch.setattr(results, "allocate", recorded)
    source = range(5)
    whole = results.Results(source, may_map=False, on_rows=lambda _: None)
    whole.put([1, 2], torch.ones(2, 3))
    whole.put([0, 4], torch.zeros(2, 3))
    whole.put([3], torch.full((1, 3), 7.0))
    assert asked == [(5, 3)]
    assert whole.values[:, 0].tolist() == [0, 1, 1, 7, 0]
