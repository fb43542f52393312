"""The seeds of a fit: one for each kind of thing that is drawn."""

from __future__ import annotations

from typing import Any, NamedTuple

from sklearn.utils import check_random_state

from sktransfer._common.random import derived_seed


class Seeds(NamedTuple):
    """Seeds drawn from `random_state`, so that a change in one draw leaves the others alone."""

    weights: int
    split: int
    training: int
    views: int

    def after(self, earlier: Seeds, n_epochs: int) -> Seeds:
        """Seeds of a fit that continues one in which `n_epochs` were trained.

        The split stays: another one would validate on pictures that have trained. Batches and
        views are drawn anew, or the continued fit would repeat the epochs of the earlier one.
        """
        return Seeds(
            weights=earlier.weights,
            split=earlier.split,
            training=derived_seed(self.training, n_epochs),
            views=derived_seed(self.views, n_epochs),
        )


def draw_seeds(random_state: Any) -> Seeds:
    """Draw the seeds of a fit from the estimator's `random_state`."""
    return Seeds(*check_random_state(random_state).randint(2**31 - 1, size=4).tolist())
