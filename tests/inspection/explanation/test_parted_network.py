import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from sktransfer.exceptions import ParameterError
from sktransfer.inspection.explanation.parted_network import chunks, parted_network
from sktransfer.inspection.subject import subject_of
from tests.inspection.explanation.patches import NAME, patch_pictures
from tests.small_estimators import make_classifier, make_extractor

X, LABELS, _ = patch_pictures(12)
SHORT = {"max_epochs": 1}


def parted_of(model):
    subject = subject_of(model, "a test")
    images = subject.pictures(X)
    return parted_network(subject, images), images


def classifier(**parameters):
    defaults = {"backbone": NAME, "weights": "DEFAULT", "image_size": None}
    return make_classifier(**{**defaults, **parameters}).fit(X, LABELS)


def extractor(**parameters):
    defaults = {"backbone": NAME, "weights": "DEFAULT", "image_size": None}
    return make_extractor(**{**defaults, **parameters})


VIT = {"backbone": "timm/test_vit", "weights": None, "image_size": 160}
RESNET = {"backbone": "resnet18", "weights": None, "image_size": 64}
VGG = {"backbone": "vgg11", "weights": None, "image_size": 64}


@pytest.mark.parametrize(
    ("parameters", "shape", "are_means"),
    [
        ({}, (32, 12, 12), True),
        ({"unfreeze_depth": 1, **SHORT}, (32, 12, 12), True),
        ({"unfreeze_depth": "all", **SHORT}, (32, 12, 12), True),
        ({"pooling": "max", "unfreeze_depth": 1, **SHORT}, (32, 12, 12), False),
        ({"hidden_layer_sizes": 4, **SHORT}, (32, 12, 12), True),
        (RESNET, (512, 2, 2), True),
        ({**RESNET, "unfreeze_depth": 2, **SHORT}, (512, 2, 2), True),
        (VIT, (101, 64), False),
        ({**VIT, "unfreeze_depth": 1, **SHORT}, (101, 64), False),
        ({**VIT, "pooling": "avg", "unfreeze_depth": 2, **SHORT}, (101, 64), True),
    ],
    ids=str,
)
def test_both_parts_together_give_the_scores(parameters, shape, are_means):
    if parameters.get("backbone", "").startswith("timm/"):
        pytest.importorskip("timm")
    model = classifier(**parameters)
    parted, images = parted_of(model)
    assert parted.shape == shape
    assert parted.features_are_means == are_means
    with torch.no_grad():
        scores = parted.scores(parted.collect(images))
    np.testing.assert_allclose(
        scores.log_softmax(1), model.predict_log_proba(X), rtol=1e-3, atol=1e-3
    )


@pytest.mark.parametrize(
    ("parameters", "shape"),
    [
        ({}, (32, 12, 12)),
        ({"stage": "level1"}, (16, 24, 24)),
        ({"stage": ["level2"], "pooling": "max"}, (32, 12, 12)),
        ({"stage": "neck"}, (32, 12, 12)),
        ({**RESNET, "stage": "layer2", "pooling": "flatten"}, (128, 8, 8)),
        ({**RESNET, "pooling": "avg"}, (512, 2, 2)),
    ],
    ids=str,
)
def test_an_extractor_and_a_linear_model(parameters, shape):
    model = make_pipeline(extractor(**parameters), LogisticRegression()).fit(X, LABELS)
    parted, images = parted_of(model)
    assert parted.shape == shape
    with torch.no_grad():
        scores = parted.scores(parted.collect(images))
    np.testing.assert_allclose(
        scores[:, 1] - scores[:, 0], model.decision_function(X), rtol=1e-3, atol=1e-3
    )


def test_fully_connected_layers_after_the_map():
    parted, _ = parted_of(classifier(**VGG))
    assert parted.shape == (512, 2, 2)
    assert not parted.features_are_means
    assert parted.sees_positions


def test_tokens_become_a_map_without_those_of_the_whole_picture():
    pytest.importorskip("timm")
    parted, _ = parted_of(classifier(**VIT))
    tokens = torch.arange(101.0)[None, :, None].expand(1, 101, 64)
    as_map = parted.as_map(tokens)
    assert as_map.shape == (1, 64, 10, 10)
    torch.testing.assert_close(as_map[0, 0].flatten(), torch.arange(1.0, 101))


def test_a_vector_is_no_map():
    for model in (
        classifier(backbone="mnasnet0_5", weights=None, image_size=32),
        make_pipeline(
            extractor(backbone="mnasnet0_5", weights=None, image_size=32), LogisticRegression()
        ).fit(X, LABELS),
    ):
        with pytest.raises(ParameterError, match="mnasnet0_5 has no map with several positions"):
            parted_of(model)


def test_weights_that_are_all_0_are_named():
    model = make_pipeline(extractor(), LogisticRegression(l1_ratio=1, C=1e-9, solver="saga"))
    with pytest.raises(ParameterError, match="All weights of LogisticRegression are 0"):
        parted_of(model.fit(X, LABELS))


def test_other_stages_of_an_extractor_are_refused():
    model = make_pipeline(extractor(stage=["level1", "level2"]), LogisticRegression())
    with pytest.raises(ParameterError, match="A map is of one stage"):
        parted_of(model.fit(X, LABELS))


def test_chunks():
    assert [list(rows) for rows in chunks(5, 2)] == [[0, 1], [2, 3], [4]]
