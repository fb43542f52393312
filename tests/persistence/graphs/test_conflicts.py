import pytest
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from sktransfer import register_backbone
from sktransfer.exceptions import ParameterError
from sktransfer.persistence.graphs.conflicts import exportable
from tests.backbones.test_onnx_file import FOLDER
from tests.backbones.test_onnx_file import PRESET as PRESET_OF_FILE
from tests.conftest import make_pictures
from tests.persistence.graphs.conftest import TINY, fitted_classifier
from tests.small_estimators import make_classifier, make_extractor


def test_fits_that_can_be_graphs(classifier):
    assert exportable(classifier) is classifier._model
    extractor = make_extractor(backbone=TINY, weights="DEFAULT").fit(make_pictures(2)[0])
    assert exportable(extractor) is extractor._fitted


@pytest.mark.parametrize("parameters", [{"tta": 3}, {"mc_dropout": 5}])
def test_draws(parameters):
    classifier = fitted_classifier(dropout=0.5, max_epochs=1).set_params(**parameters)
    (name,) = parameters
    with pytest.raises(ParameterError, match=rf"{name}=\d .* set_params\({name}=None\)"):
        exportable(classifier)
    exportable(classifier.set_params(**{name: None}))


def test_flattened_rows():
    X, y = make_pictures(8)
    classifier = make_classifier(backbone=TINY, weights="DEFAULT", image_shape=(32, 32, 3))
    classifier.fit(X.reshape(len(X), -1), y)
    with pytest.raises(ParameterError, match=r"image_shape=\(32, 32, 3\) is for rows"):
        exportable(classifier)


def test_a_backbone_that_is_a_file_of_onnx():
    register_backbone("mine/file", FOLDER / "features.onnx", preprocessing=PRESET_OF_FILE)
    extractor = make_extractor(backbone="mine/file", weights="DEFAULT", image_size=None)
    with pytest.raises(ParameterError, match="backbone='mine/file' is a file of ONNX"):
        exportable(extractor.fit(make_pictures(2)[0]))


def test_other_estimators():
    pipeline = make_pipeline(make_extractor(), LogisticRegression())
    with pytest.raises(TypeError, match="not a Pipeline"):
        exportable(pipeline)
    with pytest.raises(TypeError, match="Give its best_estimator_"):
        exportable(GridSearchCV(make_classifier(), {"lr": [1e-3]}))
    with pytest.raises(TypeError, match="got LogisticRegression"):
        exportable(LogisticRegression())
    with pytest.raises(TypeError, match="got PretrainedImageClassifier"):
        exportable(type(make_classifier()))
    with pytest.raises(NotFittedError):
        exportable(make_classifier())
