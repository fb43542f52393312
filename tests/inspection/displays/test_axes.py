import sys

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import pytest

from sktransfer.inspection.displays.axes import as_it_is, axes_or_new


def test_given_axes_are_used():
    _, ax = plt.subplots()
    assert axes_or_new(ax, "plot") is ax
    plt.close("all")


def test_others_are_of_a_new_figure():
    before = plt.get_fignums()
    ax = axes_or_new(None, "plot")
    assert plt.get_fignums() == [*before, ax.figure.number]
    plt.close("all")


def test_the_error_without_matplotlib_names_the_caller(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"TrainingCurveDisplay\.plot requires matplotlib"):
        axes_or_new(None, "TrainingCurveDisplay.plot")


@pytest.mark.parametrize(
    ("text", "drawn"),
    [
        ("$5-$10", "$5-$10"),
        (r"$\frac{$", r"$\frac{$"),
        (r"a\$x$", r"a\$x$"),
        ("caf\udce9", r"caf\udce9"),
        (3, "3"),
    ],
)
def test_texts_of_users_are_drawn_as_they_are(text, drawn):
    _, ax = plt.subplots()
    artist = ax.set_title(as_it_is(text))
    assert artist._preprocess_math(artist.get_text()) == (drawn, False)
    ax.figure.canvas.draw()
    plt.close("all")
