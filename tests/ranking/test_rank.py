import numpy as np
import pytest
from sklearn.model_selection import GroupKFold, KFold

from sktransfer import PretrainedFeatureExtractor, rank_backbones
from sktransfer.exceptions import (
    BackboneError,
    DeviceUnavailableError,
    ImageError,
    ParameterError,
    RankingWarning,
)
from sktransfer.ranking import rank
from sktransfer.ranking.frozen_head import Comparison
from tests.conftest import make_pictures, save_pictures
from tests.small_estimators import LITE0, make_extractor

X, Y = make_pictures(24, n_classes=3)
LITE = make_extractor(backbone=LITE0)
FLOOR = make_extractor()
NAME, FLOORS_NAME = (
    "efficientnet_lite0, image_size=32, device=cpu",
    ("mnasnet0_5, weights=None, image_size=32, device=cpu"),
)
BOTH = [LITE, FLOOR]


def test_a_ranking():
    labels = np.array(["red", "green", "blue"])[Y]
    ranking = rank_backbones(X, labels, BOTH)
    assert sorted(ranking.backbone) == [NAME, FLOORS_NAME]
    assert (np.diff(ranking.accuracy) <= 0).all()
    assert ranking.n_pictures == 24
    assert ranking.extractors[0].fit(X).transform(X[:2]).shape == (2, ranking.features[0])
    assert ranking.fold_accuracies.shape == (2, 10)
    assert ranking.skipped == {}
    assert ranking.not_reached == []
    np.testing.assert_allclose(ranking.accuracy, ranking.fold_accuracies.mean(1))
    again = rank_backbones(X, labels, BOTH[::-1])
    by_name = [
        dict(zip(each.backbone, each.fold_accuracies.tolist(), strict=True))
        for each in (ranking, again)
    ]
    assert by_name[0] == by_name[1]


def test_each_picture_passes_each_backbone_once(tmp_path, decoded):
    paths = save_pictures(X, tmp_path)
    cache = tmp_path / "cache"
    first = rank_backbones(paths, Y, BOTH, cache=cache)
    assert sorted(decoded) == sorted(2 * paths)
    decoded.clear()
    again = rank_backbones(paths, Y, BOTH, cache=cache)
    assert decoded == []
    np.testing.assert_array_equal(again.fold_accuracies, first.fold_accuracies)
    assert np.isnan(again.seconds_per_1000).all()


def test_rows_are_drawn_by_class():
    ranking = rank_backbones(X, Y, BOTH, max_rows=15, cv=2)
    assert ranking.n_pictures == 15
    assert ranking.fold_accuracies.shape == (2, 4)
    assert rank_backbones(X, Y, BOTH, max_rows=None).n_pictures == 24


def test_groups_come_as_splits():
    groups = np.arange(24) // 6
    splits = list(GroupKFold(4).split(X, Y, groups))
    assert rank_backbones(X, Y, BOTH, cv=splits, max_rows=20).fold_accuracies.shape == (2, 4)


def test_several_labels():
    y = np.stack([Y == 0, Y > 0, Y < 2], axis=1).astype(int)
    ranking = rank_backbones(X, y, BOTH, cv=KFold(3))
    assert ranking.fold_accuracies.shape == (2, 3)


def test_flattened_pixels():
    flat = X.reshape(24, -1)
    shape = {"image_shape": (32, 32, 3)}
    extractors = [make_extractor(backbone=LITE0, **shape), make_extractor(**shape)]
    ranking = rank_backbones(flat, Y, extractors)
    expected = rank_backbones(X, Y, BOTH)
    np.testing.assert_array_equal(ranking.fold_accuracies, expected.fold_accuracies)


def test_one_that_fails_is_skipped():
    wrong = make_extractor(stage="layer9")
    with pytest.warns(RankingWarning, match="skipped mnasnet0_5.*layer9.*not a stage"):
        ranking = rank_backbones(X, Y, [wrong, LITE])
    assert ranking.backbone.tolist() == [NAME]
    ((label, reason),) = ranking.skipped.items()
    assert label.startswith("mnasnet0_5, weights=None, stage=layer9")
    assert reason.startswith("BackboneError: ")
    assert "Skipped mnasnet0_5" in str(ranking)


def test_weights_that_can_not_be_had_are_skipped(monkeypatch):
    def offline(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr("sktransfer.backbones.sources.download._fetch", offline)
    monkeypatch.setattr("torch.hub.get_dir", lambda: "/nowhere")
    with pytest.warns(RankingWarning, match="Three ways"):
        ranking = rank_backbones(X, Y, ["squeezenet1_1", LITE])
    assert ranking.skipped["squeezenet1_1"].startswith("WeightsUnavailableError")
    assert ranking.backbone.tolist() == [NAME]


def test_where_all_fail_there_is_an_error():
    with pytest.raises(BackboneError, match=r"No candidate.*layer8.*layer9"):
        rank_backbones(X, Y, [make_extractor(stage="layer8"), make_extractor(stage="layer9")])


def interrupt_at(monkeypatch, owner, name, label):
    original = getattr(owner, name)

    def interrupted(*args):
        if any(label in repr(arg) for arg in args):
            raise KeyboardInterrupt
        return original(*args)

    monkeypatch.setattr(owner, name, interrupted)


def test_ctrl_c_returns_what_is_done(monkeypatch):
    interrupt_at(monkeypatch, Comparison, "measured", "mnasnet0_5")
    with pytest.warns(RankingWarning, match="interrupted before mnasnet0_5"):
        ranking = rank_backbones(X, Y, BOTH, fine_tune_top=1)
    assert ranking.backbone.tolist() == [NAME]
    assert ranking.not_reached == [FLOORS_NAME]
    assert np.isnan(ranking.fine_tuned_accuracy).all()
    assert "Interrupted before mnasnet0_5" in str(ranking)


def test_ctrl_c_before_the_first_is_done(monkeypatch):
    interrupt_at(monkeypatch, Comparison, "measured", LITE0)
    with pytest.raises(KeyboardInterrupt):
        rank_backbones(X, Y, BOTH)


def fine_tuned_by(monkeypatch, accuracy):
    """Replace the training of candidates, which takes seconds."""
    monkeypatch.setattr(rank, "fine_tuned_accuracies", accuracy)


def test_the_best_are_fine_tuned(monkeypatch):
    fine_tuned_by(monkeypatch, lambda *_: np.array([0.5, 0.6, 0.7]))
    stage = make_extractor(backbone=LITE0, stage="level3")  # a classifier has none
    ranking = rank_backbones(X, Y, [LITE, stage], fine_tune_top=1)
    found = dict(zip(ranking.backbone, ranking.fine_tuned_accuracy, strict=True))
    assert found.pop(NAME) == pytest.approx(0.6)
    assert np.isnan(list(found.values())).all()
    assert "fine_tuned_accuracy" not in rank_backbones(X, Y, BOTH)


def test_a_fine_tuning_that_fails_or_is_interrupted(monkeypatch):
    errors = iter([RuntimeError("no memory"), KeyboardInterrupt])

    def fail(*_):
        raise next(errors)

    fine_tuned_by(monkeypatch, fail)
    with pytest.warns(RankingWarning) as caught:
        ranking = rank_backbones(X, Y, BOTH, fine_tune_top=2)
    first, second = ranking.backbone
    assert [str(w.message) for w in caught] == [
        f"rank_backbones has skipped fine-tuning {first}: RuntimeError: no memory",
        f"rank_backbones was interrupted before fine-tuning {second}.",
    ]
    assert np.isnan(ranking.fine_tuned_accuracy).all()
    assert len(ranking.backbone) == 2


def test_verbose_tells_of_each(capsys):
    rank_backbones(X, Y, BOTH, verbose=1)
    told = capsys.readouterr().err
    assert f"{NAME}: accuracy" in told
    assert f"{FLOORS_NAME}: accuracy" in told


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"backbones": [LITE0, "resnet81"]}, BackboneError, "Did you mean"),
        ({"backbones": [LITE0]}, ParameterError, "at least two"),
        ({"y": np.zeros(24)}, ValueError, "one class only"),
        ({"y": np.where(Y == 0, np.nan, Y)}, ValueError, "NaN"),
        ({"y": Y[:-1]}, ValueError, "inconsistent numbers"),
        ({"y": None}, ValueError, "rank_backbones requires y"),
        ({"X": X[:16], "y": np.arange(16)}, ParameterError, "too many folds"),
        ({"y": np.linspace(0, 1, 24)}, ValueError, "Unknown label type"),
        ({"y": np.stack([Y == 0, Y < 9], axis=1).astype(int)}, ParameterError, r"Columns \[1\]"),
        ({"cv": 9}, ParameterError, "at most cv=8"),
        ({"cv": GroupKFold(3)}, ParameterError, "groups"),
        ({"max_rows": 1}, ParameterError, "max_rows"),
        ({"max_rows": 10.5}, ParameterError, "max_rows"),
        ({"fine_tune_top": -1}, ParameterError, "fine_tune_top"),
        ({"fine_tune_top": "all"}, ParameterError, "fine_tune_top"),
        ({"device": "cuda:77"}, DeviceUnavailableError, "cuda:77"),
        ({"n_jobs": 0}, ValueError, "n_jobs=0"),
        ({"X": X.reshape(24, -1)}, ImageError, "image_shape"),
        ({"X": ["missing.png"] * 24}, ImageError, "missing.png"),
    ],
)
def test_input_that_makes_no_sense_is_told_before_any_pass(monkeypatch, changed, error, message):
    monkeypatch.setattr(Comparison, "measured", None)
    given = {
        "X": X,
        "y": Y,
        "backbones": [LITE0, PretrainedFeatureExtractor(LITE0, stage="level4")],
    }
    with pytest.raises(error, match=message):
        rank_backbones(**{**given, **changed})


def test_a_picture_that_can_not_be_read_is_the_error_of_all(tmp_path):
    paths = save_pictures(X, tmp_path)
    (tmp_path / "picture_3.png").write_bytes(b"nothing")
    with pytest.raises(ImageError, match=r"row 3 of X .*picture_3"):
        rank_backbones(paths, Y, BOTH)


def test_where_classes_are_many_some_stand_for_all():
    ranking = rank_backbones(X, Y, BOTH, max_rows=10)
    assert ranking.n_pictures == 10  # of two classes
    assert np.isfinite(ranking.logme).all()
    assert ranking.fold_accuracies.shape == (2, 10)
