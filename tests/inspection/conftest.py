import matplotlib
import pytest

matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def _closed_figures():
    yield
    import matplotlib.pyplot as plt

    plt.close("all")


def texts_of(axes):
    """Return the texts in each of some axes."""
    return [[text.get_text() for text in ax.texts] for ax in axes.flat]
