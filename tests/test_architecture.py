"""Data flows one way, and imports follow it."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import sktransfer

PACKAGE = Path(sktransfer.__file__).parent
# A module imports only from its own place or from one to its left.
ORDER = [
    *("foundation", "images", "backbones", "activations", "training"),
    *("estimators", "inspection", "door"),
]
FOUNDATION = {
    *("exceptions", "_sklearn", "_devices", "_settings", "_files"),
    *("_identity", "_keeping", "_probabilities"),
}
ESTIMATORS = {
    *("_base", "_extractor", "_classifier", "_fitting", "_rows"),
    *("_labels", "_conflicts"),
}
MODULES = sorted(PACKAGE.rglob("*.py"))


def place(module):
    """Where a dotted module name stands in ORDER."""
    parts = module.split(".")
    if len(parts) == 1 or parts[1] == "__init__":
        return ORDER.index("door")
    if parts[1] in FOUNDATION:
        return ORDER.index("foundation")
    if parts[1] in ESTIMATORS:
        return ORDER.index("estimators")
    if parts[1] == "datasets":  # lists files: stands on images, and nothing stands on it
        return ORDER.index("estimators")
    return ORDER.index(parts[1])


def imported_modules(path):
    """The sktransfer modules that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("sktransfer"))
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            if node.module.startswith("sktransfer"):
                names = [f"{node.module}.{alias.name}" for alias in node.names]
                is_package = node.module == "sktransfer"
                yield from names if is_package else [node.module]


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_follow_the_flow(path):
    module = ".".join(["sktransfer", *path.relative_to(PACKAGE).with_suffix("").parts])
    for imported in imported_modules(path):
        assert place(imported) <= place(module), f"{module} must not import {imported}"


def test_the_test_sees_imports():
    seen = {m for path in MODULES for m in imported_modules(path)}
    assert {"sktransfer.images.sources", "sktransfer.training.recipe"} <= seen


@pytest.mark.parametrize("name", sorted(ESTIMATORS))
def test_estimators_know_no_torch(name):
    assert "import torch" not in (PACKAGE / f"{name}.py").read_text()


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


def test_import_has_no_side_effects():
    code = """
import sys, threading, torch
import sklearn.utils  # loads pandas by itself where it is installed
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
loaded = {"matplotlib", "pandas", "polars", "openvino"} & (set(sys.modules) - theirs)
assert not loaded, loaded
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
