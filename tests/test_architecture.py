"""Imports follow the data: each folder imports only from folders before it."""

import ast
import importlib
import inspect
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import sktransfer

PACKAGE = Path(sktransfer.__file__).parent
TESTS = Path(__file__).parent
# A module imports only from its own folder or from one to its left. A folder that is not named
# here fails the tests.
ORDER = [
    *("exceptions", "_common", "images", "backbones", "activations", "training"),
    *(
        "selection",
        "estimators",
        "ranking",
        "adaptation",
        "inspection",
        "persistence",
        "__init__",
        "shell",
        "__main__",
    ),
]
# Data sets import from images only, and no folder that estimators need imports them.
ASIDE = {"datasets": "images"}
MODULES = sorted(PACKAGE.rglob("*.py"))


def place(module):
    """Return the position of a module in ORDER."""
    folder = [*module.split("."), "__init__"][1]
    return ORDER.index(ASIDE.get(folder, folder))


def test_every_folder_has_a_place():
    found = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in MODULES}
    assert found == {*ORDER, *ASIDE}


def imported_names(path):
    """Yield the dotted names that a file imports, also within functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            # With the imported name, because `from sktransfer import images` imports a folder.
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imported_modules(path):
    """Return the names in sktransfer that a file imports."""
    return [name for name in imported_names(path) if name.split(".")[0] == "sktransfer"]


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_follow_the_flow(path):
    module = ".".join(["sktransfer", *path.relative_to(PACKAGE).with_suffix("").parts])
    for imported in imported_modules(path):
        assert place(imported) <= place(module), f"{module} must not import {imported}"


def test_the_test_sees_imports():
    seen = {m for path in MODULES for m in imported_modules(path)}
    assert {"sktransfer.images.sources.as_images", "sktransfer.training.train.train"} <= seen


@pytest.mark.parametrize(
    "path", sorted((PACKAGE / "estimators").glob("*.py")), ids=lambda p: p.name
)
def test_estimators_know_no_torch(path):
    libraries = {name.split(".")[0] for name in imported_names(path)}
    assert not libraries & {"torch", "torchvision", "skorch"}


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_files_stay_under_300_lines_of_code(path):
    tree = ast.parse(path.read_text())
    docs = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(
            node
        ):
            docs |= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    lines = enumerate(path.read_text().splitlines(), start=1)
    code = [n for n, line in lines if n not in docs and line.strip() and line.strip()[0] != "#"]
    assert len(code) < 300


# Modules without a test file of their own name, and why.
UNTESTED = {
    "__main__.py": "it only calls the shell; test_main.py runs it",
    "_common/sklearn_private.py": "it only imports names from scikit-learn",
    "persistence/graphs/interface.py": "it only declares the formats; test_export.py uses them",
    "activations/engines/interface.py": "it only declares protocols; test_choice.py runs engines",
}


def test_modules_have_tests_of_their_own_name():
    modules = {path.relative_to(PACKAGE) for path in MODULES if path.name != "__init__.py"}
    untested = {
        module.as_posix()
        for module in modules
        if not (TESTS / module.parent / f"test_{module.stem.lstrip('_')}.py").is_file()
    }
    assert untested == set(UNTESTED)


# Base classes with a single subclass, and why.
ONE_HEIR = {
    "ImageError": "users may catch all errors about pictures, or those of unreadable files only",
    "TransferNet": "L-BFGS takes its steps on all rows; otherwise its net is that of descent",
}


def test_no_class_has_exactly_one_heir():
    """Inheritance is for sharing code among several classes, not for dividing one class."""
    modules = [path.relative_to(PACKAGE.parent) for path in MODULES if path.name != "__init__.py"]
    names = [".".join(module.with_suffix("").parts) for module in modules]
    classes = {
        value
        for name in names
        for value in vars(importlib.import_module(name)).values()
        if inspect.isclass(value) and value.__module__ == name
    }
    heirs = Counter(
        base.__name__ for value in classes for base in value.__bases__ if base in classes
    )
    assert {name for name, n in heirs.items() if n == 1} == set(ONE_HEIR)


def test_estimators_for_tests_are_made_in_one_place():
    """A function that returns an estimator belongs in small_estimators.py."""
    estimators = {"PretrainedFeatureExtractor", "PretrainedImageClassifier"}
    makers = {
        path.name
        for path in TESTS.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Return) and isinstance(node.value, ast.Call)
        if isinstance(node.value.func, ast.Name) and node.value.func.id in estimators
    }
    assert makers == {"small_estimators.py"}


def test_import_has_no_side_effects():
    code = """
import sys, threading, torch
import sklearn.utils  # imports pandas itself, if it is installed
theirs = set(sys.modules)
threads, count = threading.active_count(), torch.get_num_threads()
state = torch.random.get_rng_state()
def refuse(event, args):
    if event in ("socket.connect", "socket.getaddrinfo"):
        raise SystemExit("network at import")
sys.addaudithook(refuse)
import sktransfer
assert threading.active_count() == threads
assert torch.equal(torch.random.get_rng_state(), state) and torch.get_num_threads() == count
assert not torch.cuda.is_initialized()
from sktransfer.backbones.names import source_of
source_of("resnet18")
loaded = {"matplotlib", "pandas", "polars", "openvino", "timm"} & (set(sys.modules) - theirs)
assert not loaded, loaded
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
