"""Promises about known failures of such libraries that no other test holds."""

import os
import signal

import joblib
import numpy as np
import pytest
import sklearn
import torch
from joblib.externals.loky.process_executor import TerminatedWorkerError
from numpy.testing import assert_allclose
from PIL import Image, ImageFile
from sklearn.base import clone
from sklearn.exceptions import UnsetMetadataPassedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from sktransfer import cache_info
from sktransfer.activations import streaming
from sktransfer.activations.store.folder import FILE, FOLDER
from sktransfer.exceptions import CacheWarning
from sktransfer.images.decoding import decode_file
from tests import test_parallel as parallel
from tests.conftest import make_pictures
from tests.faults.helpers import (
    LABELS,
    PICTURES,
    classifier,
    clean_features,
    extractor,
    learned,
    told,
)


def test_no_gpu_is_asked_for_before_the_fit(monkeypatch):
    """A process that has started CUDA can't be forked any more (torch#40403)."""

    def asked(*_, **__):
        raise AssertionError("CUDA was started")

    for name in ("is_available", "device_count", "init", "_lazy_init", "current_device"):
        monkeypatch.setattr(torch.cuda, name, asked)
    for make in (extractor, classifier):
        estimator = clone(make(device="cuda:0"))
        estimator.set_params(batch_size=3).get_params()
        repr(estimator)


def train_one(seed):
    parameters = {"unfreeze_depth": 1, "max_epochs": 1} if seed % 2 else {}
    model = classifier(random_state=seed, **parameters)
    return model.fit(PICTURES, LABELS).predict_proba(PICTURES)


@pytest.mark.slow  # fifty fits in forked processes
@parallel.needs_fork
def test_fifty_fits_in_forked_processes_end(tmp_path):
    """Threads that were running before a fork must not lock up the child (torch#75147)."""
    script = (
        "import json, joblib\nfrom tests.faults.test_promises import train_one\n"
        "if __name__ == '__main__':\n    train_one(0)\n"
        "    with joblib.parallel_config('multiprocessing'):\n"
        "        found = joblib.Parallel(2)(joblib.delayed(train_one)(i) for i in range(50))\n"
        "    print(json.dumps([each.tolist() for each in found]))\n"
    )
    found = np.array(parallel.run_script(tmp_path / "script.py", script, OMP_NUM_THREADS="2"))
    for seed in (0, 1, 48, 49):
        assert_allclose(found[seed], train_one(seed), atol=1e-3)


def transform_and_die(folder):
    original, batches = streaming.engine_for, []

    def engine_for(*args):
        batches.append(args)
        if len(batches) == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*args)

    streaming.engine_for = engine_for
    streaming_rows(folder)


def streaming_rows(folder):
    X, _ = make_pictures(24)
    return extractor(cache=folder, batch_size=4).fit_transform(X)


@pytest.mark.slow  # workers take seconds to start
def test_a_worker_that_is_killed_is_an_error_and_its_rows_are_kept(tmp_path, monkeypatch):
    """Workers are usually killed for their memory, and then nothing must hang (joblib#812)."""
    monkeypatch.setattr("sktransfer.activations.store.stored._ROWS", 4)
    with pytest.raises(TerminatedWorkerError), joblib.parallel_config("loky"):
        joblib.Parallel(2)(joblib.delayed(transform_and_die)(tmp_path) for _ in range(2))
    with joblib.parallel_config("loky"):
        found = joblib.Parallel(2)(joblib.delayed(streaming_rows)(tmp_path) for _ in range(2))
    for features in found:
        assert_allclose(features, extractor().fit_transform(make_pictures(24)[0]), atol=1e-5)
    assert cache_info(tmp_path).rows == 24


@pytest.mark.parametrize("parameters", [{}, {"unfreeze_depth": 1, "max_epochs": 1}])
def test_nothing_of_the_training_is_kept(parameters):
    """Optimizers and activations would make each fit of a search larger (keras#2689)."""
    net = classifier(**parameters).fit(PICTURES, LABELS).net_
    held = [value for value in vars(net).values() if isinstance(value, torch.optim.Optimizer)]
    assert held == []
    assert all(tensor.grad is None for tensor in net.module_.parameters())


def test_settings_of_pillow_stay(tmp_path):
    Image.fromarray(PICTURES[0]).save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(content[: len(content) // 2])
    before = ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS
    with told():
        extractor(on_error="nan").fit_transform([tmp_path / "a.png"])
    assert before == (ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS) == (False, before[1])


@pytest.mark.parametrize("name", ["ramp.png", "ramp.tif"])
def test_a_ramp_of_16_bits_keeps_its_levels(tmp_path, name):
    ramp = np.linspace(0, 65535, 4096).astype(np.uint16).reshape(64, 64)
    Image.fromarray(ramp).save(tmp_path / name)
    assert len(np.unique(np.asarray(decode_file(tmp_path / name)))) >= 250


def test_weights_that_nobody_asked_for_are_an_error():
    """They would be dropped without a word (scikit-learn#21134)."""
    weights = np.ones(8)
    with sklearn.config_context(enable_metadata_routing=True):
        pipeline = make_pipeline(extractor(), LogisticRegression())
        with pytest.raises(UnsetMetadataPassedError):
            pipeline.fit(PICTURES, LABELS, sample_weight=weights)
        last = classifier().set_fit_request(sample_weight=True)
        found = make_pipeline("passthrough", last).fit(PICTURES, LABELS, sample_weight=weights)
    assert_allclose(found.predict_proba(PICTURES), learned(), atol=1e-4)


@pytest.mark.parametrize("dispatch", [False, True])
def test_tensors_with_and_without_dispatch_on_arrays(monkeypatch, dispatch):
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")  # scikit-learn asks for it
    X = torch.from_numpy(PICTURES.copy()).permute(0, 3, 1, 2)
    rows, y = torch.from_numpy(PICTURES.reshape(8, -1).copy()), torch.from_numpy(LABELS)
    with sklearn.config_context(array_api_dispatch=dispatch):
        features = extractor().fit_transform(X)
        model = classifier().fit(X, y, sample_weight=torch.ones(8))
        flat = extractor(image_shape=(32, 32, 3)).fit_transform(rows)
        labels, probabilities = model.predict(X), model.predict_proba(X)
    assert {type(found) for found in (features, flat, labels, probabilities)} == {np.ndarray}
    assert_allclose(features, clean_features(), rtol=1e-5, atol=1e-5)
    assert_allclose(flat, clean_features(), rtol=1e-5, atol=1e-5)
    assert_allclose(probabilities, learned(), rtol=1e-4, atol=1e-4)


def test_files_that_can_not_be_replaced(tmp_path, monkeypatch):
    """Windows refuses to rename a file that another program has open (cachelib#85)."""
    extractor(cache=tmp_path).fit_transform(PICTURES)
    with open(tmp_path / FOLDER / FILE, "r+b") as stream:
        stream.write(b"damaged" * 20)

    def refused(*_, **__):
        raise PermissionError(13, "The process cannot access the file")

    monkeypatch.setattr(os, "replace", refused)
    with told(CacheWarning) as messages:
        found = extractor(cache=tmp_path).fit_transform(PICTURES)
    assert len(messages) == 1
    assert_allclose(found, clean_features(), rtol=1e-5, atol=1e-5)
