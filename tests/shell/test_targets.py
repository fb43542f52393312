import pytest

from sktransfer.shell.targets import check_target


def test_targets_are_checked_before_the_work(tmp_path):
    assert check_target(str(tmp_path / "x")) == tmp_path / "x"
    with pytest.raises(IsADirectoryError, match="is a folder"):
        check_target(str(tmp_path))
    with pytest.raises(FileNotFoundError, match="does not exist"):
        check_target(str(tmp_path / "a" / "b"))
