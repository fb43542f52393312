"""The backbone of a fit: found again where it is needed, with the way that pictures come to it."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from sktransfer._common.devices import available_or_cpu
from sktransfer._common.plain_tensors import with_plain_tensors, with_tensors
from sktransfer._common.warning import warn
from sktransfer.activations.engines.choice import EngineChoice
from sktransfer.activations.streaming import FrozenPass
from sktransfer.backbones.backbone import Backbone
from sktransfer.backbones.frozen import FrozenNetwork
from sktransfer.backbones.loading import WholeBackbone, load_backbone
from sktransfer.backbones.names import source_of
from sktransfer.backbones.statistics import Statistics, with_statistics
from sktransfer.backbones.weights import find_weights, weights_file
from sktransfer.exceptions import (
    BackboneError,
    DeviceWarning,
    EngineUnavailableError,
    ParameterError,
    WeightsError,
    WeightsUnavailableError,
)
from sktransfer.images.preprocessing import Preprocessing


class BackboneReference:
    """A backbone by name and weights, loaded again where a pickle is opened.

    Weights that can be found again are not state: a pickle holds their digest, which tells
    whether they have changed since the fit.

    Parameters
    ----------
    name : str
    weights : str, Path or None
    seed : int
        For random weights.
    image_size : int or None
        For networks that are built for one size of pictures.
    in_channels : int
    """

    # For pickles of versions that did not know these.
    image_size: int | None = None
    in_channels: int = 3
    _statistics: Mapping[str, Statistics] = MappingProxyType({})
    given: str | Path | None = None
    # True where adapt_batch_norm has replaced statistics, also of trained stages alone.
    is_adapted: bool = False
    # What the backbone is made of, where a model file brought it; pickles then hold it.
    _whole: WholeBackbone | None = None

    def __init__(
        self,
        name: str,
        weights: str | Path | None,
        seed: int = 0,
        image_size: int | None = None,
        in_channels: int = 3,
    ) -> None:
        file = weights_file(name, weights)
        self.given = weights
        # A pickle may be opened in another folder.
        self.weights = weights if file is None else file.absolute()
        self.name, self.seed = name, seed
        self.image_size, self.in_channels = image_size, in_channels
        self._loaded: Backbone | None = load_backbone(name, weights, seed, image_size, in_channels)
        self._digest = ""
        # BatchNorm statistics that are not those of the weights.
        self._statistics = {}

    @classmethod
    def of_file(
        cls,
        name: str,
        weights: str | Path | None,
        seed: int,
        image_size: int | None,
        in_channels: int,
        *,
        digest: str,
        statistics: Mapping[str, Statistics],
        is_adapted: bool,
        whole: WholeBackbone | None,
        loaded: Backbone | None = None,
    ) -> BackboneReference:
        """A reference that a model file holds; `get` finds its backbone, or makes it of `whole`."""
        reference = object.__new__(cls)
        vars(reference).update(
            name=name,
            weights=weights,
            given=weights,
            seed=seed,
            image_size=image_size,
            in_channels=in_channels,
            is_adapted=is_adapted,
            _statistics=dict(statistics),
            _digest=digest,
            _loaded=loaded,
            _whole=whole,
        )
        return reference

    @property
    def whole(self) -> WholeBackbone | None:
        """What a model file brought, if this reference needs no weights to be found."""
        return self._whole

    @property
    def statistics(self) -> Mapping[str, Statistics]:
        """BatchNorm statistics that are not those of the weights, by layer."""
        return self._statistics

    def serves(
        self, name: str, weights: Any, seed: int, image_size: int | None, in_channels: int
    ) -> bool:
        """True if a fit with these parameters goes on with the backbone that a model file brought.

        Its weights may not be on this machine.
        """
        asked = (name, str(weights), image_size, in_channels)
        own = (self.name, str(self.given), self.image_size, self.in_channels)
        same_seed = weights is not None or seed == self.seed
        return self._whole is not None and asked == own and same_seed

    def get(self) -> Backbone:
        """The backbone.

        Raises
        ------
        WeightsError
            If the weights that are found now are not those of the fit.
        """
        if self._loaded is None:
            found = self.unadapted()
            if self._statistics:
                found = found.adapted(self._statistics)
            found.check_same(self)
            self._loaded = found._loaded
        assert self._loaded is not None
        return self._loaded

    @property
    def license(self) -> str:
        """The licence of the weights, "unknown" where nobody names one."""
        if self._whole is not None:
            return self._whole.license
        try:
            return find_weights(self.name, self.weights).license
        except BackboneError:  # a file that is not here any more
            return "unknown"

    def unadapted(self) -> BackboneReference:
        """The backbone without its adaptation, from weights that are found or made again.

        Raises
        ------
        WeightsUnavailableError
            If the weights are not there.
        """
        if self._whole is not None:
            made = copy.copy(self)
            made._loaded, made._statistics = self._whole.load(self.name), {}
            # The network has its own copy of some tensors, and need not be kept twice.
            self._whole = replace(self._whole, tensors=made._loaded.tensors)
            return made
        try:
            return BackboneReference(
                self.name, self.weights, self.seed, self.image_size, self.in_channels
            )
        except BackboneError as error:
            source_of(self.name)  # says what is missing if the name is unknown here
            raise WeightsUnavailableError(
                f"This estimator was fitted with the weights {str(self.weights)!r} of "
                f"{self.name}, which are not there. Put the file there again, or fit a clone."
            ) from error

    @property
    def digest(self) -> str:
        """SHA-256 of the weights and of all else that features depend on."""
        return self._digest if self._loaded is None else self._loaded.digest

    def check_same(self, fitted: BackboneReference) -> None:
        """Raise unless this backbone, found now, is the one of a fit.

        Raises
        ------
        WeightsError
        """
        if self._loaded is fitted._loaded:  # a digest reads all weights, and takes a while
            return
        if self.digest != fitted.digest:
            raise WeightsError(
                f"The weights {str(self.weights)!r} of {self.name} are not the ones that this "
                "estimator was fitted with. Restore the file, or fit a clone."
            )

    def adapted(self, statistics: Mapping[str, Statistics]) -> BackboneReference:
        """The same weights with other statistics of some BatchNorm layers; a pickle has them."""
        adapted = object.__new__(type(self))
        vars(adapted).update(
            vars(self),
            _loaded=with_statistics(self.get(), statistics),
            _statistics={**self._statistics, **statistics},
            is_adapted=True,
        )
        return adapted

    def check_continues(self) -> None:
        """Raise if no fit can continue one with this backbone.

        Raises
        ------
        ParameterError
        """
        if self.is_adapted:
            raise ParameterError(
                "An earlier fit is continued, but adapt_batch_norm has replaced its BatchNorm "
                "statistics since. Continue the fit of the original estimator and adapt the "
                "result, or begin anew: fit with warm_start=False."
            )

    # Weights are tens or hundreds of megabytes, and the same in all estimators that use them.
    def __getstate__(self) -> dict[str, Any]:
        state = {**vars(self), "_loaded": None, "_digest": self.digest}
        return dict(with_plain_tensors(state))

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(with_tensors(state))


@dataclass(frozen=True)
class RunOptions:
    """Parameters that say how pictures are run, and that may change after a fit.

    Parameters
    ----------
    engine : str
        For float32. A shorter precision belongs to the engine of the fit.
    batch_size : int
    n_jobs : int or None
    cache : str, Path or None
    verbose : int
    """

    engine: str
    batch_size: int
    n_jobs: int | None
    cache: str | Path | None
    verbose: int


@dataclass(frozen=True)
class FittedBackbone:
    """The backbone of a fit, and how pictures come to it.

    Parameters
    ----------
    reference : BackboneReference
    preprocessing : Preprocessing
        At the `image_size` of the fit.
    image_shape : tuple of int or None
        Shape of one picture, for rows of flattened pixels.
    choice : EngineChoice
        The settled one of the fit.
    """

    reference: BackboneReference
    preprocessing: Preprocessing
    image_shape: tuple[int, ...] | None
    choice: EngineChoice

    @property
    def in_channels(self) -> int:
        """Channels of the pictures of the fit."""
        return self.reference.in_channels

    @property
    def device(self) -> str:
        """The device in use."""
        return self.choice.device

    def resized(self, resize: str) -> FittedBackbone:
        """The same with another way to make squares of pictures."""
        return replace(self, preprocessing=self.preprocessing.resized(resize))

    def frozen_pass(
        self, network: FrozenNetwork, options: RunOptions, title: str, **more: Any
    ) -> FrozenPass:
        """A pass of pictures through `network`, a frozen part of the backbone.

        Warns
        -----
        DeviceWarning
            If this machine or process can't compute in the precision of the fit.
        """
        return FrozenPass(
            network=network,
            preprocessing=self.preprocessing,
            choice=self._choice(options.engine),
            batch_size=options.batch_size,
            n_jobs=options.n_jobs,
            cache=options.cache,
            progress=title if options.verbose else None,
            **more,
        )

    def _choice(self, engine: str) -> EngineChoice:
        """The choice of the fit; in float32, in which engines agree, with the engine of now."""
        try:
            choice = self.choice.settled()
        except EngineUnavailableError as error:
            choice = replace(self.choice, precision="float32")
            warn(
                f"The frozen stages of this estimator run in float32, not in the "
                f"{self.choice.precision} of its fit, so that scores differ slightly: {error}",
                DeviceWarning,
            )
        return replace(choice, engine=engine) if choice.precision == "float32" else choice

    # A model that was fitted on a GPU must open on a machine without one.
    def __setstate__(self, state: dict[str, Any]) -> None:
        fitted_on = state["choice"].device
        device = available_or_cpu(fitted_on)
        if device != fitted_on:
            warn(
                f"This estimator was fitted on {fitted_on}, which this machine does not have; the "
                "CPU computes from now on.",
                DeviceWarning,
            )
        vars(self).update(state, choice=replace(state["choice"], device=device))
