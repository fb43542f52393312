import numpy as np

from sktransfer.images.sources import as_images
from sktransfer.inspection.data_checks.names import names_of

PICTURE = np.zeros((4, 5, 3), np.uint8)


def names(*containers):
    return names_of([as_images(X) for X in containers])


def test_names_begin_below_the_folder_that_holds_all():
    assert names(["/d/train/ant/1.jpg", "/d/train/bee/1.jpg"]) == ["ant/1.jpg", "bee/1.jpg"]
    assert names(["/d/train/ant/1.jpg"]) == ["1.jpg"]


def test_both_parts_have_one_such_folder():
    assert names(["/d/train/1.jpg"], ["/d/test/1.jpg"]) == ["train/1.jpg", "test/1.jpg"]


def test_arrays_are_named_by_their_row():
    assert names([PICTURE, "/d/1.jpg"], [PICTURE]) == ["row 0 of X", "1.jpg", "row 0 of X_test"]


def test_paths_of_two_kinds_stay_whole():
    assert names(["/d/1.jpg", "e/1.jpg"]) == ["/d/1.jpg", "e/1.jpg"]
