import pytest

from sktransfer import exceptions


@pytest.mark.parametrize("name", exceptions.__all__)
def test_errors_are_builtins_too(name):
    error = getattr(exceptions, name)
    bases = (ValueError, RuntimeError, UserWarning)
    if name != "SktransferError":
        assert issubclass(error, bases)
    root = exceptions.SktransferWarning if "Warning" in name else exceptions.SktransferError
    assert issubclass(error, root)
    assert error.__doc__
