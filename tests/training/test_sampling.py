import pytest
import torch

from sktransfer.training.sampling import SAMPLINGS, Sampler

CODES = torch.tensor([0] * 7 + [1] * 3 + [2] * 2)


def drawn(sampling, seed=0, codes=CODES):
    return Sampler(sampling, codes)(torch.Generator().manual_seed(seed))


def counts(rows, codes=CODES):
    return torch.bincount(codes[rows], minlength=3).tolist()


def test_without_sampling_every_row_comes_once():
    assert sorted(drawn(None).tolist()) == list(range(12))


def test_without_sampling_an_indicator_will_do():
    indicator = torch.ones(5, 2)
    assert sorted(drawn(None, codes=indicator).tolist()) == list(range(5))


@pytest.mark.parametrize("seed", range(5))
def test_oversampling_repeats_rows_of_the_rarer_classes_evenly(seed):
    rows = drawn("oversample", seed)
    assert counts(rows) == [7, 7, 7]
    times = torch.bincount(rows, minlength=12)
    assert times[:7].tolist() == [1] * 7
    assert sorted(times[7:10].tolist()) == [2, 2, 3]
    assert sorted(times[10:].tolist()) == [3, 4]


@pytest.mark.parametrize("seed", range(5))
def test_undersampling_takes_rows_of_the_larger_classes_at_most_once(seed):
    rows = drawn("undersample", seed)
    assert counts(rows) == [2, 2, 2]
    assert len(rows.unique()) == 6


def test_undersampling_takes_other_rows_each_time():
    taken = torch.cat([drawn("undersample", seed) for seed in range(40)])
    assert len(taken.unique()) == 12


def test_balanced_draws_as_many_rows_of_classes_that_are_as_likely():
    rows = torch.cat([drawn("balanced", seed) for seed in range(500)])
    assert len(rows) == 500 * 12
    shares = torch.bincount(CODES[rows]) / len(rows)
    torch.testing.assert_close(shares, torch.full((3,), 1 / 3), atol=0.03, rtol=0)
    within = torch.bincount(rows)[:7] / (CODES[rows] == 0).sum()
    torch.testing.assert_close(within, torch.full((7,), 1 / 7), atol=0.03, rtol=0)


@pytest.mark.parametrize("sampling", [None, *SAMPLINGS])
@pytest.mark.parametrize("codes", [CODES, torch.tensor([0, 0, 0, 2])], ids=["all", "one lacking"])
def test_times_are_how_often_rows_are_drawn_on_average(sampling, codes):
    n = 600
    rows = torch.cat([drawn(sampling, seed, codes) for seed in range(n)])
    times = Sampler(sampling, codes).times()
    assert times.shape == codes.shape
    found = torch.bincount(rows, minlength=len(codes)) / n
    torch.testing.assert_close(found, times, atol=0.2, rtol=0)
    if sampling is not None:
        totals = torch.bincount(codes, times)
        assert len(totals[totals > 0].round(decimals=3).unique()) == 1


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_a_class_without_rows_is_no_class(sampling):
    codes = torch.tensor([0, 0, 2])
    rows = drawn(sampling, codes=codes)
    assert set(codes[rows].tolist()) <= {0, 2}
    assert len(rows) == {"oversample": 4, "undersample": 2, "balanced": 3}[sampling]


@pytest.mark.parametrize("sampling", [None, *SAMPLINGS])
def test_the_generator_alone_says_what_is_drawn(sampling):
    first = drawn(sampling, seed=1)
    torch.rand(3)  # not the global one
    assert torch.equal(first, drawn(sampling, seed=1))
    assert not torch.equal(first, drawn(sampling, seed=2))


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_classes_come_in_no_order(sampling):
    codes = torch.arange(40) // 20
    first_half = codes[drawn(sampling, codes=codes)][:20]
    assert 0 < first_half.sum() < 20
