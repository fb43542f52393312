"""Graphs and model files of classifiers that were fitted on a GPU or on a Mac.

As in tests/test_device_fits.py, a real device is used where there is one.
"""

import numpy as np
import pytest

from sktransfer import export, load, save
from sktransfer.persistence.graphs.export import FORMATS
from tests.persistence.graphs.conftest import fitted_classifier, pictures_of
from tests.pretended_devices import having


@pytest.mark.filterwarnings("ignore:Training ended")
@pytest.mark.parametrize("device", ["cuda:0", "mps"])
@pytest.mark.parametrize(
    "parameters",
    [{}, {"unfreeze_depth": 1, "max_epochs": 2}, {"hidden_layer_sizes": 8, "max_epochs": 2}],
    ids=["head", "depth 1", "hidden"],
)
def test_a_fit_on_a_device_gives_a_graph_for_a_cpu(parameters, device, tmp_path, monkeypatch):
    pictures = pictures_of(30, 41)
    with having(monkeypatch, device):
        fitted = fitted_classifier(device="auto", engine="torch", **parameters)
        assert fitted.device_ == device
        on_device = fitted.predict_proba(pictures)
        save(fitted, tmp_path / "model.skt")
    export(fitted, tmp_path / "model.onnx")  # torch can't record while a device is simulated
    on_cpu = load(tmp_path / "model.skt", device="cpu").predict_proba(pictures)
    # A real device rounds to TF32 by default.
    np.testing.assert_allclose(on_cpu, on_device, atol=1e-2)
    in_graph, _ = FORMATS[".onnx"].runner(tmp_path / "model.onnx")(pictures)
    np.testing.assert_allclose(in_graph, on_cpu, atol=1e-5)
