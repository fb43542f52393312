import json

import torch

from sktransfer import export
from sktransfer.persistence.graphs.torch_archive import METADATA
from tests.persistence.graphs.conftest import pictures_of


def test_torch_runs_it_alone(classifier, tmp_path):
    export(classifier, tmp_path / "tiny.pt2")
    extra = {METADATA: ""}
    program = torch.export.load(str(tmp_path / "tiny.pt2"), extra_files=extra)
    for size in [(30, 41), (1, 1)]:
        pictures = torch.from_numpy(pictures_of(*size))
        probabilities, label = program.module()(pictures)
        expected = torch.from_numpy(classifier.predict_proba(pictures.numpy()))
        torch.testing.assert_close(probabilities, expected, rtol=1e-5, atol=1e-6)
        assert (label == expected.argmax(1)).all()
    told = json.loads(extra[METADATA])
    assert json.loads(told["classes"]) == ["ant", "bee"]
