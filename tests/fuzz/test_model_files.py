import pytest

from tests.fuzz.model_files import case, fuzz, report


def test_no_findings_among_some_files():
    """The run of a hundred thousand is made by hand: docs/reliability.md."""
    pytest.importorskip("skops")
    count = 250
    result = fuzz(count, seed=1, n_processes=1)
    assert result.findings == [], report(result, count)
    assert result.counts["refused"] + result.counts["same"] > 0.9 * count
    assert result.counts["same"] > 10


def test_a_case_can_be_made_again():
    assert case(0, 17) == case(0, 17) != case(0, 18)
