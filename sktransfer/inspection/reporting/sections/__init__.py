"""The sections of a report: each is a function from the material to a Section, or to None."""

from sktransfer.inspection.reporting.sections import (
    calibration,
    card,
    classes,
    confusion,
    data,
    groups,
    learning_curve,
    mistakes,
    model,
    scores,
    speed,
    thresholds,
)

# In the order of the page. The mistakes come first: they are what a report is read for.
SECTIONS = (
    mistakes.section,
    scores.section,
    confusion.section,
    classes.section,
    calibration.section,
    thresholds.section,
    groups.section,
    data.section,
    learning_curve.section,
    speed.section,
    model.section,
    card.section,
)
