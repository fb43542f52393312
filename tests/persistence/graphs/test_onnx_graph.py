import pytest

from sktransfer.exceptions import ExportError
from sktransfer.persistence.graphs import onnx_graph
from sktransfer.persistence.graphs.network import network_of
from sktransfer.persistence.graphs.onnx_graph import OnnxGraph
from sktransfer.persistence.graphs.recording import recorded


@pytest.fixture(scope="module")
def recording(classifier):
    network = network_of(classifier._model, "prepared")
    return recorded(network), network


@pytest.mark.parametrize("opset", [None, 20])
def test_the_named_opset(recording, tmp_path, opset):
    import onnx

    OnnxGraph().write(*recording, {"key": "value"}, tmp_path / "tiny.onnx", opset)
    model = onnx.load(tmp_path / "tiny.onnx")
    versions = {each.domain: each.version for each in model.opset_import}
    assert versions[""] == (opset or 18)
    assert {each.key: each.value for each in model.metadata_props} == {"key": "value"}


def test_an_opset_that_does_not_exist(recording, tmp_path):
    with pytest.raises(ExportError):
        OnnxGraph().write(*recording, {}, tmp_path / "tiny.onnx", 999)


def test_too_many_weights_for_one_file(recording, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_graph, "_LARGEST", 100)
    with pytest.raises(ExportError, match=r"holds 2 GB. Write .xml or .pt2"):
        OnnxGraph().write(*recording, {}, tmp_path / "tiny.onnx", None)
