"""Each parameter of both estimators has an effect, which a case here shows.

Most cases compare the predictions of two fits. A parameter that must not change predictions has a
case that compares something else, such as the files that are written.
"""

import inspect
import io
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.exceptions import ConvergenceWarning
from skorch.callbacks import Callback, EpochScoring
from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook

from sktransfer import PretrainedFeatureExtractor, PretrainedImageClassifier
from sktransfer.activations import streaming
from sktransfer.exceptions import (
    DeviceUnavailableError,
    ImageError,
    ImageWarning,
    TrainingWarning,
)
from tests.conftest import make_pictures
from tests.small_estimators import LITE0, make_classifier, make_extractor

pytestmark = [
    pytest.mark.filterwarnings(f"ignore::{category.__module__}.{category.__name__}")
    for category in (ConvergenceWarning, TrainingWarning, ImageWarning)
]
# Pretrained, because features of random weights hardly differ between pictures. The size is large
# enough for a last feature map of more than 1 x 1, of which all kinds of pooling would be equal.
NETWORK = {"backbone": LITE0, "image_size": 48}


def imbalanced_pictures(n, seed):
    """Make noisy pictures of two classes; two thirds of them are in the first class."""
    X, y = make_pictures(n, n_classes=3, seed=seed)
    noise = np.random.default_rng(seed + 10).integers(0, 256, X.shape)
    return (0.5 * X + 0.5 * noise).astype(np.uint8), y // 2


X, Y = imbalanced_pictures(18, seed=0)
TEST, _ = imbalanced_pictures(6, seed=1)


# Functions that return the values to compare.


def fitted(model):
    return model.fit(X, Y)


def results(model):
    """Return log-probabilities, or features, of test pictures."""
    model = fitted(model)
    return model.transform(TEST) if hasattr(model, "transform") else model.predict_log_proba(TEST)


def error(model, pictures=X):
    """Return the class of the error that fit raises, or "none"."""
    try:
        model.fit(pictures, Y)
    except (ValueError, RuntimeError) as raised:
        return type(raised)
    return "none"


def error_of_bands(model):
    """Return the class of the error of a fit to five channels, or "none"."""
    return error(model, pictures=X[..., [0, 1, 2, 1, 0]])


def printed(model):
    """Return two flags: a progress bar was completed, and skorch printed its table."""
    with redirect_stderr(io.StringIO()) as bars, redirect_stdout(io.StringIO()) as tables:
        results(model)
    return "100%" in bars.getvalue(), "train_loss" in tables.getvalue()


def reading_threads(model):
    """Return the sizes of the thread pools that read pictures."""
    numbers, original = set(), ThreadPoolExecutor.__init__

    def spy(pool, max_workers=None, thread_name_prefix="", **others):
        if "reader" in thread_name_prefix:
            numbers.add(max_workers)
        original(pool, max_workers, thread_name_prefix, **others)

    with patch.object(ThreadPoolExecutor, "__init__", spy):
        results(model)
    return numbers


def engines_asked(model):
    """Return the names of the engines that are asked for."""
    names, original = set(), streaming.engine_for

    def spy(network, start, inputs, choice, *others):
        names.add(choice.engine)
        return original(network, start, inputs, choice, *others)

    with patch.object(streaming, "engine_for", spy):
        results(model)
    return names


def largest_batch(model):
    """Return the largest number of pictures that pass a convolution together."""
    sizes = []

    def note(module, inputs):
        if isinstance(module, nn.Conv2d):
            sizes.append(len(inputs[0]))

    handle = register_module_forward_pre_hook(note)
    try:
        results(model)
    finally:
        handle.remove()
    return max(sizes)


def has_files():
    """Return True if the folder "kept" contains files; each test starts in an empty folder."""
    return any(path.is_file() for path in Path("kept").rglob("*"))


def files_kept(model):
    results(model)
    return has_files()


class FolderWatch(Callback):
    """Record before each epoch if the folder "kept" contains files."""

    def initialize(self):
        self.seen = []
        return self

    def on_epoch_begin(self, net, **_):
        self.seen.append(has_files())


def files_of_training(model):
    """Return two flags: the folder "kept" contains files during a fit, and after it."""
    watch = FolderWatch()
    fitted(model.set_params(callbacks=[watch]))
    return any(watch.seen), has_files()


def epochs(model):
    return fitted(model).n_iter_


def epochs_of_two_fits(model):
    fitted(model)
    return epochs(model)


def measured(model):
    """Return the names of the entries in the training history."""
    return set(fitted(model).history_[-1])


def rows_of_nan(model):
    """Return for two files, the first of which is damaged, if their features are NaN."""
    Path("damaged.png").write_bytes(b"no picture")
    drawing = Path(__file__).parent / "datasets" / "clipart_twins" / "bird_014.webp"
    try:
        features = model.fit_transform(["damaged.png", drawing])
    except ImageError as raised:
        return type(raised)
    return np.isnan(features).any(axis=1).tolist()


@dataclass(frozen=True)
class Case:
    """Effect of a parameter's value, compared with its default.

    Parameters
    ----------
    value : object
        Value of the parameter.
    beside : mapping
        Other parameters, which are set in both estimators.
    shows : callable
        Called with an estimator, returns a value that must differ.
    becomes : object, optional
        The value that `shows` must return for `value`, where it is known.
    keeps : callable, optional
        Called with an estimator, returns a value that must be the same.
    """

    value: Any
    beside: Mapping[str, Any] = field(default_factory=dict)
    shows: Callable[[Any], Any] = results
    becomes: Any = None
    keeps: Callable[[Any], Any] | None = None


# Gradient descent on a linear head, on a head with a hidden layer, and on an unfrozen stage.
DESCENDED = {"optimizer": "adamw", "max_epochs": 2, "lr": 1e-2, "batch_size": 8}
HIDDEN = {"hidden_layer_sizes": (8,), "max_epochs": 2, "lr": 1e-2}
TUNED = {"unfreeze_depth": 1, "max_epochs": 2, "lr": 1e-3}
VALIDATED = {**HIDDEN, "validation_fraction": 0.25}
# At this rate the weights do not change, so no epoch improves the score.
STUCK = {**VALIDATED, "max_epochs": 10, "lr": 1e-12}
FLAT = partial(error, pictures=X.reshape(len(X), -1))
TEACHER = DummyClassifier().fit(X, Y)  # predicts the class frequencies for each picture
TAUGHT = {"distill_from": TEACHER}

SHARED = {
    "backbone": Case("squeezenet1_1", {"weights": None}),
    "weights": Case(None),
    "pooling": Case("max"),
    "image_size": Case(64),
    "resize": Case("pad"),
    "image_shape": Case((32, 32, 3), shows=FLAT, becomes="none"),
    "in_channels": Case(5, shows=error_of_bands, becomes="none"),
    "device": Case("cuda:99", shows=error, becomes=DeviceUnavailableError),
    "precision": Case("bfloat16", {"engine": "torch"}),
    "engine": Case("torch", shows=engines_asked, keeps=results, becomes={"torch"}),
    "n_jobs": Case(3, shows=reading_threads, keeps=results, becomes={3}),
    "cache": Case("kept", shows=files_kept, keeps=results, becomes=True),
    "verbose": Case(1, shows=printed, keeps=results, becomes=(True, False)),
}
EXTRACTOR = {
    **SHARED,
    "stage": Case(["level1", "level2"]),
    "batch_size": Case(2, shows=largest_batch, keeps=results, becomes=2),
    "on_error": Case("nan", shows=rows_of_nan, becomes=[True, False]),
}
CLASSIFIER = {
    **SHARED,
    "unfreeze_depth": Case(1, {"max_epochs": 2}),
    "hidden_layer_sizes": Case((8,), DESCENDED),
    "dropout": Case(0.5, HIDDEN),
    "augment": Case("light", DESCENDED),
    "n_views": Case(2, {**DESCENDED, "augment": "light"}),
    "mixup": Case(0.5, DESCENDED),
    "cutmix": Case(1.0, TUNED),
    "loss": Case("focal", DESCENDED),
    "label_smoothing": Case(0.2),
    "class_weight": Case("balanced"),
    "sampling": Case("oversample"),
    "distill_from": Case(TEACHER),
    "distill_weight": Case(0.9, TAUGHT),
    "distill_temperature": Case(8.0, TAUGHT),
    "optimizer": Case("sgd", DESCENDED),
    "lr": Case(1e-3, DESCENDED),
    "lr_decay": Case(0.1, TUNED),
    "weight_decay": Case(1.0),
    "feature_penalty": Case(10.0, TUNED),
    "schedule": Case(None, DESCENDED),
    "gradient_clipping": Case(1e-2, {**DESCENDED, "optimizer": "sgd"}),
    "ema_decay": Case(0.9, DESCENDED),
    "batch_norm": Case("train", TUNED),
    "max_epochs": Case(1, DESCENDED),
    "batch_size": Case(5, DESCENDED),
    "head_init": Case("random", TUNED),
    "gradual_unfreezing": Case([1], TUNED),
    "validation_fraction": Case(0.25),
    "early_stopping": Case(True, STUCK, shows=epochs),
    "n_iter_no_change": Case(1, {**STUCK, "early_stopping": True}, shows=epochs),
    "calibrate": Case("temperature", VALIDATED),
    "callbacks": Case(
        [EpochScoring("accuracy", name="mine", lower_is_better=False)], VALIDATED, shows=measured
    ),
    "warm_start": Case(True, HIDDEN, shows=epochs_of_two_fits, becomes=4),
    "checkpoint_dir": Case(
        "kept", HIDDEN, shows=files_of_training, keeps=results, becomes=(True, False)
    ),
    "tta": Case(3),
    "mc_dropout": Case(5, {**HIDDEN, "dropout": 0.5}),
    "random_state": Case(1, HIDDEN),
}


def same(value, other):
    if isinstance(value, np.ndarray):
        return value.shape == other.shape and np.allclose(value, other, rtol=1e-3, atol=1e-4)
    return value == other


@pytest.mark.parametrize(
    ("estimator", "cases"),
    [(PretrainedFeatureExtractor, EXTRACTOR), (PretrainedImageClassifier, CLASSIFIER)],
)
def test_every_parameter_has_a_case(estimator, cases):
    assert set(cases) == set(inspect.signature(estimator).parameters)


@pytest.mark.parametrize(
    ("make", "name", "case"),
    [
        pytest.param(make, name, case, id=f"{make.__name__}, {name}")
        for make, cases in ((make_extractor, EXTRACTOR), (make_classifier, CLASSIFIER))
        for name, case in cases.items()
    ],
)
def test_the_parameter_changes(tmp_path, monkeypatch, make, name, case):
    monkeypatch.chdir(tmp_path)
    beside = {**NETWORK, **case.beside}
    given = {**beside, name: case.value}
    # Two equal fits must agree. Otherwise the difference below could be due to chance.
    before, again = (case.shows(make(**beside)) for _ in range(2))
    assert same(before, again)
    after = case.shows(make(**given))
    assert not same(before, after)
    if case.becomes is not None:
        assert same(after, case.becomes)
    if case.keeps is not None:
        assert same(case.keeps(make(**beside)), case.keeps(make(**given)))
