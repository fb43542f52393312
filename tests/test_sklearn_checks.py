"""scikit-learn's own estimator checks, really run.

The checks feed 2-D arrays of any width and range, which no picture is. A subclass here
turns each row into a small grey picture; everything else is the estimator as it is.
"""

import math

import numpy as np
import pytest
from sklearn.utils.estimator_checks import estimator_checks_generator, parametrize_with_checks
from sklearn.utils.validation import validate_data

from sktransfer import PretrainedFeatureExtractor, PretrainedImageClassifier
from sktransfer.images.sources import as_images


class RowsAsPictures:
    """Rows of any numbers -> square grey pictures, one pixel a number, values squashed to 0..1."""

    def _images(self, X, *, reset):
        rows = validate_data(self, X, reset=reset, dtype=np.float64)
        side = math.ceil(math.sqrt(rows.shape[1]))
        pixels = np.full((len(rows), side * side), 0.5)
        pixels[:, : rows.shape[1]] = 1 / (1 + np.exp(-rows))
        return as_images(pixels.reshape(len(rows), side, side), (side, side))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = True
        tags.input_tags.three_d_array = False
        tags.input_tags.string = False
        return tags


class FlatExtractor(RowsAsPictures, PretrainedFeatureExtractor):
    pass


class FlatClassifier(RowsAsPictures, PretrainedImageClassifier):
    pass


ESTIMATORS = [
    FlatExtractor("mnasnet0_5", weights=None, image_size=32, device="cpu"),
    FlatClassifier("mnasnet0_5", weights=None, image_size=32, device="cpu"),
]


# One check leaves a class without weight on purpose, of which a fit tells.
@pytest.mark.filterwarnings("ignore:No row of the classes:sktransfer.exceptions.TrainingWarning")
@parametrize_with_checks(ESTIMATORS)
def test_sklearn_check(estimator, check):
    check(estimator)


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: type(e).__name__)
def test_at_least_45_checks_run(estimator):
    names = [
        getattr(check, "func", check).__name__
        for _, check in estimator_checks_generator(estimator, legacy=True)
    ]
    assert len([name for name in names if name != "check_array_api_input"]) >= 45  # it is skipped
