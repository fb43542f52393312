import io
import stat
import struct
import zipfile

import pytest

from sktransfer.exceptions import ModelFileError
from sktransfer.persistence.model_file.container import opened_archive, write_archive

ENTRIES = {"manifest.json": b"{}", "tensors.safetensors": b"\x00" * 100}


def read(path):
    with opened_archive(path) as archive:
        return {name: archive.read(name) for name in archive.names}


def test_entries_come_back(tmp_path):
    write_archive(tmp_path / "a", ENTRIES)
    assert read(tmp_path / "a") == ENTRIES
    with opened_archive(tmp_path / "a") as archive:
        assert archive.size("tensors.safetensors") == 100
    # The same content gives the same bytes.
    write_archive(tmp_path / "b", ENTRIES)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def compressed(archive):
    archive.writestr("x", b"0" * 10**6, zipfile.ZIP_DEFLATED)


def doubled(archive):
    archive.writestr("x", b"1")
    archive.writestr("x", b"2")


def link(archive):
    entry = zipfile.ZipInfo("x")
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    archive.writestr(entry, "/etc/passwd")


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("write", [compressed, doubled, link])
def test_entries_of_other_forms(write, tmp_path):
    with zipfile.ZipFile(tmp_path / "a", "w") as archive:
        write(archive)
    with pytest.raises(ModelFileError, match=r"Its entry 'x' is|two of the same name"):
        read(tmp_path / "a")


def archive_bytes():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in ENTRIES.items():
            archive.writestr(name, content)
    return file.getvalue()


def with_size_of_directory(content, size):
    return content[:-10] + struct.pack("<L", size) + content[-6:]


NO_ARCHIVES = {
    "empty": b"",
    "a signature alone": b"PK\x05\x06",
    "text": b"no archive" * 10,
    "cut": archive_bytes()[:-1],
    "longer": archive_bytes() + b"\x00",
    "a directory of 2 GB": with_size_of_directory(archive_bytes(), 2**31),
    "a directory of 4 GB": with_size_of_directory(archive_bytes(), 2**32 - 1),
    "another content than its checksum": archive_bytes().replace(b"{}", b"[]"),
}


# Not the contents as ids: they hold the time.
@pytest.mark.parametrize("content", NO_ARCHIVES.values(), ids=NO_ARCHIVES)
def test_what_is_no_archive_of_ours(content, tmp_path):
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(ModelFileError):
        read(tmp_path / "a")


def test_a_missing_file_is_no_damaged_one(tmp_path):
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "missing")
