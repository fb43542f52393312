"""The base of both estimators: the parameters of the backbone, and pictures from X."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import Tags
from sklearn.utils.validation import validate_data

from sktransfer._common.devices import resolve_device
from sktransfer._common.sklearn_private import Interval, StrOptions
from sktransfer._common.tensors import numpy_of
from sktransfer.activations.engines.choice import ENGINES, PRECISIONS, EngineChoice
from sktransfer.activations.store.folder import cache_folder
from sktransfer.backbones.names import source_of
from sktransfer.backbones.pooling import POOLINGS
from sktransfer.estimators.fitted_backbone import BackboneReference, FittedBackbone, RunOptions
from sktransfer.exceptions import ImageError
from sktransfer.images.arrays import refuse_masked
from sktransfer.images.preprocessing import RESIZES
from sktransfer.images.sources import ImageSource, as_images, holds_images

_POSITIVE = Interval(Integral, 1, None, closed="left")


class BackboneEstimator(BaseEstimator):  # type: ignore[misc]
    """Base of the estimators that run pictures through a backbone.

    It checks parameters and reads X; a subclass keeps what it fits.
    """

    _parameter_constraints: dict[str, Any] = {
        "backbone": [str],
        "weights": [str, Path, None],
        "pooling": [StrOptions(set(POOLINGS))],
        "image_size": [_POSITIVE, None],
        "resize": [StrOptions(set(RESIZES))],
        "image_shape": [tuple, list, None],
        # Hyperspectral sensors have up to some hundred bands; more would be another axis of X.
        "in_channels": [Interval(Integral, 1, 512, closed="both")],
        "batch_size": [_POSITIVE],
        "device": [str],
        "precision": [StrOptions(set(PRECISIONS))],
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
    resize: str
    image_shape: tuple[int, ...] | None
    in_channels: int
    batch_size: int
    device: str
    precision: str
    engine: str
    n_jobs: int | None
    cache: str | Path | None
    verbose: int

    def __setstate__(self, state: dict[str, Any]) -> None:
        # A pickle of an older version lacks the parameters that came later.
        later = {
            name: parameter.default
            for name, parameter in inspect.signature(type(self)).parameters.items()
            if name not in state
        }
        super().__setstate__({**later, **state})

    # Private methods that begin with an underscore are called by the functions of this folder too,
    # which do the steps of a fit one after the other, and by those of `ranking`.

    def _check_parameters(self) -> None:
        """Raise if a parameter has no meaning; before predictions too, after `set_params`."""
        self._validate_params()
        check_image_shape(self.image_shape, self.in_channels)
        if self.n_jobs == 0:
            raise ValueError("n_jobs=0 has no meaning: use None for all cores, or 1, 2, ... or -1.")
        if self.cache is not None:
            cache_folder(self.cache)  # raises if it names none

    def _reader(self, *, keep_columns: bool = False) -> BackboneEstimator:
        """A shallow copy that reads the pictures of a fit, and is told the columns of X.

        scikit-learn writes the columns that it finds into the estimator that it is given, and a
        fit that fails later must leave this one as it was. With `keep_columns`, X must have the
        columns of the earlier fit.
        """
        reader = object.__new__(type(self))
        known = vars(self) if keep_columns else _without_columns(vars(self))
        reader.__dict__.update(known)
        return reader

    def _shape(self) -> tuple[int, ...] | None:
        """`image_shape` as a tuple, since the user may change a list after the fit."""
        return None if self.image_shape is None else tuple(self.image_shape)

    def _columns(self) -> dict[str, Any]:
        """The attributes that tell of the columns of X, if it had any."""
        return {name: vars(self)[name] for name in _OF_COLUMNS if name in vars(self)}

    def _images(
        self,
        X: Any,
        shape: tuple[int, ...] | None,
        channels: int,
        *,
        reset: bool = False,
        missing_ok: bool = False,
    ) -> ImageSource:
        """Pictures of so many channels in X; with `shape`, also rows of flattened pixels."""
        # With image_shape, X may still hold pictures: the shape then settles their layout.
        if shape is None or holds_images(X):
            images = as_images(X, shape, channels)
        else:
            refuse_masked(X)  # scikit-learn would drop the mask
            rows = validate_data(self, numpy_of(X), reset=reset, dtype="numeric")
            if rows.shape[1] != np.prod(shape):
                raise ImageError(
                    f"image_shape={shape} needs {np.prod(shape)} columns, but X has "
                    f"{rows.shape[1]}. Give the shape of the pictures that the rows were "
                    "flattened from."
                )
            images = as_images(rows.reshape(len(rows), *shape), shape, channels)
        images.check(missing_ok=missing_ok)
        return images

    def _keep_fit(self, columns: dict[str, Any], **fitted: Any) -> None:
        """Set the attributes of a fit in one step, which nothing can interrupt."""
        self.__dict__ = {**_without_columns(vars(self)), **columns, **fitted}

    def _settled_choice(self) -> EngineChoice:
        """Engine, device and precision of a fit, which go together; needs no backbone."""
        source_of(self.backbone)  # raises if no source has it
        # The device comes first: which engines and precisions there are depends on it.
        device = resolve_device(self.device)
        choice = EngineChoice(self.engine, device, self.precision)
        choice.check()
        return choice.settled()

    def _fitted_backbone(
        self,
        choice: EngineChoice,
        resize: str,
        seed: int = 0,
        earlier: BackboneReference | None = None,
    ) -> FittedBackbone:
        """The backbone that the parameters name, loaded; that of an earlier fit, if it serves."""
        asked = (self.backbone, self.weights, seed, self.image_size, self.in_channels)
        if earlier is not None and earlier.serves(*asked):
            reference = earlier
        else:
            reference = BackboneReference(*asked)
        preset = reference.get().preprocessing.at_size(self.image_size)
        return FittedBackbone(
            reference=reference,
            preprocessing=preset.resized(resize),
            image_shape=self._shape(),
            choice=choice,
        )

    def _run_options(self) -> RunOptions:
        return RunOptions(self.engine, self.batch_size, self.n_jobs, self.cache, self.verbose)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        # Without image_shape, rows of numbers are no pictures, and scikit-learn must not be told
        # that they are: its checks would then send some.
        flat = self.image_shape is not None
        tags.input_tags.two_d_array = flat
        tags.input_tags.three_d_array = True
        tags.input_tags.string = True
        tags.input_tags.positive_only = flat
        return tags


# Attributes that scikit-learn sets where X has columns.
_OF_COLUMNS = ("n_features_in_", "feature_names_in_")


def _without_columns(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in attributes.items() if name not in _OF_COLUMNS}


def check_image_shape(shape: Any, channels: int = 3) -> None:
    """Raise unless the parameter is None or the shape of one picture.

    Raises
    ------
    ImageError
    """
    if shape is None:
        return
    whole = all(isinstance(side, Integral) and int(side) > 0 for side in shape)
    last = (1, 3, 4) if channels == 3 else (channels,)
    is_right = channels in (1, 3) if len(shape) == 2 else len(shape) == 3 and shape[2] in last
    if not whole or not is_right:
        forms = {1: "(h, w) or (h, w, 1)", 3: "(h, w) or (h, w, c) with c 1, 3 or 4"}
        raise ImageError(
            f"image_shape must be {forms.get(channels, f'(h, w, {channels})')} for in_channels="
            f"{channels}, all positive integers; got {shape!r}."
        )
