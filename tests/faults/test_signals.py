"""Ctrl-C, and the signals that end a process, in every phase of a fit."""

import signal
import sys

import pytest

from tests.faults.children import in_child
from tests.faults.interrupted import PHASES, fits

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no fork")


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """How fits ended, by signal and phase; the fits of a signal run once."""
    found = {}

    def of(name):
        if name not in found:
            folder = tmp_path_factory.mktemp(name)
            found[name] = in_child(fits, folder, getattr(signal, name))
        return found[name]

    return of


def check_that_the_next_fit_is_clean(found):
    assert not found["orphans"]
    assert found["cache"] == "ok"
    # Activations may come from the cache or not, which changes their last bits.
    assert found["difference"] < 1e-3
    assert found["checkpoints"] == []


@pytest.mark.parametrize("phase", PHASES)
def test_ctrl_c(ended, phase):
    found = ended("SIGINT")[phase]
    assert found["exit code"] == 0, found["found"]
    fit = found["found"]
    assert fit["sent"]
    assert fit["finite"]
    assert fit["handler"]
    assert not [name for name in fit["threads"] if name.startswith("sktransfer")]
    if PHASES[phase].trained:
        assert fit["outcome"] == "fitted"
        assert "InterruptedWarning" in fit["warnings"]
    else:
        assert fit["outcome"] == "interrupted"
        assert fit["as before"]
    check_that_the_next_fit_is_clean(found)


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_signals_that_end_the_process(ended, name, phase):
    found = ended(name)[phase]
    assert found["exit code"] == -getattr(signal, name)
    assert found["found"] is None
    check_that_the_next_fit_is_clean(found)
