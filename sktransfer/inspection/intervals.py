"""Intervals of shares."""

from __future__ import annotations

import numpy as np
from scipy.stats import binomtest


def wilson(hits: np.ndarray, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of the share of hits; NaN if there are no rows.

    E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22,
    1927, p. 209.

    Parameters
    ----------
    hits : ndarray of shape (n,), bool
    confidence : float
    """
    if not len(hits):
        return float("nan"), float("nan")
    test = binomtest(int(np.count_nonzero(hits)), len(hits))
    found = test.proportion_ci(confidence, method="wilson")
    return float(found.low), float(found.high)
