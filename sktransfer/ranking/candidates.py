"""The candidates of a ranking: extractors, each with a label that tells it from the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from inspect import signature
from pathlib import Path
from typing import Any, NamedTuple

from sklearn.base import clone

from sktransfer.backbones.names import backbone_names, source_of
from sktransfer.backbones.sources.base import Weights
from sktransfer.backbones.weights import find_weights
from sktransfer.estimators.extractor import PretrainedFeatureExtractor
from sktransfer.exceptions import ParameterError

_DEFAULTS = {
    name: parameter.default
    for name, parameter in signature(PretrainedFeatureExtractor).parameters.items()
}
# They change neither features nor how fast pictures pass. A picture that can't be read is an error.
_UNTOLD = {"backbone", "cache", "n_jobs", "verbose", "on_error"}


class Candidate(NamedTuple):
    """An extractor to be ranked.

    Parameters
    ----------
    label : str
        Its backbone and its other parameters that are not the defaults.
    extractor : PretrainedFeatureExtractor
        Unfitted.
    """

    label: str
    extractor: PretrainedFeatureExtractor

    @property
    def weights(self) -> Weights:
        """What is known of its weights."""
        return find_weights(self.extractor.backbone, self.extractor.weights)

    @property
    def is_whole(self) -> bool:
        """True if its features are the network's own, not those of a stage within."""
        return self.extractor.stage is None


def as_candidates(backbones: Any, shared: Mapping[str, Any]) -> list[Candidate]:
    """Check what the user wants ranked; nothing is loaded.

    Parameters
    ----------
    backbones : sequence of str or PretrainedFeatureExtractor, or None
        None for every backbone whose default weights are on this machine.
    shared : mapping
        Parameters for all extractors that have their defaults there.

    Raises
    ------
    ParameterError
        If it is no such sequence, or has fewer than two candidates, or one twice.
    BackboneError
        If a name, or weights, are unknown.
    """
    given = _at_hand() if backbones is None else _sequence(backbones)
    extractors = [_extractor(each, shared) for each in given]
    if len(extractors) < 2:
        raise ParameterError(
            f"backbones must hold at least two candidates to compare, but has {len(extractors)}: "
            f"{[_label(each) for each in extractors]}. Name others, see list_backbones(); three "
            'come with pip install "sktransfer[offline]".'
        )
    candidates = [Candidate(_label(each), each) for each in extractors]
    several = Counter(candidate.label for candidate in candidates)
    if len(several) < len(candidates):  # perhaps files of one name in several folders
        candidates = [Candidate(_label(each, paths=True), each) for each in extractors]
        several = Counter(candidate.label for candidate in candidates)
    if twice := [label for label, n in several.items() if n > 1]:
        raise ParameterError(f"backbones holds {twice} more than once. Name each candidate once.")
    forms = [(each.extractor._shape(), each.extractor.in_channels) for each in candidates]
    if len(set(forms)) > 1:
        raise ParameterError(
            "All candidates must have the same image_shape and the same in_channels, for they are "
            "shown the same pictures. Where X holds flattened pixels, or other than RGB pictures, "
            "make each of them an extractor with these parameters."
        )
    return candidates


def _at_hand() -> list[str]:
    """Names of the backbones whose default weights would not have to be downloaded."""
    found = []
    for name in backbone_names():
        source = source_of(name)
        default = next(iter(source.published_weights(name).values()), None)
        if default is not None and source.at_hand(default):
            found.append(name)
    return found


def _sequence(backbones: Any) -> list[Any]:
    if isinstance(backbones, str | PretrainedFeatureExtractor) or not isinstance(
        backbones, Sequence
    ):
        raise ParameterError(
            "backbones must be a list or tuple of names and PretrainedFeatureExtractors, or None "
            f"for every backbone whose weights are on this machine; got {backbones!r:.80}."
        )
    return list(backbones)


def _extractor(given: Any, shared: Mapping[str, Any]) -> PretrainedFeatureExtractor:
    """A copy, with what all candidates share, whose name and weights are known."""
    if isinstance(given, str):
        extractor = PretrainedFeatureExtractor(given)
    elif isinstance(given, PretrainedFeatureExtractor):
        extractor = clone(given)
    else:
        raise ParameterError(
            "backbones holds names and PretrainedFeatureExtractors, such as "
            f'PretrainedFeatureExtractor("resnet18", stage="layer3"); got {given!r:.80}.'
        )
    own = extractor.get_params()
    extractor.set_params(**{k: v for k, v in shared.items() if own[k] == _DEFAULTS[k]})
    extractor._check_parameters()
    if extractor.on_error != "raise":
        raise ParameterError(
            f"on_error={extractor.on_error!r} gives features from which no head can learn. Leave "
            'unreadable pictures out of X, and set on_error="raise".'
        )
    find_weights(extractor.backbone, extractor.weights)  # raises if it has no such weights
    return extractor


def _label(extractor: PretrainedFeatureExtractor, *, paths: bool = False) -> str:
    """The backbone, and all that its features and speed depend on but for defaults."""
    own = extractor.get_params()
    told = {
        name: own[name]
        for name, default in _DEFAULTS.items()
        if name not in _UNTOLD and own[name] != default
    }
    if told.get("weights") is not None and not paths:
        told["weights"] = Path(told["weights"]).name
    if isinstance(told.get("stage"), list | tuple):
        told["stage"] = "+".join(told["stage"])
    return ", ".join([extractor.backbone, *(f"{name}={value}" for name, value in told.items())])
