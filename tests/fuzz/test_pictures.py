import pytest

from tests.fuzz.pictures import case, explode, fuzz, report


def test_no_findings_among_some_hundred_pictures():
    """The run of a million is made by hand: docs/reliability.md."""
    count = 600
    result = fuzz(count, seed=1, n_processes=1)
    assert result.findings == [], report(result, count)
    assert result.counts["read"] + result.counts["refused"] == count
    assert result.counts["read"] > 100


def test_a_case_can_be_made_again():
    assert case(0, 17) == case(0, 17) != case(0, 18)
    assert case(0, 17) != case(1, 17)


@pytest.mark.slow
def test_largest_pictures():
    """Those of WebP need more memory, within libwebp."""
    result = explode()
    assert [each for each in result.findings if "WEBP" not in each.detail] == []
