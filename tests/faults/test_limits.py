"""Full disks, folders without permission, few file handles, little memory, and a clock set back."""

import contextlib
import gc
import io
import os
import shutil
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import pytest

from sktransfer import cache_info, load, save
from sktransfer.exceptions import (
    DeviceMemoryError,
    SktransferWarning,
    UnreadableImageError,
    WeightsError,
)
from sktransfer.shell.main import main
from tests.conftest import make_pictures, save_pictures, small_disk
from tests.faults.children import in_child
from tests.small_estimators import make_classifier, make_extractor

resource = pytest.importorskip("resource")  # Windows has no such limits

X, Y = make_pictures(24, 16)
# Their activations are larger than the limits below.
TRAINING = {"image_size": 16, "hidden_layer_sizes": (4,), "max_epochs": 2, "batch_size": 8}


@contextlib.contextmanager
def limited(kind, value):
    """Limit a resource of this process in a block."""
    before, hard = resource.getrlimit(kind)
    resource.setrlimit(kind, (value, hard))
    try:
        yield
    finally:
        resource.setrlimit(kind, (before, hard))


def told(function):
    """The result of a function, or its error, and the texts of its warnings."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", SktransferWarning)
        try:
            result = function()
        except Exception as error:
            result = error
    texts = [str(warning.message) for warning in found]
    return result, [text for text in texts if not text.startswith("Training ended after")]


def shell(*arguments, capsys):
    """The exit code of a command, and what it wrote to standard error."""
    code = main([*map(str, arguments), "-q"])
    return code, capsys.readouterr().err


# A full disk.


@pytest.fixture(params=["a limit", "a small disk"])
def full_disk(request, tmp_path):
    """A folder, and a context in which no larger file can be written there."""
    if request.param == "a limit":
        yield tmp_path, lambda: limited(resource.RLIMIT_FSIZE, 2_000)
        return
    with small_disk(tmp_path / "disk", megabytes=1) as place:
        yield place, lambda: filled(place)


@contextlib.contextmanager
def filled(place):
    other = place / "of another program"
    with contextlib.suppress(OSError), other.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(512))
    yield
    other.unlink()


@pytest.fixture
def fitted():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return make_classifier(**TRAINING).fit(X, Y)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_cache_on_a_full_disk(full_disk):
    folder, full = full_disk
    expected = make_extractor().fit_transform(X)
    extractor = make_extractor(cache=folder)
    extractor.fit_transform(X[:4])
    with full():
        found, texts = told(lambda: extractor.transform(X))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    (text,) = texts
    assert str(folder) in text
    assert "results stay the same" in text
    assert cache_info(folder).rows == 4
    found, texts = told(lambda: extractor.transform(X))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert not texts
    assert cache_info(folder).rows == 24


def test_a_checkpoint_on_a_full_disk(full_disk, fitted):
    folder, full = full_disk
    before = vars(fitted).copy()
    fitted.set_params(checkpoint_dir=folder, max_epochs=3)
    with full():
        error, _ = told(lambda: fitted.fit(X, 1 - Y))
    assert isinstance(error, OSError)
    assert f"checkpoint_dir={str(folder)!r}" in str(error)
    assert fitted._model is before["_model"]
    assert names(folder) == []
    found, texts = told(lambda: fitted.fit(X, Y).predict_proba(X))
    assert not texts
    clean, _ = told(lambda: make_classifier(**TRAINING | {"max_epochs": 3}).fit(X, Y))
    np.testing.assert_array_equal(found, clean.predict_proba(X))


def write_report(folder, fitted):
    from sktransfer.inspection.reporting.blocks import Document
    from sktransfer.inspection.reporting.report import Report

    del fitted
    Report(Document("A title", [], [])).write_html(folder / "file")


def write_model(folder, fitted):
    save(fitted, folder / "file")


WRITERS = {"report": write_report, "model file": write_model}


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_a_file_on_a_full_disk(full_disk, fitted, write):
    folder, full = full_disk
    (folder / "file").write_text("old")
    with full():
        error, _ = told(lambda: write(folder, fitted))
    assert isinstance(error, OSError)
    assert str(folder / "file") in str(error)
    assert "unfinished" not in str(error)
    assert (folder / "file").read_text() == "old"
    assert names(folder) == ["file"]
    write(folder, fitted)
    assert (folder / "file").stat().st_size > 2_000


@pytest.fixture
def class_folders(tmp_path):
    folder = tmp_path / "pictures"
    for label in (0, 1):
        (folder / str(label)).mkdir(parents=True)
        save_pictures(X[label == Y], folder / str(label))
    return folder


FIT = ["--backbone=mnasnet0_5", "--set=weights=None", "--set=image_size=16", "--set=device=cpu"]


def test_the_shell_on_a_full_disk(full_disk, class_folders, capsys):
    folder, full = full_disk
    model, table = folder / "model.skt", folder / "table.csv"
    model.write_text("old")
    with full():
        code, text = shell("fit", class_folders, "-o", model, *FIT, capsys=capsys)
    assert (code, model.read_text()) == (1, "old")
    assert str(model) in text
    assert shell("fit", class_folders, "-o", model, *FIT, capsys=capsys)[0] == 0
    table.write_text("old")
    with full():
        code, text = shell("predict", model, class_folders, "-o", table, capsys=capsys)
    assert (code, table.read_text()) == (1, "old")
    assert str(table) in text
    assert shell("predict", model, class_folders, "-o", table, capsys=capsys)[0] == 0
    assert len(table.read_text().splitlines()) == 25


def test_temporary_activations_on_a_full_disk(tmp_path, monkeypatch, fitted):
    monkeypatch.setenv("SKTRANSFER_MEMORY", "10KB")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = fitted._model
    with limited(resource.RLIMIT_FSIZE, 2_000):
        error, _ = told(lambda: fitted.fit(X, Y))
    assert isinstance(error, OSError)
    assert str(tmp_path) in str(error)
    assert "TMPDIR" in str(error)
    assert fitted._model is before
    found, _ = told(lambda: fitted.fit(X, Y))
    assert found is fitted


# No permission.


@pytest.fixture
def reachable():
    """A folder that every user may enter; that of pytest is for its owner alone."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


def as_ordinary_user(function, folder):
    """Run a function as a user whom permissions bind, as they do not bind root."""
    if os.geteuid() == 0:
        with tempfile.TemporaryDirectory() as other:  # that user may not be able to import
            function(Path(shutil.copytree(folder, Path(other) / "copy")))
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
    return function(folder)


def in_read_only_folder(folder):
    """Errors and warnings in a folder that can be read only."""
    place = folder / "place"
    model = load(place / "model")
    errors = {}
    clean = make_extractor().fit_transform(X)
    found, errors["cache"] = told(lambda: make_extractor(cache=place / "new").fit_transform(X))
    same = [np.allclose(found, clean, rtol=1e-4, atol=1e-5)]
    found, errors["warm cache"] = told(lambda: make_extractor(cache=place).fit_transform(X))
    same.append(np.allclose(found, clean, rtol=1e-4, atol=1e-5))
    before = model._model
    # Not by pytest: what this process was forked from may print where an earlier test listened.
    printed = io.StringIO()
    for name, function in {
        "checkpoint": lambda: model.set_params(checkpoint_dir=place).fit(X, Y),
        "model file": lambda: write_model(place, model),
        "report": lambda: write_report(place, model),
        "weights": lambda: make_extractor(weights=place / "secret").fit(X),
        "picture": lambda: make_extractor().fit_transform([str(place / "secret.png")]),
        "shell": lambda: main(["predict", str(place / "secret"), str(folder), "-q"]),
        "shell's target": lambda: main(["fit", str(folder), "-o", str(place / "model"), "-q"]),
    }.items():
        with contextlib.redirect_stderr(printed):
            errors[name] = told(function)[0]
    plain = {name: _plain(error) for name, error in errors.items()}
    return same, model._model is before, plain, printed.getvalue()


def _plain(error):
    if not isinstance(error, Exception):
        return error
    kinds = (WeightsError, UnreadableImageError, OSError)
    return [kind.__name__ for kind in kinds if isinstance(error, kind)], str(error)


def test_a_folder_without_permission(reachable, fitted):
    place = reachable / "place"
    place.mkdir()
    make_extractor(cache=place).fit_transform(X[:12])
    write_model(place, fitted)
    (place / "file").replace(place / "model")
    (place / "file").write_text("old")
    for name in ("secret", "secret.png"):
        (place / name).write_bytes(b"secret")
        (place / name).chmod(0)
    owner = os.geteuid()
    os.chmod(place, 0o555)
    try:
        same, as_before, found, text_of_shell = in_child(
            as_ordinary_user, in_read_only_folder, reachable
        )
    finally:
        os.chmod(place, 0o755)
    assert owner != 0 or all(same)
    assert as_before
    assert str(place / "new") in found["cache"][0]
    _, text = found["checkpoint"]  # before any picture is read
    assert text == f"checkpoint_dir={str(place)!r} can't be written to. Give another folder."
    for name in ("model file", "report"):
        kinds, text = found[name]
        assert kinds == ["OSError"], text
        assert str(place / "file") in text
        assert "unfinished" not in text
    kinds, text = found["weights"]
    assert str(place / "secret") in text
    kinds, text = found["picture"]
    assert kinds == ["UnreadableImageError"]
    assert str(place / "secret.png") in text
    assert found["shell"] == found["shell's target"] == 1
    assert f"Permission denied: '{place / 'secret'}'" in text_of_shell
    assert str(place / "model") in text_of_shell
    assert (place / "file").read_text() == "old"


# No file handles.


def with_few_handles(paths, folder, n):
    """What a fit and a prediction come to with n handles more than are open."""
    clean = make_extractor().fit_transform(paths)
    make_extractor(cache=folder / "other").fit_transform(paths[:2])  # imports all it needs
    model, _ = told(lambda: make_classifier(**TRAINING).fit(paths, Y))
    before, expected = model._model, model.predict_proba(paths)
    open_now = max(int(name) for name in os.listdir("/proc/self/fd"))
    with limited(resource.RLIMIT_NOFILE, open_now + n):
        found, _ = told(lambda: make_extractor(cache=folder / "cache").fit_transform(paths))
        again, _ = told(lambda: model.predict_proba(paths))
        refitted, _ = told(lambda: model.fit(paths, Y))
    right = [
        isinstance(value, Exception) or np.allclose(value, good, rtol=1e-4, atol=1e-5)
        for value, good in ((found, clean), (again, expected))
    ]
    errors = [_plain(value) for value in (found, again, refitted) if isinstance(value, Exception)]
    as_before = refitted is model or model._model is before
    right.append(np.allclose(model.fit(paths, Y).predict_proba(paths), expected))
    return right, as_before, errors


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs Linux")
@pytest.mark.parametrize("n", [0, 2, 5, 20])
def test_few_file_handles(tmp_path, n):
    paths = save_pictures(X, tmp_path)
    right, as_before, errors = in_child(with_few_handles, paths, tmp_path, n)
    assert all(right)
    assert as_before
    for kinds, text in errors:
        assert kinds == ["OSError"], text  # and not a picture that can't be read
        assert "Too many open files" in text
    assert not errors or n < 20


# Little memory.

MEMORY = 200 * 2**20


def with_little_memory(size, n, parameters):
    """Errors of a transform, a prediction and a fit in 200 MB more than is in use."""
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (16, 16, 3), np.uint8) for _ in range(n)]
    y = np.arange(n) % 2
    usual = {"image_size": size, "n_jobs": 1, "engine": "torch", "batch_size": 8}
    features = make_extractor(**usual).fit(pictures[:2])
    model, _ = told(lambda: make_classifier(**usual, **parameters).fit(pictures[:16], y[:16]))
    expected = features.transform(pictures[:16]), model.predict_proba(pictures[:16])
    before = model._model
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    with limited(resource.RLIMIT_AS, used + MEMORY):
        features.set_params(batch_size=n), model.set_params(batch_size=n)
        errors = []
        for function in (
            lambda: features.transform(pictures),
            lambda: model.predict_proba(pictures),
            lambda: model.fit(pictures, y),
        ):
            error = told(function)[0]
            if isinstance(error, Exception):
                errors.append((type(error).__name__, str(error)))
            del error  # with its traceback, which holds the batch
            gc.collect()
        as_before = model._model is before
        features.set_params(batch_size=8), model.set_params(batch_size=8)
        found = features.transform(pictures[:16]), model.predict_proba(pictures[:16])
    same = [np.allclose(a, b, rtol=1e-3, atol=1e-5) for a, b in zip(found, expected, strict=True)]
    return as_before, same, errors


TOO_LARGE = {
    "to read": (448, 512, {}, 3),
    "to train": (96, 64, {"unfreeze_depth": "all", "max_epochs": 1}, 1),
}


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs Linux")
@pytest.mark.parametrize(("size", "n", "parameters", "n_errors"), TOO_LARGE.values(), ids=TOO_LARGE)
def test_batches_that_are_too_large(size, n, parameters, n_errors):
    as_before, same, errors = in_child(with_little_memory, size, n, parameters)
    assert as_before
    assert all(same)
    assert len(errors) == n_errors, errors
    for kind, text in errors:
        assert kind == DeviceMemoryError.__name__, text
        assert "batch_size" in text


# A clock that is set back.


def test_a_clock_that_is_set_back(tmp_path, monkeypatch, fitted):
    paths = save_pictures(X, tmp_path)
    clean = make_extractor().fit_transform(paths)
    extractor = make_extractor(cache=tmp_path / "cache")
    later = time.time() + 10 * 365 * 24 * 3600
    monkeypatch.setattr(time, "time", lambda: later)
    np.testing.assert_allclose(extractor.fit_transform(paths[:12]), clean[:12], rtol=1e-4)
    for now in (later - 9 * 365 * 24 * 3600, 0.0, -1e9):
        monkeypatch.setattr(time, "time", lambda now=now: now)
        found, texts = told(lambda: extractor.transform(paths))
        np.testing.assert_allclose(found, clean, rtol=1e-4, atol=1e-5)
        assert not texts
    assert cache_info(tmp_path / "cache").rows == 24
    parameters = {"checkpoint_dir": tmp_path / "checkpoints", **TRAINING}
    found, texts = told(lambda: make_classifier(**parameters).fit(X, Y).predict_proba(X))
    assert not texts
    np.testing.assert_array_equal(found, fitted.predict_proba(X))
