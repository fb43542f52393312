import threading
import time
from dataclasses import replace
from weakref import ref

import pytest
import torch
from torch import nn

from sktransfer._common import process_memory
from sktransfer._common.threads import computing
from sktransfer.activations.engines import choice as engine_module
from sktransfer.activations.engines import openvino_engine, torch_engine
from sktransfer.activations.engines.choice import TORCH, EngineChoice, engine_for
from sktransfer.activations.engines.interface import ConversionError, EngineKind
from sktransfer.activations.engines.openvino_engine import (
    _LIGHT_NETWORKS,
    _LIGHT_NETWORKS_REPAID_AFTER,
    _REPAID_AFTER,
)
from sktransfer.activations.engines.torch_engine import TorchEngine
from sktransfer.backbones.frozen import FrozenNetwork
from sktransfer.backbones.names import backbone_names
from sktransfer.exceptions import EngineUnavailableError
from tests.backbones.helpers import empty_backbone, pixels
from tests.conftest import HANGS


class Mean(nn.Module):
    def forward(self, x):
        return x.float().mean((2, 3))


def of(name="resnet18", n_links=1):
    links = [(f"link{i}", nn.Identity()) for i in range(n_links - 1)]
    return FrozenNetwork([*links, ("mean", Mean())], backbone_name=name)


@pytest.fixture(autouse=True)
def no_engines(monkeypatch):
    """Each test begins with nothing prepared, and nothing logged."""
    monkeypatch.setattr(process_memory, "_kept", type(process_memory._kept)())
    engine_module._log_once.cache_clear()


@pytest.fixture
def installed(monkeypatch):
    """A function that pretends that OpenVINO is installed or not, and what the CPU can do."""

    def pretend(is_installed, *, bfloat16=True):
        monkeypatch.setattr(openvino_engine, "is_installed", lambda: is_installed)
        monkeypatch.setattr(openvino_engine, "computes_bfloat16", lambda: bfloat16)
        monkeypatch.setattr(openvino_engine, "_loaded_by", None)

    pretend(True)
    return pretend


@pytest.fixture
def fake_openvino(monkeypatch, installed):  # noqa: ARG001
    """Engines that cost nothing to prepare; the arguments of each are listed."""
    prepared = []

    class Fake:
        n_bytes = 10**6

        def __init__(self, *asked):
            prepared.append(asked)

    monkeypatch.setattr(openvino_engine, "_prepared", Fake)
    return prepared


# Engines, devices and precisions that go together.


@pytest.mark.parametrize(
    "choice",
    [
        EngineChoice(),
        EngineChoice("torch", "cpu", "bfloat16"),
        EngineChoice("auto", "cpu", "bfloat16"),
        EngineChoice("openvino", "cpu", "float32"),
        EngineChoice("openvino", "cpu", "bfloat16"),
        EngineChoice("torch", "cuda:1", "float16"),
        EngineChoice("auto", "cuda:0", "float16"),
        EngineChoice("auto", "mps", "bfloat16"),
    ],
    ids=str,
)
@pytest.mark.usefixtures("installed")
def test_possible_choices(choice):
    assert choice.check() is None


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        (
            EngineChoice("openvino", "cuda:0"),
            r"engine='openvino' computes on the CPU, and device is 'cuda:0'.*engine='torch'.*'cpu'",
        ),
        (EngineChoice("openvino", "mps"), r"engine='openvino'.*'mps'"),
        (
            EngineChoice("openvino", "mps", "bfloat16"),
            r"engine='openvino' computes on the CPU, and device is 'mps'",
        ),
        (
            EngineChoice("torch", "cpu", "float16"),
            r"precision='float16' is for CUDA devices, and device is 'cpu'.*'bfloat16'",
        ),
        (EngineChoice("auto", "mps", "float16"), r"precision='float16' .*'mps'"),
        (EngineChoice("openvino", "cpu", "float16"), r"precision='float16' .*'cpu'"),
    ],
    ids=str,
)
@pytest.mark.usefixtures("installed")
def test_impossible_choices(choice, words):
    with pytest.raises(EngineUnavailableError, match=words):
        choice.check()


def test_without_openvino_the_error_says_how_to_install_it(installed):
    installed(False)
    with pytest.raises(EngineUnavailableError, match=r"pip install 'sktransfer\[openvino\]'"):
        EngineChoice("openvino").check()
    with pytest.raises(EngineUnavailableError, match=r"pip install 'sktransfer\[openvino\]'"):
        EngineChoice("openvino", "cpu", "bfloat16").check()
    EngineChoice("auto").check()
    EngineChoice("torch").check()


def test_is_installed_asks_for_the_package(monkeypatch):
    monkeypatch.delitem(openvino_engine.sys.modules, "openvino", raising=False)
    for found in (None, object()):
        monkeypatch.setattr(openvino_engine.importlib.util, "find_spec", lambda _, f=found: f)
        assert openvino_engine.is_installed() == (found is not None)


# The engine of a fit and of its predictions.

BFLOAT16 = EngineChoice("auto", "cpu", "bfloat16")


@pytest.mark.parametrize("engine", ["auto", "torch", "openvino"])
@pytest.mark.parametrize("is_installed", [True, False])
def test_in_float32_each_pass_may_take_another_engine(installed, engine, is_installed):
    installed(is_installed)
    assert EngineChoice(engine).settled() == EngineChoice(engine)


@pytest.mark.parametrize(
    ("choice", "engine"),
    [
        (BFLOAT16, "openvino"),
        (EngineChoice("openvino", "cpu", "bfloat16"), "openvino"),
        (EngineChoice("torch", "cpu", "bfloat16"), "torch"),
        (EngineChoice("auto", "mps", "bfloat16"), "torch"),
        (EngineChoice("auto", "cuda:0", "bfloat16"), "torch"),
        (EngineChoice("auto", "cuda:0", "float16"), "torch"),
    ],
    ids=str,
)
@pytest.mark.usefixtures("installed")
def test_in_a_shorter_precision_all_passes_take_one_engine(choice, engine):
    settled = choice.settled()
    assert settled == replace(choice, engine=engine)
    assert settled.settled() == settled
    for n_pictures in (1, 10**6):
        assert settled.kind_for(of(), n_pictures).name == engine


def test_torch_computes_bfloat16_where_openvino_is_not_installed(installed):
    installed(False)
    assert BFLOAT16.settled() == EngineChoice("torch", "cpu", "bfloat16")


def test_auto_is_float32_where_bfloat16_is_not_in_hardware(installed, caplog):
    installed(True, bfloat16=False)
    with caplog.at_level("WARNING", logger="sktransfer"):
        assert [BFLOAT16.settled() for _ in range(2)] == [EngineChoice()] * 2
    (line,) = caplog.messages
    assert "no instructions for bfloat16: float32 is faster, and is used instead" in line


def test_engines_that_are_named_are_not_replaced(installed, caplog):
    installed(True, bfloat16=False)
    with pytest.raises(EngineUnavailableError, match=r"instructions for it.*precision='float32'"):
        EngineChoice("openvino", "cpu", "bfloat16").check()
    named = EngineChoice("torch", "cpu", "bfloat16")
    assert named.settled() == named
    assert caplog.messages == []


def test_a_forked_process_does_not_mix_the_values_of_engines(installed, monkeypatch):  # noqa: ARG001
    monkeypatch.setattr(openvino_engine, "_loaded_by", -1)
    assert BFLOAT16.settled() == EngineChoice("torch", "cpu", "bfloat16")
    named = EngineChoice("openvino", "cpu", "bfloat16")
    assert named.check() is None
    with pytest.raises(EngineUnavailableError, match=r"forked after it was loaded.*'loky'"):
        named.settled()


@pytest.mark.parametrize(
    "choice",
    [
        EngineChoice(),
        EngineChoice("openvino"),
        EngineChoice("torch", "cpu", "bfloat16"),
        EngineChoice("auto", "mps", "bfloat16"),
        EngineChoice("auto", "cuda:0", "float16"),
    ],
    ids=str,
)
def test_the_processor_is_asked_only_if_the_answer_matters(installed, monkeypatch, choice):
    def asked():
        raise AssertionError("loads OpenVINO")

    installed(True)
    monkeypatch.setattr(openvino_engine, "computes_bfloat16", asked)
    choice.check()
    choice.settled()


# When OpenVINO repays its conversion.


def prefers_openvino(choice, network, n_pictures):
    return choice.kind_for(network, n_pictures).name == "openvino"


@pytest.mark.parametrize(
    ("choice", "n_pictures", "prefers"),
    [
        (EngineChoice(), _REPAID_AFTER - 1, False),
        (EngineChoice(), _REPAID_AFTER, True),
        (EngineChoice(), 10**6, True),
        (EngineChoice("torch"), 10**6, False),
        (EngineChoice("openvino"), 1, True),
        (EngineChoice("auto", "cuda:0"), 10**6, False),
        (EngineChoice("auto", "mps"), 10**6, False),
    ],
    ids=str,
)
@pytest.mark.usefixtures("installed")
def test_prefers_openvino(choice, n_pictures, prefers):
    assert prefers_openvino(choice, of(), n_pictures) == prefers


@pytest.mark.parametrize("name", _LIGHT_NETWORKS)
@pytest.mark.usefixtures("installed")
def test_light_networks_need_more_pictures(name):
    assert name in backbone_names()
    assert not prefers_openvino(EngineChoice(), of(name), _LIGHT_NETWORKS_REPAID_AFTER - 1)
    assert prefers_openvino(EngineChoice(), of(name), _LIGHT_NETWORKS_REPAID_AFTER)
    assert prefers_openvino(EngineChoice("openvino"), of(name), 1)


@pytest.mark.usefixtures("installed")
def test_a_name_that_begins_like_a_light_one_is_not_light():
    assert prefers_openvino(EngineChoice(), of("alexnet_twice_as_deep"), _REPAID_AFTER)


@pytest.mark.usefixtures("installed")
def test_all_networks_of_a_light_backbone_are_light():
    backbone, _ = empty_backbone("alexnet")
    for network in (
        backbone.feature_network(),
        backbone.feature_network(["block1", "fc1"], "max"),
        backbone.feature_network(None, "avg"),
        backbone.frozen_network(1),
    ):
        assert not prefers_openvino(EngineChoice(), network, _REPAID_AFTER)


@pytest.mark.parametrize("engine", ["auto", "openvino"])
@pytest.mark.usefixtures("installed")
def test_torch_runs_an_empty_network(engine):
    assert not prefers_openvino(EngineChoice(engine), FrozenNetwork(), 10**6)
    engine = engine_for(FrozenNetwork(), 0, pixels(), EngineChoice(engine), 10**6)
    assert isinstance(engine, TorchEngine)
    assert torch.equal(engine(pixels()), pixels())


@pytest.mark.parametrize("engine", ["auto", "openvino"])
def test_without_openvino_torch_runs_everything(installed, engine):
    installed(False)
    assert not prefers_openvino(EngineChoice(engine), of(), 10**6)
    prepared = engine_for(of(), 0, pixels(), EngineChoice(engine), 10**6)
    assert isinstance(prepared, TorchEngine)


# Another engine.


class Toy(EngineKind):
    """Runs everything on one device, from three pictures on."""

    name = "toy"
    title = "Toy"
    works = True
    own = ""

    def __init__(self):
        self.n_prepared = 0

    def unavailable(self, device, precision):
        return f"engine='toy' needs device='meta', not {device!r}" if device != "meta" else None

    def works_in_this_process(self):
        return self.works

    def own_arithmetic(self, precision):
        return self.own if precision == "bfloat16" else ""

    def worth_it(self, network, n_pictures):
        return n_pictures >= 3

    def prepare(self, network, start, example, **options):
        self.n_prepared += 1
        if network.backbone_name == "odd":
            raise ConversionError("it is odd")
        return TorchEngine(network.after(start), "cpu")


@pytest.fixture
def toy(monkeypatch):
    kind = Toy()
    monkeypatch.setattr(engine_module, "KINDS", (kind, *engine_module.KINDS))
    return kind


def test_another_engine_needs_a_place_in_the_list_and_no_more(toy):
    assert EngineChoice("toy", "meta").kind_for(of(), 1) is toy
    assert EngineChoice("auto", "meta").kind_for(of(), 3) is toy
    assert EngineChoice("auto", "meta").kind_for(of(), 2) is TORCH
    assert EngineChoice("auto").kind_for(of(), 3) is TORCH
    assert EngineChoice("torch", "meta").kind_for(of(), 3) is TORCH
    assert EngineChoice("toy", "meta").check() is None
    with pytest.raises(EngineUnavailableError, match="engine='toy' needs device='meta', not 'cpu'"):
        EngineChoice("toy").check()


def test_no_engine_is_better_than_torch_at_what_torch_refuses(toy):
    assert toy.unavailable("meta", "float16") is None
    with pytest.raises(EngineUnavailableError, match="precision='float16' is for CUDA devices"):
        EngineChoice("toy", "meta", "float16").check()


def test_torch_takes_over_in_processes_where_an_engine_does_not_work(toy, monkeypatch):
    monkeypatch.setattr(toy, "works", False)
    choice = EngineChoice("toy", "meta")
    assert choice.check() is None
    assert choice.kind_for(of(), 3) is TORCH


def test_torch_takes_over_from_an_engine_that_fails(toy, caplog):
    network, choice = of("odd"), EngineChoice("toy", "meta")
    with caplog.at_level("WARNING", logger="sktransfer"):
        engines = [engine_for(network, 0, pixels(), choice, 9) for _ in range(2)]
    assert caplog.messages == ["Toy can't run odd (it is odd); torch runs it."]
    assert isinstance(engines[0], TorchEngine)
    assert engines[0] is engines[1]
    assert toy.n_prepared == 1


def test_torch_does_not_take_over_where_it_gives_other_values(toy, caplog, monkeypatch):
    monkeypatch.setattr(toy, "own", "toy 1")
    choice = EngineChoice("toy", "meta", "bfloat16")
    for _ in range(2):
        with pytest.raises(
            EngineUnavailableError,
            match=r"Toy can't run odd in bfloat16 \(it is odd\).*other values.*engine='torch'",
        ):
            engine_for(of("odd"), 0, pixels(), choice, 9)
    assert caplog.messages == []
    assert choice.arithmetic == "meta bfloat16 toy 1"
    assert choice.own_arithmetic == "toy 1"
    full = EngineChoice("toy", "meta")
    assert full.arithmetic == "meta float32"
    assert full.own_arithmetic == ""
    assert isinstance(engine_for(of("odd"), 0, pixels(), full, 9), TorchEngine)


# Engines that are prepared.


def test_torch_engines_get_device_and_precision():
    engine = engine_for(of(), 0, pixels(), EngineChoice("torch", "cpu", "bfloat16"), 5)
    assert engine.device == torch.device("cpu")
    assert engine.precision == torch.bfloat16
    assert torch.allclose(engine(pixels()), pixels().float().mean((2, 3)), rtol=1e-2)


@pytest.mark.parametrize("start", [0, 1, 2])
def test_engines_begin_at_a_link(start):
    network = FrozenNetwork([("a", nn.Linear(2, 3)), ("b", nn.ReLU()), ("c", nn.Linear(3, 1))])
    x = torch.randn(4, 2 if start == 0 else 3)
    engine = engine_for(network, start, x, EngineChoice("torch"), 4)
    assert torch.allclose(engine(x), network.after(start)(x), atol=1e-6)


def test_openvino_sees_at_most_two_pictures(fake_openvino):
    network, model_cache = of(), object()
    engine_for(network, 0, pixels(9), EngineChoice("openvino"), 9, model_cache)
    ((asked_network, start, example, n_threads, precision, asked_cache),) = fake_openvino
    assert asked_network is network
    assert start == 0
    assert torch.equal(example, pixels(9)[:2])
    assert n_threads == torch.get_num_threads()
    assert precision == "float32"
    assert asked_cache is model_cache


# Engines that are kept.


def test_the_same_engine_serves_again():
    network, choice = of(n_links=3), EngineChoice("torch")
    first = engine_for(network, 0, pixels(2), choice, 2)
    assert engine_for(network, 0, pixels(7, 32), choice, 1000) is first
    assert engine_for(network, 0, pixels(2), EngineChoice("auto"), 2) is first


@pytest.mark.parametrize("engine", ["torch", "openvino"])
@pytest.mark.usefixtures("fake_openvino")
def test_different_settings_have_different_engines(monkeypatch, engine):
    network, choice, x = of(n_links=3), EngineChoice(engine), pixels()
    engines = [
        engine_for(network, 0, x, choice, 2),
        engine_for(network, 1, x, choice, 2),
        engine_for(of(n_links=3), 0, x, choice, 2),
        engine_for(network, 0, x, EngineChoice("torch", "cpu", "bfloat16"), 2),
        engine_for(network, 0, x, EngineChoice("openvino", "cpu", "bfloat16"), 2),
        engine_for(network, 0, x, EngineChoice("torch", "meta"), 2),
    ]
    monkeypatch.setattr(torch, "get_num_threads", lambda: 17)
    engines.append(engine_for(network, 0, x, choice, 2))
    assert len({id(e) for e in engines}) == len(engines)


def test_openvino_has_one_engine_per_picture_size(fake_openvino):
    network, choice = of(), EngineChoice("openvino")
    first = engine_for(network, 0, pixels(2, 32), choice, 2)
    assert engine_for(network, 0, pixels(5, 32), choice, 5) is first
    assert engine_for(network, 0, pixels(2, 48), choice, 2) is not first
    assert len(fake_openvino) == 2


def test_both_engines_of_a_network_are_kept(fake_openvino):
    network = of()
    few = [engine_for(network, 0, pixels(), EngineChoice(), _REPAID_AFTER - 1) for _ in range(2)]
    many = [engine_for(network, 0, pixels(), EngineChoice(), _REPAID_AFTER) for _ in range(2)]
    assert few[0] is few[1] is not many[0]
    assert many[0] is many[1]
    assert len(fake_openvino) == 1


def test_five_light_engines_are_all_kept(fake_openvino):
    networks = [of() for _ in range(5)]
    for _ in range(3):
        for network in networks:
            engine_for(network, 0, pixels(), EngineChoice("openvino"), 1)
    assert len(fake_openvino) == 5


def test_an_engine_goes_with_its_network():
    network = FrozenNetwork([("a", nn.Conv2d(3, 4, 3)), ("b", nn.BatchNorm2d(4))])
    engine = ref(engine_for(network, 0, pixels().float(), EngineChoice("torch"), 2))
    assert engine() is not None
    del network
    engine_for(of(), 0, pixels(), EngineChoice("torch"), 2)
    assert engine() is None


def test_an_engine_counts_what_it_holds_beside_the_network():
    convolution, norm, linear = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(9, 9)
    kernel_and_bias = 4 * (4 * 3 * 3 * 3 + 4)
    assert TorchEngine(FrozenNetwork([("c", linear)]), "cpu").n_bytes == 0
    folds = FrozenNetwork([("a", nn.Sequential(convolution, norm)), ("c", linear)])
    assert TorchEngine(folds, "cpu").n_bytes == kernel_and_bias
    assert TorchEngine(folds, "meta").n_bytes == kernel_and_bias + 4 * 90


def test_an_engine_of_another_process_is_not_used(monkeypatch):
    network = of()
    first = engine_for(network, 0, pixels(), EngineChoice("torch"), 2)
    monkeypatch.setattr(engine_module.os, "getpid", lambda: -1)
    assert engine_for(network, 0, pixels(), EngineChoice("torch"), 2) is not first


def test_an_engine_that_fails_to_be_prepared_is_not_kept(monkeypatch):
    def fail(*_):
        raise MemoryError

    network = of()
    with monkeypatch.context() as patch:
        patch.setattr(torch_engine, "TorchEngine", fail)
        with pytest.raises(MemoryError):
            engine_for(network, 0, pixels(), EngineChoice("torch"), 2)
    engine = engine_for(network, 0, pixels(), EngineChoice("torch"), 2)
    assert isinstance(engine, TorchEngine)


# One computation at a time.


def in_threads(*functions):
    threads = [threading.Thread(target=function) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(HANGS)
        assert not thread.is_alive()


def test_computing_is_exclusive():
    inside, most = [], []

    def compute():
        for _ in range(5):
            with computing():
                inside.append(1)
                most.append(len(inside))
                time.sleep(0.002)
                inside.pop()

    in_threads(*[compute] * 4)
    assert len(most) == 20
    assert max(most) == 1


def test_computing_may_be_nested():
    with computing(), computing():
        pass


def test_computing_ends_with_an_error():
    with pytest.raises(ZeroDivisionError), computing():
        raise ZeroDivisionError
    entered = []

    def enter():
        with computing():
            entered.append(True)

    in_threads(enter)
    assert entered


def test_threads_that_ask_at_once_share_one_engine(monkeypatch):
    prepared = []

    class Slow(TorchEngine):
        def __init__(self, *asked):
            prepared.append(asked)
            time.sleep(0.05)
            super().__init__(*asked)

    monkeypatch.setattr(torch_engine, "TorchEngine", Slow)
    network, engines = of(), []
    in_threads(*[lambda: engines.append(engine_for(network, 0, pixels(), EngineChoice(), 2))] * 4)
    assert len(prepared) == 1
    assert len({id(engine) for engine in engines}) == 1
