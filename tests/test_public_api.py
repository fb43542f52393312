"""The public names, their signatures, and that their docstrings say everything."""

import inspect
import re

import pytest

import sktransfer
from sktransfer import PretrainedFeatureExtractor, PretrainedImageClassifier, exceptions

PUBLIC = [
    "PretrainedFeatureExtractor",
    "PretrainedImageClassifier",
    "exceptions",
    "list_backbones",
    "load_clipart",
    "load_image_folder",
]
SIGNATURES = {
    "PretrainedFeatureExtractor": (
        "backbone='resnet18', *, weights='DEFAULT', stage=None, pooling='native', "
        "image_size=None, image_shape=None, batch_size=64, device='auto', n_jobs=None, "
        "on_error='raise', verbose=0"
    ),
    "PretrainedImageClassifier": (
        "backbone='resnet18', *, weights='DEFAULT', unfreeze_depth=0, pooling='native', "
        "hidden_layer_sizes=(), dropout=0.0, image_size=None, image_shape=None, "
        "class_weight=None, optimizer='auto', lr=0.0003, lr_decay=0.9, weight_decay=0.0001, "
        "schedule='cosine', max_epochs=10, batch_size=32, head_init='probe', "
        "validation_fraction=None, device='auto', n_jobs=None, random_state=None, verbose=0"
    ),
}
ESTIMATORS = [PretrainedFeatureExtractor, PretrainedImageClassifier]


def test_public_names():
    assert sorted(sktransfer.__all__) == PUBLIC
    assert all(hasattr(sktransfer, name) for name in PUBLIC)


@pytest.mark.parametrize("name", SIGNATURES)
def test_signature(name):
    parameters = inspect.signature(getattr(sktransfer, name)).parameters.values()
    bare = [p.replace(annotation=p.empty) for p in parameters]
    assert str(inspect.Signature(bare)) == f"({SIGNATURES[name]})"


def section(docstring, title):
    """Names documented in one section of a numpydoc docstring."""
    match = re.search(rf"\n{title}\n-+\n(.*?)(\n\n[A-Z][^\n]*\n-+\n|\Z)", docstring, re.DOTALL)
    return re.findall(r"^([\w, ]+) : ", match[1], re.MULTILINE) if match else []


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_every_parameter_is_documented_constrained_and_stored(estimator):
    names = list(inspect.signature(estimator).parameters)
    documented = section(inspect.getdoc(estimator), "Parameters")
    assert documented == names
    assert set(names) == set(estimator._parameter_constraints)
    assert list(inspect.signature(estimator.__init__).parameters)[1:] == names


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_public_methods_are_documented(estimator):
    for name, method in inspect.getmembers(estimator, inspect.isfunction):
        if name.startswith("_") or "sktransfer" not in method.__module__:
            continue
        doc = inspect.getdoc(method)
        arguments = [p for p in inspect.signature(method).parameters if p != "self"]
        described = re.findall(r"^([\w]+) : ", doc, re.MULTILINE)
        assert set(arguments) <= set(described), name
        assert "Returns\n-------" in doc, name


@pytest.mark.parametrize("name", ["list_backbones", "load_clipart", "load_image_folder"])
def test_functions_have_examples(name):
    doc = inspect.getdoc(getattr(sktransfer, name))
    assert "Returns\n-------" in doc
    assert ">>> " in doc


@pytest.mark.parametrize("name", exceptions.__all__)
def test_errors_are_builtins_too(name):
    error = getattr(exceptions, name)
    bases = (ValueError, RuntimeError, UserWarning)
    if name != "SktransferError":
        assert issubclass(error, bases)
    root = exceptions.SktransferWarning if "Warning" in name else exceptions.SktransferError
    assert issubclass(error, root)
    assert error.__doc__
