"""`stable_repr` gives equal strings in every process, and different ones for different results."""

import functools
import inspect
import subprocess
import sys

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from sktransfer._common.identity import library_versions, stable_repr

# Run in this process and in another one, which must describe these values in the same way.
MAKE = """
import functools, enum, re, logging
import numpy as np, torch
from torchvision.transforms import v2

class Kind(enum.Enum):
    A = 1

class Loss(torch.nn.Module):
    def __init__(self, scale=1.0, reduction="none"):
        super().__init__()
        self.scale = scale
    def forward(self, scores, y):
        return self.scale * torch.nn.functional.cross_entropy(scores, y, reduction="none")

class Plain:
    def __init__(self):
        self.itself, self.names = self, {"b", "a", "c"}
    def __call__(self, x):
        return x if x in {"left", "right"} else self.names

def scaled(by, power=2):
    return lambda x: (x * by) ** power

def recursive(n):
    def inner(k):
        return k and inner(k - n)
    return inner

class Slotted:
    __slots__ = ("a",)

VALUES = [
    None, 1, True, 2.5, "a", b"a", [1, (2,)], {"a": {1, "x", None}}, float, Loss, Loss(), Loss(2.0),
    Kind.A, Plain(), scaled(2), scaled(3), recursive(1), len, re, re.compile("a"), Slotted(),
    functools.partial(torch.optim.SGD, momentum=0.9), Plain().__call__, np.float32(2),
    np.arange(3), torch.arange(3), torch.ones(2, dtype=torch.bfloat16), np.array([None, "a"]),
    v2.Compose([v2.RandomCrop(8), v2.Lambda(lambda x: x + 1)]), logging.getLogger("a"),
    (i for i in range(3)), torch.nn.Linear(2, 1, bias=False).weight.data.fill_(1), slice(1, 2),
]
"""
exec(MAKE)


def test_the_same_in_every_process():
    code = MAKE + "\nfrom sktransfer._common.identity import stable_repr\n"
    code += "print([stable_repr(value) for value in VALUES])"
    # A new process has another hash seed, so that sets of strings have another order there.
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    ours = [stable_repr(value) for value in VALUES]  # noqa: F821
    assert done.stdout.strip().replace("__main__", __name__) == str(ours)
    assert not [words for words in ours if " at 0x" in words]


def add(x):
    return x + 1


def subtract(x):
    return x - 1


def adding(by):
    return lambda x: x + by


def keyword(x, *, by=1):
    return x + by


class Transform(torch.nn.Module):
    def __init__(self, shift):
        super().__init__()
        self.shift = shift

    def forward(self, x):
        return x + self.shift


def edited(old, new):
    """Return a class as its source was before and after an edit."""
    source = "class Loss:\n    def __call__(self, x):\n        return x {}"
    classes = []
    for change in (old, new):
        namespace = {"__name__": "__main__"}
        exec(source.format(change), namespace)
        classes.append(namespace["Loss"])
    return classes


# `repr` of an array as long as this shows only both ends.
LONG = np.zeros(5000)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (add, subtract),
        (lambda x: x + 1, lambda x: x + 2),
        (lambda x: x.sum(), lambda x: x.mean()),
        (lambda x: [y + 1 for y in x], lambda x: [y + 2 for y in x]),
        (adding(1), adding(2)),
        (functools.partial(keyword, by=1), functools.partial(keyword, by=2)),
        (functools.partial(keyword), functools.partial(add)),
        (lambda x, by=1: x + by, lambda x, by=2: x + by),
        (Transform(1), Transform(2)),
        (Transform(LONG), Transform(LONG + (np.arange(5000) == 2500))),
        (v2.Lambda(add), v2.Lambda(subtract)),
        (v2.RandomCrop(8), v2.RandomCrop(9)),
        (Transform(1).forward, Transform(2).forward),
        (edited("+ 1", "+ 2")),
        (torch.zeros(2), torch.zeros(2, dtype=torch.float64)),
        (np.float32(1 / 3), np.float32(0.3333)),
        ([1, 2], [2, 1]),
        ([1, 2], (1, 2)),
        ({"a": 1}, {"a": "1"}),
        (None, "None"),
    ],
)
def test_what_differs_is_told_apart(one, other):
    assert stable_repr(one) != stable_repr(other)


BODIES = {
    "an attribute": "class Loss:\n    gamma = {}\n    def f(self):\n        return self.gamma",
    "a base": "class Base:\n    def f(self):\n        return {}\nclass Loss(Base):\n    pass",
    "a default": "class Loss:\n    def __call__(self, x, gamma={}):\n        return gamma",
    "a property": "class Loss:\n    @property\n    def gamma(self):\n        return {}",
    "a decorator": """
import functools
def times(k):
    def wrap(function):
        @functools.wraps(function)
        def wrapped(self, x):
            return k * function(self, x)
        return wrapped
    return wrap
class Loss:
    @times({})
    def __call__(self, x):
        return x""",
    "a global": "GAMMA = {}\ndef Loss(x):\n    return [GAMMA for _ in x]",
    "a function that it calls": "def f(x):\n    return {}\ndef Loss(x):\n    return f(x)",
    "a cache": "import functools\n@functools.cache\ndef Loss(x):\n    return {}",
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_what_a_function_or_class_depends_on_is_told_apart(body):
    def written(number):
        namespace = {"__name__": "__main__"}
        exec(body.format(number), namespace)
        return namespace["Loss"]

    assert stable_repr(written(2)) == stable_repr(written(2)) != stable_repr(written(3))
    if isinstance(written(2), type):
        assert stable_repr(written(2)()) != stable_repr(written(3)())


def test_functions_that_call_each_other_are_told_once():
    lines = [f"def f{i}(x):\n    return f{i + 1}(x) + f{i + 2}(x) + f0(x)" for i in range(40)]
    namespace = {"__name__": "__main__"}
    exec("\n".join(lines), namespace)
    assert len(stable_repr(namespace["f0"])) < 40 * 1000


def test_a_name_that_is_an_attribute_is_no_global():
    namespace = {"__name__": "__main__", "shape": 1}
    exec("def f(x):\n    return x.shape", namespace)
    before = stable_repr(namespace["f"])
    namespace["shape"] = 2
    assert stable_repr(namespace["f"]) == before


def test_arrays_of_dates_and_sparse_ones():
    assert stable_repr(torch.eye(2).to_sparse()) != stable_repr(torch.zeros(2, 2).to_sparse())
    days = [np.array([day], dtype="M8[D]") for day in ("2020-01-01", "2020-01-02")]
    assert stable_repr(days[0]) != stable_repr(days[1])


class Step(torch.optim.Optimizer):
    def __init__(self, params, lr=1.0):
        super().__init__(params, {"lr": lr})

    def step(self):
        self.steps = 1


@pytest.mark.parametrize("optimizer", [torch.optim.Rprop, Step])
def test_what_torch_does_to_an_optimizer_is_not_seen(optimizer, monkeypatch):
    # Any test before this one may have used it.
    monkeypatch.setattr(optimizer, "step", inspect.unwrap(optimizer.step))
    before, step = stable_repr(optimizer), optimizer.step
    optimizer([torch.nn.Parameter(torch.zeros(1))])
    assert optimizer.step is not step
    assert stable_repr(optimizer) == before


def test_libraries_and_versions():
    words = library_versions()
    assert f"torch {torch.__version__.split('+')[0]}" in words
    assert "skorch " in words
