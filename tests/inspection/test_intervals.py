import numpy as np
import pytest

from sktransfer.inspection.intervals import wilson


def test_the_interval_is_that_of_wilson():
    z, n, share = 1.959963984540054, 40, 0.75
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    assert wilson(np.arange(n) < 30) == pytest.approx((middle - half, middle + half))


def test_no_rows_have_no_interval():
    assert np.isnan(wilson(np.zeros(0, dtype=bool))).all()
