import numpy as np
import pytest

from sktransfer.inspection.data_checks.findings import NotMade
from sktransfer.inspection.data_checks.shortcuts import find_shortcuts
from tests.inspection.data_checks.helpers import make_material

N = 60
Y = np.array(["ant", "bee", "cat"])[np.arange(N) % 3]


def planted(**values):
    """Fields of which the pictures of one class, but for one, have another value."""
    return {
        name: [with_it if y == "bee" and i > 1 else without for i, y in enumerate(Y)]
        for name, (with_it, without) in values.items()
    }


@pytest.mark.parametrize(
    ("fields", "words", "severity"),
    [
        ({"camera": ("Nikon", None)}, "The camera", "warning"),
        ({"size": ((640, 480), (200, 150))}, "The size", "warning"),
        ({"file_format": ("PNG", "JPEG")}, "The file format", "warning"),
    ],
)
def test_what_predicts_the_label_is_found(fields, words, severity):
    [found] = find_shortcuts(make_material(N, Y, **planted(**fields)))
    assert found.kind == "shortcut"
    assert found.severity == severity
    assert found.message.startswith(words)
    assert "19 are 'bee'; of all 60 pictures, 33% are" in found.message
    assert set(Y[list(found.rows)]) == {"bee"}
    assert 0.3 < found.score < 1


def test_one_class_of_many_is_enough():
    codes = np.arange(400) % 20
    camera = ["N" if code == 3 and i > 40 else None for i, code in enumerate(codes)]
    [found] = find_shortcuts(make_material(400, codes, camera=camera))
    assert "tells 3 from all other classes" in found.message


def test_names_of_files_are_a_note():
    paths = [f"{'DSC' if y == 'bee' else 'IMG'}_{i}.jpg" for i, y in enumerate(Y)]
    [found] = find_shortcuts(make_material(N, Y, path=paths))
    assert found.severity == "note"
    assert "file name" in found.message


def test_sizes_that_vary_are_found_by_their_rough_size():
    sizes = [(600 + i // 3, 480) if y == "bee" else (200 + i // 3, 150) for i, y in enumerate(Y)]
    [found] = find_shortcuts(make_material(N, Y, size=sizes))
    assert found.message.startswith("The rough size")


def test_nothing_is_found_where_nothing_predicts_the_label():
    rng = np.random.default_rng(0)
    fields = {
        "camera": rng.choice(["a", "b"], N).tolist(),
        "size": [(int(w), 100) for w in rng.integers(100, 110, N)],
        "path": [f"data/{y}/{i}.jpg" for i, y in enumerate(Y)],
    }
    assert find_shortcuts(make_material(N, Y, **fields)) == []


def test_pictures_that_cannot_be_read_do_not_count():
    broken = ["damaged" if y == "bee" else None for y in Y]
    assert find_shortcuts(make_material(N, Y, error=broken, **planted(camera=("N", None)))) == []


def test_why_it_is_not_made():
    with pytest.raises(NotMade, match="can be read are of one class"):
        find_shortcuts(make_material(3, ["a", "a", "b"], error=[None, None, "damaged"]))
    with pytest.raises(NotMade, match="several"):
        find_shortcuts(make_material(3, [[0, 1], [1, 1], [1, 0]]))
