import logging
import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from sktransfer import (
    PretrainedFeatureExtractor,
    PretrainedImageClassifier,
    free_memory,
    list_backbones,
)
from sktransfer.activations.engines.folding import folded
from sktransfer.backbones.backbone import Backbone
from sktransfer.backbones.features import Normalise
from sktransfer.backbones.loading import load_backbone
from sktransfer.backbones.names import SOURCES, source_of
from sktransfer.backbones.sources.base import Weights
from sktransfer.backbones.weights import find_weights
from sktransfer.exceptions import BackboneError, WeightsError, WeightsUnavailableError
from tests.backbones.helpers import enlivened
from tests.backbones.sources.hub_folder import put_into_hub_cache
from tests.backbones.sources.timm_sizes import sizes_of
from tests.conftest import make_pictures

timm = pytest.importorskip("timm")

# One small network of each class with published weights, by its stages.
STAGES = {
    "beit_base_patch16_224": 13,
    "cait_xxs24_224": 25,
    "coat_tiny": 1,
    "convit_tiny": 13,
    "convnext_atto": 4,
    "crossvit_tiny_240": 1,
    "davit_tiny": 4,
    "deit_tiny_distilled_patch16_224": 13,
    "densenet121": 5,
    "dla46x_c": 6,
    "edgenext_xx_small": 4,
    "efficientvit_b0": 5,
    "fastvit_t8": 5,
    "focalnet_tiny_srf": 4,
    "gcvit_xxtiny": 4,
    "ghostnet_100": 5,
    "hgnetv2_b0": 4,
    "hiera_tiny_224": 4,
    "hrnet_w18_small": 1,
    "inception_next_atto": 4,
    "inception_v3": 7,
    "lcnetv2_small": 5,
    "levit_128s": 3,
    "mambaout_femto": 4,
    "maxvit_rmlp_pico_rw_256": 5,
    "mobilenetv3_small_050": 5,
    "mvitv2_tiny": 4,
    "nest_tiny_jx": 3,
    "poolformerv2_s12": 4,
    "pvt_v2_b0": 4,
    "regnetx_002": 5,
    "repghostnet_050": 5,
    "resmlp_12_224": 13,
    "resnetv2_18": 5,
    "rexnet_100": 5,
    "starnet_s1": 5,
    "swiftformer_xs": 5,
    "swin_tiny_patch4_window7_224": 4,
    "swinv2_cr_tiny_ns_224": 4,
    "tiny_vit_5m_224": 4,
    "tnt_s_legacy_patch16_224": 1,
    "tresnet_m": 4,
    "twins_svt_small": 4,
    "visformer_tiny": 4,
    "vit_srelpos_small_patch16_224": 13,
    "volo_d1_224": 2,
    "xcit_nano_12_p8_224": 13,
}
QUICK = {
    "test_byobnet": 5,
    "test_convnext": 4,
    "test_efficientnet": 5,
    "test_mambaout": 4,
    "test_nfnet": 5,
    "test_resnet": 5,
    "test_vit": 7,
    "test_vit2": 9,
    "test_vit4": 10,
    "vit_tiny_patch16_dinov3_qkvb": 13,
    "efficientvit_m0": 3,
    "coat_tiny": 1,
}


@pytest.mark.parametrize("name", ["timm/resnet18", "timm/resnet18.a1_in1k"])
def test_names(name):
    assert source_of(name) is SOURCES["timm"]


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("timm/vit_small_patch14_dinov", "timm/vit_small_patch14_dinov2"),
        ("timm/resnet18.a1_in2k", "timm/resnet18.a1_in1k"),
        ("vit_small_patch14_dinov2.lvd142m", "timm/vit_small_patch14_dinov2.lvd142m"),
    ],
)
def test_unknown_names_get_a_hint(name, near):
    with pytest.raises(BackboneError, match=f"Did you mean .*'{near}'"):
        source_of(name)


def test_without_the_package(monkeypatch):
    monkeypatch.setattr("sktransfer.backbones.sources.timm.find_spec", lambda _: None)
    X = make_pictures(2)[0]
    with pytest.raises(BackboneError, match=r'pip install "sktransfer\[timm\]"'):
        PretrainedFeatureExtractor("timm/resnet18").fit(X)
    with pytest.raises(BackboneError, match="'resnet18'"):
        source_of("resnet-18")


def check_pieces(name, n_stages):
    """Compare all that is made of the pieces with the network itself."""
    architecture = name.removeprefix("timm/")
    torch.manual_seed(0)
    network = timm.create_model(architecture, num_classes=7)
    weights = Weights("test", SOURCES["timm"].preprocessing(name), path="a file")
    size = weights.preprocessing.crop_size
    enlivened(network, size)
    pieces = SOURCES["timm"].cut(name, network, weights)
    backbone = Backbone(name, pieces, weights.preprocessing, pretrained=True)
    x = torch.randn(3, 3, size, size)
    with torch.inference_mode():
        expected = network.forward_head(network.forward_features(x), pre_logits=True)
        # A folded network rounds at other places.
        for run, tolerance in ((lambda module: module, 2e-6), (folded, 1e-4)):
            y = x
            for stage in backbone.stages:
                before = y.clone()
                after = run(stage.module)(y)
                assert torch.equal(y, before), f"{stage.name} changes its input"
                assert after.ndim != 4 or after.shape[2] == after.shape[3], stage.name
                y = after
            torch.testing.assert_close(y, expected, rtol=0, atol=tolerance * expected.abs().max())
        if isinstance(pieces.classifier, nn.Linear):
            assert torch.allclose(pieces.classifier(expected), network(x), atol=1e-5)
    assert len(pieces.maps) + (not pieces.maps) == n_stages


@pytest.mark.parametrize(("name", "n_stages"), QUICK.items())
def test_stages(name, n_stages):
    check_pieces(f"timm/{name}", n_stages)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "n_stages"), STAGES.items())
def test_stages_of_each_class(name, n_stages):
    check_pieces(f"timm/{name}", n_stages)


def test_a_network_that_can_not_be_cut_says_so(caplog):
    with caplog.at_level(logging.INFO, logger="sktransfer"):
        backbone = load_backbone("timm/coat_tiny", None, image_size=64)
    assert [stage.name for stage in backbone.stages] == ["network"]
    assert "timm/coat_tiny is one stage" in caplog.text
    with pytest.raises(BackboneError, match="is one stage, which ends with a vector"):
        backbone.feature_network(pooling="avg")


@pytest.mark.parametrize(
    "name",
    [
        "resnet18.a1_in1k",  # bicubic, 0.95
        "tf_efficientnetv2_b3.in21k_ft_in1k",  # squash, then a crop
        "vit_base_patch16_siglip_224.webli",  # squash
        "deepseek_vit_412m.deepseek_v4_flash_vision_exp",  # border
        "vit_small_patch14_dinov2.lvd142m",
    ],
)
@pytest.mark.parametrize("size", [(700, 401), (90, 160), (333, 333)])
def test_pixels_are_those_of_timm(name, size):
    preprocessing = SOURCES["timm"].preprocessing(f"timm/{name}")
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (9, 7, 3), dtype=np.uint8)
    picture = Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)
    config = timm.data.resolve_data_config(
        pretrained_cfg=timm.models.get_pretrained_cfg(name).to_dict()
    )
    expected = timm.data.create_transform(**config, normalize=False)(picture)
    got = preprocessing(picture)
    expected = np.asarray(expected)
    expected = expected.transpose(1, 2, 0) if expected.shape[0] == 3 else expected
    if expected.dtype != np.uint8:
        expected = expected * 255
    assert got.shape == expected.shape
    assert np.abs(got.astype(float) - expected).max() <= 2


def test_other_shapes_than_squares_are_errors():
    with pytest.raises(BackboneError, match="1024 x 768"):
        load_backbone("timm/vit_base_patch16_sapiens2", None)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    free_memory()  # networks of other tests
    return tmp_path


def state_of(architecture, **options):
    torch.manual_seed(1)
    network = enlivened(timm.create_model(architecture, **options), 160)
    return network, network.state_dict()


def save(state, path):
    save_file({key: value.contiguous() for key, value in state.items()}, path)
    return path


def test_published_weights_from_the_hub(hub, tmp_path):
    network, state = state_of("test_resnet")
    content = save(state, tmp_path / "w.safetensors").read_bytes()
    put_into_hub_cache(hub, "timm/test_resnet.r160_in1k", "model.safetensors", content)
    backbone = load_backbone("timm/test_resnet")
    assert backbone.pretrained
    assert backbone.has_classifier
    x = torch.randint(0, 256, (2, 3, 160, 160), dtype=torch.uint8)
    normalise = Normalise(SOURCES["timm"].preprocessing("timm/test_resnet"))
    with torch.inference_mode():
        expected = network(normalise(x))
        got = backbone.feature_network("logits")(x)
    assert torch.allclose(got, expected, atol=1e-4 * expected.abs().max())


@pytest.mark.usefixtures("hub")
def test_weights_that_are_not_there():
    with pytest.raises(WeightsUnavailableError, match=r"timm/test_resnet.*hf download"):
        load_backbone("timm/test_resnet")


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_file(tmp_path, suffix):
    _, state = state_of("test_vit", num_classes=5)
    path = tmp_path / f"w{suffix}"
    save(state, path) if suffix == ".safetensors" else torch.save(state, path)
    backbone = load_backbone("timm/test_vit", path)
    assert backbone.has_classifier
    assert backbone.pieces.classifier.out_features == 5
    stem = backbone.stages[0].module.state_dict()
    assert torch.equal(stem["patch_embed.proj.weight"], state["patch_embed.proj.weight"])


def test_a_file_without_classifier(tmp_path):
    _, state = state_of("test_vit", num_classes=0)
    backbone = load_backbone("timm/test_vit", save(state, tmp_path / "w.safetensors"))
    assert not backbone.has_classifier
    with pytest.raises(BackboneError, match="needs a pretrained classifier"):
        backbone.feature_network("logits")


@pytest.mark.parametrize("other", ["test_resnet", "test_vit2"])
def test_a_file_of_another_network(tmp_path, other):
    _, state = state_of(other)
    with pytest.raises(WeightsError, match="are not those of timm/test_vit"):
        load_backbone("timm/test_vit", save(state, tmp_path / "w.safetensors"))


def test_a_pickle_with_code_is_refused(tmp_path):
    torch.save({"w": Evil()}, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match="refused"):
        load_backbone("timm/test_vit", tmp_path / "w.pth")


class Evil:
    def __reduce__(self):
        return (print, ("run",))


def test_the_random_state_is_as_it_was(tmp_path):
    path = save(state_of("test_vit")[1], tmp_path / "w.safetensors")
    torch.manual_seed(3)
    before = torch.get_rng_state()
    load_backbone("timm/test_vit", path)
    assert torch.equal(torch.get_rng_state(), before)


def test_position_embeddings_are_interpolated(tmp_path):
    _, state = state_of("test_vit")
    path = save(state, tmp_path / "w.safetensors")
    expected = timm.create_model(
        "test_vit",
        img_size=96,
        pretrained=True,
        pretrained_cfg_overlay={"state_dict": dict(state)},
    )
    stem = load_backbone("timm/test_vit", path, image_size=96).stages[0].module
    assert torch.equal(stem.state_dict()["pos_embed"], expected.pos_embed)
    assert load_backbone("timm/test_vit", path).preprocessing.crop_size == 160


def test_a_size_that_can_not_be():
    extractor = PretrainedFeatureExtractor("timm/test_vit", weights=None, image_size=8)
    with pytest.raises(BackboneError, match="image_size=8"):
        extractor.fit(make_pictures(2)[0])


def test_each_pooling_of_tokens():
    X = make_pictures(3)[0]
    features = {
        pooling: PretrainedFeatureExtractor(
            "timm/test_vit", weights=None, pooling=pooling, image_size=64, device="cpu"
        ).fit_transform(X)
        for pooling in ("cls", "avg", "cls+avg", "native")
    }
    assert np.array_equal(features["cls+avg"], np.hstack([features["cls"], features["avg"]]))
    assert features["native"].shape == features["cls"].shape == (3, 64)
    assert not np.array_equal(features["cls"], features["avg"])


@pytest.mark.parametrize("pooling", ["cls", "cls+avg"])
@pytest.mark.parametrize("name", ["timm/test_resnet", "resnet18"])
def test_a_class_token_that_is_not_there(name, pooling):
    extractor = PretrainedFeatureExtractor(name, weights=None, pooling=pooling)
    with pytest.raises(BackboneError, match=r"needs a class token, and .* has none"):
        extractor.fit(make_pictures(2)[0])


@pytest.mark.parametrize("name", ["timm/test_resnet", "timm/test_vit"])
def test_a_classifier(name, tmp_path):
    X, y = make_pictures(8)
    classifier = PretrainedImageClassifier(
        name, weights=None, unfreeze_depth=1, max_epochs=2, image_size=64, device="cpu",
        cache=tmp_path, random_state=0,
    )  # fmt: skip
    proba = classifier.fit(X, y).predict_proba(X)
    again = pickle.loads(pickle.dumps(classifier))
    assert np.array_equal(again.predict_proba(X), proba)
    frozen = load_backbone(name, None, 0, 64).stages[0].module
    shared = classifier.net_.module_.stages
    assert not {id(p) for p in frozen.parameters()} & {id(p) for p in shared.parameters()}


def test_records_without_building(monkeypatch):
    monkeypatch.setattr(timm, "create_model", None)
    records = {record["name"]: record for record in list_backbones(source="timm")}
    assert len(records) > 1500
    dino = records["timm/vit_small_patch14_dinov2.lvd142m"]
    assert dino["features"] == 384
    assert dino["input_size"] == 518
    assert dino["parameters"] == pytest.approx(22e6, rel=0.02)
    assert dino["license"] == "apache-2.0"
    assert next(iter(dino["weights"])) == "lvd142m"
    assert records["timm/resnet18.a1_in1k"]["weights"].keys() >= {"a1_in1k", "tv_in1k"}


@pytest.mark.parametrize("architecture", ["test_resnet", "test_vit", "mobilenetv3_small_050"])
def test_the_table_of_sizes(architecture):
    sizes = SOURCES["timm"].known_sizes(f"timm/{architecture}")
    assert (sizes.parameters, sizes.features) == sizes_of(architecture)


def test_list_of_an_unknown_source():
    with pytest.raises(BackboneError, match="source='keras' is unknown"):
        list_backbones(source="keras")


@pytest.mark.parametrize("name", ["resnext101_32x4d.untrained", "vit_base_patch16_224_in21k"])
def test_names_whose_default_would_be_anothers(name):
    with pytest.raises(BackboneError, match=r"is an old name|'DEFAULT' is neither"):
        load_backbone(f"timm/{name}")


def test_networks_that_timm_loads_without_saying_what_is_missing(tmp_path):
    network = timm.create_model("dla46x_c", num_classes=0)
    state = {k: v for k, v in network.state_dict().items() if not k.startswith("level5.")}
    path = save(state, tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match="tensors are missing"):
        load_backbone("timm/dla46x_c", path, image_size=64)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({}, "holds no tensors"),
        ({"conv1.weight": torch.zeros(24, 3, 3, 3, dtype=torch.int8)}, "before any quantisation"),
    ],
)
def test_files_that_hold_no_weights(tmp_path, state, message):
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=message):
        load_backbone("timm/test_resnet", tmp_path / "w.pth")


def test_tokens_before_those_of_positions():
    backbone = load_backbone("timm/vit_small_patch14_reg4_dinov2", None, image_size=28)
    pixels = torch.randint(0, 256, (2, 3, 28, 28), dtype=torch.uint8)
    with torch.inference_mode():
        tokens = nn.Sequential(*(stage.module for stage in backbone.stages[:-1]))(
            Normalise(backbone.preprocessing)(pixels)
        )
        found = {how: backbone.feature_network(pooling=how)(pixels) for how in ("avg", "cls")}
    assert tokens.shape[1] == 1 + 4 + 4  # class token, registers, positions
    assert torch.allclose(found["avg"], tokens[:, 5:].mean(1), atol=1e-5)
    assert torch.allclose(found["cls"], tokens[:, 0], atol=1e-5)


def test_tags_have_their_own_preprocessing():
    assert find_weights("timm/resnet50", "a1_in1k").preprocessing.interpolation == "bicubic"
    assert find_weights("timm/resnet50", "tv_in1k").preprocessing.interpolation == "bilinear"
    assert find_weights("timm/resnet50.tv_in1k", "DEFAULT").label == "tv_in1k"
