"""Cost and gain of OpenVINO compared with torch, for one network of each family.

Run with ``python -m benchmarks.engines``, optionally with names of networks; it takes about five
minutes on two cores. Weights are random, because neither speed nor agreement depends much on
their values.
"""

import numpy as np
import torch

from benchmarks._common import clock, parser, print_machine, print_table
from sktransfer.activations.engines.openvino_engine import OpenVINOEngine, convert
from sktransfer.activations.engines.torch_engine import TorchEngine
from sktransfer.backbones.loading import load_backbone

NETWORKS = (
    *("alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "efficientnet_lite0"),
    *("efficientnet_v2_s", "googlenet", "inception_v3", "maxvit_t", "mnasnet0_5", "mnasnet1_0"),
    *("mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large", "regnet_y_400mf"),
    *("resnet18", "resnet50", "resnext50_32x4d", "shufflenet_v2_x0_5", "shufflenet_v2_x1_0"),
    *("squeezenet1_1", "swin_t", "swin_v2_t", "vgg11", "vit_b_32"),
)
BATCH = 16


def row(name, repeats):
    """Return one row of the table: the speed of each engine, and the time of the conversion."""
    backbone = load_backbone(name, None)
    network, size = backbone.feature_network(), backbone.preprocessing.crop_size
    pixels = np.random.default_rng(0).integers(0, 256, (BATCH, size, size, 3), dtype=np.uint8)
    batch = torch.from_numpy(pixels).permute(0, 3, 1, 2)
    engines = {"torch": TorchEngine(network, "cpu")}

    def prepare():
        model = convert(network, batch[:2])
        engines["openvino"] = OpenVINOEngine(model, torch.get_num_threads())
        # The first batch of a size takes longer, which is a part of the cost.
        engines["openvino"](batch)

    conversion = clock(prepare)
    expected, got = engines["torch"](batch), engines["openvino"](batch)
    difference = ((expected - got).abs().max() / expected.abs().max()).item()
    # The fastest run of each: other processes can only make a run slower.
    seconds = {
        engine: min(clock(lambda run=run: run(batch)) for _ in range(repeats)) / BATCH
        for engine, run in engines.items()
    }
    gain = seconds["torch"] - seconds["openvino"]
    repaid = f"{conversion / gain:,.0f}" if gain > 0 else "never"
    return [
        name,
        1 / seconds["torch"],
        1 / seconds["openvino"],
        seconds["torch"] / seconds["openvino"],
        conversion,
        repaid,
        f"{difference:.0e}",
    ]


def main():
    options = parser(__doc__)
    options.add_argument("networks", nargs="*", default=NETWORKS)
    options = options.parse_args()
    print_machine()
    header = ["network", "torch, pictures/s", "openvino", "ratio", "conversion, s"]
    rows = [row(name, options.repeats) for name in options.networks]
    print_table([*header, "repaid after", "differs"], rows)


if __name__ == "__main__":
    main()
