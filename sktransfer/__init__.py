"""Transfer learning for images as ordinary scikit-learn estimators."""

from sktransfer import exceptions
from sktransfer._common.process_memory import free_memory
from sktransfer.activations.store.cache import cache_info, clear_cache
from sktransfer.adaptation import adapt_batch_norm
from sktransfer.backbones.catalogue import list_backbones
from sktransfer.backbones.registration import register_backbone
from sktransfer.datasets import load_clipart, load_image_folder
from sktransfer.estimators.classifier import PretrainedImageClassifier
from sktransfer.estimators.extractor import PretrainedFeatureExtractor
from sktransfer.inspection import (
    AttentionMapDisplay,
    ConfusionDisplay,
    FeatureMapDisplay,
    GroupMetricsDisplay,
    LearningRateDisplay,
    MistakesDisplay,
    NeighborsDisplay,
    RankingDisplay,
    SelectionDisplay,
    TrainingCurveDisplay,
    check_pictures,
    class_separation,
    explain,
    find_lr,
    group_metrics,
    plot_augmentations,
    read_corrections,
    report,
)
from sktransfer.persistence.graphs.export import export
from sktransfer.persistence.model_file.load import load
from sktransfer.persistence.model_file.save import save
from sktransfer.ranking import rank_backbones

__version__ = "0.1.0"

__all__ = [
    "AttentionMapDisplay",
    "ConfusionDisplay",
    "FeatureMapDisplay",
    "GroupMetricsDisplay",
    "LearningRateDisplay",
    "MistakesDisplay",
    "NeighborsDisplay",
    "PretrainedFeatureExtractor",
    "PretrainedImageClassifier",
    "RankingDisplay",
    "SelectionDisplay",
    "TrainingCurveDisplay",
    "adapt_batch_norm",
    "cache_info",
    "check_pictures",
    "class_separation",
    "clear_cache",
    "exceptions",
    "explain",
    "export",
    "find_lr",
    "free_memory",
    "group_metrics",
    "list_backbones",
    "load",
    "load_clipart",
    "load_image_folder",
    "plot_augmentations",
    "rank_backbones",
    "read_corrections",
    "register_backbone",
    "report",
    "save",
]
