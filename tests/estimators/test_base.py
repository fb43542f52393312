"""What both estimators do with their shared parameters and with X."""

import numpy as np
import pandas as pd
import pytest

from sktransfer.estimators.base import check_image_shape
from sktransfer.exceptions import DeviceUnavailableError, EngineUnavailableError, ImageError
from tests.conftest import make_pictures
from tests.small_estimators import make_classifier, make_extractor

X, Y = make_pictures(6, size=8)
ROWS = X.reshape(6, -1)

both = pytest.mark.parametrize("make", [make_extractor, make_classifier])


@both
@pytest.mark.parametrize(
    ("parameters", "error", "told"),
    [
        ({"n_jobs": 0}, ValueError, "n_jobs=0"),
        ({"cache": ""}, ValueError, "cache"),
        ({"batch_size": 0}, ValueError, "batch_size"),
        ({"pooling": "median"}, ValueError, "pooling"),
        ({"backbone": "resnet19"}, ValueError, "resnet19"),
        ({"device": "cuda:99"}, DeviceUnavailableError, "cuda:99"),
        ({"precision": "float16"}, EngineUnavailableError, "float16"),
    ],
    ids=str,
)
def test_parameters_without_a_meaning_are_errors(make, parameters, error, told):
    with pytest.raises(error, match=told):
        make(**parameters).fit(X, Y)


@both
@pytest.mark.parametrize("parameters", [{"n_jobs": 0}, {"cache": ""}, {"batch_size": 0}], ids=str)
def test_parameters_that_are_set_after_a_fit_are_checked_too(make, parameters):
    fitted = make().fit(X, Y).set_params(**parameters)
    use = fitted.transform if hasattr(fitted, "transform") else fitted.predict
    with pytest.raises(ValueError, match=next(iter(parameters))):
        use(X)


@both
def test_flattened_rows_are_pictures_where_their_shape_is_known(make):
    columns = [f"pixel {i}" for i in range(ROWS.shape[1])]
    fitted = make(image_shape=[8, 8, 3]).fit(pd.DataFrame(ROWS, columns=columns), Y)
    assert fitted.n_features_in_ == 192
    assert list(fitted.feature_names_in_) == columns
    fitted.fit(X, Y)
    assert not hasattr(fitted, "n_features_in_")


@both
def test_a_fit_that_fails_leaves_the_columns_as_they_were(make):
    fitted = make(image_shape=(8, 8, 3)).fit(ROWS, Y)
    with pytest.raises(ImageError, match="needs 192 columns, but X has 100"):
        fitted.fit(ROWS[:, :100], Y)
    assert fitted.n_features_in_ == 192


@both
@pytest.mark.parametrize("flat", [True, False])
def test_tags_say_what_x_may_be(make, flat):
    tags = make(image_shape=(8, 8, 3) if flat else None).__sklearn_tags__().input_tags
    assert (tags.two_d_array, tags.positive_only) == (flat, flat)
    assert tags.three_d_array
    assert tags.string


@pytest.mark.parametrize("shape", [None, (8, 6), [8, 6], (8, 6, 1), (8, 6, 3), (np.int64(8), 6, 4)])
def test_shapes_of_pictures(shape):
    check_image_shape(shape)


@pytest.mark.parametrize("shape", [(8,), (8, 6, 2), (8, 6, 3, 1), (8, 0), (8, 6.0), ()], ids=str)
def test_other_shapes_are_errors(shape):
    with pytest.raises(ImageError, match="image_shape must be"):
        check_image_shape(shape)


@both
def test_a_subclass_may_narrow_the_constructor(make):
    base = type(make())

    class Narrow(base):
        def __init__(self, device="cpu"):
            super().__init__(
                "mnasnet0_5", weights=None, image_size=32, image_shape=(8, 8, 3), device=device
            )

    fitted = Narrow().fit(pd.DataFrame(ROWS).rename(columns=str), Y)
    assert fitted.n_features_in_ == 192
    assert list(fitted.get_params()) == ["device"]
