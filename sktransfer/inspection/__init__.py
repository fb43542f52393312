"""Displays of decisions, rankings, training curves, learning rates and augmented pictures."""

from sktransfer.inspection.augmentations import plot_augmentations
from sktransfer.inspection.group_display import GroupMetricsDisplay
from sktransfer.inspection.groups import group_metrics
from sktransfer.inspection.learning_rate import LearningRateDisplay, find_lr
from sktransfer.inspection.ranking import RankingDisplay
from sktransfer.inspection.selection import SelectionDisplay
from sktransfer.inspection.training_curve import TrainingCurveDisplay

__all__ = [
    "GroupMetricsDisplay",
    "LearningRateDisplay",
    "RankingDisplay",
    "SelectionDisplay",
    "TrainingCurveDisplay",
    "find_lr",
    "group_metrics",
    "plot_augmentations",
]
