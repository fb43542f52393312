import numpy as np
import pytest

from sktransfer.exceptions import ParameterError
from sktransfer.inspection.explanation import closed_form
from sktransfer.inspection.explanation.closed_form import class_activation_maps, why_not
from sktransfer.inspection.explanation.parted_network import parted_network
from sktransfer.inspection.subject import subject_of
from tests.inspection.explanation.patches import NAME, patch_pictures
from tests.small_estimators import make_classifier

X, LABELS, _ = patch_pictures(12)


def parted_of(**parameters):
    defaults = {"backbone": NAME, "weights": "DEFAULT", "image_size": None}
    model = make_classifier(**defaults, **parameters).fit(X, LABELS)
    subject = subject_of(model, "a test")
    images = subject.pictures(X)
    return model, parted_network(subject, images), images


def test_the_mean_of_a_map_is_the_score_but_for_a_constant():
    model, parted, images = parted_of()
    maps = [class_activation_maps(parted, images, np.full(12, code)) for code in (0, 1)]
    assert maps[0].shape == (12, 12, 12)
    margin = (maps[1] - maps[0]).mean((1, 2)) - model.decision_function(X)
    np.testing.assert_allclose(margin, margin[0], atol=1e-4)


def test_chunks_and_classes_are_put_together(monkeypatch):
    _, parted, images = parted_of()
    codes = np.arange(12) % 2
    whole = class_activation_maps(parted, images, codes)
    monkeypatch.setattr(closed_form, "_AT_ONCE", 5)
    np.testing.assert_allclose(class_activation_maps(parted, images, codes), whole, atol=1e-5)


def test_where_there_is_no_closed_form_the_reason_is_said():
    _, parted, images = parted_of(hidden_layer_sizes=4, max_epochs=1)
    assert "hidden layers" in why_not(parted)
    _, parted, images = parted_of(pooling="max")
    assert "means over the positions" in why_not(parted)
    with pytest.raises(ParameterError, match=r"another way\. Use method='gradcam'"):
        class_activation_maps(parted, images, np.zeros(12, int))
