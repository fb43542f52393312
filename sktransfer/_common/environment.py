"""Limits of the machine, set by environment variables rather than by parameters.

The worker processes of a parallel search inherit environment variables, and a pickled
estimator does not carry them to another machine.
"""

import os
import re

# Decimal units. "GiB" is rejected: to read it as GB would set another limit than was asked for.
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


def cache_size() -> int:
    """Return the size limit of a cache folder in bytes: ``SKTRANSFER_CACHE_SIZE``, or 20 GB."""
    return _bytes("SKTRANSFER_CACHE_SIZE", "20GB")


def memory_size() -> int:
    """Return how many bytes of activations a fit keeps in memory: ``SKTRANSFER_MEMORY``, or 4 GB.

    Larger activations are written to a temporary file in the folder given by ``TMPDIR``.
    """
    return _bytes("SKTRANSFER_MEMORY", "4GB")


def shares_cache() -> bool:
    """Return True if a cache folder that others can write to may be used.

    ``SKTRANSFER_SHARED_CACHE=1`` allows it. By default such a folder is refused.
    """
    text = os.environ.get("SKTRANSFER_SHARED_CACHE", "0")
    if text not in ("0", "1"):
        raise ValueError(
            "The environment variable SKTRANSFER_SHARED_CACHE must be '1', for a cache folder that "
            f"you share with people whom you trust, or '0'; got {text!r}."
        )
    return text == "1"


def networks_size() -> int:
    """Return how many bytes of networks a process keeps: ``SKTRANSFER_NETWORKS``, or 4 GB."""
    return _bytes("SKTRANSFER_NETWORKS", "4GB")


def _bytes(variable: str, default: str) -> int:
    text = os.environ.get(variable, default)
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)B?\s*", text, re.IGNORECASE)
    if match is None:
        raise ValueError(
            f"The environment variable {variable} must be a size such as '500MB' or '{default}'; "
            f"got {text!r}."
        )
    return int(float(match[1]) * _UNITS[match[2].upper()])
