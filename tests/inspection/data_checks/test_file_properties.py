import numpy as np
import pytest

from sktransfer.inspection.data_checks.file_properties import (
    properties_of_paths,
    properties_of_pictures,
)
from tests.inspection.data_checks.helpers import make_facts

CODES = np.arange(12) % 2


def by_family(properties):
    return {each.family: each.values for each in properties}


def of_paths(paths, codes=CODES, classes=("ant", "bee")):
    return by_family(properties_of_paths(make_facts(len(paths), path=list(paths)), codes, classes))


def test_properties_of_pictures():
    found = properties_of_pictures(make_facts(2, camera=["c", None], size=[(64, 48), (70, 50)]))
    rough, exact = (each.values for each in found if each.family == "size")
    assert exact == ["64 x 48 pixels", "70 x 50 pixels"]
    assert rough[0] == rough[1]  # sizes that vary a little are one value
    assert by_family(found)["camera"] == ["c", None]


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("IMG_0042.jpg", "IMG_"),
        ("0042.jpg", None),
        ("DSC.jpg", "DSC"),
        ("-_12.jpg", None),
        ("my_ant_3.jpg", None),  # named after its class
        ("BEE12.jpg", None),
    ],
)
def test_the_beginning_of_the_name(name, stem):
    assert of_paths([f"d/{name}"] * 12)["name"] == [stem] * 12


@pytest.mark.parametrize(
    ("classes", "name", "stem"),
    [
        (("a", "c"), "scan_01.jpg", "scan_"),
        (("m", "f"), "filmA_01.jpg", "filmA_"),
        (("ant", "bee"), "elephant_01.jpg", "elephant_"),
        (("a", "c"), "photo-A (1).jpg", None),
        (("hot dog", "pizza"), "my_hot_dog_01.jpg", None),
        (("hot dog", "pizza"), "dog_01.jpg", "dog_"),
        (("_", "pizza"), "scan_01.jpg", "scan_"),
    ],
)
def test_names_hold_a_class_as_whole_words(classes, name, stem):
    assert of_paths([f"d/{name}"] * 12, classes=classes)["name"] == [stem] * 12


def test_class_folders_are_no_property():
    paths = [f"d/{'ant' if code == 0 else 'bee'}/{i}.jpg" for i, code in enumerate(CODES)]
    assert "folder" not in of_paths(paths)
    # Labels may be codes.
    assert "folder" not in of_paths(paths, classes=(0, 1))
    # Some of them may be wrong.
    wrong = CODES.copy()
    wrong[3] = 0
    assert "folder" not in of_paths(paths, wrong)
    assert "folder" not in of_paths(paths, wrong, classes=(0, 1))


def test_folders_within_a_class_folder_are_no_property():
    paths = [f"d/{'ant' if c == 0 else 'bee'}/part{i % 4}/{i}.jpg" for i, c in enumerate(CODES)]
    assert "folder" not in of_paths(paths)


def test_folders_that_hold_several_classes_are_one():
    paths = [
        f"session{int(i >= 4)}/{'ant' if code == 0 else 'bee'}/{i}.jpg"
        for i, code in enumerate(CODES)
    ]
    assert of_paths(paths)["folder"] == [f"session{int(i >= 4)}" for i in range(12)]


def test_arrays_have_neither():
    assert of_paths([None] * 12) == {"name": [None] * 12}
