"""Networks, states and structures that several test files ask for."""

import io

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from sktransfer.backbones.backbone import Backbone
from sktransfer.backbones.names import source_of
from sktransfer.backbones.networks import build_empty, build_random
from sktransfer.backbones.sources.base import Weights
from sktransfer.images.preprocessing import Preprocessing

PRESET = Preprocessing(64, 64, "bilinear", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
TINY_STATE = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.zeros(2)}


def saved(save=torch.save):
    """Bytes of a file that holds `TINY_STATE`."""
    buffer = io.BytesIO()
    save(TINY_STATE, buffer)
    return buffer.getvalue()


def published_weights(name):
    return source_of(name).published_weights(name)


def lively_network(name, size=64):
    """A random network in which every layer matters to the output.

    Freshly built networks hide their faults: layers start at zero or at a millionth, and
    BatchNorm that has seen no picture lets the signal fade until only biases are left.
    """
    return enlivened(build_random(name, seed=0), size)


def enlivened(network, size):
    """Change a network, in place, so that every layer matters."""
    generator = torch.Generator().manual_seed(1)
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm)]
    with torch.no_grad():
        for key, parameter in network.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if "layer_scale" in key:
                parameter.fill_(0.5)
            elif parameter.ndim == 1:
                parameter.add_(0.1 * noise)
            elif not parameter.any():
                parameter.copy_(noise / parameter.shape[-1] ** 0.5)
        for norm in norms:
            norm.momentum = 1.0
            norm.train()
        network(torch.randn(4, 3, size, size, generator=generator))
        for norm in norms:
            spread = torch.empty(norm.running_var.shape).uniform_(0.8, 1.25, generator=generator)
            norm.running_var.mul_(spread)
    return network.eval()


def cut(name, network, pretrained=False):
    weights = Weights("test", PRESET, path="a file" if pretrained else None)
    return source_of(name).cut(name, network, weights)


def empty_backbone(name, size=224, pretrained=False, **options):
    """A backbone without values, and the network it was cut from."""
    network = build_empty(name, image_size=size)
    pieces = cut(name, network, pretrained)
    return Backbone(name, pieces, PRESET.at_size(size), pretrained, **options), network


def pixels(n=2, size=64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, 3, size, size), dtype=torch.uint8, generator=generator)


def run(modules, x):
    with torch.inference_mode():
        return nn.Sequential(*modules)(x)


def values_of(module):
    return {key: value.clone() for key, value in module.state_dict().items()}


def same_values(state, other):
    return state.keys() == other.keys() and all(torch.equal(state[k], other[k]) for k in state)
