import ast
import logging
import os
import subprocess
import sys
import warnings

import pytest
import torch
from torch import nn
from torchvision.models import VisionTransformer

from sktransfer.activations.engines import openvino_engine
from sktransfer.activations.engines.choice import EngineChoice, engine_for
from sktransfer.activations.engines.interface import ConversionError
from sktransfer.activations.engines.openvino_engine import (
    OpenVINOEngine,
    OpenVINOKind,
    checked,
    convert,
)
from sktransfer.activations.engines.torch_engine import TorchEngine
from sktransfer.backbones.backbone import Backbone
from sktransfer.backbones.frozen import FrozenNetwork
from sktransfer.exceptions import EngineUnavailableError, ImageWarning
from tests.backbones.helpers import PRESET, cut, lively_network, pixels, run, same_values, values_of
from tests.conftest import HANGS

pytest.importorskip("openvino")

OPENVINO = EngineChoice("openvino")
BFLOAT16 = EngineChoice("openvino", "cpu", "bfloat16")


def small_transformer():
    """As vit_b_32, but four layers of width 48 for pictures of 64."""
    torch.manual_seed(0)
    network = VisionTransformer(64, 16, 4, 4, 48, 96)
    nn.init.normal_(network.heads.head.weight)
    return network.eval()


def make_backbone(name):
    with torch.random.fork_rng():
        network = small_transformer() if name == "vit_b_32" else lively_network(name)
    return Backbone(name, cut(name, network), PRESET, has_classifier=True)


FAMILIES = ["mnasnet0_5", "resnet18", "vit_b_32"]


@pytest.fixture
def _bfloat16(monkeypatch):
    """Use bfloat16 on any processor: OpenVINO simulates it, or computes in float32."""
    monkeypatch.setattr(openvino_engine, "computes_bfloat16", lambda: True)


@pytest.fixture(scope="module")
def backbones():
    return {name: make_backbone(name) for name in FAMILIES}


def test_threads_that_read_pictures_may_warn_during_a_conversion(monkeypatch):
    trace = torch.jit.trace

    def trace_and_warn(*args, **options):
        warnings.warn("Of a picture.", ImageWarning, stacklevel=2)  # as another thread may
        return trace(*args, **options)

    monkeypatch.setattr(torch.jit, "trace", trace_and_warn)
    with pytest.warns(ImageWarning, match="Of a picture"):
        convert(nn.Flatten(), pixels(2))


class ModelCache(dict):
    """A model cache in memory."""

    def get_model(self, key):
        return self.get(key)

    def put_model(self, key, model):
        self[key] = model


class Scaled(nn.Module):
    """The mean of each channel, times a number: quick to convert."""

    def __init__(self, scale=1.0):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(scale))

    def forward(self, x):
        return x.float().mean((2, 3)) * self.scale


def of(*modules):
    return FrozenNetwork([(f"small {i}", module) for i, module in enumerate(modules)])


def quick(scale=1.0):
    return of(Scaled(scale))


def prepare(network, example, *, start=0, model_cache=None, choice=OPENVINO):
    return engine_for(network, start, example, choice, len(example), model_cache)


def agree(got, expected):
    scale = expected.abs().max().item()
    assert got.dtype == expected.dtype == torch.float32
    return got.shape == expected.shape and torch.allclose(got, expected, rtol=0, atol=1e-4 * scale)


@pytest.fixture
def log(caplog):
    """Lines that sktransfer logs, also after OpenVINO has changed the root logger."""
    root = logging.getLogger()
    level, handlers, filters = root.level, [*root.handlers], [*root.filters]
    with caplog.at_level(logging.DEBUG, logger="sktransfer"):
        yield caplog
    root.setLevel(level)
    root.handlers, root.filters = handlers, filters


# Values.


ASKED = {
    "features": lambda backbone: backbone.feature_network(),
    "logits": lambda backbone: backbone.feature_network([backbone.stages[2].name, "logits"], "avg"),
    "map": lambda backbone: backbone.frozen_network(1),
}


@pytest.mark.parametrize(
    ("name", "asked"),
    [*((name, "features") for name in FAMILIES), ("mnasnet0_5", "logits"), ("vit_b_32", "map")],
)
def test_engines_agree_at_any_batch_length(backbones, name, asked):
    network = ASKED[asked](backbones[name])
    engine = prepare(network, pixels(4))
    assert isinstance(engine, OpenVINOEngine)
    for n in (4, 1, 7):
        batch = pixels(n, seed=n)
        expected = TorchEngine(network, "cpu")(batch)
        assert agree(engine(batch), expected)
        assert (expected.amax(0) - expected.amin(0)).max() > 0 or n == 1


@pytest.mark.parametrize(
    ("name", "start"), [("mnasnet0_5", 1), ("mnasnet0_5", 3), ("resnet18", 4), ("vit_b_32", 3)]
)
def test_it_continues_from_any_link(backbones, name, start):
    network = backbones[name].feature_network()
    halfway = run(list(network)[:start], pixels(5))
    assert halfway.dtype == torch.float32
    engine = prepare(network, halfway, start=start)
    assert isinstance(engine, OpenVINOEngine)
    for n in (5, 1):
        assert agree(engine(halfway[:n]), run([network], pixels(5))[:n])


def test_it_takes_feature_vectors_too():
    network = of(nn.Flatten(), nn.Linear(12, 3))
    rows = torch.randn(5, 12)
    engine = prepare(network, rows, start=1)
    assert isinstance(engine, OpenVINOEngine)
    assert agree(engine(rows), run([network.after(1)], rows))


def test_converted_from_one_picture():
    engine = prepare(quick(3.0), pixels(1))
    assert isinstance(engine, OpenVINOEngine)
    assert agree(engine(pixels(6)), 3 * pixels(6).float().mean((2, 3)))


def test_other_sizes_are_converted_for_themselves():
    network = quick()
    engines = [prepare(network, pixels(2, size)) for size in (16, 24)]
    assert engines[0] is not engines[1]
    for engine, size in zip(engines, (16, 24), strict=True):
        assert agree(engine(pixels(3, size)), pixels(3, size).float().mean((2, 3)))


def test_the_memory_layout_changes_nothing():
    engine = prepare(quick(), pixels(3))
    stored = pixels(3).contiguous(memory_format=torch.channels_last)
    assert torch.equal(engine(stored), engine(pixels(3)))


def test_a_batch_does_not_overwrite_the_last_output():
    engine = prepare(quick(), pixels(3))
    first = engine(pixels(3))
    before = first.clone()
    engine(pixels(3, seed=1))
    assert torch.equal(first, before)


def test_outputs_can_be_written_to_and_trained_on():
    rows = prepare(quick(), pixels(2))(pixels(2))
    assert not rows.is_inference()
    rows += 1


def test_neither_pixels_nor_network_are_changed(backbones):
    network = backbones["mnasnet0_5"].feature_network()
    batch, before = pixels(2), values_of(network)
    prepare(network, batch)(batch)
    assert torch.equal(batch, pixels(2))
    assert same_values(values_of(network), before)


# Precisions.


def hint_of(engine):
    return engine._compiled.get_property("INFERENCE_PRECISION_HINT").to_string()


def test_each_precision_has_its_own_engine(backbones):
    network = backbones["resnet18"].feature_network()
    full = prepare(network, pixels(4))
    assert hint_of(full) == "f32"
    if not openvino_engine.computes_bfloat16():
        pytest.skip("this processor has no bfloat16")
    short = prepare(network, pixels(4), choice=BFLOAT16)
    assert hint_of(short) == "bf16"
    batch = pixels(5, seed=1)
    expected = TorchEngine(network, "cpu", "bfloat16")(batch)
    got = short(batch)
    assert got.dtype == torch.float32
    assert (got - expected).abs().max() < 0.02 * expected.abs().max()
    assert not agree(got, full(batch))
    assert torch.equal(short(batch[:2]), got[:2])


@pytest.mark.usefixtures("_bfloat16")
def test_one_model_serves_all_precisions(no_conversion):
    network, model_cache = quick(3.0), ModelCache()
    prepare(network, pixels(2), model_cache=model_cache)
    stored = dict(model_cache)
    assert len(stored) == 1
    no_conversion()
    engine = prepare(network, pixels(2), model_cache=model_cache, choice=BFLOAT16)
    assert isinstance(engine, OpenVINOEngine)
    assert engine.precision == "bfloat16"
    assert model_cache == stored


@pytest.mark.usefixtures("_bfloat16")
def test_a_model_that_is_converted_for_bfloat16_serves_float32_too(no_conversion):
    network, model_cache = quick(3.0), ModelCache()
    prepare(network, pixels(2), model_cache=model_cache, choice=BFLOAT16)
    assert len(model_cache) == 1
    no_conversion()
    engine = prepare(network, pixels(2), model_cache=model_cache)
    assert agree(engine(pixels(5)), 3 * pixels(5).float().mean((2, 3)))


@pytest.mark.usefixtures("_bfloat16")
def test_conversions_for_bfloat16_are_checked_in_float32(monkeypatch):
    network, model_cache = quick(2.0), ModelCache()
    # Too small a difference to be seen in bfloat16.
    converted_wrong = convert(quick(2.0 * 1.001), pixels(2))
    monkeypatch.setattr(openvino_engine, "convert", lambda *_: converted_wrong)
    with pytest.raises(EngineUnavailableError, match=r"differs from torch's.*engine='torch'"):
        prepare(network, pixels(2), model_cache=model_cache, choice=BFLOAT16)
    assert model_cache == {}


@pytest.mark.usefixtures("_bfloat16")
@pytest.mark.parametrize("wrong", [1.2, float("nan")])
@pytest.mark.parametrize("is_stored", [False, True])
def test_an_engine_that_is_wrong_in_bfloat16_alone_is_caught(monkeypatch, wrong, is_stored):
    run = OpenVINOEngine.__call__

    def run_wrong(engine, batch):
        return run(engine, batch) * (wrong if engine.precision == "bfloat16" else 1)

    monkeypatch.setattr(OpenVINOEngine, "__call__", run_wrong)
    network, model_cache = quick(2.0), ModelCache()
    if is_stored:
        prepare(network, pixels(2), model_cache=model_cache)
    with pytest.raises(EngineUnavailableError, match=r"in bfloat16 \(its output differs"):
        prepare(network, pixels(2), model_cache=model_cache, choice=BFLOAT16)
    assert agree(prepare(network, pixels(2))(pixels(2)), 2 * pixels(2).float().mean((2, 3)))


@pytest.mark.usefixtures("_bfloat16")
def test_black_pictures_are_no_reason_to_refuse_an_engine():
    black = torch.zeros(2, 3, 16, 16, dtype=torch.uint8)
    assert isinstance(prepare(quick(), black, choice=BFLOAT16), OpenVINOEngine)


# Networks that OpenVINO can't run.


def fails_under_tracing(x):
    if torch.jit.is_tracing():
        raise RuntimeError("not to be traced")
    return x.float().mean((2, 3))


def is_unsupported(x):
    return torch.digamma(1 + x.float().mean((2, 3)))


class Calls(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


@pytest.mark.parametrize("function", [fails_under_tracing, is_unsupported])
def test_torch_runs_what_openvino_cannot(log, function):
    network = FrozenNetwork([("stage", Calls(function))], backbone_name="odd")
    engine = prepare(network, pixels(4))
    assert isinstance(engine, TorchEngine)
    assert torch.equal(engine(pixels(4)), function(pixels(4)))
    assert prepare(network, pixels(4, seed=1)) is engine
    (record,) = log.records
    assert record.levelno == logging.WARNING
    assert record.message.startswith("OpenVINO can't run odd (")
    assert record.message.endswith("; torch runs it.")


def test_the_reason_is_logged(log):
    prepare(of(Calls(fails_under_tracing)), pixels(4))
    assert "RuntimeError: not to be traced" in log.text


def test_errors_of_the_network_itself_come_from_torch(log):
    def fail(_):
        raise ZeroDivisionError("in any engine")

    with pytest.raises(ZeroDivisionError):
        prepare(of(Calls(fail)), pixels(2))(pixels(2))
    assert len(log.records) == 1


@pytest.mark.parametrize("wrong", [1.001, float("nan")])
def test_wrong_values_are_caught(monkeypatch, log, wrong):
    network, model_cache = quick(2.0), ModelCache()
    converted_wrong = convert(quick(2.0 * wrong), pixels(2))
    monkeypatch.setattr(openvino_engine, "convert", lambda *_: converted_wrong)
    engine = prepare(network, pixels(2), model_cache=model_cache)
    assert isinstance(engine, TorchEngine)
    assert agree(engine(pixels(2)), 2 * pixels(2).float().mean((2, 3)))
    (record,) = log.records
    assert "its output differs from torch's" in record.message
    assert model_cache == {}


def test_rounding_is_not_caught():
    engine = OpenVINOEngine(convert(quick(1 + 5e-5), pixels(2)), 1)
    assert checked(engine, quick(), pixels(2)) is engine


def test_wrong_shapes_are_caught():
    summed = of(Calls(lambda x: x.float().sum((2, 3)).sum(1, keepdim=True)))
    engine = OpenVINOEngine(convert(summed, pixels(2)), 1)
    with pytest.raises(ConversionError):
        checked(engine, quick(), pixels(2))


def keeps_values(x):
    return torch.tensor([[float(picture.float().mean())] for picture in x])


def keeps_the_length(x):
    return x.float().mean((2, 3)).reshape(len(x), 3)


@pytest.mark.parametrize("function", [keeps_values, keeps_the_length])
def test_tracing_that_keeps_its_example_is_caught(log, function):
    engine = prepare(of(Calls(function)), pixels(4))
    batch = pixels(3, seed=1)
    assert agree(engine(batch), function(batch))
    assert len(log.records) == 1


# Converted models in the cache.


@pytest.fixture
def conversions(monkeypatch):
    """The networks that were converted, one entry per conversion."""
    counted = []
    original = openvino_engine.convert

    def convert(network, example):
        counted.append(network)
        return original(network, example)

    monkeypatch.setattr(openvino_engine, "convert", convert)
    return counted


@pytest.fixture
def no_conversion(monkeypatch):
    """A function to call once no more conversions are allowed."""

    def refuse(*_):
        raise AssertionError("converted again")

    return lambda: monkeypatch.setattr(openvino_engine, "convert", refuse)


def test_a_cached_model_is_not_converted_again(no_conversion):
    model_cache = ModelCache()
    first = prepare(quick(3.0), pixels(4), model_cache=model_cache)
    assert len(model_cache) == 1
    no_conversion()
    second = prepare(quick(3.0), pixels(2, seed=1), model_cache=model_cache)
    assert second is not first
    assert isinstance(second, OpenVINOEngine)
    assert torch.equal(second(pixels(5)), first(pixels(5)))
    assert len(model_cache) == 1


def test_a_prepared_engine_does_not_read_the_cache(no_conversion):
    network, model_cache = quick(), ModelCache()
    engine = prepare(network, pixels(2), model_cache=model_cache)
    model_cache.clear()
    no_conversion()
    assert prepare(network, pixels(2), model_cache=model_cache) is engine


def test_different_networks_have_different_keys(conversions):
    model_cache = ModelCache()
    prepare(quick(3.0), pixels(2), model_cache=model_cache)
    prepare(quick(4.0), pixels(2), model_cache=model_cache)
    prepare(quick(3.0), pixels(2, 32), model_cache=model_cache)
    prepare(of(Scaled(3.0), nn.ReLU()), pixels(2), model_cache=model_cache)
    prepare(FrozenNetwork([("another name", Scaled(3.0))]), pixels(2), model_cache=model_cache)
    assert len(model_cache) == len(conversions) == 5


def test_parts_of_a_network_have_different_keys(conversions):
    network, model_cache = of(nn.ReLU(), nn.ReLU()), ModelCache()
    x = torch.randn(2, 3, 4, 4)
    for start in (0, 1):
        prepare(network, x, start=start, model_cache=model_cache)
    assert len(model_cache) == len(conversions) == 2


def test_another_version_of_openvino_converts_again(monkeypatch, conversions):
    model_cache = ModelCache()
    prepare(quick(), pixels(2), model_cache=model_cache)
    monkeypatch.setattr(openvino_engine, "version", lambda _: "9999.9")
    prepare(quick(), pixels(2), model_cache=model_cache)
    assert len(model_cache) == len(conversions) == 2


@pytest.mark.parametrize(
    "damage",
    [lambda _: b"", lambda _: b"no model at all", lambda model: model[: len(model) // 2]],
    ids=["empty", "nonsense", "cut off"],
)
def test_a_damaged_model_in_the_cache_is_converted_again(damage):
    model_cache = ModelCache()
    prepare(quick(3.0), pixels(2), model_cache=model_cache)
    ((key, model),) = model_cache.items()
    model_cache[key] = damage(model)
    engine = prepare(quick(3.0), pixels(2), model_cache=model_cache)
    assert agree(engine(pixels(2)), 3 * pixels(2).float().mean((2, 3)))


# What OpenVINO does to the process.

SCRIPT = """
import logging, os, sys, warnings
events = []
sys.addaudithook(lambda event, args: events.append(event) if event.startswith("socket.") else None)
import numpy as np, torch
from torch import nn
from sktransfer.activations.engines.choice import EngineChoice, engine_for
from sktransfer.backbones.frozen import FrozenNetwork
from sktransfer.backbones.pooling import Pool

class Lines(logging.Handler):
    def emit(self, record):
        lines.append(record.getMessage())

lines = []
root = logging.getLogger()
root.addHandler(Lines())

def state():
    return {
        "logging": f"{root.level} {root.handlers} {root.filters}",
        "environment": str({**os.environ}),
        "warnings": str(warnings.filters),
        "threads": str(torch.get_num_threads()),
        "random": str(torch.get_rng_state().sum()) + str(np.random.get_state()[1].sum()),
        "gradients": str(torch.is_grad_enabled()),
    }

def changes():
    after = state()
    return [key for key in before if before[key] != after[key]]

assert not [name for name in sys.modules if name.startswith("openvino")]
before = state()
x = torch.zeros(2, 3, 8, 8)
network = FrozenNetwork([("conv", nn.Conv2d(3, 4, 3)), ("neck", Pool("avg"))])
before["random"] = state()["random"]  # the layer was given random weights
engine = engine_for(network, 0, x, EngineChoice("openvino"), 2)
engine(x)
changed = changes()

class Unsupported(nn.Module):
    def forward(self, x):
        return torch.digamma(x)

network = FrozenNetwork([("stage", Unsupported())], backbone_name="odd")
engine_for(network, 0, torch.ones(2, 3), EngineChoice("openvino"), 2)
print({
    "engine": type(engine).__name__,
    "telemetry": [name for name in sys.modules if name.startswith("openvino_telemetry")],
    "sockets": events,
    "changed": changed,
    "changed by a failure": changes(),
    "lines": lines,
})
"""


def script(code, **environment):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        check=False,
        timeout=HANGS,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr
    return ast.literal_eval(done.stdout)


@pytest.fixture(scope="module")
def process():
    report = script(SCRIPT)
    assert report["engine"] == "OpenVINOEngine"
    return report


def test_a_core_that_cannot_be_made_leaves_the_work_to_torch(monkeypatch):
    def fails():
        raise RuntimeError("Cannot load library")

    model = convert(nn.Linear(3, 2), torch.ones(2, 3))
    monkeypatch.setattr(openvino_engine, "new_core", fails)
    with pytest.raises(ConversionError, match="Cannot load library"):
        OpenVINOEngine(model, n_threads=1)


CTRL_C = """
import signal
import threading

import torch

from sktransfer.activations.engines.openvino_engine import OpenVINOEngine, convert

model = convert(torch.nn.Linear(3, 2), torch.ones(2, 3))
older, newer, third = (OpenVINOEngine(model, n_threads=1) for _ in range(3))
del older
del newer
thread = threading.Thread(target=globals().pop, args=["third"])
thread.start()
thread.join()
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's "&" has it ignored
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    print(repr("interrupted"))
"""


def test_ctrl_c_after_engines_were_let_go_of_in_any_order_and_thread():
    assert script(CTRL_C) == "interrupted"


def test_telemetry_is_not_loaded(process):
    assert process["telemetry"] == []


def test_no_socket_is_opened(process):
    assert process["sockets"] == []


PARTS_OF_A_PROCESS = ["logging", "environment", "warnings", "threads", "random", "gradients"]


@pytest.mark.parametrize("what", PARTS_OF_A_PROCESS)
def test_the_process_stays_as_it_was(process, what):
    assert what not in process["changed"]


@pytest.mark.parametrize("what", PARTS_OF_A_PROCESS)
def test_the_process_stays_as_it_was_when_a_conversion_fails(process, what):
    assert what not in process["changed by a failure"]


def test_a_failed_conversion_is_logged_even_if_openvino_changes_logging(process):
    (line,) = process["lines"]
    assert line.startswith("OpenVINO can't run odd (")


def test_the_package_is_loaded_only_where_it_matters_and_leaves_telemetry_of_others():
    code = """
import sys, types
from sktransfer.activations.engines.choice import EngineChoice
for choice in (
    EngineChoice(),
    EngineChoice("openvino"),
    EngineChoice("torch", "cpu", "bfloat16"),
    EngineChoice("auto", "cuda:0", "bfloat16"),
):
    choice.check()
    choice.settled()
before = "openvino" in sys.modules
sys.modules["openvino_telemetry"] = theirs = types.ModuleType("openvino_telemetry")
class Telemetry:
    def __init__(self, *args, **kwargs): pass
    def __getattr__(self, name): return lambda *args, **kwargs: None
theirs.Telemetry = Telemetry
EngineChoice("auto", "cpu", "bfloat16").settled()
print((before, "openvino" in sys.modules, sys.modules["openvino_telemetry"] is theirs))
"""
    assert script(code) == (False, True, True)


# Forks.


def test_usable_in_the_process_that_loaded_it():
    openvino_engine.loaded_openvino()
    assert openvino_engine._loaded_by == os.getpid()
    assert OpenVINOKind().works_in_this_process()


@pytest.mark.parametrize("engine", ["auto", "openvino"])
def test_torch_runs_where_a_parent_loaded_openvino(monkeypatch, log, engine):
    monkeypatch.setattr(openvino_engine, "_loaded_by", os.getppid())
    assert not OpenVINOKind().works_in_this_process()
    prepared = engine_for(quick(), 0, pixels(2), EngineChoice(engine), 10**6)
    assert isinstance(prepared, TorchEngine)
    assert log.records == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_computes_without_it():
    code = """
import os, signal, sys, warnings
import numpy as np
from sktransfer import PretrainedFeatureExtractor, free_memory
from sktransfer._common import process_memory

warnings.filterwarnings("ignore", category=DeprecationWarning)  # forking beside threads
X = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)
extractor = PretrainedFeatureExtractor(
    "mnasnet0_5", weights=None, image_size=32, device="cpu", engine="openvino"
).fit(X)
expected = extractor.transform(X)
mine, theirs = os.pipe()
child = os.fork()
if child == 0:
    signal.alarm(300)  # ends a child that hangs
    features = extractor.transform(X)
    kinds = [type(known.thing).__name__ for known in process_memory._kept.values()]
    close = np.allclose(features, expected, rtol=0, atol=1e-4 * np.abs(expected).max())
    free_memory()  # which can't stop the threads of the parent's engine
    os.write(theirs, repr((kinds, close)).encode())
    os._exit(0)
_, status = os.waitpid(child, 0)
assert status == 0, status
print(os.read(mine, 1000).decode())
"""
    kinds, close = script(code)
    assert kinds == ["Backbone", "TorchEngine"]
    assert close
