import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from tqdm.auto import tqdm

from sktransfer.activations import streaming
from sktransfer.activations.engines.choice import EngineChoice
from sktransfer.activations.results import Known, Results
from sktransfer.activations.streaming import FrozenPass
from sktransfer.backbones.backbone import Backbone
from sktransfer.backbones.features import Normalise
from sktransfer.backbones.frozen import FrozenNetwork
from sktransfer.exceptions import UnreadableImageError, WeightsError
from sktransfer.images.preprocessing import Preprocessing
from sktransfer.images.sources import as_images
from tests.backbones.helpers import cut, lively_network

PRESET = Preprocessing(32, 32, "bilinear", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


class Colours(nn.Module):
    """Mean of each channel: a network whose output is easily computed otherwise."""

    def forward(self, x):
        return x.float().mean((2, 3))


class Constant(nn.Module):
    """The same output for every picture, except dark ones."""

    def __init__(self, value, if_dark=0.0):
        super().__init__()
        self.value, self.if_dark = value, if_dark

    def forward(self, x):
        dark = (x.float().mean((1, 2, 3)) < 5)[:, None]
        return torch.where(dark, self.if_dark, self.value).expand(-1, 4).clone()


def of(*modules):
    return FrozenNetwork([(f"{i}", module) for i, module in enumerate(modules)])


def make_pass(network=None, batch_size=5, n_jobs=2, **options):
    network = of(Colours()) if network is None else network  # an empty Sequential is falsy
    return FrozenPass(network, PRESET, EngineChoice("torch"), batch_size, n_jobs, **options)


@pytest.fixture(scope="module")
def backbone():
    network = lively_network("shufflenet_v2_x0_5", 32)
    return Backbone("shufflenet_v2_x0_5", cut("shufflenet_v2_x0_5", network), PRESET)


def test_collect_by_hand(pictures):
    X, _ = pictures
    rows, unreadable = make_pass().collect(as_images(X))
    assert unreadable == []
    assert rows.dtype == torch.float32
    assert np.allclose(rows, X.mean((1, 2)), rtol=1e-5)


def test_collect_equals_direct_computing(pictures, backbone):
    X, _ = pictures
    network = backbone.feature_network(["stage2", "neck"], "avg")
    rows, _ = make_pass(network, batch_size=7).collect(as_images(X))
    with torch.inference_mode():
        expected = network(torch.from_numpy(X.copy()).permute(0, 3, 1, 2))
    assert torch.allclose(rows, expected, rtol=1e-5, atol=1e-5 * expected.abs().max().item())


def test_pictures_are_prepared(picture_files):
    paths, _ = picture_files
    smaller = Preprocessing(20, 16, "bilinear", PRESET.mean, PRESET.std)
    pixels, _ = FrozenPass(FrozenNetwork(), smaller).collect(as_images(paths))
    assert pixels.shape == (24, 3, 16, 16)
    expected = smaller(as_images(paths).read(3))
    assert np.array_equal(pixels[3].permute(1, 2, 0), expected)


@pytest.mark.parametrize("batch_size", [1, 5, 24, 100])
def test_batch_size_changes_nothing(pictures, backbone, batch_size):
    X, _ = pictures
    network = backbone.feature_network()
    whole, _ = make_pass(network, batch_size=12).collect(as_images(X))
    rows, _ = make_pass(network, batch_size=batch_size).collect(as_images(X))
    assert torch.allclose(rows, whole, rtol=1e-5, atol=1e-5 * whole.abs().max().item())


@pytest.mark.parametrize("n_jobs", [None, 1, 8, -1])
def test_number_of_threads_changes_nothing(picture_files, n_jobs):
    paths, _ = picture_files
    rows, _ = make_pass(n_jobs=n_jobs).collect(as_images(paths))
    assert torch.equal(rows, make_pass().collect(as_images(paths))[0])


def test_batches_are_in_order(pictures):
    X, _ = pictures
    batches = []
    make_pass(batch_size=10).collect(as_images(X), then=lambda rows: batches.append(rows) or rows)
    assert [len(rows) for rows in batches] == [10, 10, 4]
    assert np.allclose(torch.cat(batches), X.mean((1, 2)), rtol=1e-5)


def test_a_pass_that_fails_leaves_no_thread(pictures):
    def fail(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_pass(batch_size=2).collect(as_images(pictures[0]), then=fail)
    assert not [t for t in threading.enumerate() if t.name.startswith("sktransfer")]


def test_read_only_pictures_stay_as_they_are(pictures):
    X, _ = pictures
    assert not X.flags.writeable
    before = X.copy()
    make_pass(of(Normalise(PRESET), nn.ReLU(inplace=True), Colours())).collect(as_images(X))
    assert np.array_equal(X, before)


def test_an_empty_network_gives_the_pixels(pictures):
    X, _ = pictures
    pixels, _ = make_pass(FrozenNetwork()).collect(as_images(X))
    assert pixels.dtype == torch.uint8
    assert np.array_equal(pixels, X.transpose(0, 3, 1, 2))


def test_then_is_applied_to_each_batch(pictures):
    X, _ = pictures
    sizes = []

    def largest(output):
        sizes.append(len(output))
        return output.amax(1, keepdim=True)

    rows, _ = make_pass(batch_size=10).collect(as_images(X), then=largest)
    assert sizes == [10, 10, 4]
    assert np.allclose(rows[:, 0], X.mean((1, 2)).max(1), rtol=1e-5)


def test_activations_can_be_trained_on(pictures):
    X, _ = pictures
    rows, _ = make_pass().collect(as_images(X))
    assert not rows.is_inference()
    head = nn.Linear(3, 1)
    head(rows).sum().backward()
    assert torch.isfinite(head.weight.grad).all()


# Repeated pictures.


def test_a_path_given_twice_is_computed_once(picture_files, decoded):
    paths, _ = picture_files
    X = [*paths[:5], Path(paths[2]), *paths[4:1:-1], paths[0]]
    sizes = []
    rows, _ = make_pass(batch_size=2).collect(
        as_images(X), then=lambda rows: sizes.append(len(rows)) or rows
    )
    assert sorted(decoded) == sorted(paths[:5])
    assert sizes == [2, 2, 1]
    expected, _ = make_pass().collect(as_images(paths))
    assert torch.equal(rows, expected[[0, 1, 2, 3, 4, 2, 4, 3, 2, 0]])


def test_a_file_of_the_same_content_is_another_picture(picture_files, decoded, tmp_path):
    paths, _ = picture_files
    twin = shutil.copy(paths[3], tmp_path / "twin.png")
    rows, _ = make_pass().collect(as_images([paths[3], twin]))
    assert len(decoded) == 2
    assert torch.equal(rows[0], rows[1])


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_repeated_rows_of_unreadable_pictures_are_unreadable(picture_files, batch_size):
    paths, _ = picture_files
    damaged(paths, [1])
    X = [paths[1], paths[0], paths[1], paths[2], paths[1]]
    one_pass = make_pass(batch_size=batch_size, skip_unreadable=True)
    rows, unreadable = one_pass.collect(as_images(X))
    assert unreadable == [0, 2, 4]
    assert torch.isnan(rows).all(1).tolist() == [True, False, True, False, True]


def test_repeated_rows_are_counted_by_the_progress_bar(picture_files, capsys):
    make_pass(progress="Looking").collect(as_images(picture_files[0] * 2))
    assert "48/48" in capsys.readouterr().err


# Values that an earlier pass has computed.


@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_known_rows_are_not_computed_again(picture_files, decoded, batch_size):
    paths, _ = picture_files
    expected, _ = make_pass().collect(as_images(paths))
    decoded.clear()
    known = Known([1, 2, 7], expected[[1, 2, 7]])
    rows, unreadable = make_pass(batch_size=batch_size).collect(as_images(paths), known=known)
    assert sorted(decoded) == sorted(set(paths) - {paths[1], paths[2], paths[7]})
    assert torch.equal(rows, expected)
    assert unreadable == []


def test_nothing_is_read_if_all_rows_are_known(picture_files, decoded, capsys):
    paths, _ = picture_files
    values = torch.arange(3.0 * len(paths)).reshape(-1, 3)
    known = Known(range(len(paths)), values)
    rows, _ = make_pass(progress="Looking").collect(as_images(paths), known=known)
    assert decoded == []
    assert torch.equal(rows, values)
    assert "24/24" in capsys.readouterr().err


def test_the_progress_bar_counts_known_rows_once(picture_files, capsys):
    paths, _ = picture_files
    known = Known([0, 1], torch.ones(2, 3))
    make_pass(progress="Looking").collect(as_images([paths[0], paths[0], paths[1]]), known=known)
    assert "3/3" in capsys.readouterr().err


def test_a_row_like_a_known_one_is_not_computed(picture_files, decoded):
    paths, _ = picture_files
    known = Known([1], torch.tensor([[1.0, 2, 3]]))
    rows, _ = make_pass().collect(as_images([paths[0], paths[0], paths[2]]), known=known)
    assert decoded == [paths[2]]
    assert rows[:2].tolist() == [[1, 2, 3], [1, 2, 3]]


def test_the_engine_is_chosen_by_the_pictures_of_all_passes(pictures, monkeypatch):
    numbers = []

    def engine_for(network, *given):
        numbers.append(given[3])
        return network

    monkeypatch.setattr(streaming, "engine_for", engine_for)
    make_pass(batch_size=24, further=1000).collect(as_images(pictures[0]))
    assert numbers == [1024]


# Devices that work while the CPU collects results.


@pytest.fixture
def events(monkeypatch):
    """Batches that a device (here the CPU) computes and that are collected, in order."""
    events = []

    class Device:
        def __call__(self, batch):
            events.append(f"compute {len(batch)}")
            return batch.float().mean((2, 3))

    class Recorded(Results):
        def put(self, rows, values, unreadable=()):
            events.append(f"put {len(rows)}")
            super().put(rows, values, unreadable)

    monkeypatch.setattr(streaming, "engine_for", lambda *_: Device())
    monkeypatch.setattr(streaming, "Results", Recorded)
    return events


@pytest.mark.parametrize(
    ("batch_size", "order"),
    [
        (10, ["compute 10", "compute 10", "put 10", "compute 4", "put 10", "put 4"]),
        (24, ["compute 24", "put 24"]),
    ],
)
def test_a_device_begins_a_batch_before_the_last_is_fetched(pictures, events, batch_size, order):
    X, _ = pictures
    one_pass = FrozenPass(of(Colours()), PRESET, EngineChoice(device="cuda:0"), batch_size, 2)
    rows, _ = one_pass.collect(as_images(X))
    assert events == order
    assert np.allclose(rows, X.mean((1, 2)), rtol=1e-5)


def test_on_the_cpu_a_batch_is_fetched_before_the_next(pictures, events):
    make_pass(batch_size=12).collect(as_images(pictures[0]))
    assert events == ["compute 12", "put 12", "compute 12", "put 12"]


# Unreadable pictures.


def damaged(paths, rows):
    for row in rows:
        with open(paths[row], "wb") as file:
            file.write(b"no picture")


@pytest.mark.parametrize("batch_size", [1, 5, 100])
def test_unreadable_rows_are_nan(picture_files, batch_size):
    paths, _ = picture_files
    whole, _ = make_pass().collect(as_images(paths))
    damaged(paths, [0, 7, 23])
    one_pass = make_pass(batch_size=batch_size, skip_unreadable=True)
    rows, unreadable = one_pass.collect(as_images(paths))
    assert unreadable == [0, 7, 23]
    assert torch.isnan(rows[unreadable]).all()
    others = [row for row in range(24) if row not in unreadable]
    assert torch.equal(rows[others], whole[others])


def test_unreadable_pixels_are_zero(picture_files):
    paths, _ = picture_files
    damaged(paths, [4])
    pixels, unreadable = make_pass(FrozenNetwork(), skip_unreadable=True).collect(as_images(paths))
    assert unreadable == [4]
    assert not pixels[4].any()
    assert pixels[5].any()


def test_no_picture_is_readable(picture_files):
    paths, _ = picture_files
    damaged(paths, range(24))
    rows, unreadable = make_pass(skip_unreadable=True).collect(as_images(paths))
    assert unreadable == list(range(24))
    assert torch.isnan(rows).all()


def test_unreadable_picture_is_an_error_unless_skipped(picture_files):
    paths, _ = picture_files
    damaged(paths, [7, 9])
    with pytest.raises(UnreadableImageError, match=r"row 7 of X .*picture_7\.png"):
        make_pass().collect(as_images(paths))


# Weights that give no numbers.


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_bad_output_names_the_picture(pictures, value):
    X = pictures[0].copy()
    X[13] = 0
    with pytest.raises(WeightsError, match=r"for row 13 of X is NaN or infinite"):
        make_pass(of(Constant(1.0, if_dark=value))).collect(as_images(X))


def test_bad_output_names_the_file(picture_files):
    paths, _ = picture_files
    with pytest.raises(WeightsError, match=r"row 0 of X \(.*picture_0\.png"):
        make_pass(of(Constant(float("nan")))).collect(as_images(paths))


def test_damaged_weights_are_found(pictures):
    network = lively_network("shufflenet_v2_x0_5", 32)
    with torch.no_grad():
        network.conv5[0].weight[3, 0] = float("nan")
    backbone = Backbone("shufflenet_v2_x0_5", cut("shufflenet_v2_x0_5", network), PRESET)
    with pytest.raises(WeightsError, match="incomplete or damaged"):
        make_pass(backbone.feature_network()).collect(as_images(pictures[0]))


def test_values_of_then_are_checked_too(pictures):
    with pytest.raises(WeightsError):
        make_pass().collect(as_images(pictures[0]), then=lambda output: output / 0)


def test_large_numbers_are_no_error(pictures):
    rows, _ = make_pass(of(Constant(3e38))).collect(as_images(pictures[0]))  # their sum is infinite
    assert torch.isfinite(rows).all()


def test_unreadable_pictures_raise_no_error_about_the_weights(picture_files):
    paths, _ = picture_files
    damaged(paths, [2])
    one_pass = make_pass(of(Constant(1.0, if_dark=float("nan"))), skip_unreadable=True)
    rows, unreadable = one_pass.collect(as_images(paths))
    assert unreadable == [2]
    assert torch.isnan(rows[2]).all()


# Progress.


def test_progress_bar_counts_pictures(pictures, capsys):
    make_pass(progress="Looking").collect(as_images(pictures[0]))
    err = capsys.readouterr().err
    assert "Looking" in err
    assert "24/24" in err


def test_silent_without_a_title(pictures, capsys):
    make_pass().collect(as_images(pictures[0]))
    assert capsys.readouterr() == ("", "")


def test_no_progress_bar_is_made_without_a_title(pictures, monkeypatch):
    # A disabled bar would leave a thread of tqdm behind.
    monkeypatch.setattr(tqdm, "__init__", None)
    make_pass().collect(as_images(pictures[0]))


@pytest.mark.parametrize("n_stored", [0, 5, 7, 12])
def test_a_watch_is_told_which_pictures_were_read(pictures, tmp_path, n_stored):
    images, seen = as_images(pictures[0][:12]), []
    if n_stored:
        make_pass(cache=tmp_path).collect(images.taken(range(n_stored)))
    make_pass(cache=tmp_path, watch=lambda *counts: seen.append(counts)).collect(images)
    read = [min(max(end - n_stored, 0), size) for end, size in ((5, 5), (10, 5), (12, 2))]
    assert seen == list(zip((5, 5, 2), read, strict=True))


def test_without_a_store_all_pictures_are_read(pictures):
    seen = []
    make_pass(watch=lambda *counts: seen.append(counts)).collect(as_images(pictures[0][:7]))
    assert seen == [(5, 5), (2, 2)]
