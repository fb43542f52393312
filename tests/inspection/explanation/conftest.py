import pytest

from tests.inspection.explanation.patches import forget, register


@pytest.fixture(autouse=True)
def _small_network():
    """The backbone "tests/small", for each test of this folder."""
    register()
    yield
    forget()
