"""The parameter `resize` of both estimators, with the other parameters."""

import html
import pickle
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV, GroupShuffleSplit
from sklearn.pipeline import make_pipeline
from sklearn.utils import estimator_html_repr

from sktransfer import PretrainedImageClassifier
from sktransfer.exceptions import ParameterError
from sktransfer.selection import resize as selection
from tests.conftest import save_pictures
from tests.small_estimators import LITE0, make_classifier, make_extractor

make_auto = partial(make_classifier, backbone=LITE0, image_size=48, resize="auto")

TUNED = {"unfreeze_depth": 1, "max_epochs": 1}


def wide_pictures(n, seed=0, size=(48, 144)):
    """Make pictures three times as wide as high, whose class shows at the left end alone."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 3
    X = rng.integers(60, 196, (n, *size, 3)).astype(np.uint8)
    for picture, label in zip(X, y, strict=True):
        picture[:, : size[0]] = np.eye(3, dtype=np.uint8)[label] * 200
    return X, np.array(["red", "green", "blue"])[y]


@pytest.fixture
def wide_files(tmp_path):
    X, y = wide_pictures(24)
    return save_pictures(X, tmp_path), y


def test_auto_sees_what_the_crop_throws_away():
    X, y = wide_pictures(30)
    test, expected = wide_pictures(30, seed=1)
    auto = make_auto().fit(X, y)
    assert auto.resize_ in ("squash", "pad")
    assert auto.score(test, expected) == 1
    assert make_auto(resize="crop").fit(X, y).score(test, expected) < 0.8
    assert set(auto.resize_scores_) == {"crop", "squash", "pad"}
    assert set(auto.resize_scores_["pad"]) == {"mean", "gain", "gain_error"}
    assert auto.resize == "auto"


@pytest.mark.parametrize("resize", ["crop", "squash", "pad"])
def test_a_given_resize_is_used(resize):
    X, y = wide_pictures(12)
    classifier = make_auto(resize=resize).fit(X, y)
    assert (classifier.resize_, classifier.resize_scores_) == (resize, None)
    extractor = make_extractor(backbone=LITE0, image_size=48, resize=resize)
    features = extractor.fit_transform(X)
    head = classifier.net_.module_
    with torch.no_grad():
        scores = head(torch.from_numpy(features)).numpy()
    np.testing.assert_allclose(classifier.decision_function(X), scores, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("resize", ["squash", "pad"])
def test_a_picture_has_the_same_features_in_every_form(wide_files, resize):
    paths, _ = wide_files
    X, _ = wide_pictures(24)
    extractor = make_extractor(resize=resize).fit(paths)
    expected = extractor.transform(paths)
    forms = (X, [Image.open(path) for path in paths], torch.from_numpy(X).permute(0, 3, 1, 2))
    for form in forms:
        np.testing.assert_array_equal(extractor.transform(form), expected)
    floats = extractor.transform(X / 255)
    np.testing.assert_allclose(floats, expected, rtol=1e-4, atol=1e-5)


def test_the_choice_is_the_fit_with_it():
    X, y = wide_pictures(30)
    auto = make_auto().fit(X, y)
    given = make_auto(resize=auto.resize_).fit(X, y)
    np.testing.assert_allclose(
        auto.decision_function(X), given.decision_function(X), rtol=1e-4, atol=1e-4
    )


def test_the_same_seed_gives_the_same_fit():
    X, y = wide_pictures(30)
    first, second = (make_auto().fit(X, y) for _ in range(2))
    assert first.resize_scores_ == second.resize_scores_
    np.testing.assert_array_equal(first.predict_proba(X), second.predict_proba(X))


def test_every_engine_gives_the_same_choice():
    pytest.importorskip("openvino")
    X, y = wide_pictures(30)
    torch_, openvino = (make_auto(engine=e).fit(X, y) for e in ("torch", "openvino"))
    assert torch_.resize_ == openvino.resize_


@pytest.mark.parametrize("parameters", [{}, TUNED, {**TUNED, "unfreeze_depth": "all"}])
def test_pictures_are_read_three_times_at_most(wide_files, decoded, parameters):
    paths, y = wide_files
    make_auto(**parameters).fit(paths, y)
    assert sorted(decoded) == sorted(3 * paths)


def test_views_of_pictures_do_not_use_the_evidence(wide_files, decoded, monkeypatch):
    monkeypatch.setattr(selection, "_EXTRA_PICTURES", 36)
    paths, y = wide_files
    auto = make_auto(augment="light", n_views=2).fit(paths, y)
    # Twelve pictures in three ways, and all of them once for their views.
    assert len(decoded) == 36 + 24
    assert auto.resize_ in ("squash", "pad")


def test_a_search_costs_three_passes(wide_files, decoded, tmp_path):
    paths, y = wide_files
    search = GridSearchCV(
        make_auto(cache=tmp_path / "cache"),
        {"weight_decay": [1e-4, 1e-2], "resize": ["auto", "pad"]},
        cv=3,
    )
    search.fit(np.array(paths), y)
    assert sorted(decoded) == sorted(3 * paths)


def test_held_out_rows_are_no_evidence():
    X, y = wide_pictures(30)
    wrong = y.copy()
    wrong[24:] = "red"
    first, second = (
        make_auto(validation_fraction=_Split(24)).fit(X, labels) for labels in (y, wrong)
    )
    assert first.resize_scores_ == second.resize_scores_


class _Split:
    """The first rows train."""

    def __init__(self, n):
        self.n = n

    def split(self, X, y=None, groups=None):
        yield np.arange(self.n), np.arange(self.n, len(X))

    def get_n_splits(self, X=None, y=None, groups=None):
        return 1


def test_groups_stay_together(monkeypatch):
    seen = []
    original = selection.make_folds

    def make_folds(y, groups, seed):
        seen.append(groups)
        return original(y, groups, seed)

    monkeypatch.setattr(selection, "make_folds", make_folds)
    X, y = wide_pictures(36)
    groups = [f"animal {i // 3}" for i in range(36)]
    split = GroupShuffleSplit(1, test_size=0.25, random_state=0)
    auto = make_auto(validation_fraction=split).fit(X, y, groups=groups)
    assert len(set(seen[0])) == 9
    assert auto.resize_ in ("squash", "pad")


@pytest.mark.parametrize("in_pieces", [False, True])
def test_a_continued_fit_keeps_the_first_choice(in_pieces):
    X, y = wide_pictures(30)
    classifier = make_auto(warm_start=True)
    fit = classifier.partial_fit if in_pieces else classifier.fit
    fit(X, y)
    first, scores = classifier.resize_, classifier.resize_scores_
    assert first != "crop"
    # By these pictures, which are of one colour each, nothing would be gained.
    plain = np.broadcast_to(X[:, :1, :1], X.shape).copy()
    fit(plain, y)
    assert (classifier.resize_, classifier.resize_scores_) == (first, scores)
    classifier.set_params(resize=first)
    fit(plain, y)
    classifier.set_params(resize="crop")
    with pytest.raises(ParameterError, match=f"resize was '{first}' in it and is 'crop'"):
        fit(plain, y)
    assert classifier.resize_ == first


def test_predictions_keep_the_resize_of_the_fit():
    X, y = wide_pictures(12)
    classifier = make_auto(resize="squash").fit(X, y)
    before = classifier.predict_proba(X)
    classifier.set_params(resize="pad")
    np.testing.assert_array_equal(classifier.predict_proba(X), before)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(classifier)).predict_proba(X), before)
    assert clone(classifier).resize == "pad"


def test_validation_data_are_seen_in_the_chosen_way():
    X, y = wide_pictures(30)
    auto = make_auto(**TUNED).fit(X, y, validation_data=(X[:9], y[:9]))
    assert auto.history_[0]["valid_score"] == 1


def test_one_row_and_rows_without_weight():
    X, y = wide_pictures(12)
    weights = np.zeros(12)
    weights[:3] = 1
    auto = make_auto().fit(X, y, sample_weight=weights)
    assert (auto.resize_, auto.resize_scores_) == ("crop", None)
    few = make_auto().fit(X[:3], y[:3])
    np.testing.assert_allclose(
        auto.decision_function(X), few.decision_function(X), rtol=1e-3, atol=1e-3
    )


@pytest.mark.parametrize("in_pieces", [False, True])
def test_a_first_choice_without_evidence_stays(in_pieces):
    X, y = wide_pictures(30)
    classifier = make_auto(warm_start=True)
    classifier.partial_fit(X[:3], y[:3]) if in_pieces else classifier.fit(X[:3], y[:3])
    for _ in range(2):
        assert (classifier.resize_, classifier.resize_scores_) == ("crop", None)
        classifier.partial_fit(X, y) if in_pieces else classifier.fit(X, y)


def test_weights_so_unequal_that_most_rows_round_to_nothing():
    X, y = wide_pictures(30)
    weights = np.full(30, 1e-60)
    weights[:3] = 1
    auto = make_auto().fit(X, y, sample_weight=weights)
    assert np.isfinite([score["mean"] for score in auto.resize_scores_.values()]).all()


def test_groups_of_several_labels():
    X, y = wide_pictures(36)
    labels = (y[:, None] == ["red", "green"]).astype(int)
    split = GroupShuffleSplit(1, test_size=0.25, random_state=0)
    auto = make_auto(loss="binary_cross_entropy", validation_fraction=split)
    assert auto.fit(X, labels, groups=np.arange(36) // 3).resize_ in ("squash", "pad")


@pytest.mark.parametrize("augment", ["standard", "keras"])
def test_views_that_crop_are_made_of_what_was_chosen(augment):
    X, y = wide_pictures(30)
    auto = make_auto(augment=augment, n_views=2).fit(X, y)
    assert auto.resize_ in ("squash", "pad")
    given = make_auto(augment=augment, n_views=2, resize=auto.resize_).fit(X, y)
    np.testing.assert_allclose(
        auto.decision_function(X), given.decision_function(X), rtol=1e-3, atol=1e-3
    )


def test_several_labels():
    X, y = wide_pictures(30)
    labels = (y[:, None] == ["red", "green"]).astype(int)
    auto = make_auto(loss="binary_cross_entropy").fit(X, labels)
    assert auto.resize_ in ("squash", "pad")


def test_a_teacher_and_a_hidden_head():
    X, y = wide_pictures(30)
    teacher = make_auto(resize="squash").fit(X, y)
    student = make_auto(distill_from=teacher, hidden_layer_sizes=(8,), max_epochs=30).fit(X, y)
    assert student.resize_ in ("squash", "pad")


@pytest.mark.parametrize("augment", ["light", "standard", "keras"])
def test_augmentation_of_padded_pictures(augment):
    X, y = wide_pictures(12)
    padded = make_auto(resize="pad", augment=augment, n_views=2, tta=2).fit(X, y)
    assert padded.score(X, y) == 1


def decision_of(classifier):
    """Return the sentence that tells what the classifier has decided."""
    (decision,) = classifier._model.decisions()
    return str(decision)


def test_a_line_tells_the_choice_once(capsys):
    X, y = wide_pictures(24)
    classifier = make_auto(verbose=1, warm_start=True).fit(X, y)
    assert decision_of(classifier) in capsys.readouterr().err.splitlines()
    classifier.fit(X, y)  # it goes on with the same choice
    make_auto(resize="squash", verbose=1).fit(X, y)
    make_auto().fit(X, y)
    assert "resize=" not in capsys.readouterr().err
    make_auto(verbose=1).fit(X[:2], y[:2])
    assert "resize='crop': too few rows" in capsys.readouterr().err


def test_the_repr_tells_the_choice_and_stays_code():
    X, y = wide_pictures(24)
    classifier = make_auto()
    code = repr(classifier)
    classifier.fit(X, y)
    assert repr(classifier) == f"# {decision_of(classifier)}\n{code}"
    made = eval(repr(classifier), {"PretrainedImageClassifier": PretrainedImageClassifier})
    assert made.get_params() == classifier.get_params()
    assert repr(made) == repr(clone(classifier)) == code
    [within] = eval(repr([classifier]), {"PretrainedImageClassifier": PretrainedImageClassifier})
    assert within.get_params() == classifier.get_params()
    assert repr(make_auto(resize="squash").fit(X, y)).count("#") == 0


def test_a_long_repr_is_broken_into_lines():
    classifier = make_auto(class_weight="balanced", label_smoothing=0.1, weight_decay=0.01)
    for shown in (classifier, make_pipeline(classifier)):
        lines = repr(shown).splitlines()
        assert max(map(len, lines)) <= 80
        assert len(lines) > 2


def test_the_html_tells_the_choice():
    X, y = wide_pictures(24)
    classifier = make_auto()
    assert "sk-estimator" in estimator_html_repr(classifier)
    classifier.fit(X, y)
    caption = f'<div class="caption">{html.escape(decision_of(classifier))}</div>'
    for shown in (classifier, make_pipeline(classifier)):
        assert estimator_html_repr(shown).count(caption) == 1
    # scikit-learn draws the teacher beside the classifier.
    teacher = FrozenEstimator(make_classifier(backbone=LITE0, image_size=48).fit(X, y))
    student = make_auto(distill_from=teacher).fit(X, y)
    assert "distill_from: FrozenEstimator" in estimator_html_repr(student)


def test_the_extractor_has_no_labels_to_choose_by():
    with pytest.raises(ValueError, match="resize"):
        make_extractor(resize="auto").fit(wide_pictures(3)[0])
