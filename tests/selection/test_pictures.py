import numpy as np
import pytest

from sktransfer.images.sources import as_images
from sktransfer.selection.pictures import LabelledPictures


def labelled(y, *, rows=None, groups=None, items=None):
    y = np.asarray(y)
    pictures = items or list(np.zeros((len(y), 4, 4, 3), np.uint8))
    rows = np.arange(len(y)) if rows is None else np.asarray(rows)
    return LabelledPictures(as_images(pictures), y, np.ones(len(y)), rows, groups)


def test_all_rows_are_drawn_where_they_are_few():
    assert labelled([0, 1, 2], rows=[0, 2]).drawn(5, seed=0).tolist() == [0, 2]


def test_rows_are_drawn_by_class_and_by_seed():
    pictures = labelled([0] * 40 + [1] * 20, rows=range(60))
    drawn = pictures.drawn(30, seed=0)
    assert np.bincount(pictures.y[drawn]).tolist() == [20, 10]
    assert drawn.tolist() == sorted(set(drawn.tolist()))
    assert pictures.drawn(30, seed=0).tolist() == drawn.tolist()
    assert pictures.drawn(30, seed=1).tolist() != drawn.tolist()


def test_rows_of_several_labels_are_drawn():
    pictures = labelled(np.eye(3, dtype=int)[np.arange(30) % 3])
    assert len(set(pictures.drawn(12, seed=0))) == 12


@pytest.mark.parametrize("of_a_class", [3, 20])
def test_of_many_classes_some_stand_for_all(of_a_class):
    pictures = labelled(np.arange(30 * of_a_class) % 30)
    counts = np.bincount(pictures.y[pictures.drawn(20, seed=0)])
    assert (counts > 0).sum() == 4
    assert set(counts) == {0, min(of_a_class, 5)}


def test_groups_are_those_of_the_user():
    pictures = labelled([0, 1, 0], groups=np.array(["a", "b", "a"]))
    assert pictures.groups_of(np.array([0, 2])).tolist() == ["a", "a"]


def test_a_repeated_picture_is_a_group():
    one, two = np.zeros((2, 4, 4, 3), np.uint8)
    assert labelled([0, 1], items=[one, two]).groups_of(np.arange(2)) is None
    groups = labelled([0, 1, 0], items=[one, two, one]).groups_of(np.arange(3))
    assert groups.tolist() == [0, 1, 0]
