import threading

import torch

from sktransfer._common.random import seeded
from tests.conftest import HANGS


def test_seeded_is_reproducible_and_restores():
    torch.rand(1)
    before = torch.get_rng_state()
    with seeded(3):
        first = torch.rand(4)
    with seeded(3):
        assert torch.equal(torch.rand(4), first)
    with seeded(4):
        assert not torch.equal(torch.rand(4), first)
    assert torch.equal(torch.get_rng_state(), before)


def test_threads_that_seed_do_not_mix():
    with seeded(0):
        expected = [torch.rand(1).item() for _ in range(200)]
    drawn = []

    def draw():
        with seeded(0):
            drawn.append([torch.rand(1).item() for _ in range(200)])

    threads = [threading.Thread(target=draw) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(HANGS)
    assert drawn == [expected] * 4
