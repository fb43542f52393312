"""Tell files of installed libraries and of Python from the user's own."""

import site
import sysconfig
from pathlib import Path

import joblib
import sklearn
import skorch
import torch

# Python itself and what pip or a distribution has installed, for the system or for one user. The
# libraries that call sktransfer, or that it calls, are named as well, wherever they lie.
_FOLDERS = tuple(
    {
        *(sysconfig.get_paths()[name] for name in ("stdlib", "purelib", "platlib")),
        *site.getsitepackages(),
        site.getusersitepackages(),
        *(str(Path(str(module.__file__)).parent) for module in (joblib, sklearn, skorch, torch)),
        "<frozen",  # Python's modules for imports, which are no files
    }
)


def is_library_file(filename: str) -> bool:
    """Return True if a file of Python code belongs to an installed library or to Python.

    Parameters
    ----------
    filename : str
        As code objects have it; "<stdin>" and the like are the user's.
    """
    # Debian and --system-site-packages have folders that this Python does not list.
    installed = "site-packages" in filename or "dist-packages" in filename
    return installed or filename.startswith(_FOLDERS)
