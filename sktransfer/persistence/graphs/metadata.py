"""What the file of a graph says about itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sktransfer._common.versions import installed_version
from sktransfer.estimators.fitted import FittedFeatures, FittedModel
from sktransfer.persistence.graphs.network import Network


def metadata_of(fitted: FittedFeatures | FittedModel, network: Network) -> dict[str, str]:
    """Names and values, each of them as JSON, since the formats keep text only.

    Parameters
    ----------
    fitted : FittedFeatures or FittedModel
    network : Network
    """
    preset, reference = network.preprocessing, fitted.backbone.reference
    # Not the folder of a file, which is the user's own matter.
    weights = reference.weights.name if isinstance(reference.weights, Path) else reference.weights
    told: dict[str, Any] = {
        "sktransfer": installed_version("sktransfer"),
        "torch": torch.__version__,
        "input": network.given,
        "channels": len(preset.mean),
        "side": preset.crop_size,
        "resize": preset.resize,
        "resize_size": preset.resize_size,
        "crop_mode": preset.crop_mode,
        "interpolation": preset.interpolation,
        "mean": preset.mean,
        "std": preset.std,
        "backbone": reference.name,
        "weights": weights,
        "digest": reference.digest,
        "license": reference.license,
    }
    if isinstance(fitted, FittedModel):
        told |= {
            "task": "several labels" if fitted.task.multilabel else "one label",
            "classes": _names(fitted.classes),
            "classes_dtype": str(fitted.classes.dtype),
            "temperature": float(fitted.temperature),
        }
    else:
        told |= {"task": "features", "n_features": fitted.n_features()}
    return {name: json.dumps(value, default=str) for name, value in told.items()}


def _names(classes: np.ndarray) -> list[Any]:
    """Labels as JSON has them; those of other types, such as dates, as their text."""
    return (classes.astype(str) if classes.dtype.kind in "Mm" else classes).tolist()
