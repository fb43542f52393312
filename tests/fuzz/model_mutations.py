"""Change model files so that lengths, checksums and digests are right and the rest is not."""

import io
import json
import struct
import zipfile
from collections.abc import Callable, Mapping
from hashlib import sha256
from random import Random
from typing import Any

from tests.fuzz.mutations import changed, spliced

MANIFEST, TENSORS = "manifest.json", "tensors.safetensors"
_DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "BOOL": "bool"}
_DTYPES |= {"I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8", "U8": "uint8"}
_OTHER_DTYPES = ("U16", "U32", "U64", "F8_E4M3", "F8_E5M2", "C64", "F4", "x", "")
# What stands in a file where something else belongs.
_STRANGE: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 3, 0.5, -0.5, 1e308, 2**31, 2**63, 2**64, 10**400, 1e-320),
    *("", "x", "nan", "auto", "DEFAULT", "cpu", "cuda:0", "resnet18", "../../x", "/etc/passwd"),
    *("__class__", "os.system", "builtins.eval", "\0", "\ud800", "a" * 5000),
    *([], {}, [[]], [None], [0] * 1000, {"kind": "x"}, {"kind": "dict", "items": []}),
    *({"kind": "path", "value": "/dev/zero"}, {"kind": "path", "value": "\0"}),
    *({"kind": "torch", "module": "optim", "name": "Adam"}, {"kind": "estimator", "number": 0}),
    *({"kind": "object", "number": 0}, {"kind": "float", "value": "nan"}),
    {"kind": "array", "array": {"dtype": "<U9", "shape": [1], "values": ["x"]}},
    {"kind": "array", "array": {"dtype": "|O", "shape": [2], "values": [1, "x"]}},
)


def entries_of(content: bytes) -> dict[str, bytes]:
    """The entries of a model file, or of an object in it."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def archive_of(entries: Mapping[str, bytes]) -> bytes:
    """An archive in the form of a model file."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, content in entries.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return file.getvalue()


def mutated(rng: Random, content: bytes, other: bytes) -> tuple[bytes, bool]:
    """A changed file, and whether it was made consistent, so that it may be another valid one."""
    if rng.random() < 0.3:
        for _ in range(rng.choice((1, 1, 2, 4))):
            content = changed(rng, content) if rng.random() < 0.9 else spliced(rng, content, other)
        return content, False
    entries = entries_of(content)
    for _ in range(rng.choice((1, 1, 2, 3))):
        try:
            if rng.random() < 0.05:
                _of_another(rng, entries, other)
            else:
                rng.choice(_CHANGES)(rng, entries)
        except (ValueError, LookupError, TypeError, AttributeError, struct.error):
            pass  # an earlier change has left nothing to change in this way
    return archive_of(entries), True


def with_digests(entries: dict[str, bytes]) -> None:
    """Describe in the manifest the tensors as they are, as far as that is possible."""
    manifest, data = json.loads(entries[MANIFEST]), entries[TENSORS]
    (length,) = struct.unpack_from("<Q", data)
    header, values = json.loads(data[8 : 8 + length]), data[8 + length :]
    header.pop("__metadata__", None)
    manifest["tensors"] = {
        name: {
            "dtype": _DTYPES.get(entry["dtype"], "float32"),
            "shape": entry["shape"],
            "sha256": sha256(values[slice(*entry["data_offsets"])]).hexdigest(),
        }
        for name, entry in header.items()
    }
    entries[MANIFEST] = json.dumps(manifest).encode()


def changed_json(rng: Random, value: Any) -> Any:
    """JSON with one change at a random place, mostly deep within."""
    places = _places(value)
    if not places:
        return rng.choice(_STRANGE)
    holder, key = rng.choice(places)
    change = rng.randrange(7)
    if change == 0:
        del holder[key]
    elif change == 1 and isinstance(holder, dict):
        holder[rng.choice(("x", "kind", "number", "whole", "fitted"))] = holder.pop(key)
    elif change == 2:  # a value of another place
        there, its_key = rng.choice(places)
        if its_key in there if isinstance(there, dict) else its_key < len(there):
            holder[key] = json.loads(json.dumps(there[its_key]))
    elif change == 3 and isinstance(holder[key], int | float):
        holder[key] = holder[key] + rng.choice((-1, 1, 0.5, 1000, -(10**6)))
    elif change == 4 and isinstance(holder[key], list):
        holder[key] = rng.choice((holder[key] * 2, holder[key][1:], holder[key][::-1]))
    elif change == 5 and isinstance(holder[key], str):
        text = changed(rng, holder[key].encode("utf-8", "surrogatepass"))
        holder[key] = text.decode("latin-1")
    else:
        holder[key] = rng.choice(_STRANGE)
    return value


def _places(value: Any) -> list[tuple[Any, Any]]:
    keys = list(value) if isinstance(value, dict) else range(len(value))
    found: list[tuple[Any, Any]] = [(value, key) for key in keys]
    for key in keys:
        if isinstance(value[key], dict | list):
            found += _places(value[key])
    return found


def _manifest(rng: Random, entries: dict[str, bytes]) -> None:
    try:
        manifest = json.loads(entries[MANIFEST])
    except RecursionError:  # an earlier change has made it that deep
        return
    # All else is for the tensors, which a change of the table would only contradict.
    part = {key: value for key, value in manifest.items() if key != "tensors"}
    changed_part = changed_json(rng, part if rng.random() < 0.9 else manifest)
    manifest = {"tensors": manifest.get("tensors"), **changed_part}
    entries[MANIFEST] = json.dumps(manifest).encode()


def _text(rng: Random, entries: dict[str, bytes]) -> None:
    name = rng.choice([MANIFEST, *entries])
    entries[name] = changed(rng, entries[name])


def _values(rng: Random, entries: dict[str, bytes]) -> None:
    data = bytearray(entries[TENSORS])
    (length,) = struct.unpack_from("<Q", data)
    if len(data) > 8 + length:
        place = rng.randrange(8 + length, len(data))
        number = rng.choice((0.0, -1.0, 1e38, -1e38, float("nan"), float("inf"), 1e-45))
        data[place : place + 4] = struct.pack("<f", number)[: len(data) - place]
    entries[TENSORS] = bytes(data)
    _mended(entries)


def _header(rng: Random, entries: dict[str, bytes]) -> None:
    data = entries[TENSORS]
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + length])
    name = rng.choice(list(header))
    entry, change = header[name], rng.randrange(7)
    if change == 0:
        entry["dtype"] = rng.choice((*_DTYPES, *_OTHER_DTYPES))
    elif change == 1:
        entry["shape"] = rng.choice(([], [0], entry["shape"][::-1], [2**62, 4], [-1], [1, 1]))
    elif change == 2:
        entry["data_offsets"] = rng.choice(([0, 0], [0, 2**63], [-4, 4], [8, 4], [4, 8]))
    elif change == 3:
        header[rng.choice((f"{name}x", "../x", "estimators/0/head/0/weight"))] = header.pop(name)
    elif change == 4:
        another = rng.choice(list(header))
        header[name], header[another] = header[another], header[name]
    elif change == 5:
        header = changed_json(rng, header)
    else:
        length += rng.choice((-8, -1, 1, 8, 2**31, 2**40, 2**63 - 1))
    text = json.dumps(header).encode()
    length = len(text) if change < 6 else length % 2**64
    entries[TENSORS] = (
        struct.pack("<Q", length) + text + data[8 + struct.unpack_from("<Q", data)[0] :]
    )
    _mended(entries)


def _mended(entries: dict[str, bytes]) -> None:
    try:
        with_digests(entries)
    except (ValueError, KeyError, TypeError, struct.error, AttributeError):
        return  # too much is wrong for a digest


def _names(rng: Random, entries: dict[str, bytes]) -> None:
    name = rng.choice(list(entries))
    new = rng.choice((f"../{name}", f"/{name}", name.upper(), f"{name}/", "objects/0.skops", "x"))
    content = entries.pop(name) if rng.random() < 0.5 else entries[name]
    entries[new] = content


def _of_another(rng: Random, entries: dict[str, bytes], other: bytes) -> None:
    others = entries_of(other)
    name = rng.choice(list(others))
    entries[name] = others[name]


def _object(rng: Random, entries: dict[str, bytes]) -> None:
    objects = [name for name in entries if name.endswith(".skops")]
    if not objects:
        return _manifest(rng, entries)
    name = rng.choice(objects)
    try:
        inner = entries_of(entries[name])
        part = rng.choice(["schema.json", *inner])
        if part == "schema.json" and rng.random() < 0.9:
            inner[part] = json.dumps(changed_json(rng, json.loads(inner[part]))).encode()
        else:
            inner[part] = changed(rng, inner[part])
        entries[name] = archive_of(inner)
    except (zipfile.BadZipFile, ValueError, KeyError):  # after another change
        entries[name] = changed(rng, entries[name])
    return None


_CHANGES: tuple[Callable[[Random, dict[str, bytes]], None], ...] = (
    *(_manifest,) * 8,
    *(_header, _values, _object) * 2,
    *(_text, _names),
)
