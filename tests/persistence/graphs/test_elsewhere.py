"""A graph runs where there is neither this package nor torch."""

import json
import subprocess
import sys
import venv

import numpy as np
import pytest

from sktransfer import export
from tests.conftest import HANGS
from tests.persistence.graphs.conftest import fitted_classifier, pictures_of

PROGRAM = """
import importlib.util, json, sys
import numpy as np, onnxruntime
assert not [name for name in ("torch", "sktransfer", "sklearn") if importlib.util.find_spec(name)]
session = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
classes = json.loads(session.get_modelmeta().custom_metadata_map["classes"])
probabilities, labels = [], []
for pictures in np.load("pictures.npz").values():
    p, label = session.run(["probabilities", "label"], {"pictures": pictures})
    probabilities += p.tolist()
    labels += [classes[i] for i in label]
json.dump([probabilities, labels], sys.stdout)
"""


def run(*command, **options):
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=HANGS, **options
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.slow
def test_a_fresh_environment_with_onnxruntime_and_numpy_alone(tmp_path):
    environment = tmp_path / "environment"
    venv.create(environment, with_pip=True)
    python = str(environment / ("Scripts" if sys.platform == "win32" else "bin") / "python")
    code, _, error = run(python, "-m", "pip", "install", "-q", "onnxruntime", "numpy")
    if code:
        pytest.skip(f"pip can't install onnxruntime here: {error[-300:]}")
    classifier = fitted_classifier(resize="pad")
    export(classifier, tmp_path / "model.onnx")
    batches = [pictures_of(height, width) for height, width in [(30, 41), (64, 20), (16, 16)]]
    np.savez(tmp_path / "pictures.npz", *batches)
    # -I: without PYTHONPATH, and without the folder of the script.
    code, printed, error = run(python, "-I", "-c", PROGRAM, cwd=tmp_path)
    assert code == 0, error
    probabilities, labels = json.loads(printed)
    expected = np.concatenate([classifier.predict_proba(batch) for batch in batches])
    np.testing.assert_allclose(probabilities, expected, atol=1e-5)
    assert labels == np.concatenate([classifier.predict(batch) for batch in batches]).tolist()
