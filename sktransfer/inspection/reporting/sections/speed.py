"""How long prediction takes on this machine."""

from __future__ import annotations

import platform
import time
from typing import Any

import numpy as np
import torch

from sktransfer.inspection.reporting.blocks import Section, Table
from sktransfer.inspection.reporting.caching import with_cache
from sktransfer.inspection.reporting.material import Material

_MOST_PICTURES = 64


def section(material: Material) -> Section:
    """A table of times, of predictions that find nothing in a cache."""
    n = min(_MOST_PICTURES, len(material.test))
    some = material.test.taken(np.arange(n))
    predictor = with_cache(material.subject, None).estimator
    one = some.taken(np.array([0]))
    predictor.predict(one.X)  # the first prediction may prepare an engine
    seconds = _timed(predictor, some.X)
    seconds_of_one = _timed(predictor, one.X)
    rows = [
        [f"{n} pictures at once, seconds", seconds],
        ["pictures per second", n / seconds],
        ["one picture alone, seconds", seconds_of_one],
    ]
    return Section(
        "speed",
        "Speed",
        [
            Table(
                ["prediction", "time"],
                rows,
                f"Reading and predicting, on {_device(material)} of this machine "
                f"({platform.machine()}), {torch.get_num_threads()} threads{_cache(material)}; "
                "measured once, so other work of the machine is included.",
            )
        ],
    )


def _timed(predictor: Any, X: Any) -> float:
    start = time.perf_counter()
    predictor.predict(X)
    return time.perf_counter() - start


def _device(material: Material) -> str:
    backbone = material.subject.backbone
    return "the CPU" if backbone is None or backbone.device == "cpu" else backbone.device


def _cache(material: Material) -> str:
    """What is said about the cache: within other estimators, it can't be switched off."""
    if material.subject.network is not None:
        return ", without the cache"
    parameters = material.subject.estimator.get_params()
    cached = [name for name, value in parameters.items() if name.endswith("cache") and value]
    return ", with what its cache holds" if cached else ""
