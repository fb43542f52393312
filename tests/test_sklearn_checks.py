"""scikit-learn's own estimator checks.

The checks use 2-D arrays of any width and range, which are not pictures. Subclasses defined here
turn each row into a small grey picture, and change nothing else in the estimators.
"""

import math

import numpy as np
import pytest
from sklearn.utils.estimator_checks import estimator_checks_generator, parametrize_with_checks
from sklearn.utils.validation import validate_data

from sktransfer import PretrainedFeatureExtractor, PretrainedImageClassifier
from sktransfer.images.sources import as_images


class RowsAsPictures:
    """Turn rows of numbers into square grey pictures, with one pixel per number."""

    def _images(self, X, shape, channels, *, reset=False, missing_ok=False):
        rows = validate_data(self, X, reset=reset, dtype=np.float64)
        side = math.ceil(math.sqrt(rows.shape[1]))
        pixels = np.full((len(rows), side * side), 0.5)
        # A sigmoid maps values of any range to 0..1, and keeps their order.
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


# One check gives all rows of a class the weight 0, which fit warns of.
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
    # check_array_api_input is generated, but skipped.
    assert len([name for name in names if name != "check_array_api_input"]) >= 45
