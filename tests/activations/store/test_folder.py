"""The folder of a store; tests of the cache show which folders are trusted."""

from pathlib import Path

import pytest

from sktransfer.activations.store.folder import (
    FILE,
    FOLDER,
    cache_folder,
    discard,
    holds_no_store,
    make_home,
    own_files,
)
from sktransfer.exceptions import ParameterError


def made(folder):
    """The home of a store that has written its database."""
    home = make_home(folder)
    (home / FILE).touch()
    return home


def test_a_tilde_is_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert cache_folder("~/kept") == tmp_path / "kept"
    assert cache_folder(Path("kept")) == Path("kept")


@pytest.mark.parametrize("cache", ["", "a\0b", "~no_such_user/kept"])
def test_an_invalid_folder_name_is_an_error(cache):
    with pytest.raises(ParameterError, match="cache"):
        cache_folder(cache)


def test_the_home_is_made_and_is_its_owners_alone(tmp_path):
    home = make_home(tmp_path / "new")
    assert home == tmp_path / "new" / FOLDER
    assert home.stat().st_mode & 0o777 == 0o700
    assert make_home(tmp_path / "new") == home


def test_only_what_the_store_wrote_is_its_own(tmp_path):
    home = made(tmp_path)
    (home / f"{FILE}-journal").touch()
    (home / "notes.txt").touch()
    assert {path.name for path in own_files(home)} == {FILE, f"{FILE}-journal"}


def test_a_folder_of_other_things_holds_no_store(tmp_path):
    assert not holds_no_store(tmp_path / "missing")
    assert not holds_no_store(tmp_path)  # it may become one
    (tmp_path / "notes.txt").touch()
    assert holds_no_store(tmp_path)
    made(tmp_path)
    assert not holds_no_store(tmp_path)


def test_a_folder_of_the_same_name_with_other_things_is_no_store(tmp_path):
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / "notes.txt").touch()
    assert holds_no_store(tmp_path)


def test_discarding_removes_a_store_and_no_other_file(tmp_path):
    (tmp_path / "notes.txt").touch()
    made(tmp_path)
    left = tmp_path / f"{FOLDER}-{32 * '0'}"  # by a process that was killed
    left.mkdir()
    (left / FILE).touch()
    for _ in range(2):
        discard(tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_discarding_leaves_the_files_of_others_in_its_home(tmp_path):
    home = made(tmp_path)
    (home / "notes.txt").touch()
    discard(tmp_path)
    assert [path.name for path in home.iterdir()] == ["notes.txt"]
