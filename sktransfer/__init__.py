"""Transfer learning for images as ordinary scikit-learn estimators."""

from sktransfer import exceptions
from sktransfer._classifier import PretrainedImageClassifier
from sktransfer._extractor import PretrainedFeatureExtractor
from sktransfer.activations.store.cache import cache_info, clear_cache
from sktransfer.backbones.registry import list_backbones
from sktransfer.datasets import load_clipart, load_image_folder

__version__ = "0.1.0"

__all__ = [
    "PretrainedFeatureExtractor",
    "PretrainedImageClassifier",
    "cache_info",
    "clear_cache",
    "exceptions",
    "list_backbones",
    "load_clipart",
    "load_image_folder",
]
