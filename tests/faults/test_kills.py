"""Fifty kills; `kill.py` does a thousand by hand."""

import sys

import pytest

from tests.faults import kill
from tests.faults.children import in_child

needs_fork = pytest.mark.skipif(sys.platform == "win32", reason="no fork")


def kill_some(folder, n):
    crowd = kill.run(folder, n, longest=0.06, every=n + 1, say=lambda *_, **__: None)
    return dict(crowd.counts), crowd.faults


@needs_fork
def test_fifty_kills_lose_nothing_that_was_acknowledged(tmp_path):
    counts, faults = in_child(kill_some, tmp_path, 50)
    assert faults == []
    assert counts["kills"] == 50
    assert (counts["rows lost"], counts["rows wrong"]) == (0, 0)
    assert min(counts[done] for done in ("rows", "checkpoint", "fitted", "stored")) > 0
