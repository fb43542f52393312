import matplotlib.pyplot as plt
import numpy as np
import pytest

from sktransfer.exceptions import ParameterError
from sktransfer.inspection.displays.gallery import Line, cells, check_counts, draw, shortened, write

PICTURE = np.zeros((20, 40, 3), np.uint8)


def one_cell():
    return cells(1, n_lines=2, n_columns=1, caller="a test")[0, 0]


def test_cells_are_laid_out_in_rows():
    axes = cells(5, n_lines=2, n_columns=3, caller="a test", title="pictures")
    assert axes.shape == (2, 3)
    assert axes[0, 0].figure._suptitle.get_text() == "pictures"
    given = plt.figure()
    assert cells(2, n_lines=1, n_columns=2, caller="a test", figure=given)[0, 0].figure is given


def test_a_picture_lies_in_the_middle_of_its_cell():
    ax = one_cell()
    draw(ax, PICTURE)
    assert ax.images[0].get_extent() == [0, 1, 0.75, 0.25]
    assert (ax.get_xlim(), ax.get_ylim()) == ((0, 1), (1, 0))


def test_a_map_darkens_what_does_not_count_and_pales_what_is_not_seen():
    ax = one_cell()
    heat = np.array([[0.0, 1.0], [0.5, np.nan]], np.float32)
    draw(ax, PICTURE, heat)
    veil = ax.images[1].get_array()
    assert veil[0, 0].tolist()[:3] == [0, 0, 0]
    assert veil[0, 0, 3] > veil[1, 0, 3] > veil[0, 1, 3] == 0
    assert veil[1, 1, :3].tolist() == [1, 1, 1]
    assert len(ax.collections) == 1  # the line around what counts
    draw(one_cell(), PICTURE, np.zeros((3, 3)))
    draw(one_cell(), PICTURE, np.full((3, 3), np.nan))


@pytest.mark.parametrize("shape", [(1, 224), (224, 1), (1, 1)])
def test_pictures_of_one_row_have_no_outline(shape):
    ax = one_cell()
    draw(ax, np.zeros((*shape, 3), np.uint8), np.ones(shape, np.float32))
    assert len(ax.images) == 2
    assert not ax.collections
    ax.figure.canvas.draw()


def test_titles_are_no_mathematics():
    ax = cells(1, n_lines=1, n_columns=1, caller="a test", title="$\\frac{$ of \udce9")[0, 0]
    ax.figure.canvas.draw()


def test_lines_have_a_number_at_their_end():
    ax = one_cell()
    write(ax, [Line("a cat", "red", "0.25"), Line("a dog")])
    assert [text.get_text() for text in ax.texts] == ["a cat", "0.25", "a dog"]
    assert ax.texts[0].get_color() == "red"


@pytest.mark.parametrize(
    "label", ["$x$", "$\\frac", "<script>", "a\nb", "\N{SNOWMAN}", "{}%s", "\udce9"]
)
def test_any_label_is_drawn_as_text(label):
    ax = one_cell()
    write(ax, [Line(label)])
    ax.figure.canvas.draw()


def test_long_labels_are_shortened():
    assert shortened("abcdef", 6) == "abcdef"
    assert shortened("abcdefg", 6) == "abcde\N{HORIZONTAL ELLIPSIS}"
    assert shortened("a\n b", 6) == "a b"


@pytest.mark.parametrize("value", [0, -1, 1.5, "2", True, None])
def test_counts_are_checked(value):
    check_counts(n=np.int64(3), m=1)
    with pytest.raises(ParameterError, match="n_pictures must be a whole number, at least 1; got"):
        check_counts(n_pictures=value)
