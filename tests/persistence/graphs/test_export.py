import json
import logging
import warnings

import numpy as np
import pytest
import torch
from sklearn.exceptions import NotFittedError

from sktransfer import export, load, save
from sktransfer.exceptions import DeviceWarning, ExportError, ParameterError
from sktransfer.persistence.graphs import verification
from sktransfer.persistence.graphs.export import FORMATS
from tests.persistence.graphs.conftest import fitted_classifier, pictures_of
from tests.small_estimators import make_classifier

SIZES = [(30, 41), (41, 30), (16, 16), (18, 25), (1, 1), (7, 90)]


@pytest.fixture(scope="module")
def path(classifier, tmp_path_factory):
    path = tmp_path_factory.mktemp("graphs") / "tiny.onnx"
    export(classifier, path)
    return path


def session_of(path):
    import onnxruntime

    return onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("size", SIZES)
def test_pictures_of_any_size(classifier, path, size):
    pictures = pictures_of(*size)
    probabilities, label = session_of(path).run(None, {"pictures": pictures})
    np.testing.assert_allclose(probabilities, classifier.predict_proba(pictures), atol=1e-5)
    assert (classifier.classes_[label] == classifier.predict(pictures)).all()
    assert (probabilities.dtype, label.dtype) == (np.float32, np.int64)


def test_the_prepared_square(classifier, tmp_path):
    export(classifier, tmp_path / "prepared.onnx", input="prepared")
    session = session_of(tmp_path / "prepared.onnx")
    assert session.get_inputs()[0].shape[1:] == [16, 16, 3]
    pictures = pictures_of(40, 33)
    preset = classifier._model.backbone.preprocessing
    squares = np.stack([preset(picture) for picture in pictures])
    probabilities, _ = session.run(None, {"prepared": squares})
    np.testing.assert_allclose(probabilities, classifier.predict_proba(pictures), atol=1e-5)


def test_one_file_with_what_it_is(classifier, path):
    assert [each.name for each in path.parent.iterdir()] == ["tiny.onnx"]
    session = session_of(path)
    told = session.get_modelmeta().custom_metadata_map
    assert json.loads(told["classes"]) == ["ant", "bee"]
    assert json.loads(told["digest"]) == classifier._model.backbone.reference.digest
    (given,) = session.get_inputs()
    assert (given.name, given.shape) == ("pictures", ["n", "h", "w", 3])
    outputs = [(each.name, each.shape) for each in session.get_outputs()]
    assert outputs == [("probabilities", ["n", 2]), ("label", ["n"])]


def test_the_estimator_and_torch_stay_as_they_were(tmp_path):
    classifier = fitted_classifier(unfreeze_depth=1, max_epochs=1, dropout=0.5)
    pictures = pictures_of(20, 24)
    expected = classifier.predict_proba(pictures)
    module = classifier.net_.module_.train()
    trains = [parameter.requires_grad for parameter in module.parameters()]
    filters, state = [*warnings.filters], torch.random.get_rng_state()
    threads = torch.get_num_threads()
    export(classifier, tmp_path / "stages.pt2", input="prepared")
    assert module.training
    assert [parameter.requires_grad for parameter in module.parameters()] == trains
    assert warnings.filters == filters
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.get_num_threads() == threads
    assert torch.is_grad_enabled()
    assert (classifier.predict_proba(pictures) == expected).all()


def test_nothing_is_printed(classifier, tmp_path, capfd, caplog):
    export(classifier, tmp_path / "quiet.onnx", input="prepared")
    assert capfd.readouterr() == ("", "")
    assert not [record for record in caplog.records if record.levelno > logging.DEBUG]


def test_a_wrong_graph_is_not_written(classifier, tmp_path, monkeypatch):
    path = tmp_path / "tiny.pt2"
    path.write_bytes(b"an old file")
    right = verification.expected
    monkeypatch.setattr(
        verification, "expected", lambda *args: [0.9 * right(*args)[0], *right(*args)[1:]]
    )
    with pytest.raises(ExportError, match="differ from the estimator's by"):
        export(classifier, path, input="prepared")
    assert path.read_bytes() == b"an old file"
    assert list(tmp_path.iterdir()) == [path]


def test_a_shorter_precision_becomes_float32(tmp_path):
    classifier = fitted_classifier(precision="bfloat16", engine="torch")
    with pytest.warns(DeviceWarning, match="becomes float32"):
        export(classifier, tmp_path / "tiny.pt2", input="prepared")


@pytest.mark.parametrize("kind", FORMATS)
def test_missing_packages(kind, classifier, tmp_path, monkeypatch):
    monkeypatch.setattr(type(FORMATS[kind]), "needs", ("a_package_of_nobody",))
    with pytest.raises(ImportError, match="a_package_of_nobody: pip install 'sktransfer"):
        export(classifier, tmp_path / f"tiny{kind}", input="prepared")


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"path": "model.h5"}, "must end in one of .onnx, .xml, .pt2"),
        ({"path": "model"}, "must end in one of"),
        ({"path": "m.onnx", "input": "floats"}, "must be one of 'pictures', 'prepared'"),
        ({"path": "m.onnx", "opset": 11}, "must be an integer of 18 or higher"),
        ({"path": "m.onnx", "opset": "18"}, "must be an integer of 18 or higher"),
        ({"path": "m.xml"}, "Use input='prepared', or a file that ends in .onnx or .pt2"),
        ({"path": "m.pt2", "opset": 18}, "opset=18 is for files of ONNX"),
    ],
)
def test_arguments_without_a_meaning(arguments, match, classifier, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ParameterError, match=match):
        export(classifier, **arguments)
    assert not list(tmp_path.iterdir())


def test_a_place_that_can_not_be_written(classifier, tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        export(classifier, tmp_path / "nowhere" / "tiny.onnx")
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(IsADirectoryError, match="is a folder"):
        export(classifier, tmp_path / "folder.onnx")


def test_an_estimator_from_a_model_file(classifier, tmp_path):
    save(classifier, tmp_path / "tiny.skt", include_backbone=True)
    export(load(tmp_path / "tiny.skt"), tmp_path / "tiny.pt2", input="prepared")


def test_unfitted_estimators(tmp_path):
    with pytest.raises(NotFittedError):
        export(make_classifier(), tmp_path / "tiny.onnx")
    assert not list(tmp_path.iterdir())
