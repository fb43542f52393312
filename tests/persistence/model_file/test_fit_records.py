import pytest
import torch

from sktransfer import load, save
from sktransfer.exceptions import ModelFileError
from tests.conftest import make_pictures
from tests.persistence.model_file.hostile import put, rewritten
from tests.small_estimators import make_classifier, make_extractor

pytestmark = pytest.mark.filterwarnings("ignore:Fine-tuning")

X, y = make_pictures(8)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "trained.skt"
    classifier = make_classifier(unfreeze_depth=1, optimizer="adamw", hidden_layer_sizes=(4,))
    save(classifier.partial_fit(X, y), path)
    return path.read_bytes()


MODEL = ("estimators", 0, "fitted")
CHANGES = [
    *((("architecture", "backbone"), value) for value in ("resnet18", 3)),
    *((("architecture", "unfreeze_depth"), value) for value in (0, 2, 10**6, "auto", -1, True)),
    (("architecture", "batch_norm"), "other"),
    (("architecture", "dropout"), "0"),
    (("architecture", "more"), 1),
    *(
        (
            ("architecture", name),
            {"kind": "array", "array": {"dtype": "<i8", "shape": [2], "values": [1, 2]}},
        )
        for name in ("backbone", "unfreeze_depth", "batch_norm", "image_size", "weights", "dropout")
    ),
    (("architecture", "hidden_layer_sizes"), {"kind": "tuple", "values": ["4"]}),
    *((("batch_size",), value) for value in (0, -1, 1.5, 2**40)),
    (("precision",), "float64"),
    (("several_labels",), True),
    (("one_vs_rest",), 1),
    *((("temperature",), value) for value in (0, -1, "1", 10**400)),
    (("classes", "values"), [0, 0]),
    (("classes", "values"), [0, 1, 2]),
    (("classes", "shape"), [1, 2]),
    (("rows_of_classes",), [1]),
    (("rows_of_classes",), [-1, 2]),
    *(
        (("resize_scores",), value)
        for value in ([["crop", 1]], [[1, 0.0, 0.0, 0.0]], {}, [[]], [3])
    ),
    *(
        (("seeds",), value)
        for value in ([1, 2, 3], [1, 2, 3, -4], [1, 2, 3, 2**64], [1, 2, 3, "4"])
    ),
    *((("history",), value) for value in ([1], {}, [[1]])),
    (("head",), []),
    (("stages",), []),
    (("optimizer_state", "state"), [1]),
    (("optimizer_state", "state"), {"kind": "tensor", "name": "estimators/0/head/0/weight"}),
    (("more",), 1),
]


@pytest.mark.parametrize(("place", "value"), CHANGES, ids=str)
def test_records_that_nobody_writes(place, value, trained, tmp_path):
    path = tmp_path / "model.skt"
    path.write_bytes(trained)
    rewritten(path, lambda manifest, _: put(manifest, (*MODEL, *place), value))
    with pytest.raises(ModelFileError):
        load(path)


def shorter(tensors):
    name = next(name for name in tensors if "/stages/" in name and tensors[name].ndim == 4)
    tensors[name] = tensors[name][:-1].clone()


def other_dtype(tensors):
    name = next(name for name in tensors if "/stages/" in name and tensors[name].ndim == 4)
    tensors[name] = tensors[name].double()


def of_head(tensors):
    return next(name for name in tensors if "/head/" in name and name.endswith("/weight"))


def not_finite(tensors):
    tensors[of_head(tensors)][0] = torch.nan


def wider(tensors):
    tensors[of_head(tensors)] = torch.ones(4, 9)


def unknown(tensors):
    tensors["other"] = torch.ones(3)


def missing(tensors):
    del tensors[of_head(tensors)]


@pytest.mark.parametrize("change", [shorter, other_dtype, not_finite, wider, unknown, missing])
def test_tensors_that_do_not_fit(change, trained, tmp_path):
    path = tmp_path / "model.skt"
    path.write_bytes(trained)
    rewritten(path, lambda _, tensors: change(tensors))
    with pytest.raises(ModelFileError):
        load(path)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("stage", "no stage"),
        ("stage", {"kind": "tuple", "values": []}),
        ("stage", {"kind": "tuple", "values": [3]}),
        ("pooling", "cls"),
        ("pooling", "other"),
        ("n_features_out", 3),
    ],
)
def test_records_of_extractors(name, value, tmp_path):
    path = tmp_path / "model.skt"
    save(make_extractor().fit(X), path)
    rewritten(path, lambda manifest, _: put(manifest, (*MODEL, name), value))
    with pytest.raises(ModelFileError):
        load(path)
