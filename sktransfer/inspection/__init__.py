"""Look inside: displays, maps of pictures, metrics of groups, and learning rates."""

from sktransfer.inspection.attention_map import AttentionMapDisplay
from sktransfer.inspection.augmentations import plot_augmentations
from sktransfer.inspection.class_separation import ClassSeparation, class_separation
from sktransfer.inspection.confusion import ConfusionDisplay
from sktransfer.inspection.data_checks import check_pictures, read_corrections
from sktransfer.inspection.explanation import Explanation, explain
from sktransfer.inspection.feature_map import FeatureMapDisplay
from sktransfer.inspection.group_display import GroupMetricsDisplay
from sktransfer.inspection.groups import group_metrics
from sktransfer.inspection.learning_rate import LearningRateDisplay, find_lr
from sktransfer.inspection.mistakes import MistakesDisplay
from sktransfer.inspection.neighbors import NeighborsDisplay
from sktransfer.inspection.ranking import RankingDisplay
from sktransfer.inspection.reporting.report import report
from sktransfer.inspection.selection import SelectionDisplay
from sktransfer.inspection.training_curve import TrainingCurveDisplay

__all__ = [
    "AttentionMapDisplay",
    "ClassSeparation",
    "ConfusionDisplay",
    "Explanation",
    "FeatureMapDisplay",
    "GroupMetricsDisplay",
    "LearningRateDisplay",
    "MistakesDisplay",
    "NeighborsDisplay",
    "RankingDisplay",
    "SelectionDisplay",
    "TrainingCurveDisplay",
    "check_pictures",
    "class_separation",
    "explain",
    "find_lr",
    "group_metrics",
    "plot_augmentations",
    "read_corrections",
    "report",
]
