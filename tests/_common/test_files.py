import os

import pytest

from sktransfer._common.files import check_writable, file_identity, replaced_when_complete


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


def test_a_new_file_replaces_the_old_one(path):
    path.chmod(0o640)
    with replaced_when_complete(path) as unfinished:
        unfinished.write_bytes(b"new")
        assert path.read_bytes() == b"one"
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o640
    assert os.listdir(path.parent) == ["file"]


def write_half(path):
    with replaced_when_complete(path) as unfinished:
        unfinished.write_bytes(b"half")
        raise RuntimeError


def test_an_error_leaves_the_old_file(path):
    with pytest.raises(RuntimeError):
        write_half(path)
    assert path.read_bytes() == b"one"
    assert os.listdir(path.parent) == ["file"]


def test_a_file_that_is_new_has_the_usual_permissions(tmp_path):
    (tmp_path / "usual").write_bytes(b"")
    with replaced_when_complete(tmp_path / "new") as unfinished:
        unfinished.write_bytes(b"new")
    modes = {path.stat().st_mode for path in tmp_path.iterdir()}
    assert len(modes) == 1


def test_what_a_link_leads_to_is_replaced(path):
    link = path.with_name("link")
    link.symlink_to(path)
    with replaced_when_complete(link) as unfinished:
        unfinished.write_bytes(b"new")
    assert link.is_symlink()
    assert path.read_bytes() == b"new"


def test_what_is_no_file_is_written_directly():
    with replaced_when_complete(os.devnull) as unfinished:
        unfinished.write_bytes(b"new")
    assert not os.path.isfile(os.devnull)


def test_writing_is_tried_without_leaving_anything(path):
    check_writable(path)
    check_writable(path.with_name("new"))
    assert path.read_bytes() == b"one"
    assert os.listdir(path.parent) == ["file"]
    with pytest.raises(IsADirectoryError, match="is a folder"):
        check_writable(path.parent)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        check_writable(path.parent / "a" / "b")
