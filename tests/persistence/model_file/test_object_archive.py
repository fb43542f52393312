import io
import json
import zipfile

import numpy as np
import pytest
import scipy.sparse
import skops.io
from sklearn.linear_model import LogisticRegression

from sktransfer.exceptions import ModelFileError
from sktransfer.persistence.model_file.object_archive import check_object_archive


def archive_of(schema, **entries):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("schema.json", json.dumps(schema))
        for name, content in entries.items():
            archive.writestr(name.replace("__", "."), content)
    return file.getvalue()


def test_what_skops_writes_is_let_through():
    shared = [1, {"a": (2, 3)}]
    check_object_archive(skops.io.dumps([shared, shared, LogisticRegression()]))
    check_object_archive(skops.io.dumps(scipy.sparse.eye(1000).tocsr()))


def shared_by_doubling(n):
    """A list that holds the next one twice, written once."""
    part = {"__loader__": "ListNode", "__id__": 0, "content": []}
    for number in range(1, n):
        again = {"__loader__": "ListNode", "__id__": number - 1, "content": []}
        part = {"__loader__": "ListNode", "__id__": number, "content": [part, again]}
    return part


def test_shared_parts_are_written_in_full():
    with pytest.raises(ModelFileError, match="in two ways"):
        check_object_archive(archive_of(shared_by_doubling(40)))


def test_sparse_arrays_that_are_bombs():
    file = io.BytesIO()
    scipy.sparse.save_npz(file, scipy.sparse.csr_matrix(np.zeros((1, 3))))
    with zipfile.ZipFile(file, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("more.npy", b"\0" * 10**8)
    with pytest.raises(ModelFileError, match="Its sparse arrays take"):
        check_object_archive(archive_of({}, x__npz=file.getvalue()))


def test_a_description_that_is_too_large():
    with pytest.raises(ModelFileError, match="larger than that of any"):
        check_object_archive(archive_of({"x": "x" * 2**24}))
