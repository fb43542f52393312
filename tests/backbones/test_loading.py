import os
from collections import OrderedDict

import pytest
import torch
from safetensors.torch import save_file

from sktransfer.backbones import weights as weights_module
from sktransfer.backbones.loading import load_backbone
from sktransfer.backbones.networks import build_empty, build_random
from sktransfer.exceptions import BackboneError, WeightsError
from tests.backbones.helpers import PRESET, pixels, run, same_values
from tests.conftest import MOBILENET_WEIGHTS, needs

NAME = "shufflenet_v2_x0_5"


@pytest.fixture(scope="module")
def states():
    """Random weights of some networks, made once."""
    made = {}

    def state_of(name):
        if name not in made:
            made[name] = build_random(name, seed=5).state_dict()
        return made[name].copy()

    return state_of


@pytest.fixture
def state(states):
    return states(NAME)


def without_head(state, head="fc"):
    return {key: value for key, value in state.items() if key.split(".")[0] != head}


def save(state, path):
    if path.suffix == ".safetensors":
        save_file({key: value.contiguous() for key, value in state.items()}, path)
    else:
        torch.save(state, path)
    return path


def stages_of(backbone):
    modules = torch.nn.Sequential(*(stage.module for stage in backbone.stages))
    return dict(modules.state_dict())


def has_all_values(backbone):
    return not any(value.is_meta for value in stages_of(backbone).values())


def features(backbone, size=64):
    return run([backbone.feature_network()], pixels(1, size))


def features_of(name, state, size=64):
    """Features by the network's own forward, with nothing in place of its classifier."""
    from sktransfer.backbones.features import Normalise

    network = build_random(name, seed=0)
    network.load_state_dict(state, strict=False)
    network.fc = torch.nn.Identity()
    return run([Normalise(PRESET), network], pixels(1, size))


# Files that can be loaded.


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".safetensors"])
def test_formats(tmp_path, state, suffix):
    backbone = load_backbone(NAME, save(state, tmp_path / f"w{suffix}"))
    assert backbone.pretrained
    assert backbone.has_classifier
    assert has_all_values(backbone)
    assert torch.allclose(features(backbone), features_of(NAME, state), rtol=1e-5, atol=1e-6)


def test_a_data_parallel_checkpoint(tmp_path, state):
    wrapped = {"epoch": 1, "state_dict": {f"module.{k}": v for k, v in state.items()}}
    backbone = load_backbone(NAME, save(wrapped, tmp_path / "w.pth"))
    assert torch.allclose(features(backbone), features_of(NAME, state), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_become_single(tmp_path, state, dtype):
    cast = {k: v.to(dtype) if v.is_floating_point() else v for k, v in state.items()}
    backbone = load_backbone(NAME, save(cast, tmp_path / "w.safetensors"))
    floats = [v for v in stages_of(backbone).values() if v.is_floating_point()]
    assert {value.dtype for value in floats} == {torch.float32}
    expected = features_of(NAME, {k: v.float() for k, v in cast.items()})
    assert torch.allclose(features(backbone), expected, rtol=1e-5, atol=1e-6)


def test_without_a_classifier(tmp_path, state):
    backbone = load_backbone(NAME, save(without_head(state), tmp_path / "w.pth"))
    assert not backbone.has_classifier
    assert has_all_values(backbone)
    assert torch.allclose(features(backbone), features_of(NAME, state), rtol=1e-5, atol=1e-6)


def test_with_another_number_of_classes(tmp_path, state):
    state["fc.weight"], state["fc.bias"] = state["fc.weight"][:7] + 1, state["fc.bias"][:7]
    backbone = load_backbone(NAME, save(state, tmp_path / "w.pth"))
    logits = run([backbone.feature_network("logits")], pixels(1))
    expected = features(backbone) @ state["fc.weight"].T + state["fc.bias"]
    assert logits.shape == (1, 7)
    assert torch.allclose(logits, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("metadata", [True, False])
@pytest.mark.parametrize("headless", [True, False])
def test_without_counts_of_batches(tmp_path, state, metadata, headless):
    old = OrderedDict((k, v) for k, v in state.items() if "num_batches" not in k)
    old = OrderedDict(without_head(old)) if headless else old
    if metadata:
        old._metadata = build_empty(NAME).state_dict()._metadata  # torch keeps it there
    backbone = load_backbone(NAME, save(old, tmp_path / "w.pth"))
    assert has_all_values(backbone)
    assert len(backbone.digest) == 64
    assert torch.allclose(features(backbone), features_of(NAME, state), rtol=1e-5, atol=1e-6)


def test_dotted_names_of_densenet(tmp_path, states):
    state = states("densenet121")
    dotted = {}
    for key, value in state.items():
        for layer in ("norm1", "norm2", "conv1", "conv2"):
            if ".denselayer" in key:
                key = key.replace(f".{layer}.", f".{layer[:-1]}.{layer[-1]}.")
        dotted[key] = value
    assert "features.denseblock1.denselayer1.norm.1.weight" in dotted
    assert "features.norm5.weight" in dotted
    backbone = load_backbone("densenet121", save(dotted, tmp_path / "w.pth"))
    assert has_all_values(backbone)
    found = backbone.stages[1].module.state_dict()["denselayer1.norm1.weight"]
    assert torch.equal(found, state["features.denseblock1.denselayer1.norm1.weight"])


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_mnasnet_without_metadata(tmp_path, states, suffix):
    state = dict(states("mnasnet0_5"))
    backbone = load_backbone("mnasnet0_5", save(state, tmp_path / f"w{suffix}"))
    assert backbone.has_classifier
    assert has_all_values(backbone)
    first = backbone.stages[0].module.state_dict()["0.weight"]
    assert torch.equal(first, state["layers.0.weight"])


@pytest.mark.parametrize(
    ("name", "heads"), [("googlenet", ["aux1", "aux2"]), ("inception_v3", ["AuxLogits"])]
)
def test_auxiliary_heads_are_ignored(tmp_path, states, name, heads):
    state = states(name)
    for head in heads:
        state[f"{head}.fc.weight"] = torch.zeros(3, 3)
    backbone = load_backbone(name, save(state, tmp_path / "w.pth"))
    assert backbone.has_classifier
    assert has_all_values(backbone)


# Files that are refused.


def test_missing_tensors_are_counted_and_named(tmp_path, state):
    del state["conv1.0.weight"], state["conv5.0.weight"]
    with pytest.raises(WeightsError, match=r"2 of its \d+ tensors are missing.*conv1\.0\.weight"):
        load_backbone(NAME, save(state, tmp_path / "w.pth"))


@pytest.mark.parametrize("statistic", ["running_mean", "running_var", "weight", "bias"])
def test_only_counts_of_batches_may_be_missing(tmp_path, state, statistic):
    del state[f"conv1.1.{statistic}"]
    with pytest.raises(WeightsError, match=rf"conv1\.1\.{statistic}"):
        load_backbone(NAME, save(without_head(state), tmp_path / "w.pth"))


def test_unknown_tensors_are_counted_and_named(tmp_path, state):
    state["extra.weight"] = torch.zeros(1)
    with pytest.raises(WeightsError, match=r"1 are unknown to it \['extra\.weight'\]"):
        load_backbone(NAME, save(state, tmp_path / "w.pth"))


@pytest.mark.parametrize(
    ("key", "shape"),
    [("conv1.0.weight", (24, 3, 5, 5)), ("conv1.1.bias", (23,)), ("fc.bias", (999,))],
)
def test_a_wrong_shape_is_named(tmp_path, state, key, shape):
    state[key] = torch.zeros(shape)
    with pytest.raises(WeightsError, match=rf"{key} has shape .*expected"):
        load_backbone(NAME, save(state, tmp_path / "w.pth"))


@pytest.mark.parametrize("key", ["conv1.0.weight", "conv1.1.running_var", "fc.weight"])
def test_a_number_in_place_of_a_tensor(tmp_path, state, key):
    state[key] = torch.tensor(1.0)
    with pytest.raises(WeightsError, match=rf"{key} has shape \(\), expected"):
        load_backbone(NAME, save(state, tmp_path / "w.pth"))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda t: t.to(torch.int8), r"torch\.int8"),
        (lambda t: t.to(torch.complex64), r"torch\.complex64"),
        (lambda t: torch.quantize_per_tensor(t, 0.1, 0, torch.qint8), r"torch\.qint8"),
        (lambda t: t.to("meta"), "no values"),
        (lambda t: t.to_sparse(), r"torch\.sparse_coo"),
    ],
)
@pytest.mark.parametrize("key", ["conv1.0.weight", "fc.bias"])
@pytest.mark.filterwarnings("ignore:.*quantiz", "ignore:Validating sparse", "ignore:TypedStorage")
def test_values_that_cannot_be_computed_with(tmp_path, state, key, spoil, words):
    state[key] = spoil(state[key])
    with pytest.raises(WeightsError, match=f"{key} has .*{words}"):
        load_backbone(NAME, save(state, tmp_path / "w.pth"))


def test_half_a_classifier_does_not_fit(tmp_path, state):
    del state["fc.bias"]
    with pytest.raises(WeightsError, match=r"fc\.bias"):
        load_backbone(NAME, save(state, tmp_path / "w.pth"))


def test_layers_named_like_the_classifier_may_not_be_missing(tmp_path, states):
    state = without_head(states("regnet_y_400mf"))
    squeeze = next(key for key in state if ".se.fc1." in key)
    del state[squeeze]
    with pytest.raises(WeightsError, match="1 of its"):
        load_backbone("regnet_y_400mf", save(state, tmp_path / "w.pth"))


def test_another_networks_weights(tmp_path, states):
    path = save(states("mnasnet0_5"), tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=f"not those of {NAME}.*Does backbone='{NAME}' fit"):
        load_backbone(NAME, path)


@pytest.mark.parametrize("name", [NAME, "efficientnet_lite0", "densenet121"])
@pytest.mark.parametrize(
    "state",
    [{}, {"weight": torch.zeros(1)}, {"a.b.c.d": torch.zeros(1), "_blocks.x": torch.ones(2)}],
)
def test_files_of_something_else(tmp_path, name, state):
    with pytest.raises(WeightsError, match=f"not those of {name}"):
        load_backbone(name, save(state, tmp_path / "w.pth"))


@pytest.mark.parametrize(
    "key", ["_fc.weight.more", "_stem.weight", "_blocks.99._bn0.weight", "_blocks.0._se.weight"]
)
def test_unknown_names_beside_lite0s(tmp_path, key):
    state = {"_conv_stem.weight": torch.zeros(32, 3, 3, 3), key: torch.zeros(1)}
    with pytest.raises(WeightsError, match="not those of efficientnet_lite0"):
        load_backbone("efficientnet_lite0", save(state, tmp_path / "w.pth"))


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_damaged_file(tmp_path, state, suffix):
    path = save(state, tmp_path / f"w{suffix}")
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(WeightsError, match=f"w{suffix}"):
        load_backbone(NAME, path)


def test_an_unknown_backbone():
    with pytest.raises(BackboneError, match="Did you mean"):
        load_backbone("shuflenet_v2_x0_5")


def test_unknown_weights_list_the_names():
    with pytest.raises(BackboneError, match="IMAGENET1K_V1"):
        load_backbone(NAME, "IMAGENET1K_V9")


# Once a process.


@pytest.fixture
def reads(monkeypatch):
    """Paths of the files that were read."""
    paths, read = [], weights_module.read_state_dict

    def counted(path):
        paths.append(path)
        return read(path)

    monkeypatch.setattr(weights_module, "read_state_dict", counted)
    return paths


def test_weights_are_read_once_a_process(tmp_path, state, reads):
    path = save(state, tmp_path / "w.safetensors")
    first = load_backbone(NAME, path)
    assert load_backbone(NAME, str(path)) is first
    assert load_backbone(NAME, path, seed=7) is first  # the seed is for random weights
    assert len(reads) == 1


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("mapped_by_default", [False, True])
def test_a_loaded_backbone_does_not_depend_on_its_file(tmp_path, state, suffix, mapped_by_default):
    path = save(state, tmp_path / f"w{suffix}")
    with torch.utils.serialization.config.patch("load.mmap", mapped_by_default):
        backbone = load_backbone(NAME, path)
    before = {key: value.clone() for key, value in stages_of(backbone).items()}
    with path.open("r+b") as file:  # in place, as `cp` does
        file.write(b"\x7f" * path.stat().st_size)
    assert same_values(before, stages_of(backbone))


def test_a_file_of_the_same_size_and_time_is_read_again(tmp_path, state):
    path, other = tmp_path / "w.safetensors", tmp_path / "other.safetensors"
    changed = {k: v + 1 if k == "conv1.0.weight" else v for k, v in state.items()}
    for values, at in ((state, path), (changed, other)):
        save(values, at)
        os.utime(at, ns=(10**18, 10**18))
    assert path.stat().st_size == other.stat().st_size
    first = load_backbone(NAME, path)
    os.replace(other, path)
    assert not torch.equal(features(load_backbone(NAME, path)), features(first))


def test_a_file_that_changes_while_it_is_read(tmp_path, state, monkeypatch):
    path, read = save(state, tmp_path / "w.pth"), weights_module.read_state_dict

    def slow(path):
        values = read(path)
        os.utime(path, ns=(1, 1))
        return values

    monkeypatch.setattr(weights_module, "read_state_dict", slow)
    with pytest.raises(WeightsError, match="changed while it was read"):
        load_backbone(NAME, path)


@pytest.mark.parametrize("change", ["size", "time"])
def test_a_replaced_file_is_read_again(tmp_path, state, reads, change):
    path = save(state, tmp_path / "w.safetensors")
    first = load_backbone(NAME, path)
    changed = {k: v + 1 if k == "conv1.0.weight" else v for k, v in state.items()}
    save(changed if change == "time" else without_head(changed), path)
    if change == "time":
        os.utime(path, ns=(10**18, 10**18))
    second = load_backbone(NAME, path)
    assert len(reads) == 2
    assert not torch.equal(features(first), features(second))


def test_a_failure_is_not_remembered(tmp_path, state, reads):
    path = tmp_path / "w.pth"
    path.write_bytes(b"")
    for _ in range(2):
        with pytest.raises(WeightsError):
            load_backbone(NAME, path)
    load_backbone(NAME, save(state, path))
    assert len(reads) == 3


# Random weights.


def test_random_weights():
    backbone = load_backbone(NAME, None)
    assert not backbone.pretrained
    assert not backbone.has_classifier
    assert backbone.preprocessing.resize_size == 256
    assert has_all_values(backbone)


def test_random_weights_are_the_seeds():
    zero, one = load_backbone(NAME, None, seed=0), load_backbone(NAME, None, seed=1)
    assert load_backbone(NAME, None, seed=0).digest == zero.digest != one.digest
    expected = build_random(NAME, 1).state_dict()
    assert torch.equal(one.stages[0].module.state_dict()["0.0.weight"], expected["conv1.0.weight"])


@pytest.mark.parametrize("weights", [None, "file"])
def test_loading_leaves_the_global_random_state_unchanged(tmp_path, state, weights):
    torch.rand(1)  # not the state that another build may have left
    before = torch.get_rng_state()
    path = save(state, tmp_path / "w.pth")
    load_backbone(NAME, path if weights else None, seed=123)
    assert torch.equal(torch.get_rng_state(), before)


# Memory and preprocessing.


def test_weights_are_laid_out_channels_last(tmp_path, state):
    backbone = load_backbone(NAME, save(state, tmp_path / "w.pth"))
    kernel = backbone.stages[0].module.state_dict()["0.0.weight"]
    assert kernel.is_contiguous(memory_format=torch.channels_last)


def test_the_files_values_are_kept(tmp_path, state):
    backbone = load_backbone(NAME, save(state, tmp_path / "w.pth"))
    stem = {k: v for k, v in state.items() if k.startswith("conv1.")}
    found = backbone.stages[0].module.state_dict()
    assert same_values({k.replace("conv1.", "0."): v for k, v in stem.items()}, dict(found))


def test_preprocessing_goes_with_the_weights(tmp_path, states):
    state = {k: v.contiguous() for k, v in states("mobilenet_v2").items()}
    for label, size in [("IMAGENET1K_V1", 256), ("IMAGENET1K_V2", 232)]:
        path = tmp_path / f"{label}.safetensors"
        save_file(state, path, metadata={"preprocessing": f"MobileNet_V2_Weights.{label}"})
        assert load_backbone("mobilenet_v2", path).preprocessing.resize_size == size


@needs(MOBILENET_WEIGHTS)
def test_real_weights_without_a_classifier():
    backbone = load_backbone("mobilenet_v2", MOBILENET_WEIGHTS)
    assert not backbone.has_classifier
    assert has_all_values(backbone)
    values = features(backbone)
    assert values.shape == (1, 1280)
    assert 0.1 < values.mean() < 2


@pytest.mark.parametrize("name", ["swin_t", "convnext_tiny", "vit_b_32", "maxvit_t"])
def test_the_last_tensor_is_the_classifiers(name):
    key, value = list(build_empty(name, num_classes=7).state_dict().items())[-1]
    assert value.shape[0] == 7
    assert key.endswith((".bias", ".weight"))
