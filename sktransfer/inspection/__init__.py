"""Displays of decisions, rankings, training curves, learning rates and augmented pictures."""

from sktransfer.inspection.augmentations import plot_augmentations
from sktransfer.inspection.learning_rate import LearningRateDisplay, find_lr
from sktransfer.inspection.ranking import RankingDisplay
from sktransfer.inspection.selection import SelectionDisplay
from sktransfer.inspection.training_curve import TrainingCurveDisplay

__all__ = [
    "LearningRateDisplay",
    "RankingDisplay",
    "SelectionDisplay",
    "TrainingCurveDisplay",
    "find_lr",
    "plot_augmentations",
]
