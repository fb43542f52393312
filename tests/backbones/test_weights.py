import os

import pytest
import torch
from safetensors.torch import save_file

from sktransfer.backbones.names import backbone_names
from sktransfer.backbones.weights import find_weights
from sktransfer.exceptions import BackboneError
from tests.backbones.helpers import TINY_STATE, published_weights

# Which weights are meant.


@pytest.mark.parametrize(
    ("weights", "label"),
    [
        ("DEFAULT", "IMAGENET1K_V2"),
        ("IMAGENET1K_V2", "IMAGENET1K_V2"),
        ("IMAGENET1K_V1", "IMAGENET1K_V1"),
        ("MobileNet_V2_Weights.IMAGENET1K_V1", "IMAGENET1K_V1"),
        (None, "random"),
    ],
)
def test_published_names(weights, label):
    found = find_weights("mobilenet_v2", weights)
    assert found.label == label
    assert found.is_random == (weights is None)
    assert (found.origin is None) == (weights is None)


def test_the_first_published_is_the_default():
    assert list(published_weights("mobilenet_v2")) == ["IMAGENET1K_V2", "IMAGENET1K_V1"]


@pytest.mark.parametrize("name", backbone_names())
def test_every_backbone_has_published_weights(name):
    for weights in published_weights(name).values():
        assert weights.origin is not None or weights.path is not None
        assert 0 < weights.preprocessing.crop_size <= weights.preprocessing.resize_size


@pytest.mark.parametrize("weights", ["IMAGENET1K_V3", "/no/such/file.pth", "imagenet", ""])
def test_unknown_weights_list_the_names(weights):
    with pytest.raises(BackboneError, match=r"\['IMAGENET1K_V2', 'IMAGENET1K_V1'\].*None"):
        find_weights("mobilenet_v2", weights)


def test_a_folder_is_no_weights(tmp_path):
    with pytest.raises(BackboneError, match="neither a file nor a published name"):
        find_weights("mobilenet_v2", tmp_path)


def test_a_file_may_be_a_string_or_a_path(tmp_path):
    save_file(TINY_STATE, path := tmp_path / "w.safetensors")
    found = find_weights("mobilenet_v2", path)
    assert found == find_weights("mobilenet_v2", str(path))
    assert found.path == str(path.resolve())
    assert not found.is_random


@pytest.mark.parametrize("name", ["mine.IMAGENET1K_V1", "IMAGENET1K_V2"])
def test_a_file_wins_over_a_published_name(tmp_path, monkeypatch, name):
    save_file(TINY_STATE, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    for weights in (name, str(tmp_path / name), tmp_path / name):
        assert find_weights("mobilenet_v2", weights).path == str((tmp_path / name).resolve())


@pytest.mark.parametrize("name", ["DEFAULT", "mine.IMAGENET1K_V1"])
def test_default_means_the_default_whatever_files_there_are(tmp_path, monkeypatch, name):
    save_file(TINY_STATE, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert find_weights("mobilenet_v2", "DEFAULT").label == "IMAGENET1K_V2"


@pytest.mark.parametrize(
    "weights",
    ["/no/such/mine.IMAGENET1K_V1", "ResNet50_Weights.IMAGENET1K_V1", "a\0b", "~no such user/w"],
)
def test_the_end_of_a_name_is_not_a_published_name(weights):
    with pytest.raises(BackboneError, match="neither a file nor a published name"):
        find_weights("mobilenet_v2", weights)


def test_home_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    save_file(TINY_STATE, tmp_path / "w.safetensors")
    found = find_weights("mobilenet_v2", "~/w.safetensors")
    assert found.path == str((tmp_path / "w.safetensors").resolve())


def test_a_replaced_file_is_another_source(tmp_path):
    save_file(TINY_STATE, path := tmp_path / "w.safetensors")
    first = find_weights("mobilenet_v2", path)
    assert find_weights("mobilenet_v2", path) == first
    os.utime(path, ns=(1, 1))
    assert find_weights("mobilenet_v2", path) != first


# The preprocessing of a local file.


def sizes(source):
    return source.preprocessing.resize_size, source.preprocessing.crop_size


@pytest.mark.parametrize(
    ("stated", "resize_size"),
    [
        ("IMAGENET1K_V2", 232),
        ("IMAGENET1K_V1", 256),
        ("MobileNet_V2_Weights.IMAGENET1K_V2", 232),
        ("of my own", 256),
        (None, 256),
    ],
)
def test_preprocessing_stated_in_the_file(tmp_path, stated, resize_size):
    metadata = {"preprocessing": stated} if stated else {"format": "pt"}
    save_file(TINY_STATE, path := tmp_path / "w.safetensors", metadata=metadata)
    assert sizes(find_weights("mobilenet_v2", path)) == (resize_size, 224)


@pytest.mark.parametrize(("label", "size"), [("IMAGENET1K_V2", 232), ("IMAGENET1K_V1", 256)])
def test_preprocessing_of_a_published_file_name(tmp_path, label, size):
    name = published_weights("mobilenet_v2")[label].origin.rsplit("/", 1)[-1]
    torch.save(TINY_STATE, path := tmp_path / name)
    assert sizes(find_weights("mobilenet_v2", path)) == (size, 224)


@pytest.mark.parametrize("filename", ["w.pth", "w.safetensors", "mobilenet_v2.pth"])
def test_preprocessing_without_a_word_is_the_first_published(tmp_path, filename):
    (tmp_path / filename).write_bytes(b"no weights: only its name is looked at")
    assert sizes(find_weights("mobilenet_v2", tmp_path / filename)) == (256, 224)
