"""What both estimators share: parameters, images, backbone, pickling."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import Tags
from sklearn.utils.validation import validate_data

from sktransfer._common.devices import available_or_cpu, resolve_device
from sktransfer._common.sklearn_private import Interval, StrOptions
from sktransfer._common.warning import warn
from sktransfer.activations.engines.choice import ENGINES, EngineChoice
from sktransfer.activations.store.folder import cache_folder
from sktransfer.activations.streaming import FrozenPass
from sktransfer.backbones.backbone import Backbone
from sktransfer.backbones.frozen import FrozenNetwork
from sktransfer.backbones.loading import load_backbone
from sktransfer.backbones.pooling import POOLINGS
from sktransfer.exceptions import DeviceWarning, ImageError, WeightsError
from sktransfer.images.sources import ImageSource, as_images, holds_images

_POSITIVE = Interval(Integral, 1, None, closed="left")


class BackboneEstimator(BaseEstimator):  # type: ignore[misc]
    """Base of the estimators that run pictures through a backbone.

    What `fit` found stays until the next one, whatever `set_params` says in between:
    ``device_``, ``_precision``, ``_image_shape``, ``_backbone_key``, ``_preprocessing``, and
    ``_backbone``, which is shared by the process and left out of pickles.
    """

    _parameter_constraints: dict[str, Any] = {
        "backbone": [str],
        "weights": [str, Path, None],
        "pooling": [StrOptions(set(POOLINGS))],
        "image_size": [_POSITIVE, None],
        "image_shape": [tuple, list, None],
        "batch_size": [_POSITIVE],
        "device": [str],
        "precision": [StrOptions({"float32", "bfloat16", "float16"})],
        "engine": [StrOptions(set(ENGINES))],
        "n_jobs": [Integral, None],
        "cache": [str, Path, None],
        "verbose": ["verbose"],
    }

    # Declared for readers and type checkers; assigned by the subclasses' __init__.
    backbone: str
    weights: str | Path | None
    pooling: str
    image_size: int | None
    image_shape: tuple[int, ...] | None
    batch_size: int
    device: str
    precision: str
    engine: str
    n_jobs: int | None
    cache: str | Path | None
    verbose: int

    def _prepare(
        self,
        X: Any,
        *,
        missing_ok: bool = False,
        seed: int = 0,
        reset: bool = True,
        goes_on: bool = False,
    ) -> ImageSource:
        """First steps of every fit: check parameters and pictures, find device and backbone.

        One that `goes_on` with an earlier fit needs the weights of that.
        """
        self._check_parameters()
        self._image_shape = _as_tuple(self.image_shape)
        images = self._images(X, reset=reset)
        images.check(missing_ok=missing_ok)
        self.device_ = resolve_device(self.device)
        self._precision = self.precision
        self._engine_choice().check()
        key = (self.backbone, self.weights, seed)
        backbone = load_backbone(*key)
        if goes_on:
            self._check_weights(backbone)
        self._backbone_key = key
        self._backbone: Backbone | None = backbone
        self._preprocessing = backbone.preprocessing.at_size(self.image_size)
        return images

    def _check_parameters(self) -> None:
        """Raise if a parameter has no meaning: also one that was set after a fit."""
        self._validate_params()
        self._check_image_shape()
        self._check_n_jobs()
        if self.cache is not None:
            cache_folder(self.cache)  # raises if it names none

    def _images(self, X: Any, *, reset: bool) -> ImageSource:
        """The pictures in X; with ``image_shape``, flattened rows become pictures first."""
        shape = self._image_shape
        if shape is None or holds_images(X):
            return as_images(X, shape)
        rows = validate_data(self, X, reset=reset, dtype="numeric")
        if rows.shape[1] != np.prod(shape):
            raise ImageError(
                f"image_shape={shape} needs {np.prod(shape)} columns, but X has {rows.shape[1]}. "
                "Give the shape of the pictures that the rows were flattened from."
            )
        return as_images(rows.reshape(len(rows), *shape), shape)

    def _check_image_shape(self) -> None:
        shape = self.image_shape
        if shape is None:
            return
        whole = all(isinstance(side, Integral) and side > 0 for side in shape)
        if len(shape) not in (2, 3) or not whole or (len(shape) == 3 and shape[2] not in (1, 3, 4)):
            raise ImageError(
                "image_shape must be (h, w) or (h, w, c) with c 1, 3 or 4, all positive integers; "
                f"got {shape!r}."
            )

    def _check_n_jobs(self) -> None:
        if self.n_jobs == 0:
            raise ValueError("n_jobs=0 has no meaning: use None for all cores, or 1, 2, ... or -1.")

    def _loaded_backbone(self) -> Backbone:
        """The backbone that was fitted with, found again after unpickling."""
        if self._backbone is None:
            backbone = load_backbone(*self._backbone_key)
            self._check_weights(backbone)
            self._backbone = backbone
        return self._backbone

    def _check_weights(self, backbone: Backbone) -> None:
        """Raise unless a backbone, found again, is what the fit was with."""
        if backbone is self._backbone:
            return
        fitted = self._digest if self._backbone is None else self._backbone.digest
        if backbone.digest != fitted:
            name, weights, _ = self._backbone_key
            raise WeightsError(
                f"The weights {str(weights)!r} of {name} are not the ones that this "
                f"{type(self).__name__} was fitted with. Restore the file, or fit a clone."
            )

    def _engine_choice(self) -> EngineChoice:
        return EngineChoice(self.engine, self.device_, self._precision)

    def _pass(self, network: FrozenNetwork, title: str, **options: Any) -> FrozenPass:
        """One pass of pictures through `network`, as the parameters say."""
        return FrozenPass(
            network=network,
            preprocessing=self._preprocessing,
            choice=self._engine_choice(),
            batch_size=self.batch_size,
            n_jobs=self.n_jobs,
            cache=self.cache,
            progress=title if self.verbose else None,
            **options,
        )

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()
        if state.get("_backbone") is not None:
            # Weights that can be found again are not state; their digest tells if they changed.
            state = {**state, "_backbone": None, "_digest": state["_backbone"].digest}
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if hasattr(self, "device_"):
            before, self.device_ = self.device_, available_or_cpu(self.device_)
            if self.device_ != before:
                warn(
                    f"This {type(self).__name__} was fitted on {before}, which this machine does "
                    "not have; the CPU computes from now on.",
                    DeviceWarning,
                )

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        flat = self.image_shape is not None
        tags.input_tags.two_d_array = flat
        tags.input_tags.three_d_array = True
        tags.input_tags.string = True
        tags.input_tags.positive_only = flat
        return tags


def _as_tuple(shape: Sequence[int] | None) -> tuple[int, ...] | None:
    return None if shape is None else tuple(shape)
