"""rank_backbones: which backbone suits the user's own pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np

from sktransfer._common.devices import resolve_device
from sktransfer._common.warning import warn
from sktransfer.activations.progress import tell
from sktransfer.estimators.labels import check_columns, encoded
from sktransfer.exceptions import BackboneError, ImageError, ParameterError, RankingWarning
from sktransfer.ranking.candidates import Candidate, as_candidates
from sktransfer.ranking.fine_tuning import fine_tuned_accuracies, worth_fine_tuning
from sktransfer.ranking.folds import folds_of
from sktransfer.ranking.frozen_head import Comparison, Measured
from sktransfer.ranking.table import Ranking, as_table
from sktransfer.selection.pictures import LabelledPictures


def rank_backbones(
    X: Any,
    y: Any,
    backbones: Sequence[Any] | None = None,
    *,
    cv: Any = None,
    cache: str | Path | None = None,
    device: str = "auto",
    n_jobs: int | None = None,
    max_rows: int | None = 1000,
    fine_tune_top: int = 0,
    verbose: int = 0,
) -> Ranking:
    """Rank backbones by the accuracy of a frozen head on your own pictures.

    Each picture passes once through each backbone. On the features, the default head of
    :class:`PretrainedImageClassifier` is cross-validated, on the same folds for all.

    No figure that is cheaper than this tells reliably which network is best (Agostinelli et al.,
    "How Stable are Transferability Metrics Evaluations?", ECCV 2022). After fine-tuning the order
    may be another one; `fine_tune_top` measures it for those that are most likely to be the best.

    Parameters
    ----------
    X : array, tensor, list, Series or one-column DataFrame
        Pictures, in any form that :class:`PretrainedFeatureExtractor` takes.
    y : array-like of shape (n,), or indicator of shape (n, n_classes)
        Labels. With several labels per picture, a row is right if all its labels are, and the
        head's loss is "binary_cross_entropy".
    backbones : sequence of str or PretrainedFeatureExtractor, optional
        At least two candidates: names of backbones, with their default weights, which are
        downloaded if need be; and unfitted extractors, for other weights, stages, sizes of
        pictures or ways to pool, such as ``PretrainedFeatureExtractor("resnet18", weights=path)``.
        By default all of torchvision, of the extra ``offline`` and of `register_backbone` whose
        default weights are on this machine; networks of timm must be named.
    cv : int, splitter, iterable of splits, or None
        Number of folds, which are drawn twice, with copies of a picture in one fold; None for 5,
        or fewer if no class has 5 pictures. Or a splitter of scikit-learn, which splits the rows
        that are used. Or splits of all rows, which is the way to give groups:
        ``list(GroupKFold(5).split(X, y, groups))``.
    cache : str, path or None, default=None
        A folder that keeps activations, as that of the estimators: candidates that are ranked
        again pass no pictures.
    device : str, default="auto"
        As that of the estimators.
    n_jobs : int or None, default=None
        Number of threads that read pictures, as that of the estimators.
    max_rows : int or None, default=1000
        Use at most so many rows, drawn with each class in proportion; None for all. If that is
        fewer than 5 of each class, some classes stand for all.
    fine_tune_top : int, default=0
        Number k of candidates: the k best by the head and the k best by published accuracy are
        fine-tuned as well, with ``unfreeze_depth="auto"``, on the first three of the folds.
        Extractors with a `stage` are left out, because a classifier has none. This takes many
        times as long.
    verbose : int, default=0
        1 prints a line for each candidate, and shows progress bars.

    Returns
    -------
    ranking : Bunch
        Of these columns, with one entry for each backbone, the most accurate first.
        ``ranking.to_frame()`` is a DataFrame of them, and ``print(ranking)`` a readable table.

        - ``backbone`` : str, the name, and parameters that are not an extractor's defaults.
        - ``accuracy``, ``accuracy_error`` : float, mean over the folds, and its standard error,
          which takes into account that folds share training rows (Nadeau & Bengio, 2003).
        - ``tied_with_best`` : bool, True if the most accurate one is ahead by at most one
          standard error of the difference, which is paired by folds.
        - ``imagenet_accuracy`` : float, published top-1 accuracy from 0 to 1. NaN for weights
          from a file, random weights and a `stage`.
        - ``seconds_per_1000`` : float, time for 1,000 pictures as measured here, with reading.
          NaN if all batches had pictures from the cache.
        - ``parameters``, ``features`` : int, number of weights, and width of the features.
        - ``logme`` : float, see You et al., "LogME", ICML 2021: a score without
          cross-validation, to compare with. Accuracy is the better guide.
        - ``license`` : str, that of published weights, where it is known.
        - ``fine_tuned_accuracy``, ``fine_tuned_gain``, ``fine_tuned_gain_error`` : float, with
          `fine_tune_top`; the gain over the frozen head on the same folds, and its paired standard
          error. NaN for those that were not fine-tuned.

        Other entries: ``extractors``, an unfitted extractor for each backbone;
        ``fold_accuracies`` (n_backbones, n_folds); ``n_pictures``; ``skipped``, a dict of
        candidates that failed, such as those whose weights can't be had, and the errors;
        ``not_reached``, a list of what was left out after an interruption (Ctrl-C).

    Raises
    ------
    ValueError
        If a parameter, X or y is invalid; see :mod:`sktransfer.exceptions`.
    BackboneError
        If a name is unknown, before any picture is read; or if all candidates fail.

    Warns
    -----
    RankingWarning
        If some candidates were skipped, or not reached before an interruption.

    See Also
    --------
    RankingDisplay : Plots accuracy against time.
    list_backbones : Facts about all backbones.

    Notes
    -----
    The most accurate of several candidates is chosen by the folds that judge it, and so its
    accuracy is flattered. Judge it once more, on pictures that had no part in the choice.

    Examples
    --------
    >>> from sktransfer import PretrainedFeatureExtractor, load_clipart, rank_backbones
    >>> paths, labels = load_clipart(return_X_y=True)
    >>> ranking = rank_backbones(paths[::8], labels[::8], [
    ...     PretrainedFeatureExtractor("efficientnet_lite0", image_size=96),
    ...     PretrainedFeatureExtractor("efficientnet_lite0", image_size=96, weights=None),
    ... ])
    >>> list(ranking.backbone)
    ['efficientnet_lite0, image_size=96', 'efficientnet_lite0, weights=None, image_size=96']
    >>> ranking.tied_with_best.tolist()
    [True, False]
    """
    _check_numbers(max_rows, fine_tune_top)
    resolve_device(device)  # raises if there is none
    shared = {"cache": cache, "device": device, "n_jobs": n_jobs, "verbose": verbose}
    candidates = as_candidates(backbones, shared)
    reader = candidates[0].extractor
    images = reader._reader()._images(X, reader._shape(), reader.in_channels, reset=True)
    labels = encoded(y, len(images), "rank_backbones")
    weights = np.ones(len(images))
    if labels.multilabel:
        check_columns(labels, weights)
    pictures = LabelledPictures(images, labels.y, weights, np.arange(len(images)), None)
    sample = pictures.sample(len(images) if max_rows is None else max_rows, seed=0)
    folds = folds_of(cv, sample, len(images))
    comparison = Comparison.of(sample, folds, labels.taken(sample.rows))
    work = _Work(comparison, verbose)
    work.measure(candidates)
    fine_tuned = None
    if fine_tune_top:
        fine_tuned = work.fine_tune(fine_tune_top)
    work.warn()
    return as_table(
        work.measured,
        folds,
        n_pictures=len(sample.rows),
        fine_tuned=fine_tuned,
        skipped=work.skipped,
        not_reached=work.not_reached,
    )


def _check_numbers(max_rows: Any, fine_tune_top: Any) -> None:
    if max_rows is not None and (not isinstance(max_rows, Integral) or int(max_rows) < 2):
        raise ParameterError(
            f"max_rows must be an integer of at least 2, or None; got {max_rows!r}."
        )
    if not isinstance(fine_tune_top, Integral) or int(fine_tune_top) < 0:
        raise ParameterError(f"fine_tune_top must be an integer from 0; got {fine_tune_top!r}.")


@dataclass
class _Work:
    """The work on one candidate after the other: a failure skips one, an interruption the rest."""

    comparison: Comparison
    verbose: int
    measured: list[Measured] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    not_reached: list[str] = field(default_factory=list)

    def measure(self, candidates: Sequence[Candidate]) -> None:
        """Measure all candidates.

        Raises
        ------
        BackboneError
            If all of them fail.
        KeyboardInterrupt
            If it comes before one is done.
        """
        todo = list(candidates)
        with self._until_interrupted(lambda: [each.label for each in todo]):
            while todo:
                with self._skipping(todo[0].label):
                    found = self.comparison.measured(todo[0])
                    self.measured.append(found)
                    self._tell(todo[0].label, found.fold_accuracies)
                todo.pop(0)
        if not self.measured:
            reasons = "; ".join(f"{label}: {reason}" for label, reason in self.skipped.items())
            raise BackboneError(f"No candidate of backbones could be ranked. {reasons}")

    def fine_tune(self, k: int) -> dict[str, np.ndarray]:
        """Accuracies of the candidates that are fine-tuned, by label."""
        todo = [] if self.not_reached else worth_fine_tuning(self.measured, k)
        found: dict[str, np.ndarray] = {}
        with self._until_interrupted(lambda: [f"fine-tuning {each.label}" for each in todo]):
            while todo:
                label = todo[0].label
                with self._skipping(f"fine-tuning {label}"):
                    found[label] = fine_tuned_accuracies(todo[0], self.comparison)
                    self._tell(f"{label}, fine-tuned", found[label])
                todo.pop(0)
        return found

    def warn(self) -> None:
        """Warn of all that is missing from the table."""
        if self.skipped:
            reasons = "; ".join(f"{label}: {reason}" for label, reason in self.skipped.items())
            warn(f"rank_backbones has skipped {reasons}", RankingWarning)
        if self.not_reached:
            missing = ", ".join(self.not_reached)
            warn(f"rank_backbones was interrupted before {missing}.", RankingWarning)

    @contextmanager
    def _skipping(self, label: str) -> Iterator[None]:
        """Note an error as the reason why a candidate is skipped."""
        try:
            yield
        except ImageError:  # the same for all of them
            raise
        except Exception as error:
            self.skipped[label] = f"{type(error).__name__}: {error}"

    @contextmanager
    def _until_interrupted(self, left: Callable[[], list[str]]) -> Iterator[None]:
        """Note what is left at an interruption."""
        try:
            yield
        except KeyboardInterrupt:
            if not self.measured:
                raise
            self.not_reached += left()

    def _tell(self, label: str, accuracies: np.ndarray) -> None:
        if self.verbose:
            tell(f"{label}: accuracy {accuracies.mean():.3f}")
