"""Limits that belong to the machine rather than to an estimator: environment variables.

They reach the workers of a parallel search, and no pickle carries them to another machine.
"""

import os
import re

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


def cache_size() -> int:
    """Bytes that one cache folder may take: ``SKTRANSFER_CACHE_SIZE``, by default 20 GB."""
    return _bytes("SKTRANSFER_CACHE_SIZE", "20GB")


def memory_size() -> int:
    """Bytes of activations that a fit keeps in memory: ``SKTRANSFER_MEMORY``, by default 4 GB.

    More go to a temporary file, in the folder that ``TMPDIR`` names.
    """
    return _bytes("SKTRANSFER_MEMORY", "4GB")


def shares_cache() -> bool:
    """Whether a cache folder that others may write to is used: ``SKTRANSFER_SHARED_CACHE=1``."""
    text = os.environ.get("SKTRANSFER_SHARED_CACHE", "0")
    if text not in ("0", "1"):
        raise ValueError(
            "The environment variable SKTRANSFER_SHARED_CACHE must be '1', for a cache folder that "
            f"you share with people whom you trust, or '0'; got {text!r}."
        )
    return text == "1"


def networks_size() -> int:
    """Bytes of networks and engines that a process keeps: ``SKTRANSFER_NETWORKS``, 4 GB."""
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
