import multiprocessing
import os
import signal
import tempfile

import pytest

from sktransfer._common import left_behind
from sktransfer._common.left_behind import remove_unfinished, temporary_folder, unfinished_file
from tests.conftest import HANGS

needs_locks = pytest.mark.skipif(left_behind.fcntl is None, reason="Windows")


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """A folder for temporary files."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


KINDS = {"file": unfinished_file, "folder": lambda _: temporary_folder()}


@pytest.fixture(params=KINDS.values(), ids=KINDS)
def begin(request, temporary):
    return lambda: request.param(temporary)


def test_nothing_stays_after_the_block(begin, temporary):
    with begin() as place:
        assert place.parent == temporary
        assert place.exists()
    with pytest.raises(RuntimeError), begin():
        raise RuntimeError
    assert os.listdir(temporary) == []


def test_two_at_once_are_apart(begin, temporary):
    with begin() as one, begin() as other:
        assert sorted(os.listdir(temporary)) == sorted([one.name, other.name])
        remove_unfinished(temporary)
        assert one.exists()
        assert other.exists()


def die_within(begin, folder, pipe):
    tempfile.tempdir = str(folder)
    with KINDS[begin](folder) as place:
        if place.is_dir():
            (place / "content").write_bytes(b"content")
        pipe.send(place.name)
        signal.pause()


@needs_locks
@pytest.mark.parametrize("kind", KINDS)
def test_what_a_kill_leaves_is_removed_by_the_next(kind, temporary):
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    process = context.Process(target=die_within, args=(kind, temporary, theirs))
    process.start()
    assert ours.poll(HANGS)
    name = ours.recv()
    with KINDS[kind](temporary):
        assert name in os.listdir(temporary)  # it is in use
    process.kill()
    process.join(HANGS)
    assert os.listdir(temporary) == [name]
    with KINDS[kind](temporary) as place:
        assert os.listdir(temporary) == [place.name]
    assert os.listdir(temporary) == []


@needs_locks
def test_files_of_others_stay(begin, temporary):
    with begin() as place:
        name = place.name
    machine = left_behind._MACHINE
    others = [name.replace(machine, "0" * 8), f"{name}2", name.replace("unfinished", "txt")[:-1]]
    for other in others:
        (temporary / other).write_bytes(b"")
    (temporary / name).symlink_to(temporary / others[0])
    with begin():
        pass
    assert sorted(os.listdir(temporary)) == sorted([name, *others])


@needs_locks
def test_one_taken_for_left_behind_before_it_was_locked_is_made_again(
    begin, temporary, monkeypatch
):
    taken, flock = [], left_behind.fcntl.flock

    def first_removed(descriptor, operation):
        flock(descriptor, operation)
        if not taken:
            (place,) = temporary.iterdir()
            taken.append(place)
            place.rmdir() if place.is_dir() else place.unlink()

    monkeypatch.setattr(left_behind.fcntl, "flock", first_removed)
    with begin() as place:
        assert taken == [place]
        assert place.exists()


def test_systems_without_locks_remove_nothing(begin, temporary, monkeypatch):
    with begin() as place:
        name = place.name
    (temporary / name).write_bytes(b"")
    monkeypatch.setattr(left_behind, "fcntl", None)
    with begin() as place:
        assert place.exists()
    assert os.listdir(temporary) == [name]


@needs_locks
def test_a_disk_without_locks_is_used(begin, temporary, monkeypatch):
    def refused(*_):
        raise OSError("no locks available")

    monkeypatch.setattr(left_behind.fcntl, "flock", refused)
    with begin() as place:
        assert place.exists()
    assert os.listdir(temporary) == []
