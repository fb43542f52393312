import os
import pickle
import sqlite3
import threading
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score

from sktransfer import cache_info, clear_cache
from sktransfer.activations import streaming
from sktransfer.activations.store import database, stored
from sktransfer.backbones import frozen
from sktransfer.exceptions import CacheWarning, ImageWarning, UnreadableImageError
from sktransfer.images import sources
from sktransfer.images.preprocessing import Preprocessing
from sktransfer.images.sources import ImageSource
from tests.conftest import make_pictures
from tests.small_estimators import LITE0, make_classifier, make_extractor

# An extractor that takes milliseconds.
small = partial(make_extractor, batch_size=8)

extractor = partial(make_extractor, backbone=LITE0, engine="torch")


classifier = partial(
    make_classifier,
    backbone=LITE0,
    engine="torch",
    max_epochs=2,
    lr=1e-5,
)


def close(values, expected):
    assert_allclose(values, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def forbid(monkeypatch):
    """Return a function that makes further computing, or decoding, an error."""
    places = {"computing": (streaming, "engine_for"), "decoding": (Preprocessing, "__call__")}

    def forbid(*steps):
        def fail(*_args, **_options):
            raise AssertionError(f"there was {' or '.join(steps)}")

        for step in steps:
            monkeypatch.setattr(*places[step], fail)

    return forbid


@pytest.fixture
def computed(monkeypatch):
    """First link and number of rows of each batch that was computed."""
    batches = []
    original = streaming.engine_for

    def spy(network, start, example, *others):
        batches.append((start, len(example)))
        return original(network, start, example, *others)

    monkeypatch.setattr(streaming, "engine_for", spy)
    return batches


# Transform.


@pytest.mark.parametrize("as_files", [True, False], ids=["files", "arrays"])
@pytest.mark.parametrize("kind", [str, Path])
def test_warm_equals_cold_to_the_bit_and_computes_nothing(
    folder, pictures, picture_files, forbid, as_files, kind
):
    X = picture_files[0] if as_files else pictures[0]
    cold = small(cache=kind(folder)).fit_transform(X)
    forbid("computing", "decoding")
    warm = small(cache=kind(folder)).fit_transform(X)
    assert_array_equal(warm, cold)
    assert warm.flags.writeable


def test_the_cache_changes_no_feature(folder, picture_files):
    paths, _ = picture_files
    expected = small().fit_transform(paths)
    for _ in range(2):
        close(small(cache=folder).fit_transform(paths), expected)


@pytest.mark.parametrize("batch_size", [1, 5, 100])
def test_the_batch_size_may_change(folder, pictures, forbid, batch_size):
    X, _ = pictures
    cold = small(cache=folder).fit_transform(X)
    forbid("computing")
    assert_array_equal(small(cache=folder, batch_size=batch_size).fit_transform(X), cold)


def test_only_new_pictures_are_computed(folder, picture_files, computed, decoded):
    paths, _ = picture_files
    expected = small().fit_transform(paths)
    small(cache=folder).fit_transform(paths[3:10])
    computed.clear(), decoded.clear()
    shuffled = np.random.default_rng(0).permutation(24)
    features = small(cache=folder).fit_transform(np.array(paths)[shuffled])
    close(features, expected[shuffled])
    assert sum(rows for _, rows in computed) == 17
    assert sorted(decoded) == sorted(paths[:3] + paths[10:])


def test_rows_are_found_by_content_wherever_they_lie(folder, tmp_path, picture_files, forbid):
    paths, _ = picture_files
    cold = small(cache=folder).fit_transform(paths)
    moved = []
    for i, path in enumerate(paths):
        moved.append(str(tmp_path / f"renamed {i}.png"))
        os.replace(path, moved[-1])
    forbid("computing", "decoding")
    assert_array_equal(small(cache=folder).fit_transform(moved), cold)


def test_a_replaced_file_gets_its_own_features(folder, picture_files):
    paths, _ = picture_files
    cold = small(cache=folder).fit_transform(paths)
    os.replace(paths[5], paths[0])
    warm = small(cache=folder).fit_transform(paths[:5])
    assert_array_equal(warm[0], cold[5])
    assert_array_equal(warm[1:], cold[1:5])


def test_duplicates_are_computed_once(folder, pictures, computed):
    X, _ = pictures
    twice = np.concatenate([X[:6], X[:6][::-1], X[:1]])
    features = small(cache=folder).fit_transform(twice)
    assert sum(rows for _, rows in computed) == 6
    assert cache_info(folder).rows == cache_info(folder).pictures == 6
    close(features, small().fit_transform(twice))
    assert_array_equal(features[:6], features[6:12][::-1])
    assert_array_equal(features[0], features[12])


def test_copies_of_a_file_are_computed_once(folder, tmp_path, picture_files, decoded):
    paths, _ = picture_files
    copy = tmp_path / "copy.png"
    copy.write_bytes(Path(paths[0]).read_bytes())
    features = small(cache=folder).fit_transform([*paths[:3], str(copy), paths[1]])
    assert len(decoded) == 3
    assert_array_equal(features[[3, 4]], features[[0, 1]])
    decoded.clear()
    features = small().fit_transform([*paths[:3], paths[1]])  # without a cache, paths are compared
    assert len(decoded) == 3
    assert_array_equal(features[3], features[1])


@pytest.mark.parametrize(
    ("other", "shared"),
    [
        ({"weights": "DEFAULT"}, 0),
        ({"backbone": "mnasnet0_5"}, 0),
        ({"image_size": 48}, 0),
        ({"precision": "bfloat16", "engine": "torch"}, 0),
        ({"pooling": "max"}, 0),
        ({"stage": "level1"}, 0),
        ({"stage": ["level1", "level5"]}, 0),
        ({"batch_size": 3}, 24),
        ({"n_jobs": 2}, 24),
        ({"verbose": 1}, 24),
    ],
    ids=lambda value: str(value),
)
def test_what_changes_features_is_kept_apart(folder, pictures, other, shared):
    X, _ = pictures
    extractor(weights=None, cache=folder).fit_transform(X)
    other = {"weights": None, **other}
    expected = extractor(**other).fit_transform(X)
    for _ in range(2):
        features = extractor(**other, cache=folder).fit_transform(X)
        tolerance = 1e-2 if "precision" in other else 1e-5
        assert_allclose(features, expected, rtol=tolerance, atol=tolerance * np.abs(expected).max())
    assert cache_info(folder).rows == 48 - shared
    assert cache_info(folder).pictures == 24


def test_random_weights_of_two_seeds_are_kept_apart(folder, pictures):
    X, y = pictures
    for seed in (0, 1):
        expected = classifier(weights=None, random_state=seed).fit(X, y).predict_proba(X)
        model = classifier(weights=None, random_state=seed, cache=folder).fit(X, y)
        assert_allclose(model.predict_proba(X), expected, rtol=1e-4)
    assert cache_info(folder).rows == 48


def test_weights_from_a_changed_file_are_kept_apart(folder, tmp_path, pictures):
    from safetensors.torch import save_file

    from sktransfer.backbones.networks import build_random

    X, _ = pictures
    state = build_random("mnasnet0_5", seed=3).state_dict()
    file = tmp_path / "weights.safetensors"
    found = []
    for factor in (1.0, 0.5):
        state["layers.0.weight"] = state["layers.0.weight"] * factor
        save_file(state, file)
        found.append(small(weights=file, cache=folder).fit_transform(X))
        close(found[-1], small(weights=file).fit_transform(X))
    assert not np.allclose(*found)
    assert cache_info(folder).rows == 48


def test_another_protocol_is_kept_apart(folder, pictures, computed, monkeypatch):
    expected = small(cache=folder).fit_transform(pictures[0])
    computed.clear()
    monkeypatch.setattr(frozen, "PROTOCOL", frozen.PROTOCOL + 1)
    assert_array_equal(small(cache=folder).fit_transform(pictures[0]), expected)
    assert sum(rows for _, rows in computed) == 24
    assert cache_info(folder).rows == 48


def test_what_others_store_meanwhile_is_not_computed(folder, picture_files, decoded, monkeypatch):
    paths, _ = picture_files
    expected = small().fit_transform(paths)
    decoded.clear()
    original, batches = streaming.engine_for, []

    def first_someone_else(*args):
        batches.append(len(args[2]))
        if len(batches) == 1:
            monkeypatch.setattr(streaming, "engine_for", original)
            small(cache=folder).fit_transform(paths)
            monkeypatch.setattr(streaming, "engine_for", first_someone_else)
        return original(*args)

    monkeypatch.setattr(streaming, "engine_for", first_someone_else)
    close(small(cache=folder, batch_size=2).fit_transform(paths), expected)
    ahead = 2 * 4  # rows of the batch in use, and of those being decoded
    assert sum(batches) <= ahead
    assert len(decoded) <= 24 + ahead
    assert cache_info(folder).rows == 24


def test_a_stage_is_the_start_of_a_later_one(folder, pictures, computed, forbid):
    X, _ = pictures
    expected = extractor(stage="level5").fit_transform(X)
    classifier(unfreeze_depth=2, cache=folder).fit(X, pictures[1])  # stores a map
    computed.clear()
    forbid("decoding")
    close(extractor(stage="level5", cache=folder).fit_transform(X), expected)
    assert {start > 0 for start, _ in computed} == {True}


# Fit and predict.


@pytest.mark.parametrize("depth", [0, 1, "all"])
def test_two_fits_predict_the_same_to_the_bit(folder, pictures, forbid, depth):
    X, y = pictures
    plain = classifier(unfreeze_depth=depth).fit(X, y).predict_proba(X)
    cold = classifier(unfreeze_depth=depth, cache=folder).fit(X, y)
    forbid("computing", "decoding")
    warm = classifier(unfreeze_depth=depth, cache=folder).fit(X, y)
    assert_array_equal(warm.predict_proba(X), cold.predict_proba(X))
    assert_array_equal(cold.predict_proba(X), plain)
    assert warm.history_ == cold.history_


def test_extractor_and_classifier_share_rows(folder, pictures, forbid):
    X, y = pictures
    features = extractor(cache=folder).fit_transform(X)
    forbid("computing", "decoding")
    model = classifier(cache=folder).fit(X, y)
    assert_array_equal(model.predict(X), y)
    assert_array_equal(extractor(cache=folder).fit_transform(X), features)
    assert cache_info(folder).rows == 24


def test_shallower_depths_start_from_deeper_ones(folder, picture_files, computed, forbid):
    paths, y = picture_files
    expected = {
        d: classifier(unfreeze_depth=d).fit(paths, y).predict_proba(paths) for d in (0, 1, 2)
    }
    models = {2: classifier(unfreeze_depth=2, cache=folder).fit(paths, y)}
    assert {start for start, _ in computed} == {0}
    forbid("decoding")
    starts = [0]
    for depth in (1, 0):
        computed.clear()
        models[depth] = classifier(unfreeze_depth=depth, cache=folder).fit(paths, y)
        assert sum(rows for _, rows in computed) == 24
        ((start, _), *_) = computed
        assert {first for first, _ in computed} == {start}
        assert start > starts[-1]
        starts.append(start)
        assert cache_info(folder).rows == (3 - depth) * 24
    for depth, model in models.items():
        assert_allclose(model.predict_proba(paths), expected[depth], rtol=1e-4)


def test_the_deepest_stored_stage_is_where_it_starts(folder, pictures, computed, forbid):
    X, y = pictures
    for depth in (3, 2):
        classifier(unfreeze_depth=depth, cache=folder).fit(X, y)
    deepest = max(start for start, _ in computed)
    assert deepest > 0
    computed.clear()
    forbid("decoding")
    classifier(unfreeze_depth=0, cache=folder).fit(X, y)
    assert all(start > deepest for start, _ in computed)


def test_each_picture_starts_where_it_can(folder, picture_files, computed, decoded):
    # Ten pictures are stored at depth 2, and five of them also at depth 0.
    paths, y = picture_files
    expected = extractor().fit_transform(paths)
    classifier(unfreeze_depth=2, cache=folder).fit(paths[4:14], y[4:14])
    extractor(cache=folder).fit_transform(paths[9:14])
    computed.clear(), decoded.clear()
    close(extractor(cache=folder).fit_transform(paths), expected)
    assert sorted(decoded) == sorted(paths[:4] + paths[14:])
    assert sum(rows for start, rows in computed if start == 0) == 14
    assert sum(rows for start, rows in computed if start > 0) == 5


def test_pixels_are_stored_when_everything_trains(folder, picture_files, decoded):
    paths, y = picture_files
    model = classifier(unfreeze_depth="all", cache=folder, max_epochs=1).fit(paths, y)
    assert cache_info(folder).rows == 24
    with closing(sqlite3.connect(folder / "activations" / "activations.sqlite")) as connection:
        assert set(connection.execute("SELECT dtype, shape FROM contents")) == {("|u1", "3 32 32")}
    decoded.clear()
    expected = extractor().fit_transform(paths)
    assert len(decoded) == 24
    decoded.clear()
    model.predict(paths)
    close(extractor(cache=folder).fit_transform(paths), expected)  # starts from the pixels
    assert decoded == []


# With 23 of 24 stored, a single picture is computed: libraries use other kernels for a batch of 1.
@pytest.mark.parametrize("n_stored", [16, 23])
@pytest.mark.parametrize("depth", [0, 1])
def test_prediction_uses_the_cache(folder, picture_files, computed, decoded, depth, n_stored):
    paths, y = picture_files
    model = classifier(unfreeze_depth=depth, cache=folder).fit(paths[:n_stored], y[:n_stored])
    computed.clear(), decoded.clear()
    first = model.predict_proba(paths)
    assert sum(rows for _, rows in computed) == len(decoded) == 24 - n_stored
    computed.clear(), decoded.clear()
    assert_array_equal(model.predict_proba(paths), first)
    assert_array_equal(model.predict(paths), y)
    assert computed == decoded == []
    model.set_params(cache=None)
    close(first, model.predict_proba(paths))


def test_a_cache_given_after_fit_is_used(folder, pictures):
    model = classifier().fit(*pictures)
    expected = model.predict_proba(pictures[0])
    model.set_params(cache=folder)
    assert_allclose(model.predict_proba(pictures[0]), expected, rtol=1e-5)
    assert cache_info(folder).rows == 24
    model.set_params(cache=None)
    clear_cache(folder)
    assert_allclose(model.predict_proba(pictures[0]), expected, rtol=1e-5)
    assert cache_info(folder).rows == 0


@pytest.mark.parametrize("fitted", [True, False], ids=["fitted", "unfitted"])
def test_pickles_keep_the_folder_and_nothing_of_it(folder, pictures, forbid, fitted):
    X, y = pictures
    model = classifier(cache=folder).fit(X, y)
    expected = model.predict_proba(X)
    model = model if fitted else clone(model)
    content = pickle.dumps(model)
    assert len(content) < 100_000
    again = pickle.loads(content)
    assert again.cache == folder
    forbid("computing", "decoding")
    again = again if fitted else again.fit(X, y)
    assert_array_equal(again.predict_proba(X), expected)


# Unreadable pictures.


def test_broken_files_beside_a_cache(folder, picture_files):
    paths, _ = picture_files
    expected = small().fit_transform(paths)
    Path(paths[4]).write_bytes(b"no picture")
    os.unlink(paths[9])
    X = [*paths, paths[4], paths[9], paths[0]]
    for _ in range(2):
        with pytest.warns(ImageWarning, match="4 of 27 pictures could not be read"):
            features = small(cache=folder, on_error="nan").fit_transform(X)
        assert np.isnan(features).all(axis=1).nonzero()[0].tolist() == [4, 9, 24, 25]
        good = [i for i in range(24) if i not in (4, 9)]
        close(features[good], expected[good])
        assert_array_equal(features[26], features[0])
    assert cache_info(folder).rows == 22


def test_a_broken_file_is_an_error_and_the_others_are_kept(folder, picture_files, decoded):
    paths, _ = picture_files
    Path(paths[20]).write_bytes(b"no picture")
    with pytest.raises(UnreadableImageError, match="row 20 of X"):
        small(cache=folder).fit_transform(paths)
    assert cache_info(folder).rows == 16  # two batches
    decoded.clear()
    with pytest.raises(UnreadableImageError, match="row 20 of X"):
        small(cache=folder).fit_transform(paths)
    assert paths[20] in decoded
    assert set(decoded) <= set(paths[16:])


def test_a_file_mended_later_is_read(folder, picture_files):
    paths, _ = picture_files
    expected = small().fit_transform(paths)
    content = Path(paths[4]).read_bytes()
    Path(paths[4]).write_bytes(b"no picture")
    extractor = small(cache=folder, on_error="nan")
    with pytest.warns(ImageWarning):
        extractor.fit_transform(paths)
    Path(paths[4]).write_bytes(content)
    close(extractor.fit_transform(paths), expected)


# Searches.


@pytest.mark.parametrize("depths", [[0], [1, 0], [2, 1, 0]], ids=str)
def test_a_search_decodes_each_picture_once(folder, picture_files, decoded, depths):
    paths, y = picture_files
    grid = {"unfreeze_depth": depths, "weight_decay": [1e-4, 1e-2]}
    search = GridSearchCV(
        classifier(cache=folder, max_epochs=1, head_init="random"), grid, cv=3, error_score="raise"
    )
    search.set_params(estimator__optimizer="adamw").fit(paths, y)
    assert sorted(decoded) == sorted(paths)
    assert cache_info(folder).rows == 24 * len(depths)


def test_a_search_in_any_order_decodes_no_picture_twice_a_depth(folder, picture_files, decoded):
    # Activations of a later stage can't replace those of an earlier one.
    paths, y = picture_files
    grid = {"unfreeze_depth": [0, 1], "weight_decay": [1e-4, 1e-2]}
    model = classifier(cache=folder, max_epochs=1, optimizer="adamw", head_init="random")
    GridSearchCV(model, grid, cv=3, error_score="raise").fit(paths, y)
    assert set(decoded) == set(paths)
    assert len(decoded) <= 2 * len(paths)


def test_a_search_has_the_scores_it_has_without_a_cache(folder, picture_files):
    paths, y = picture_files
    grid = {"unfreeze_depth": [1, 0], "weight_decay": [1e-4, 1e2]}
    plain, cached = (
        GridSearchCV(classifier(cache=cache), grid, cv=3, scoring="neg_log_loss").fit(paths, y)
        for cache in (None, folder)
    )
    assert_allclose(
        cached.cv_results_["mean_test_score"], plain.cv_results_["mean_test_score"], rtol=1e-4
    )
    assert cached.best_params_ == plain.best_params_


def test_arrays_in_a_search_are_computed_once(folder, pictures, computed, monkeypatch):
    X, y = pictures
    hashed = []
    original = ImageSource.read
    monkeypatch.setattr(
        ImageSource, "read", lambda self, row: hashed.append(row) or original(self, row)
    )
    scores = cross_val_score(classifier(cache=folder), X, y, cv=4)
    assert sum(rows for _, rows in computed) == 24
    assert scores.tolist() == [1, 1, 1, 1]


# Interruptions.


def test_an_interrupted_pass_keeps_what_it_computed(folder, picture_files, monkeypatch, computed):
    paths, _ = picture_files
    original = streaming.engine_for
    calls = []

    def interrupt(*args):
        calls.append(args)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return original(*args)

    with monkeypatch.context() as patch:
        patch.setattr(streaming, "engine_for", interrupt)
        with pytest.raises(KeyboardInterrupt):
            small(cache=folder).fit_transform(paths)
    assert cache_info(folder).rows == 16
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("sktransfer")]
    assert not open_files(folder)
    with closing(
        sqlite3.connect(folder / "activations" / "activations.sqlite", timeout=0)
    ) as other:
        other.execute("BEGIN EXCLUSIVE")  # fails if a lock is left
    computed.clear()
    close(small(cache=folder).fit_transform(paths), small().fit_transform(paths))
    assert computed[0] == (0, 8)
    assert sum(rows for _, rows in computed) == 8 + 24


def open_files(folder):
    """Return the files below a folder that this process has open, on systems with /proc."""
    descriptors = Path("/proc/self/fd")
    if not descriptors.exists():
        return []
    links = [os.readlink(link) for link in descriptors.iterdir() if link.is_symlink()]
    return [link for link in links if link.startswith(str(folder))]


def test_an_interruption_while_decoding_keeps_what_was_computed(folder, picture_files, monkeypatch):
    paths, _ = picture_files
    original = sources.decode_file

    def interrupt(path):
        if path == paths[20]:
            raise KeyboardInterrupt
        return original(path)

    with monkeypatch.context() as patch:
        patch.setattr(sources, "decode_file", interrupt)
        with pytest.raises(KeyboardInterrupt):
            small(cache=folder).fit_transform(paths)
    assert cache_info(folder).rows == 16
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("sktransfer")]
    assert not open_files(folder)


def test_an_error_that_is_kept_keeps_no_threads(folder, picture_files, monkeypatch):
    # Interactive sessions keep the last error, and thereby all objects in its frames.
    def fail(*_args):
        raise RuntimeError("the device is gone")

    monkeypatch.setattr(streaming, "engine_for", fail)
    with pytest.raises(RuntimeError, match="the device is gone") as kept:
        small(cache=folder).fit_transform(picture_files[0])
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("sktransfer")]
    assert not open_files(folder)
    del kept


def test_an_interruption_of_a_fit_leaves_it_unfitted(folder, pictures, monkeypatch):
    X, y = pictures
    model = classifier(cache=folder)

    def interrupt(*_args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(stored.StoredActivations, "keep", interrupt)
        with pytest.raises(KeyboardInterrupt):
            model.fit(X, y)
    assert not hasattr(model, "net_")
    assert_array_equal(model.fit(X, y).predict(X), y)


def test_nothing_stays_open(folder, pictures):
    model = classifier(cache=folder).fit(*pictures)
    model.predict(pictures[0])
    assert not open_files(folder)


# Faults, as they appear to the user.


@pytest.mark.parametrize("estimator", [small, classifier])
def test_a_cache_that_is_a_file_costs_a_warning(tmp_path, pictures, estimator):
    (tmp_path / "file").write_text("mine")
    plain, other = estimator(), estimator(cache=tmp_path / "file")
    method = "transform" if estimator is small else "predict_proba"
    expected = getattr(plain.fit(*pictures), method)(pictures[0])
    if estimator is small:
        other.fit(*pictures)
    else:
        with pytest.warns(CacheWarning, match="can't be used"):
            other.fit(*pictures)
    with pytest.warns(CacheWarning, match="can't be used") as found:
        values = getattr(other, method)(pictures[0])
    assert len(found) == 1
    close(values, expected)


def test_a_size_that_is_no_size_is_an_error(folder, pictures, monkeypatch):
    monkeypatch.setenv("SKTRANSFER_CACHE_SIZE", "plenty")
    with pytest.raises(ValueError, match=r"SKTRANSFER_CACHE_SIZE must be a size.*'plenty'"):
        small(cache=folder).fit_transform(pictures[0])


@pytest.mark.parametrize("cache", [3, True, b"folder"])
def test_a_cache_that_is_no_path_is_an_error(pictures, cache):
    with pytest.raises(ValueError, match="cache"):
        small(cache=cache).fit(pictures[0])


def test_a_warm_store_is_not_written_to(folder, pictures, monkeypatch):
    # Times of use are only updated when they are not recent; a slow machine must not matter.
    monkeypatch.setattr(database, "_RECENT", float("inf"))
    small(cache=folder).fit_transform(pictures[0])
    file = folder / "activations" / "activations.sqlite"
    before = file.read_bytes()
    small(cache=folder).fit_transform(pictures[0])
    assert file.read_bytes() == before


def test_unused_rows_make_room_for_new_ones(folder, monkeypatch):
    monkeypatch.setenv("SKTRANSFER_CACHE_SIZE", "600KB")
    for seed in range(6):
        X, _ = make_pictures(24, seed=seed)
        cold = small(cache=folder).fit_transform(X)
        assert_array_equal(small(cache=folder).fit_transform(X), cold)
        assert cache_info(folder).size <= 660_000
    assert 24 <= cache_info(folder).rows < 6 * 24


def test_images_do_not_stay_in_memory_through_the_cache(folder):
    # Activations that wait to be written are copies: a view would keep its whole batch alive.
    X, _ = make_pictures(8)
    kept = []
    original = stored.StoredActivations.flush

    def spy(self):
        kept.extend(self._new.values())
        original(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stored.StoredActivations, "flush", spy)
        small(cache=folder).fit_transform(torch.from_numpy(X.copy()).permute(0, 3, 1, 2))
    assert len(kept) == 8
    assert all(value.base is None for value in kept)
