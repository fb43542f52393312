import os
import subprocess
import sys

import pytest
import torch
from torch import nn

from sktransfer.activations.engines import arithmetic as module
from sktransfer.activations.engines import openvino_engine
from sktransfer.activations.engines.choice import EngineChoice
from sktransfer.activations.store.cache import cache_info
from sktransfer.activations.streaming import FrozenPass
from sktransfer.backbones.frozen import FrozenNetwork
from sktransfer.images.sources import ImageSource
from tests.backbones.helpers import PRESET
from tests.conftest import make_pictures


class Scaled(nn.Module):
    def forward(self, x):
        return x.float() / 255


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        (EngineChoice(), "cpu float32"),
        (EngineChoice("openvino"), "cpu float32"),
        (EngineChoice("torch", "mps"), "mps float32"),
        (EngineChoice("torch", "cpu", "bfloat16"), "cpu bfloat16"),
        (EngineChoice("openvino", "cpu", "bfloat16"), "cpu bfloat16 openvino 2077.1"),
    ],
    ids=str,
)
def test_arithmetic(monkeypatch, choice, words):
    monkeypatch.setattr(openvino_engine, "version", lambda _: "2077.1")
    assert choice.arithmetic == words


def test_all_cuda_devices_have_one_arithmetic():
    of_device = [EngineChoice("torch", f"cuda:{i}", "float16").arithmetic for i in range(2)]
    assert of_device[0] == of_device[1]
    assert of_device[0].startswith("cuda float16 ")


SWITCHES = [
    ("cpu", "torch.set_float32_matmul_precision('medium')"),
    ("cpu", "torch.set_float32_matmul_precision('high')"),
    ("cpu", "torch.backends.fp32_precision = 'tf32'"),
    ("cpu", "torch.backends.mkldnn.fp32_precision = 'bf16'"),
    ("cpu", "torch.backends.mkldnn.matmul.fp32_precision = 'bf16'"),
    ("cpu", "torch.backends.mkldnn.conv.fp32_precision = 'bf16'"),
    ("cuda", "torch.set_float32_matmul_precision('high')"),
    ("cuda", "torch.backends.fp32_precision = 'tf32'"),
    ("cuda", "torch.backends.cuda.matmul.allow_tf32 = True"),
    ("cuda", "torch.backends.cuda.matmul.fp32_precision = 'tf32'"),
    ("cuda", "torch.backends.cudnn.allow_tf32 = False"),
    ("cuda", "torch.backends.cudnn.conv.fp32_precision = 'ieee'"),
    *(("cuda", f"torch.backends.cuda.matmul.{name} ^= True") for name in module._SUMS),
]
FULL = ["torch.set_float32_matmul_precision('highest')", "torch.backends.fp32_precision = 'ieee'"]

# Switches hold for the whole process, and some can't be reset: each is tried in a fork.
SWITCHED = """
import os, sys, torch
from sktransfer.activations.engines.choice import EngineChoice
for line in sys.stdin:
    device, switch = line.rstrip().split(" ", 1)
    if os.fork() == 0:
        before = EngineChoice("torch", device).arithmetic
        exec(switch)
        print(before == EngineChoice("torch", device).arithmetic, flush=True)
        os._exit(0)
    os.wait()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_switches_of_torch_change_the_arithmetic_unless_they_set_full_precision():
    tried = [*SWITCHES, *(("cpu", switch) for switch in FULL)]
    lines = "".join(f"{device} {switch}\n" for device, switch in tried)
    command = [sys.executable, "-c", SWITCHED]
    done = subprocess.run(command, input=lines, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"] * len(SWITCHES) + ["True"] * len(FULL)


@pytest.mark.parametrize("variable", module._VARIABLES)
def test_variables_change_the_arithmetic(monkeypatch, variable):
    monkeypatch.delenv(variable, raising=False)
    before = EngineChoice().arithmetic
    monkeypatch.setenv(variable, "BF16")
    assert EngineChoice().arithmetic == f"{before} {variable}=BF16"


def test_activations_of_a_lower_precision_are_not_used_for_a_higher_one(tmp_path):
    network = FrozenNetwork(
        [("flat", nn.Flatten()), ("a", Scaled()), ("linear", nn.Linear(3072, 64))]
    )
    source = ImageSource(list(make_pictures(4)[0]))
    expected, _ = FrozenPass(network, PRESET.at_size(32)).collect(source)
    one_pass = FrozenPass(network, PRESET.at_size(32), cache=tmp_path)
    torch.set_float32_matmul_precision("medium")
    try:
        one_pass.collect(source)
    finally:
        torch.set_float32_matmul_precision("highest")
    assert torch.equal(one_pass.collect(source)[0], expected)
    assert cache_info(tmp_path).rows == 8
