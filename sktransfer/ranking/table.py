"""The table of a ranking, and how it is printed."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.utils import Bunch

from sktransfer._common.text_table import aligned
from sktransfer.ranking.folds import corrected_error
from sktransfer.ranking.frozen_head import Measured
from sktransfer.selection.cross_validation import Folds

_COLUMNS = (
    *("backbone", "accuracy", "accuracy_error", "tied_with_best", "imagenet_accuracy"),
    *("seconds_per_1000", "parameters", "features", "logme", "license"),
)
_FINE_TUNED = ("fine_tuned_accuracy", "fine_tuned_gain", "fine_tuned_gain_error")
_WIDTH = 96


class Ranking(Bunch):  # type: ignore[misc]
    """The table that :func:`rank_backbones` returns; its columns are described there."""

    def to_frame(self) -> Any:
        """Make a DataFrame of the columns, with one row for each backbone.

        Returns
        -------
        frame : pandas.DataFrame

        Raises
        ------
        ImportError
            If pandas is missing.
        """
        import pandas as pd  # type: ignore[import-untyped]  # an optional dependency

        return pd.DataFrame({name: self[name] for name in _columns_of(self)})

    def __repr__(self) -> str:
        # Plain ASCII, since it must print everywhere.
        lines = [
            f"Accuracy of a frozen head: the mean of {self.fold_accuracies.shape[1]} folds of "
            f"{self.n_pictures} pictures +/- its standard error",
            "",
            *aligned([_HEADINGS, *(_cells(self, i) for i in range(len(self.backbone)))]),
            "",
            *(line for note in _notes(self) for line in textwrap.wrap(note, _WIDTH)),
        ]
        return "\n".join(lines)


def as_table(
    measured: Sequence[Measured],
    folds: Folds,
    *,
    n_pictures: int,
    fine_tuned: Mapping[str, np.ndarray] | None,
    skipped: Mapping[str, str],
    not_reached: Sequence[str],
) -> Ranking:
    """The table, the most accurate candidate first.

    Parameters
    ----------
    measured : sequence of Measured
        At least one.
    folds : list
    n_pictures : int
    fine_tuned : mapping of str to ndarray, or None
        Accuracies of the first folds, by label; None if that was not requested.
    skipped : mapping of str to str
        Labels of candidates that failed, and why.
    not_reached : sequence of str
        What an interruption has left out.
    """
    measured = sorted(measured, key=lambda each: -each.fold_accuracies.mean())
    accuracies = np.array([each.fold_accuracies for each in measured])
    columns: dict[str, Any] = {
        "backbone": np.array([each.candidate.label for each in measured], dtype=object),
        "accuracy": accuracies.mean(axis=1),
        "accuracy_error": np.array([corrected_error(each, folds) for each in accuracies]),
        "tied_with_best": np.array([_is_tied(accuracies[0] - each, folds) for each in accuracies]),
        "license": np.array([each.license for each in measured], dtype=object),
    }
    for name in ("imagenet_accuracy", "seconds_per_1000", "parameters", "features", "logme"):
        columns[name] = np.array([getattr(each, name) for each in measured])
    if fine_tuned is not None:
        figures = [
            _fine_tuned_figures(fine_tuned.get(each.candidate.label), each.fold_accuracies, folds)
            for each in measured
        ]
        columns |= dict(zip(_FINE_TUNED, np.array(figures).T, strict=True))
    return Ranking(
        **{name: columns[name] for name in (*_COLUMNS, *_FINE_TUNED) if name in columns},
        extractors=[each.candidate.extractor for each in measured],
        fold_accuracies=accuracies,
        n_pictures=n_pictures,
        skipped=dict(skipped),
        not_reached=list(not_reached),
    )


def _fine_tuned_figures(
    fine_tuned: np.ndarray | None, frozen: np.ndarray, folds: Folds
) -> tuple[float, float, float]:
    """Accuracy, and its gain over the frozen head on the same folds, with its error."""
    if fine_tuned is None:
        return (float("nan"),) * 3
    n = len(fine_tuned)
    gains = fine_tuned - frozen[:n]
    return float(fine_tuned.mean()), float(gains.mean()), corrected_error(gains, folds[:n])


def _is_tied(behind: np.ndarray, folds: Folds) -> bool:
    # The rule of one standard error, as for all choices by evidence.
    return bool(behind.mean() <= corrected_error(behind, folds))


def _columns_of(ranking: Ranking) -> list[str]:
    return [name for name in (*_COLUMNS, *_FINE_TUNED) if name in ranking]


_HEADINGS = [
    *("backbone", "accuracy", "tied", "fine-tuned", "ImageNet", "s/1000", "parameters"),
    *("features", "LogME", "licence"),
]


def _cells(ranking: Ranking, i: int) -> list[str]:
    return [
        ranking.backbone[i],
        f"{ranking.accuracy[i]:.3f} +/- {ranking.accuracy_error[i]:.3f}",
        ("best" if i == 0 else "yes") if ranking.tied_with_best[i] else "no",
        _fine_tuned(ranking, i),
        _or_empty(ranking.imagenet_accuracy[i], ".3f"),
        _or_empty(ranking.seconds_per_1000[i], ".3g"),
        f"{ranking.parameters[i] / 1e6:.1f}M",
        str(ranking.features[i]),
        f"{ranking.logme[i]:.3f}",
        ranking.license[i],
    ]


def _fine_tuned(ranking: Ranking, i: int) -> str:
    if "fine_tuned_accuracy" not in ranking or np.isnan(ranking.fine_tuned_accuracy[i]):
        return ""
    gain = f"{ranking.fine_tuned_gain[i]:+.3f} +/- {ranking.fine_tuned_gain_error[i]:.3f}"
    return f"{ranking.fine_tuned_accuracy[i]:.3f} ({gain})"


def _or_empty(value: float, form: str) -> str:
    return "" if np.isnan(value) else format(value, form)


def _notes(ranking: Ranking) -> list[str]:
    notes = []
    if (n := len(ranking.backbone)) > 1:
        notes += [
            "tied: behind the best by at most one standard error of the difference, which is "
            "paired by folds.",
            f"The best of {n} was chosen by the folds that judge it, which flatters it. Judge it "
            "once more, on pictures that had no part in the choice.",
        ]
    if "fine_tuned_accuracy" in ranking:
        notes.append(
            "fine-tuned: on the first folds only; in brackets the gain over the frozen head on the "
            "same folds."
        )
    if np.isnan(ranking.seconds_per_1000).any():
        notes.append("s/1000 is measured only where pictures are not in the cache yet.")
    for label, reason in ranking.skipped.items():
        notes.append(f"Skipped {label}: {textwrap.shorten(reason, 300)}")
    if ranking.not_reached:
        notes.append(f"Interrupted before {', '.join(ranking.not_reached)}.")
    return notes
