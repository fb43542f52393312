import json

import numpy as np
import pytest

from sktransfer import export
from sktransfer.persistence.graphs.openvino_graph import OpenVINOGraph
from tests.persistence.graphs.conftest import fitted_classifier, pictures_of


def test_a_pair_of_files(tmp_path):
    import openvino

    classifier = fitted_classifier(resize="squash")
    export(classifier, tmp_path / "tiny.xml", input="prepared")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["tiny.bin", "tiny.xml"]
    model = openvino.Core().read_model(tmp_path / "tiny.xml")
    told = json.loads(model.get_rt_info(["sktransfer", "classes"]).astype(str))
    assert told == ["ant", "bee"]
    compiled = openvino.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    pictures = pictures_of(16, 16)
    expected = classifier.predict_proba(pictures)
    got = compiled({"prepared": pictures})["probabilities"]
    np.testing.assert_allclose(got, expected, atol=1e-4)


def test_old_files_stay_where_writing_fails(tmp_path):
    path = tmp_path / "tiny.xml"
    path.write_text("old")
    path.with_suffix(".bin").write_text("old weights")
    with pytest.raises(FileNotFoundError), OpenVINOGraph().replaced(path) as new:
        new.write_text("without weights")
    assert (path.read_text(), path.with_suffix(".bin").read_text()) == ("old", "old weights")
    assert len(list(tmp_path.iterdir())) == 2


def test_what_a_link_leads_to_is_replaced(tmp_path):
    real = tmp_path / "real"
    real.mkdir()
    (real / "v1.xml").write_text("old")
    link = tmp_path / "model.xml"
    link.symlink_to(real / "v1.xml")
    with OpenVINOGraph().replaced(link) as new:
        new.write_text("new")
        new.with_suffix(".bin").write_text("weights")
    assert link.is_symlink()
    assert link.read_text() == "new"
    assert (real / "v1.bin").read_text() == "weights"


def test_weights_that_can_not_be_written(tmp_path):
    (tmp_path / "tiny.bin").mkdir()
    with (
        pytest.raises(IsADirectoryError, match=r"tiny\.bin is a folder"),
        OpenVINOGraph().replaced(tmp_path / "tiny.xml"),
    ):
        pass
