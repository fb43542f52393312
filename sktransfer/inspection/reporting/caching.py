"""A fitted classifier with another cache, which leaves the user's own as it is."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

from sklearn.pipeline import Pipeline

from sktransfer.inspection.subject import Subject


def with_cache(subject: Subject, cache: str | Path | None) -> Subject:
    """The same classifier, whose backbone keeps activations in another folder, or in none.

    Only the step with the backbone is copied, and shares its fit: `set_params` would change steps
    that the user holds, and `clone` would forget the fit.
    """
    network, place = subject.network, subject.place
    if network is None or place is None:
        return subject
    own = copy.copy(network)
    own.cache = cache
    # As `Subject` does it, steps that only resample the rows of a fit are left out.
    before = [step for step in subject.steps[:place] if hasattr(step, "transform")]
    after = [step for step in subject.steps[place + 1 : -1] if hasattr(step, "transform")]
    last = [] if place == len(subject.steps) - 1 else [subject.steps[-1]]
    steps = [*before, own, *after, *last]
    estimator = own
    if len(steps) > 1:
        estimator = Pipeline([(f"step{i}", step) for i, step in enumerate(steps)])
    return replace(subject, estimator=estimator, steps=tuple(steps), place=len(before))
