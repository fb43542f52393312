from dataclasses import replace

import pytest

from sktransfer import PretrainedFeatureExtractor
from sktransfer.backbones.sources.lite import Lite
from sktransfer.backbones.sources.torchvision import Torchvision
from sktransfer.exceptions import BackboneError, ParameterError
from sktransfer.ranking.candidates import as_candidates
from tests.small_estimators import LITE0, make_extractor

NONE = {"cache": None, "device": "auto", "n_jobs": None, "verbose": 0}


def labels_of(backbones, shared=NONE):
    return [candidate.label for candidate in as_candidates(backbones, shared)]


def test_labels_name_what_is_not_the_default(tmp_path):
    file = tmp_path / "mine.pth"
    file.write_bytes(b"")
    given = [
        LITE0,
        PretrainedFeatureExtractor("resnet18", stage=["layer2", "layer3"], weights=None),
        PretrainedFeatureExtractor("resnet18", weights=file, cache=tmp_path, n_jobs=2),
    ]
    assert labels_of(given) == [
        LITE0,
        "resnet18, weights=None, stage=layer2+layer3",
        "resnet18, weights=mine.pth",
    ]


def test_files_of_one_name_are_told_apart_by_their_folders(tmp_path):
    files = [tmp_path / folder / "mine.pth" for folder in "ab"]
    for file in files:
        file.parent.mkdir()
        file.write_bytes(b"")
    labels = labels_of([PretrainedFeatureExtractor("resnet18", weights=file) for file in files])
    assert labels == [f"resnet18, weights={file}" for file in files]


def test_what_all_share_leaves_the_extractors_own_parameters(tmp_path):
    own = make_extractor(device="cpu", n_jobs=3)
    shared = {"cache": tmp_path, "device": "meta", "n_jobs": 2, "verbose": 1}
    first, second = (each.extractor for each in as_candidates([LITE0, own], shared))
    assert (first.cache, first.device, first.n_jobs, first.verbose) == (tmp_path, "meta", 2, 1)
    assert (second.cache, second.device, second.n_jobs) == (tmp_path, "cpu", 3)
    assert own.cache is None  # the user's object is left as it is


def test_by_default_those_whose_weights_are_at_hand(monkeypatch):
    monkeypatch.setattr(Torchvision, "at_hand", lambda _, weights: "resnet18" in weights.origin)
    assert labels_of(None) == [*(f"efficientnet_lite{i}" for i in range(3)), "resnet18"]
    monkeypatch.setattr(Lite, "at_hand", lambda *_: False)
    with pytest.raises(ParameterError, match=r"at least two.*has 1: \['resnet18'\].*offline"):
        labels_of(None)


def test_the_accuracy_of_a_stage_is_not_that_of_the_network():
    whole, stage = as_candidates([LITE0, make_extractor(backbone=LITE0, stage="level4")], NONE)
    assert whole.is_whole
    assert not stage.is_whole
    assert whole.weights == replace(stage.weights)
    assert (whole.weights.accuracy, whole.weights.license) == (75.1, "Apache-2.0")


@pytest.mark.parametrize(
    ("backbones", "error", "message"),
    [
        (LITE0, ParameterError, "list or tuple of names"),
        (PretrainedFeatureExtractor(LITE0), ParameterError, "list or tuple of names"),
        (3, ParameterError, "list or tuple of names"),
        ([], ParameterError, "at least two candidates to compare, but has 0"),
        ([LITE0], ParameterError, "at least two candidates to compare, but has 1"),
        ([LITE0, 3], ParameterError, "names and PretrainedFeatureExtractors.*got 3"),
        ([LITE0, LITE0], ParameterError, "holds .*efficientnet_lite0.* more than once"),
        (
            [make_extractor(), make_extractor(verbose=1, cache="somewhere")],
            ParameterError,
            "more than once",
        ),
        ([LITE0, "resnet81"], BackboneError, "Did you mean 'resnet18'"),
        (
            [LITE0, PretrainedFeatureExtractor(weights="missing.pth")],
            BackboneError,
            "neither a file nor a published name",
        ),
        ([LITE0, make_extractor(on_error="nan")], ParameterError, "on_error='nan'"),
        ([LITE0, make_extractor(image_shape=(8, 8))], ParameterError, "the same image_shape"),
        ([LITE0, make_extractor(n_jobs=0)], ValueError, "n_jobs=0"),
    ],
)
def test_candidates_that_make_no_sense(backbones, error, message):
    with pytest.raises(error, match=message):
        as_candidates(backbones, NONE)
