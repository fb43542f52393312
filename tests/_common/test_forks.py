"""Registration of functions only; the tests of threads and of parallel searches really fork."""

import os

from sktransfer._common.forks import after_fork_in_child


def test_the_function_is_called_in_the_child_only(monkeypatch):
    registered = []
    monkeypatch.setattr(os, "register_at_fork", lambda **how: registered.append(how), raising=False)
    after_fork_in_child(print)
    assert registered == [{"after_in_child": print}]


def test_systems_without_fork_need_nothing(monkeypatch):
    monkeypatch.delattr(os, "register_at_fork", raising=False)
    after_fork_in_child(print)
