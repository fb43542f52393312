import os

import pytest

from sktransfer._common.files import file_identity


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"one")
    return path


def test_an_unchanged_file_keeps_its_identity(path):
    assert file_identity(path) == file_identity(str(path))


def overwritten(path):
    path.write_bytes(b"three")


def overwritten_with_its_times_kept(path):
    found = path.stat()
    path.write_bytes(b"two")
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


def replaced_with_its_times_kept(path):
    found = path.stat()
    other = path.with_name("other")
    other.write_bytes(b"two")
    os.utime(other, ns=(found.st_atime_ns, found.st_mtime_ns))
    os.replace(other, path)


@pytest.mark.parametrize(
    "change", [overwritten, overwritten_with_its_times_kept, replaced_with_its_times_kept]
)
def test_a_changed_file_has_another_identity(path, change):
    before = file_identity(path)
    change(path)
    assert file_identity(path) != before


@pytest.mark.parametrize("name", ["missing", ".", "no\0name"])
def test_only_regular_files_have_an_identity(tmp_path, name):
    assert file_identity(f"{tmp_path}/{name}") is None
