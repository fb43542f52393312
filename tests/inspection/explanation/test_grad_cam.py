import numpy as np
import pytest
import torch

from sktransfer.inspection.explanation import grad_cam
from sktransfer.inspection.explanation.grad_cam import gradient_maps, is_installed
from sktransfer.inspection.explanation.parted_network import parted_network
from sktransfer.inspection.subject import subject_of
from tests.inspection.explanation.patches import NAME, patch_pictures
from tests.small_estimators import make_classifier

pytest.importorskip("pytorch_grad_cam")

X, LABELS, _ = patch_pictures(6)
SHORT = {"max_epochs": 1}


def parted_of(**parameters):
    defaults = {"backbone": NAME, "weights": "DEFAULT", "image_size": None}
    model = make_classifier(**{**defaults, **parameters}).fit(X, LABELS)
    subject = subject_of(model, "a test")
    images = subject.pictures(X)
    return parted_network(subject, images), images


def by_hand(parted, images, codes):
    """Equations 1 and 2 of the paper."""
    x = parted.collect(images).requires_grad_()
    scores = parted.scores(x)
    (gradient,) = torch.autograd.grad(scores[torch.arange(len(codes)), codes].sum(), x)
    weights = parted.as_map(gradient).mean((2, 3), keepdim=True)
    return (weights * parted.as_map(x)).sum(1).detach().numpy()


@pytest.mark.parametrize(
    "parameters",
    [
        {"hidden_layer_sizes": 8, **SHORT},
        {"pooling": "max", "unfreeze_depth": 1, **SHORT},
        {"backbone": "timm/test_vit", "weights": None, "image_size": 160},
        {"backbone": "vgg11", "weights": None, "image_size": 64},
    ],
    ids=str,
)
def test_the_library_computes_the_formulas_of_the_paper(parameters, monkeypatch):
    if parameters.get("backbone", "").startswith("timm/"):
        pytest.importorskip("timm")
    monkeypatch.setattr(grad_cam, "_AT_ONCE", 4)
    parted, images = parted_of(**parameters)
    codes = np.array([0, 1, 1, 0, 0, 1])
    expected = by_hand(parted, images, codes)
    assert abs(expected).max() > 0
    found = gradient_maps(parted, images, codes)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3 * abs(expected).max())


def test_no_hook_is_left():
    parted, images = parted_of()
    gradient_maps(parted, images, np.zeros(6, int))
    assert not any(module._forward_hooks for module in parted.to_scores.modules())
    assert is_installed()
