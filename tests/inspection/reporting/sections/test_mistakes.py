import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline

from sktransfer.inspection.reporting.blocks import Gallery, Text
from sktransfer.inspection.reporting.sections import mistakes
from sktransfer.inspection.reporting.sections.mistakes import section, worst
from tests.conftest import make_pictures
from tests.inspection.reporting.materials import EXPECTED, SURE, TRUE, material_of, told, usual
from tests.small_estimators import make_classifier, make_extractor

X, y = make_pictures(24)


def trained(model, **options):
    """Material in which two of eight test labels are wrong."""
    labels = y[16:].copy()
    labels[:2] = 1 - labels[:2]
    train = {"X_train": X[:16], "y_train": y[:16]}
    return material_of(model.fit(X[:16], y[:16]), X[16:], labels, **{**train, **options})


def texts(found):
    return " ".join(block.text for block in found.blocks if isinstance(block, Text))


def galleries(found):
    return [block for block in found.blocks if isinstance(block, Gallery)]


def test_the_largest_loss_comes_first():
    probabilities = SURE.copy()
    probabilities[7] = [0.1, 0.85, 0.05]
    assert worst(told(probabilities, TRUE)).tolist() == [7, 3, 11]
    assert worst(told(probabilities, TRUE, has_probabilities=False)).tolist() == [3, 7, 11]


def test_pictures_say_truth_and_prediction():
    found = section(usual())
    assert "3 of 12 test pictures are predicted wrongly." in texts(found)
    pictures = galleries(found)[0].pictures
    assert list(pictures[0].lines) == ["ant (0.80)", "is bee", "row 3"]


def test_many_mistakes_are_cut_off(monkeypatch):
    monkeypatch.setattr(mistakes, "_MOST", 2)
    found = section(usual())
    assert "These are the 2 with the largest loss." in texts(found)
    assert len(galleries(found)[0].pictures) == 2


def test_no_mistakes():
    found = section(told(SURE, EXPECTED))
    assert texts(found) == "All 12 test pictures are predicted correctly."
    assert not galleries(found)


def test_maps_are_exact_where_that_is_possible():
    found = section(trained(make_classifier(image_size=64)))
    assert "Class activation maps" in texts(found)
    pictures = galleries(found)[0].pictures
    assert all(picture.marked.shape == picture.pixels.shape for picture in pictures)


def test_other_classifiers_are_explained_by_occlusion(monkeypatch):
    monkeypatch.setattr(mistakes, "_MOST_OCCLUDED", 1)
    found = section(trained(make_pipeline(make_extractor(), KNeighborsClassifier(3))))
    assert "Occlusion" in texts(found)
    marked = [picture.marked is not None for picture in galleries(found)[0].pictures]
    assert marked == [True, *[False] * (len(marked) - 1)]


def test_neighbours_are_the_nearest_training_pictures():
    data = trained(make_pipeline(make_extractor(), LogisticRegression()))
    found = section(data)
    first, *near = galleries(found)
    assert len(near) == len(first.pictures)
    train = make_extractor().fit_transform(X[:16]).astype(float)
    test = make_extractor().fit_transform(X[16:]).astype(float)
    cosine = test @ train.T / np.linalg.norm(test, axis=1)[:, None] / np.linalg.norm(train, axis=1)
    for picture, gallery in zip(first.pictures, near, strict=True):
        expected = np.argsort(-cosine[picture.row])[:5]
        assert {each.row for each in gallery.pictures} == set(expected.tolist())
        nearest = gallery.pictures[0]
        assert nearest.lines[0] == str(y[nearest.row])
        assert nearest.lines[1] == f"distance {1 - cosine[picture.row, nearest.row]:.2f}"


@pytest.mark.parametrize("what", ["train", "backbone"])
def test_what_neighbours_need_is_said(what):
    if what == "train":
        found = section(trained(make_classifier(), X_train=None, y_train=None))
        assert "need X_train and y_train" in texts(found)
    else:
        found = section(usual(X_train=np.zeros((2, 8, 8, 3), np.uint8), y_train=["ant", "bee"]))
        assert "need a classifier with a backbone" in texts(found)
