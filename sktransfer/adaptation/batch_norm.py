"""adapt_batch_norm: the BatchNorm statistics of unlabelled pictures of another domain."""

from __future__ import annotations

import copy
import logging
from collections.abc import Generator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from sktransfer._common.threads import reading_threads
from sktransfer.activations.progress import counting
from sktransfer.adaptation.moments import Alignment, adapted_statistics, source_moments
from sktransfer.backbones.statistics import Statistics, batch_norms, batch_norms_of
from sktransfer.estimators.classifier import PretrainedImageClassifier
from sktransfer.estimators.extractor import PretrainedFeatureExtractor
from sktransfer.estimators.fitted_backbone import FittedBackbone
from sktransfer.exceptions import ImageError, ParameterError
from sktransfer.images.reading import read_batches
from sktransfer.images.sources import ImageSource

logger = logging.getLogger("sktransfer")

_OURS = (PretrainedFeatureExtractor, PretrainedImageClassifier)


def adapt_batch_norm(
    estimator: Any,
    X_target: Any,
    *,
    X_source: Any = None,
    n_source: float = 16,
    batch_size: int = 64,
) -> Any:
    """Copy a fitted estimator, with BatchNorm statistics for unlabelled target pictures.

    Pictures of another camera, of another light, or with noise or blur, shift the mean and variance
    of a network's channels, which BatchNorm layers normalise by. In the copy each layer normalises
    so that its outputs for the target have the mean and variance that they had for the source. All
    other weights, those of the head included, stay equal to the bit, and so does `estimator`.

    Give `X_source`, the pictures that the estimator was fitted to, or some of them that were drawn
    at random: the first ones of a folder are all of one class. Without them the source
    is taken to be that which the weights' own statistics are of, such as ImageNet, and the
    statistics of the target replace these, mixed as ``N / (N + n)`` times those of the source plus
    ``n / (N + n)`` times those of the target. That is the method of the papers, for a network that
    was trained on the source as a whole. A head that was fitted to frozen features has never seen
    such features, and may lose more by them than by the shift.

    The target's statistics are found in one pass, in float32 and by torch, on the device of the
    fit, whatever `precision` and `engine` say; predictions follow these as before. Pictures are put
    into batches at random, in the same way each time. Each batch is normalised by its own
    statistics, as in training, and the moments of all batches are pooled.

    Do not use it where the target pictures differ in another way than by such a shift:

    - other classes, or other shares of them, than those that were trained on: a shift between
      classes is then taken for one between domains, and removed. On a target of one or two of ten
      classes this cost 40 points and more;
    - several kinds mixed, such as photos of day and of night: adapt one copy to each kind;
    - fewer than some dozens of them: their statistics are noise.

    Without labels there is no way to know. If some labels of the target can be had, compare both
    estimators on them, or train on them.

    Source: Li et al., "Revisiting Batch Normalization For Practical Domain Adaptation", ICLR
    Workshop 2017 (AdaBN, with statistics of each domain); Schneider et al., "Improving robustness
    against common corruptions by covariate shift adaptation", NeurIPS 2020, section 3 (the mixing).

    Parameters
    ----------
    estimator : PretrainedFeatureExtractor, PretrainedImageClassifier or Pipeline
        A fitted one. A pipeline has one of them among its steps; the other steps are copied as they
        are.
    X_target : array, tensor, list, Series or one-column DataFrame
        Pictures of the target, in any form that `fit` takes. A few hundred are enough. They may be
        those that will be predicted.
    X_source : array, tensor, list, Series or one-column DataFrame, optional
        Pictures like those that the estimator was fitted to; it takes one more pass over them. By
        default the statistics in the weights are those of the source.
    n_source : float, default=16
        How many target pictures the source's statistics weigh as much as; the N of Schneider et
        al. 0 takes those of the target alone.
    batch_size : int, default=64
        Number of pictures that are normalised together. More are nearer to the exact statistics of
        all pictures, and take more memory.

    Returns
    -------
    adapted : the type of `estimator`
        It predicts, transforms and is pickled like any other. A `fit` of it begins with the
        pretrained weights and their own statistics again; `partial_fit`, or `fit` with
        ``warm_start=True``, is an error, and so is adapting it again: adapt `estimator` to the next
        pictures.

    Raises
    ------
    ParameterError
        If the network has no BatchNorm, `estimator` is an adapted copy, or a parameter is out of
        range.
    TypeError
        If `estimator` is of another type.
    NotFittedError
        If it is not fitted.
    ImageError
        If a picture can't be used, naming its row and path; ``on_error="nan"`` does not apply.

    Examples
    --------
    >>> from PIL import Image, ImageFilter
    >>> from sktransfer import PretrainedImageClassifier, adapt_batch_norm, load_clipart
    >>> paths, labels = load_clipart(return_X_y=True)
    >>> X, y, y_target = paths[::4], labels[::4], labels[1::4]
    >>> classifier = PretrainedImageClassifier("efficientnet_lite0", image_size=96, random_state=0)
    >>> classifier = classifier.fit(X, y)
    >>> blur = ImageFilter.GaussianBlur(3)
    >>> blurred = [Image.open(path).convert("RGB").filter(blur) for path in paths[1::4]]
    >>> adapted = adapt_batch_norm(classifier, blurred, X_source=X)
    >>> adapted.score(blurred, y_target) > classifier.score(blurred, y_target)
    True
    """
    _check_numbers(n_source, batch_size)
    if isinstance(estimator, Pipeline):
        return _adapted_pipeline(
            estimator, X_target, X_source, n_source=n_source, batch_size=batch_size
        )
    if not isinstance(estimator, _OURS):
        raise TypeError(
            "adapt_batch_norm takes a fitted PretrainedImageClassifier, PretrainedFeatureExtractor "
            f"or Pipeline with one of them as a step; got {type(estimator).__name__}. Of a search, "
            "give the best_estimator_; of another composition, adapt the part and put it in place."
        )
    check_is_fitted(estimator)
    estimator._check_parameters()
    of_target = _Measure(estimator, X_target, X_source, n_source, batch_size)
    adapted = copy.copy(estimator)
    if isinstance(estimator, PretrainedFeatureExtractor):
        features = estimator._fitted
        found = of_target.statistics(features.backbone, features.network())
        adapted._fitted = replace(features, backbone=_with(features.backbone, found))
        return adapted
    model = estimator._model
    module = model.net.module_
    found = of_target.statistics(model.backbone, model.frozen_network(), module.stages)
    net = copy.deepcopy(model.net)
    trained = zip(batch_norms(module).values(), batch_norms(net.module_).values(), strict=True)
    for layer, copied in trained:
        if layer in found:
            found[layer].put_into(copied)
    adapted._model = replace(model, backbone=_with(model.backbone, found), net=net)
    return adapted


def _check_numbers(n_source: Any, batch_size: Any) -> None:
    is_number = isinstance(n_source, Real) and not isinstance(n_source, bool)
    if not is_number or not 0 <= float(n_source) < np.inf:
        raise ParameterError(
            "n_source is a number of pictures, 0 or more and finite (16 by default); got "
            f"{n_source!r}."
        )
    if not isinstance(batch_size, Integral) or isinstance(batch_size, bool) or batch_size < 2:
        raise ParameterError(
            "batch_size is the whole number of pictures that are normalised together, at least 2 "
            f"(64 by default); got {batch_size!r}."
        )


def _adapted_pipeline(pipeline: Pipeline, X_target: Any, X_source: Any, **options: Any) -> Pipeline:
    places = [i for i, (_, step) in enumerate(pipeline.steps) if isinstance(step, _OURS)]
    if len(places) != 1:
        names = [f"{name} ({type(step).__name__})" for name, step in pipeline.steps]
        raise TypeError(
            "adapt_batch_norm takes a Pipeline in which one step is a PretrainedImageClassifier or "
            f"PretrainedFeatureExtractor; got the steps {', '.join(names)}. Where it is inside of "
            "a step, adapt it alone and put the copy in its place."
        )
    (place,) = places
    X_target, X_source = (
        pipeline[:place].transform(X) if place and X is not None else X
        for X in (X_target, X_source)
    )
    adapted_step = adapt_batch_norm(
        pipeline.steps[place][1], X_target, X_source=X_source, **options
    )
    adapted = copy.copy(pipeline)
    # Other steps are copied too: a fit of the copy would train those of the original.
    adapted.steps = [
        (name, adapted_step if i == place else copy.deepcopy(step))
        for i, (name, step) in enumerate(pipeline.steps)
    ]
    return adapted


def _with(backbone: FittedBackbone, found: Mapping[_BatchNorm, Statistics]) -> FittedBackbone:
    """The backbone of a fit with the statistics that were found for some of its layers."""
    layers = batch_norms_of(backbone.reference.get()).items()
    named = {name: found[layer] for name, layer in layers if layer in found}
    return replace(backbone, reference=backbone.reference.adapted(named))


@dataclass(frozen=True)
class _Measure:
    """Pictures of the target, and how they are run.

    Parameters
    ----------
    estimator, X_target, X_source, n_source, batch_size
        See `adapt_batch_norm`.
    """

    estimator: Any
    X_target: Any
    X_source: Any
    n_source: float
    batch_size: int

    def statistics(
        self, backbone: FittedBackbone, *parts: nn.Module
    ) -> dict[_BatchNorm, Statistics]:
        """Statistics of each BatchNorm layer in `parts`, which run one after the other.

        Raises
        ------
        ParameterError
            If there is none.
        """
        network = nn.Sequential(*parts)
        if not batch_norms(network):
            raise ParameterError(
                "adapt_batch_norm changes the statistics of BatchNorm layers, and the network that "
                f"this estimator runs, of {backbone.reference.name}, has none. Use a backbone with "
                "BatchNorm, such as 'efficientnet_lite0', 'mobilenet_v2' or 'resnet18'."
            )
        if backbone.reference.is_adapted:
            raise ParameterError(
                "This estimator is a copy that adapt_batch_norm has made: its statistics are not "
                "those that it was fitted with. Adapt the original estimator to these pictures."
            )
        images = self._images("X_target", backbone)
        if self.n_source == 0 and len(images) == 1:
            raise ParameterError(
                "n_source=0 takes the statistics of X_target alone, and one picture has none that "
                "are of use. Give more pictures, or n_source=16."
            )
        source = {}
        if self.X_source is None:
            logger.warning(
                "adapt_batch_norm takes the statistics of the weights for those of the pictures "
                "that this estimator was fitted to. Give some of these pictures as X_source: a "
                "head on frozen features loses accuracy where the two differ."
            )
        else:
            pictures = self._images("X_source", backbone)
            with closing(self._batches(pictures, backbone)) as batches:
                source = source_moments(network, batches, backbone.device)
        alignment = Alignment(source, self.n_source / (self.n_source + len(images)))
        with closing(self._batches(images, backbone)) as batches:
            return adapted_statistics(network, batches, alignment, backbone.device)

    def _images(self, name: str, backbone: FittedBackbone) -> ImageSource:
        try:
            pictures = getattr(self, name)
            return self.estimator._images(pictures, backbone.image_shape, backbone.in_channels)
        except ImageError as error:  # which speaks of X
            raise type(error)(f"{name} can't be used: {error}") from error

    def _batches(self, images: ImageSource, backbone: FittedBackbone) -> Generator[Tensor]:
        """Pixels (n, c, h, w) of the pictures, in random batches of nearly equal length."""
        # Folders of pictures come sorted by class, and a batch of one class would be normalised by
        # the statistics of that class.
        order = np.random.default_rng(0).permutation(len(images))
        parts = np.array_split(order, -(-len(images) // self.batch_size))
        title = "Measuring statistics" if self.estimator.verbose else None
        with (
            reading_threads(self.estimator.n_jobs) as n_threads,
            counting(title, len(images)) as on_rows,
            closing(
                read_batches(
                    images,
                    backbone.preprocessing,
                    (part.tolist() for part in parts),
                    n_threads=n_threads,
                )
            ) as batches,
        ):
            for batch in batches:
                yield torch.from_numpy(batch.pixels).permute(0, 3, 1, 2)
                on_rows(len(batch.rows))
