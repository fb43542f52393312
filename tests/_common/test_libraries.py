import json
import sysconfig

import joblib
import pytest
import sklearn
import torch

from sktransfer._common.libraries import is_library_file


@pytest.mark.parametrize(
    "path",
    [
        json.__file__,
        sklearn.__file__,
        torch.__file__,
        joblib.__file__,
        f"{sysconfig.get_paths()['purelib']}/anything.py",
        "/home/me/.local/lib/python3.11/site-packages/anything.py",
        "/usr/lib/python3/dist-packages/anything.py",
        "<frozen importlib._bootstrap>",
    ],
)
def test_of_libraries(path):
    assert is_library_file(path)


@pytest.mark.parametrize(
    "path", [__file__, "/home/me/photos.py", "<stdin>", "<ipython-input-1>", "<doctest README>"]
)
def test_of_the_user(path):
    assert not is_library_file(path)
