"""The package never runs code that stands in a file: no module calls what opens pickles."""

import ast

import pytest

from tests.test_architecture import MODULES, PACKAGE

OPENS = {
    *("pickle.load", "pickle.loads", "pickle.Unpickler", "dill.load", "cloudpickle.load"),
    *("joblib.load", "marshal.load", "marshal.loads", "shelve.open", "numpy.lib.format.read_array"),
    *("torch.jit.load", "torch.hub.load", "torch.package.PackageImporter"),
    *("yaml.load", "runpy.run_path"),
}
RUNS = {"eval", "exec", "compile", "__import__"}
# Where torch reads weights: with weights_only=True it makes tensors, and refuses the rest.
READS_WEIGHTS = {"backbones/state_dicts.py", "training/checkpoints.py"}


def calls(path):
    """Yield each call with its dotted name, as the imports of the file complete it."""
    tree = ast.parse(path.read_text())
    full = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            full.update(
                {
                    a.asname or a.name.split(".")[0]: a.name if a.asname else a.name.split(".")[0]
                    for a in node.names
                }
            )
        elif isinstance(node, ast.ImportFrom):
            full.update({a.asname or a.name: f"{node.module}.{a.name}" for a in node.names})
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            first, *rest = ast.unparse(node.func).split(".")
            yield ".".join([full.get(first, first), *rest]), node


def opened(path):
    """Return the calls that could run code from a file."""
    found = []
    for name, node in calls(path):
        given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        if name in OPENS or name in RUNS or given.get("allow_pickle") not in (None, "False"):
            found.append(name)
        if name == "torch.load":
            where = path.relative_to(PACKAGE).as_posix() if PACKAGE in path.parents else ""
            if given.get("weights_only") != "True" or where not in READS_WEIGHTS:
                found.append(name)
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_no_module_opens_a_pickle(path):
    assert opened(path) == []


def test_torch_reads_weights_where_it_is_said():
    reads = {
        path.relative_to(PACKAGE).as_posix()
        for path in MODULES
        if "torch.load" in [name for name, _ in calls(path)]
    }
    assert reads == READS_WEIGHTS


@pytest.mark.parametrize(
    "code",
    [
        "import pickle\npickle.loads(b'')",
        "from pickle import load as open_it\nopen_it(file)",
        "import joblib as j\nj.load(path)",
        "import torch\ntorch.load(path, weights_only=True)",  # not one of the places
        "import torch\ntorch.load(path)",
        "import numpy as np\nnp.load(path, allow_pickle=True)",
        "import marshal\nmarshal.load(file)",
        "import shelve\nshelve.open(path)",
        "eval(text)",
    ],
)
def test_the_test_sees_them(code, tmp_path):
    path = tmp_path / "module.py"
    path.write_text(code)
    assert opened(path)
