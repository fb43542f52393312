import pickle
import subprocess
import sys
import warnings

import pytest

from sktransfer.shell import main as module
from sktransfer.shell.main import main


@pytest.fixture(autouse=True)
def _same_showwarning(monkeypatch):
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)


def test_the_module_runs():
    done = subprocess.run(
        [sys.executable, "-m", "sktransfer", "--help"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    assert all(command in done.stdout for command in ("fit", "predict", "report"))


@pytest.mark.parametrize("arguments", [[], ["fly"], ["fit", "folder"], ["report", "model"]])
def test_arguments_that_are_not_understood(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert "usage: python -m sktransfer" in capsys.readouterr().err


def test_errors_are_one_line_and_an_exit_code(capsys, tmp_path):
    code = main(["fit", str(tmp_path / "missing"), "-o", str(tmp_path / "model.skt")])
    assert code == 1
    error = capsys.readouterr().err
    assert error.startswith("sktransfer: error: path=")
    assert "does not exist" in error
    assert "Traceback" not in error


def test_an_interruption_has_its_own_code(capsys, monkeypatch, tmp_path):
    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "fit", interrupted)
    assert main(["fit", str(tmp_path), "-o", "model.skt"]) == 130
    assert "interrupted" in capsys.readouterr().err


def test_defects_are_not_hidden(monkeypatch, tmp_path):
    """An error that no user can mend keeps its traceback."""

    def broken(_):
        raise AssertionError

    monkeypatch.setattr(module, "fit", broken)
    with pytest.raises(AssertionError):
        main(["fit", str(tmp_path), "-o", "model.skt"])


def test_help_tells_that_model_files_are_safe(capsys):
    with pytest.raises(SystemExit):
        main(["predict", "--help"])
    assert "a model file is data" in " ".join(capsys.readouterr().out.split())


def test_a_pickle_is_no_model_file(tmp_path, capsys):
    path = tmp_path / "model.skt"
    path.write_bytes(pickle.dumps([1]))
    assert main(["predict", str(path), str(tmp_path)]) == 1
    assert "not a model file" in capsys.readouterr().err
