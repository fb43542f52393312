"""Run a graph that was just written, and compare it with the estimator."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
from PIL import Image

from sktransfer.activations.engines.choice import EngineChoice
from sktransfer.estimators.fitted import FittedFeatures, FittedModel
from sktransfer.estimators.fitted_backbone import RunOptions
from sktransfer.exceptions import ExportError
from sktransfer.images.preprocessing import Preprocessing
from sktransfer.images.sources import as_images
from sktransfer.persistence.graphs.network import Network, twin

# The largest difference, in probability or as a share of the largest feature.
CLOSE = 1e-3
_OPTIONS = RunOptions("torch", batch_size=8, n_jobs=1, cache=None, verbose=0)


def check_same(
    run: Callable[[np.ndarray], list[np.ndarray]],
    fitted: FittedFeatures | FittedModel,
    network: Network,
    tolerance: float = CLOSE,
) -> None:
    """Raise unless a graph gives what the estimator gives, on pictures of several sizes.

    Raises
    ------
    ExportError
    """
    for pictures in _examples(network.preprocessing):
        given = pictures
        if network.given == "prepared":
            given = np.stack([network.preprocessing(picture) for picture in pictures])
        try:
            got = run(given)
        except Exception as error:  # runtimes have types of their own
            raise ExportError(
                f"The graph can't be run: {type(error).__name__}: {str(error)[:300]}. Nothing was "
                "written."
            ) from error
        _compare(got, expected(fitted, pictures), tolerance, pictures.shape)


def expected(fitted: FittedFeatures | FittedModel, pictures: np.ndarray) -> list[np.ndarray]:
    """What the estimator gives, in torch on the CPU and in float32.

    Returns
    -------
    list of ndarray
        Features; or probabilities, and labels as a graph gives them.
    """
    choice = EngineChoice("torch", "cpu", "float32")
    fitted = replace(fitted, backbone=replace(fitted.backbone, choice=choice))
    images = as_images(pictures, channels=fitted.backbone.in_channels)
    if isinstance(fitted, FittedFeatures):
        return [fitted.features(images, _OPTIONS, skip_unreadable=False)[0]]
    one_pass = fitted.backbone.frozen_pass(fitted.frozen_network(), _OPTIONS, "")
    activations, _ = one_pass.collect(images, twin(fitted.net.module_))
    scores = activations.numpy() / np.float32(fitted.temperature)
    return [fitted.task.probabilities(scores), fitted.task.predictions(scores)]


def _examples(preset: Preprocessing) -> Iterator[np.ndarray]:
    """Batches of smooth, noisy pictures: of a size that is not resized, wide, high and small."""
    rng = np.random.default_rng(0)
    side, shorter = preset.crop_size, preset.resize_size
    keeps = preset.resize == "crop" and preset.crop_mode != "border"
    unchanged = shorter if keeps else side
    sizes = [(unchanged, unchanged), (side, 2 * side), (3 * side, side + 1), (side // 2 + 1, side)]
    for n, (height, width) in zip((2, 1, 2, 1), sizes, strict=True):
        coarse = rng.integers(0, 256, (n, 5, 6, len(preset.mean)), dtype=np.uint8)
        noise = rng.integers(-20, 20, (n, height, width, len(preset.mean)))
        smooth = np.stack([_enlarged(picture, width, height) for picture in coarse])
        yield np.clip(smooth + noise, 0, 255).astype(np.uint8)


def _enlarged(picture: np.ndarray, width: int, height: int) -> np.ndarray:
    channels = [
        np.asarray(Image.fromarray(channel).resize((width, height)))
        for channel in np.moveaxis(picture, 2, 0)
    ]
    return np.stack(channels, axis=2)


def _compare(
    got: list[np.ndarray], wanted: list[np.ndarray], tolerance: float, shape: tuple[int, ...]
) -> None:
    """Raise unless values are close, and labels equal where they are not within the tolerance."""
    values, expected_values = got[0], wanted[0]
    what = f"On pictures of shape {shape}, the graph gives"
    if [each.shape for each in got] != [each.shape for each in wanted]:
        raise ExportError(f"{what} other shapes than the estimator. Nothing was written.")
    scale = 1.0 if len(wanted) == 2 else max(float(np.abs(expected_values).max()), 1e-12)
    gap = float(np.abs(values - expected_values).max()) / scale
    if not gap <= tolerance:
        raise ExportError(
            f"{what} values that differ from the estimator's by {gap:.1e}, and {tolerance:.0e} is "
            "allowed. Nothing was written."
        )
    if len(wanted) == 2:
        differs = (got[1] != wanted[1]) & (margins(expected_values, wanted[1]) > 2 * tolerance)
        if differs.any():
            raise ExportError(f"{what} other labels than the estimator. Nothing was written.")


def margins(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """How far each decision is from another one, in probability; of the shape of `labels`."""
    if labels.ndim == 2:
        return 2 * np.abs(probabilities - 0.5)
    two = np.sort(probabilities, axis=1)[:, -2:]
    return two[:, 1] - two[:, 0]
