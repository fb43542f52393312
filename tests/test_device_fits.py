"""Whole fits on a GPU and on a Mac, which tests/pretended_devices.py simulates.

On a machine that has such a device, the real one is used.
"""

import pickle
import warnings
from functools import cache, partial

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback, EpochScoring

from sktransfer import free_memory
from sktransfer._common.devices import available_devices
from sktransfer._common.random import seeded
from sktransfer.exceptions import DeviceWarning
from sktransfer.inspection import find_lr
from sktransfer.selection import depth
from tests.conftest import make_pictures
from tests.pretended_devices import having
from tests.small_estimators import LITE0, make_classifier, make_extractor

pytestmark = [
    pytest.mark.filterwarnings("ignore:L-BFGS did not converge"),
    pytest.mark.filterwarnings("ignore:Fine-tuning skipped"),
    pytest.mark.filterwarnings("ignore:Training ended"),
    pytest.mark.filterwarnings("ignore:Fine-tuning ended"),
]

X, y = make_pictures(16)


@pytest.fixture(autouse=True)
def few_rows_are_enough(monkeypatch):
    """Try depths on these few rows."""
    monkeypatch.setattr(depth, "_FEWEST_ROWS", 4)


# Together these reach every place where training, its check of the probe, calibration or
# prediction creates a tensor.
FITS = {
    "solved": {},
    "solved, of views": {"augment": "light", "n_views": 2, "tta": 2},
    "solved, validated": {
        "sampling": "balanced",
        "validation_fraction": 0.25,
        "calibrate": "temperature",
    },
    "screened": {
        "unfreeze_depth": 1,
        "validation_fraction": 0.25,
        "calibrate": "temperature",
    },
    "depth by evidence": {"unfreeze_depth": "auto", "sampling": "oversample"},
    "both by evidence": {"unfreeze_depth": "auto", "resize": "auto", "mixup": 0.2},
    "resize by evidence": {"resize": "auto", "sampling": "oversample"},
    "resize by evidence, tuned": {
        "resize": "auto",
        "unfreeze_depth": 1,
        "validation_fraction": 0.25,
    },
    "screened, sampled": {"unfreeze_depth": 1, "sampling": "oversample"},
    "tuned": {
        "unfreeze_depth": 2,
        "gradual_unfreezing": True,
        "schedule": "onecycle",
        "gradient_clipping": 1.0,
        "label_smoothing": 0.1,
    },
    "fresh views": {"unfreeze_depth": 1, "augment": "light"},
    "hidden": {
        "hidden_layer_sizes": (8,),
        "dropout": 0.5,
        "mc_dropout": 3,
        "sampling": "undersample",
        "callbacks": [EpochScoring("accuracy", lower_is_better=False)],
        "validation_fraction": 0.25,
        "early_stopping": True,
    },
    "hidden, tuned": {
        "hidden_layer_sizes": 8,
        "unfreeze_depth": 1,
        "ema_decay": 0.9,
        "mixup": 0.2,
        "validation_fraction": 0.25,
        "early_stopping": True,
        "schedule": "plateau",
    },
    "random": {"head_init": "random", "unfreeze_depth": 1, "optimizer": "sgd"},
    "all": {
        "backbone": "resnet18",  # which has BatchNorm
        "unfreeze_depth": "all",
        "cutmix": 0.5,
        "loss": "focal",
        "class_weight": "balanced",
        "batch_norm": "train",
    },
    "a transformer of timm": {
        "backbone": "timm/test_vit",
        "unfreeze_depth": 2,
        "pooling": "cls+avg",
        "validation_fraction": 0.25,
        "calibrate": "temperature",
    },
    "rotary positions": {"backbone": "timm/vit_tiny_patch16_dinov3_qkvb", "unfreeze_depth": 1},
    "dropout": {"dropout": 0.5, "mixup": 0.2, "ema_decay": 0.5},
    "bfloat16": {
        "unfreeze_depth": 1,
        "precision": "bfloat16",
        "engine": "torch",  # the CPU has another one, with values of its own
    },
}


@pytest.fixture(params=["cuda:0", "mps"])
def device(request, monkeypatch):
    """Name of a device that is simulated, unless this machine has it."""
    with having(monkeypatch, request.param):
        yield request.param


classifier = partial(
    make_classifier,
    backbone="squeezenet1_1",
    device="auto",
    engine="torch",
    max_epochs=2,
    batch_size=8,
)


@cache
def on_cpu(name):
    """Return the probabilities of the same fit on the CPU."""
    return classifier(device="cpu", **FITS[name]).fit(X, y).predict_proba(X)


def is_real(device):
    return device in available_devices()


def agrees(fitted, expected):
    # A real device sums in another order, and cuDNN rounds to TF32 by default.
    atol = 1e-5 if fitted.device_ == "cpu" or not is_real(fitted.device_) else 1e-2
    np.testing.assert_allclose(fitted.predict_proba(X), expected, atol=atol)


@pytest.mark.parametrize("device", ["cuda:0", "mps"])
@pytest.mark.parametrize("name", FITS)
def test_a_fit_on_a_device_gives_what_the_cpu_does(monkeypatch, name, device):
    if is_real(device) and "dropout" in FITS[name]:
        pytest.skip("a real device draws other random numbers")
    expected = on_cpu(name)
    with having(monkeypatch, device):
        fitted = classifier(**FITS[name]).fit(X, y)
        assert fitted.device_ == device
        assert {p.device for p in fitted.net_.module_.parameters()} == {torch.device(device)}
        agrees(fitted, expected)


@pytest.mark.parametrize("name", ["solved, validated", "hidden, tuned"])
def test_rows_that_do_not_fit_a_gpu_stay_on_the_cpu(monkeypatch, name):
    expected = on_cpu(name)
    with having(monkeypatch, "cuda:0", free_memory=1000):
        agrees(classifier(**FITS[name]).fit(X, y), expected)


def test_float16_is_for_cuda_devices(monkeypatch):
    expected = on_cpu("bfloat16")
    with having(monkeypatch, "cuda:1"):
        half = {"precision": "float16", "device": "cuda:1"}
        fitted = classifier(**FITS["bfloat16"] | half).fit(X, y)
        np.testing.assert_allclose(fitted.predict_proba(X), expected, atol=0.1)


def several_labels(device):
    labels = np.stack([y, 1 - y, np.arange(len(y)) % 2], axis=1)
    return classifier(
        device=device,
        loss="binary_cross_entropy",
        class_weight="balanced",
        unfreeze_depth=1,
    ).fit(X, labels)


def taught(device):
    teacher = classifier(device=device).fit(X, y)
    return classifier(device=device, distill_from=teacher, unfreeze_depth=1).fit(X, y)


def in_pieces(device):
    pieces = classifier(device=device, hidden_layer_sizes=8)
    for rows in (slice(8), slice(8, 16), slice(4, 12)):
        pieces.partial_fit(X[rows], y[rows], classes=[0, 1])
    return pieces


def solved_in_pieces(device):
    pieces = classifier(device=device)
    for rows in (slice(8), slice(8, 16)):
        pieces.partial_fit(X[rows], y[rows], classes=[0, 1])
    return pieces


def gone_on(device):
    warm = classifier(device=device, warm_start=True).fit(X[:12], y[:12]).fit(X, y)
    return warm.set_params(unfreeze_depth=1, validation_fraction=0.25).fit(X, y)


@pytest.mark.parametrize("fit", [several_labels, taught, in_pieces, solved_in_pieces, gone_on])
def test_other_kinds_of_fit(fit, monkeypatch):
    expected = fit("cpu").predict_proba(X)
    for device in ("cuda:0", "mps"):
        with having(monkeypatch, device):
            agrees(fit("auto"), expected)


class Interrupt(Callback):
    """Stop training in the second epoch, as if the process had been killed."""

    def on_epoch_begin(self, net, **kwargs):
        if len(net.history) == 2:
            raise RuntimeError("killed")


def test_a_checkpoint_is_taken_up_on_another_device(tmp_path, monkeypatch):
    options = FITS["hidden, tuned"] | {"checkpoint_dir": tmp_path, "max_epochs": 3}
    expected = classifier(device="cpu", **options).fit(X, y).predict_proba(X)
    with having(monkeypatch, "cuda:0"), pytest.raises(RuntimeError, match="killed"):
        classifier(**options, callbacks=[Interrupt()]).fit(X, y)
    assert list(tmp_path.iterdir())
    with having(monkeypatch, "mps"):
        agrees(classifier(**options).fit(X, y), expected)


@pytest.mark.usefixtures("device")
def test_a_range_test_of_learning_rates():
    found = find_lr(classifier(hidden_layer_sizes=8), X, y, n_steps=6)
    assert np.isfinite(found.losses).all()


@pytest.mark.parametrize("stage", [None, ["layer1", "layer4"], "logits"])
def test_features_on_a_device(tmp_path, monkeypatch, stage):
    # "logits" needs pretrained weights, which efficientnet_lite0 has without a download.
    backbone = LITE0 if stage == "logits" else "resnet18"
    extractor = make_extractor(backbone=backbone, stage=stage, batch_size=8, engine="torch")
    expected = extractor.fit_transform(X)
    extractor.set_params(device="auto", engine="auto", cache=tmp_path)
    for device in ("cuda:0", "mps"):
        with having(monkeypatch, device):
            extractor.fit(X).transform(X[:12])
            free_memory()
            tolerance = 2e-2 if is_real(device) else 1e-4
            np.testing.assert_allclose(
                extractor.transform(X), expected, rtol=tolerance, atol=tolerance
            )


@pytest.mark.parametrize("kind", ["cuda:0", "mps"])
def test_random_numbers_of_a_device_go_on_as_if_nothing_had_been(kind, monkeypatch):
    with having(monkeypatch, kind):
        restored, module = [], getattr(torch, kind.split(":")[0])
        state = torch.tensor([7], dtype=torch.uint8)
        monkeypatch.setattr(module, "get_rng_state", lambda *_: state)
        monkeypatch.setattr(module, "set_rng_state", lambda new, *_: restored.append(new))
        with seeded(0, kind):
            assert not restored
        assert restored == [state]


# Estimators that are loaded on a machine without their device.


def opened(pickled):
    """Unpickle an estimator, and return it with the warnings that this emits."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        return pickle.loads(pickled), caught


@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize("device", ["cuda:0", "mps"])
@pytest.mark.parametrize("fit", [lambda _: classifier().fit(X, y), several_labels, in_pieces])
def test_a_classifier_of_a_device_opens_on_a_cpu_and_says_so_once(monkeypatch, fit, device):
    with having(monkeypatch, device):
        fitted = fit("auto")
        expected = fitted.predict_proba(X)
        pickled = pickle.dumps(fitted)
        again, caught = opened(pickled)
        assert (again.device_, caught) == (device, [])
        agrees(again, expected)
    again, caught = opened(pickled)
    (warning,) = caught
    assert warning.category is DeviceWarning
    assert f"was fitted on {device}" in str(warning.message)
    assert again.device_ == "cpu"
    agrees(again, expected)
    if fit is in_pieces:
        again.partial_fit(X, y)


@pytest.mark.usefixtures("elsewhere")
def test_an_extractor_of_a_device_opens_on_a_cpu_and_says_so_once(monkeypatch):
    extractor = make_extractor(backbone="resnet18", device="auto")
    with having(monkeypatch, "mps"):
        expected = extractor.fit_transform(X)
        pickled = pickle.dumps(extractor)
    again, caught = opened(pickled)
    assert [warning.category for warning in caught] == [DeviceWarning]
    np.testing.assert_allclose(again.transform(X), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.usefixtures("elsewhere")
def test_a_pickle_of_the_second_gpu_opens_where_there_is_one(monkeypatch):
    with having(monkeypatch, "cuda:1"):
        fitted = classifier(device="cuda:1").fit(X, y)
        expected = fitted.predict_proba(X)
        pickled = pickle.dumps(fitted)
    with having(monkeypatch, "cuda:0"):
        again, caught = opened(pickled)
        assert len(caught) == 1
        agrees(again, expected)
