"""The public names and signatures, and the completeness of their docstrings."""

import inspect
import re

import pytest

import sktransfer
from sktransfer import PretrainedFeatureExtractor, PretrainedImageClassifier

PUBLIC = [
    "AttentionMapDisplay",
    "ConfusionDisplay",
    "FeatureMapDisplay",
    "GroupMetricsDisplay",
    "LearningRateDisplay",
    "MistakesDisplay",
    "NeighborsDisplay",
    "PretrainedFeatureExtractor",
    "PretrainedImageClassifier",
    "RankingDisplay",
    "SelectionDisplay",
    "TrainingCurveDisplay",
    "adapt_batch_norm",
    "cache_info",
    "check_pictures",
    "class_separation",
    "clear_cache",
    "exceptions",
    "explain",
    "export",
    "find_lr",
    "free_memory",
    "group_metrics",
    "list_backbones",
    "load",
    "load_clipart",
    "load_image_folder",
    "plot_augmentations",
    "rank_backbones",
    "read_corrections",
    "register_backbone",
    "report",
    "save",
]
SIGNATURES = {
    "PretrainedFeatureExtractor": (
        "backbone='resnet18', *, weights='DEFAULT', stage=None, pooling='native', "
        "image_size=None, resize='crop', image_shape=None, in_channels=3, batch_size=64, "
        "device='auto', precision='float32', engine='auto', n_jobs=None, cache=None, "
        "on_error='raise', verbose=0"
    ),
    "PretrainedImageClassifier": (
        "backbone='resnet18', *, weights='DEFAULT', unfreeze_depth=0, pooling='native', "
        "hidden_layer_sizes=(), dropout=0.0, image_size=None, resize='crop', "
        "image_shape=None, in_channels=3, augment=None, n_views=None, mixup=0.0, cutmix=0.0, "
        "loss='cross_entropy', label_smoothing=0.0, "
        "class_weight=None, sampling=None, distill_from=None, "
        "distill_weight=0.5, distill_temperature=2.0, optimizer='auto', lr='auto', "
        "lr_decay=0.9, weight_decay='auto', feature_penalty='auto', schedule='cosine', "
        "gradient_clipping=None, "
        "ema_decay=None, batch_norm='auto', max_epochs='auto', batch_size=32, head_init='probe', "
        "gradual_unfreezing=False, validation_fraction=None, "
        "early_stopping=False, n_iter_no_change=5, calibrate=None, callbacks=None, "
        "warm_start=False, checkpoint_dir=None, tta=None, mc_dropout=None, device='auto', "
        "precision='float32', engine='auto', n_jobs=None, cache=None, random_state=None, "
        "verbose=0"
    ),
    "adapt_batch_norm": ("estimator, X_target, *, X_source=None, n_source=16, batch_size=64"),
    "cache_info": "folder",
    "export": "estimator, path, *, input='pictures', opset=None",
    "explain": "estimator, X, target=None, method='auto'",
    "check_pictures": "X, y=None, *, X_test=None, features=None, cache=None",
    "read_corrections": "path, y",
    "rank_backbones": (
        "X, y, backbones=None, *, cv=None, cache=None, device='auto', n_jobs=None, max_rows=1000, "
        "fine_tune_top=0, verbose=0"
    ),
    "clear_cache": "folder",
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


def entries(docstring, title):
    """Return the name and text of each entry in one section of a numpydoc docstring."""
    match = re.search(rf"\n{title}\n-+\n(.*?)(\n\n[A-Z][^\n]*\n-+\n|\Z)", docstring, re.DOTALL)
    parts = re.split(r"^([\w, ]+) : ", match[1], flags=re.MULTILINE) if match else [""]
    return dict(zip(parts[1::2], (text.strip() for text in parts[2::2]), strict=True))


def section(docstring, title):
    """Return the names documented in one section of a numpydoc docstring."""
    return list(entries(docstring, title))


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_every_parameter_is_documented_constrained_and_stored(estimator):
    names = list(inspect.signature(estimator).parameters)
    documented = section(inspect.getdoc(estimator), "Parameters")
    assert documented == names
    assert set(names) == set(estimator._parameter_constraints)
    assert list(inspect.signature(estimator.__init__).parameters)[1:] == names


# Entries whose texts differ between the estimators, and why.
DIFFERENT = {
    "weights": "random weights depend on random_state, which the extractor does not have",
    "pooling": "the extractor pools any stage, the classifier only the last",
    "batch_size": "the default differs, and in training it changes the result",
    "resize": "the extractor has no labels to choose by",
    "precision": "the classifier trains too, by autocast",
    "verbose": "only the classifier has epochs",
}


@pytest.mark.parametrize("title", ["Parameters", "Attributes"])
def test_entries_that_both_estimators_have_are_equal(title):
    one, other = (entries(inspect.getdoc(estimator), title) for estimator in ESTIMATORS)
    differ = {name for name in one.keys() & other.keys() if one[name] != other[name]}
    assert differ == (set(DIFFERENT) if title == "Parameters" else set())


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


FUNCTIONS = [name for name in PUBLIC if inspect.isfunction(getattr(sktransfer, name, None))]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_are_documented_with_examples(name):
    function = getattr(sktransfer, name)
    doc = inspect.getdoc(function)
    assert section(doc, "Parameters") == list(inspect.signature(function).parameters)
    # A string in modules whose annotations are not evaluated.
    gives_nothing = inspect.signature(function).return_annotation in (None, "None")
    assert ("Returns\n-------" in doc) != gives_nothing
    assert ">>> " in doc
