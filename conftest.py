"""For all tests, those in docstrings of the package among them."""

import pytest

from sktransfer.backbones.names import REGISTERED


@pytest.fixture(autouse=True)
def no_backbones_of_others():
    """Let each test begin without the networks that another one has registered."""
    REGISTERED.registrations.clear()
    yield
    REGISTERED.registrations.clear()
