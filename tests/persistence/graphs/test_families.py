"""The smallest network of each family of torchvision, and six of timm, as files of ONNX."""

import numpy as np
import pytest

from sktransfer import export
from sktransfer.persistence.graphs.onnx_graph import OnnxGraph
from tests.conftest import make_pictures
from tests.persistence.graphs.conftest import pictures_of
from tests.small_estimators import make_extractor

TORCHVISION = (
    *("alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "efficientnet_v2_s"),
    *("efficientnet_lite0", "googlenet", "inception_v3", "maxvit_t", "mnasnet0_5"),
    *("mobilenet_v2", "mobilenet_v3_small", "regnet_x_400mf", "regnet_y_400mf", "resnet18"),
    *("resnext50_32x4d", "shufflenet_v2_x0_5", "squeezenet1_1", "swin_t", "swin_v2_t", "vgg11"),
    *("vit_b_32", "wide_resnet50_2"),
)
TIMM = (
    *("timm/vit_tiny_patch16_224", "timm/convnextv2_atto", "timm/ghostnet_100"),
    *("timm/mobilevit_xxs", "timm/efficientvit_b0", "timm/resnet10t"),
)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*TORCHVISION, *TIMM])
def test_features_of_each_family(name, tmp_path):
    if name.startswith("timm/"):
        pytest.importorskip("timm")
    X, _ = make_pictures(2)
    extractor = make_extractor(backbone=name, weights=None, image_size=None).fit(X)
    export(extractor, tmp_path / "network.onnx")
    run = OnnxGraph().runner(tmp_path / "network.onnx")
    for height, width in [(260, 301), (300, 120)]:
        pictures = pictures_of(height, width, n=2)
        expected = extractor.transform(pictures)
        (features,) = run(pictures)
        gap = np.abs(features - expected).max() / np.abs(expected).max()
        assert gap < 1e-4, gap
