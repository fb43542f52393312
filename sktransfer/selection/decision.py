"""One decision of a fit, in a sentence that tells its evidence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sktransfer.selection.scores import Score


@dataclass(frozen=True)
class Decision:
    """The value that a fit has chosen for one of its parameters, and why.

    As a string it is one sentence, which all places that tell of the decision use. It is plain
    ASCII, since the `repr` of an estimator must print everywhere.

    Parameters
    ----------
    parameter : str
        The parameter that was "auto".
    chosen : str or int
    scores : mapping of str or int to Score, or None
        Of each candidate, the simplest first; None if there were too few rows to compare them.
    """

    parameter: str
    chosen: Any
    scores: Mapping[Any, Score] | None

    def __str__(self) -> str:
        return f"{self.parameter}={self.chosen!r}: {self._reason()}"

    def _reason(self) -> str:
        if self.scores is None:
            return "too few rows to compare it with others"
        simplest, *others = self.scores
        if self.chosen != simplest:
            rest = self._gains(name for name in others if name != self.chosen)
            gain = _gain(self.scores[self.chosen])
            return f"cross-validated log-likelihood {gain} against {simplest!r}{rest}"
        gains = self._gains(others)
        return f"no gain in cross-validated log-likelihood beyond a standard error{gains}"

    def _gains(self, candidates: Iterable[Any]) -> str:
        assert self.scores is not None
        gains = [f"{name!r}: {_gain(self.scores[name])}" for name in candidates]
        return f" ({', '.join(gains)})" if gains else ""


def _gain(score: Score) -> str:
    return f"{score.gain:+.3f} +/- {score.gain_error:.3f}"
