"""Look inside: displays, maps of pictures, metrics of groups, and learning rates."""

from sktransfer.inspection.class_separation import ClassSeparation, class_separation
from sktransfer.inspection.data_checks import check_pictures, read_corrections
from sktransfer.inspection.displays.attention_map import AttentionMapDisplay
from sktransfer.inspection.displays.augmentations import plot_augmentations
from sktransfer.inspection.displays.confusion import ConfusionDisplay
from sktransfer.inspection.displays.feature_map import FeatureMapDisplay
from sktransfer.inspection.displays.group_display import GroupMetricsDisplay
from sktransfer.inspection.displays.learning_rate import LearningRateDisplay, find_lr
from sktransfer.inspection.displays.mistakes import MistakesDisplay
from sktransfer.inspection.displays.neighbors import NeighborsDisplay
from sktransfer.inspection.displays.ranking import RankingDisplay
from sktransfer.inspection.displays.selection import SelectionDisplay
from sktransfer.inspection.displays.training_curve import TrainingCurveDisplay
from sktransfer.inspection.explanation import Explanation, explain
from sktransfer.inspection.groups import group_metrics
from sktransfer.inspection.reporting.report import report

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
