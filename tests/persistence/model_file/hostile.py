"""Change parts of a model file, and write it as if it had always been so."""

import json
import zipfile
from pathlib import Path

import safetensors.torch

from sktransfer.persistence.model_file import tensors
from sktransfer.persistence.model_file.container import write_archive


def entries_of(path):
    """The entries of an archive by name."""
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def rewritten(path, change, *, digests=True):
    """Let `change` work on the manifest and the tensors of a file, and write it again.

    Parameters
    ----------
    path : Path
    change : callable
        Gets the manifest and the tensors, both of which it may change in place.
    digests : bool
        Whether the manifest then has the digests of the changed tensors.
    """
    entries = entries_of(path)
    manifest = json.loads(entries["manifest.json"])
    values = safetensors.torch.load(entries["tensors.safetensors"])
    change(manifest, values)
    if digests:
        manifest["tensors"] = {
            name: {
                "dtype": str(value.dtype).removeprefix("torch."),
                "shape": list(value.shape),
                "sha256": tensors.digest(value),
            }
            for name, value in values.items()
        }
    entries["manifest.json"] = json.dumps(manifest).encode()
    entries["tensors.safetensors"] = safetensors.torch.save(values)
    write_archive(Path(path), entries)
    return path


def put(record, path, value):
    """Set a value deep in a record, by the keys on the way to it."""
    *way, last = path
    for key in way:
        record = record[key]
    record[last] = value
