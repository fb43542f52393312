"""Files that can't be opened, and those of earlier versions, which can for ever."""

import builtins
import errno
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.pipeline import make_pipeline

from sktransfer import load, save
from sktransfer.exceptions import (
    BackboneError,
    DeviceUnavailableError,
    ModelFileError,
    ParameterError,
)
from tests.conftest import make_pictures
from tests.persistence.model_file.hostile import rewritten
from tests.small_estimators import make_classifier, make_extractor

X, y = make_pictures(24)
KEPT = Path(__file__).parent / "files"


@pytest.mark.parametrize("path", sorted(KEPT.glob("*.skt")), ids=lambda path: path.stem)
def test_files_of_earlier_versions_are_opened(path):
    expected = json.loads(path.with_suffix(".json").read_text())
    opened = load(path)
    call = getattr(opened, expected["method"])
    np.testing.assert_allclose(call(X[:4]), expected["values"], rtol=0, atol=1e-4)
    assert type(opened).__name__ == expected["class"]


def test_there_are_kept_files():
    assert len(list(KEPT.glob("*.skt"))) >= 4


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a model file"),
        (b"\x80\x04]\x94(K", "not a model file"),
        (b"PK", "not a model file"),
    ],
)
def test_other_files(content, message, tmp_path):
    path = tmp_path / "model.skt"
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match=rf"model\.skt can't be opened\. .*{message}"):
        load(path)


def test_paths_that_lead_to_no_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "missing.skt")
    with pytest.raises(IsADirectoryError, match="Give the name of a model file"):
        load(tmp_path)


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "model.skt")
    with pytest.raises(ModelFileError, match="It is not a file"):
        load(tmp_path / "model.skt")


def test_a_newer_format_names_the_version_that_it_needs(tmp_path):
    path = tmp_path / "model.skt"
    save(make_extractor(), path)
    rewritten(path, lambda manifest, _: manifest.update(format=2, sktransfer="9.1"))
    with pytest.raises(ModelFileError, match=r"sktransfer 9\.1 or newer"):
        load(path)


def test_the_device_is_checked_before_the_file_is_read(tmp_path):
    with pytest.raises(DeviceUnavailableError):
        load(tmp_path / "missing.skt", device="cuda:77")


def test_weights_that_are_not_there(tmp_path):
    path = tmp_path / "model.skt"
    for estimator in (make_extractor().fit(X), make_pipeline(make_extractor().fit(X))):
        save(estimator, path)
        with pytest.raises(BackboneError, match="neither a file nor a published name"):
            load(path, weights="nope.pth")


@pytest.mark.parametrize("arguments", [(3,), (None,), ("model.skt", None)])
def test_arguments_of_other_types(arguments):
    path, *device = arguments
    with pytest.raises(ParameterError, match="load takes the name of a file"):
        load(path, **({"device": device[0]} if device else {}))


def test_paths_of_other_types_and_of_graphs(tmp_path):
    with pytest.raises(ParameterError, match=r"path must be .* Use save\(estimator, path\)"):
        save("model.skt", make_extractor())
    for name in ("model.onnx", "model.XML", "model.pt2"):
        with pytest.raises(ParameterError, match="Use export"):
            save(make_extractor(), tmp_path / name)


def test_weights_of_several_backbones(tmp_path):
    path = tmp_path / "model.skt"
    teacher = make_classifier(backbone="shufflenet_v2_x0_5").fit(X, y)
    save(make_classifier(distill_from=teacher).fit(X, y), path)
    with pytest.raises(ParameterError, match="Use a mapping of their names"):
        load(path, weights="x.safetensors")
    with pytest.raises(ParameterError, match=r"weights has the backbones \['resnet18'\]"):
        load(path, weights={"resnet18": "x.safetensors"})


def test_entries_that_the_manifest_does_not_name(tmp_path):
    path = tmp_path / "model.skt"
    save(make_extractor(), path)
    rewritten(path, lambda manifest, _: manifest.update(objects=1))
    with pytest.raises(ModelFileError, match="other entries"):
        load(path)


def test_opening_imports_and_writes_nothing(tmp_path, monkeypatch):
    path = tmp_path / "model.skt"
    save(make_classifier().fit(X, y), path)
    load(path)
    before = set(sys.modules)
    opened = []
    original = builtins.open
    monkeypatch.setattr(
        builtins, "open", lambda *args, **kw: opened.append(args) or original(*args, **kw)
    )
    load(path)
    assert set(sys.modules) == before
    assert all("r" in (args[1] if len(args) > 1 else "r") for args in opened)


def test_an_old_file_stays_if_the_new_one_can_not_be_written(tmp_path, monkeypatch):
    path = tmp_path / "model.skt"
    save(make_extractor(), path)
    before = path.read_bytes()

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patches:
        patches.setattr("sktransfer.persistence.model_file.save.write_archive", full)
        with pytest.raises(OSError, match=r"No space left.*model\.skt"):
            save(make_classifier(), path)
    with pytest.raises(ParameterError):
        save(make_classifier(augment=print), path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["model.skt"]
    with pytest.raises(IsADirectoryError, match="is a folder"):
        save(make_extractor(), tmp_path)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        save(make_extractor(), tmp_path / "a" / "b.skt")
