"""Cost and gain of OpenVINO and of bfloat16, for one network of each family.

Run with ``python -m benchmarks.engines``, optionally with names of networks; it takes about ten
minutes on two cores. Three tables are printed: OpenVINO compared with torch in float32, both in
bfloat16, and the accuracy of a linear head in both precisions. The last two need a processor with
instructions for bfloat16.

Weights are random where none can be had offline: neither speed nor agreement of engines depends
much on their values. Accuracy does, so it is measured with pretrained weights only. For all
others, features in bfloat16 are compared with those in float32: by their cosine, of the worst of
16 photos.
"""

import time
from dataclasses import dataclass
from functools import partial
from tempfile import TemporaryDirectory

import numpy as np
import torch
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from benchmarks._common import (
    ants_and_bees,
    clock,
    mobilenet,
    parser,
    print_machine,
    print_table,
)
from sktransfer import PretrainedImageClassifier, load_clipart
from sktransfer.activations.engines.openvino_engine import (
    OpenVINOEngine,
    computes_bfloat16,
    convert,
)
from sktransfer.activations.engines.torch_engine import TorchEngine
from sktransfer.backbones.loading import load_backbone
from sktransfer.images.reading import read_batches
from sktransfer.images.sources import as_images

NETWORKS = (
    *("alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "efficientnet_lite0"),
    *("efficientnet_v2_s", "googlenet", "inception_v3", "maxvit_t", "mnasnet0_5", "mnasnet1_0"),
    *("mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large", "regnet_y_400mf"),
    *("resnet18", "resnet50", "resnext50_32x4d", "shufflenet_v2_x0_5", "shufflenet_v2_x1_0"),
    *("squeezenet1_1", "swin_t", "swin_v2_t", "vgg11", "vit_b_32"),
)
PRECISIONS = ("float32", "bfloat16")
BATCH = 16
SPLITS = 5  # of the data into folds, for accuracy


@dataclass
class Measured:
    """Time per picture and features of a batch, by engine and precision."""

    name: str
    conversion: float  # seconds
    seconds: dict
    cpu_seconds: dict
    features: dict

    def in_float32(self):
        """Return one row of the first table."""
        torch32, openvino32 = (self.seconds[kind, "float32"] for kind in ("torch", "openvino"))
        expected, got = (self.features[kind, "float32"] for kind in ("torch", "openvino"))
        difference = ((expected - got).abs().max() / expected.abs().max()).item()
        gain = torch32 - openvino32
        repaid = f"{self.conversion / gain:,.0f}" if gain > 0 else "never"
        speeds = [1 / torch32, 1 / openvino32, torch32 / openvino32]
        return [self.name, *speeds, self.conversion, repaid, f"{difference:.0e}"]

    def in_bfloat16(self):
        """Return one row of the second table."""
        full, short = (self.cpu_seconds["openvino", each] for each in PRECISIONS)
        return [
            self.name,
            *(1 / value for value in self.cpu_seconds.values()),
            full / short,
            *(f"{self.cosine(kind):.5f}" for kind in ("torch", "openvino")),
        ]

    def cosine(self, kind):
        """Return the cosine of features in bfloat16 and in float32, of the worst picture."""
        expected = self.features["torch", "float32"].double()
        got = self.features[kind, "bfloat16"].double()
        return ((expected * got).sum(1) / (expected.norm(dim=1) * got.norm(dim=1))).min().item()


def measured(name, weights, paths, precisions, repeats):
    """Run the engines on a batch of photos, in turn."""
    backbone = load_backbone(name, weights)
    network = backbone.feature_network()
    batches = read_batches(as_images(paths), backbone.preprocessing, [range(BATCH)], n_threads=2)
    batch = torch.from_numpy(next(batches).pixels).permute(0, 3, 1, 2)
    engines = {("torch", each): TorchEngine(network, "cpu", each) for each in precisions}
    start = time.perf_counter()
    model = convert(network, batch[:2])
    for each in precisions:
        engines["openvino", each] = OpenVINOEngine(model, torch.get_num_threads(), each)
        # The first batch of a size takes longer, which is a part of the cost.
        engines["openvino", each](batch)
        if each == "float32":
            conversion = time.perf_counter() - start
    features = {key: run(batch) for key, run in engines.items()}
    seconds, cpu_seconds = (dict.fromkeys(engines, np.inf) for _ in range(2))
    # The fastest run of each: other processes can only make a run slower.
    for _ in range(repeats):
        for key, run in engines.items():
            before = time.process_time()
            seconds[key] = min(seconds[key], clock(partial(run, batch)) / BATCH)
            cpu_seconds[key] = min(cpu_seconds[key], (time.process_time() - before) / BATCH)
    title = name if weights is None else f"{name}, pretrained"
    return Measured(title, conversion, seconds, cpu_seconds, features)


def predictions(network, X, y, seed, cache, precision):
    """Return the prediction of each picture by a head that was not trained on it."""
    classifier = PretrainedImageClassifier(
        # The same pixels for both precisions: "auto" might decide otherwise.
        **network,
        resize="crop",
        device="cpu",
        precision=precision,
        cache=cache,
        random_state=0,
    )
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    return cross_val_predict(classifier, X, y, cv=folds)


def accuracy(name, network, X, y):
    """Return one row of the third table: accuracies in per cent, and their paired difference."""
    right, equal = {each: [] for each in PRECISIONS}, []
    with TemporaryDirectory() as cache:
        for seed in range(SPLITS):
            full, short = (predictions(network, X, y, seed, cache, each) for each in PRECISIONS)
            right["float32"].append(full == y)
            right["bfloat16"].append(short == y)
            equal.append(full == short)
    # Of each picture, over the splits: pictures are independent, splits of the same ones are not.
    gain = 100 * (np.mean(right["bfloat16"], axis=0) - np.mean(right["float32"], axis=0))
    return [
        name,
        *(f"{100 * np.mean(right[each]):.1f}" for each in PRECISIONS),
        f"{gain.mean():+.2f} ± {gain.std() / np.sqrt(len(gain)):.2f}",
        f"{100 * np.mean(equal):.1f}",
    ]


def main():
    options = parser(__doc__)
    options.add_argument("networks", nargs="*", default=NETWORKS)
    options = options.parse_args()
    precisions = PRECISIONS if computes_bfloat16() else PRECISIONS[:1]
    parts = [ants_and_bees(options.data, part) for part in ("train", "val")]
    photos, insects = (np.concatenate(each) for each in zip(*parts, strict=True))
    pretrained = {
        "efficientnet_lite0": {"backbone": "efficientnet_lite0", "weights": "DEFAULT"},
        "mobilenet_v2": mobilenet(options.data),
    }
    print_machine()
    some = photos[:: len(photos) // BATCH][:BATCH]
    found = [
        measured(name, pretrained.get(name, {}).get("weights"), some, precisions, options.repeats)
        for name in options.networks
    ]
    header = ["network", "torch, pictures/s", "openvino", "ratio", "conversion, s"]
    print_table([*header, "repaid after", "differs"], [each.in_float32() for each in found])
    if len(precisions) == 1:
        print("This processor has no instructions for bfloat16.")
        return
    engines = [f"{kind}, {each}" for kind in ("torch", "openvino") for each in PRECISIONS]
    print_table(
        [
            "pictures per CPU second",
            *engines,
            "openvino's gain",
            "cosine, torch",
            "cosine, openvino",
        ],
        [each.in_bfloat16() for each in found],
    )
    sets = {"clip-art": load_clipart(return_X_y=True), "ants_bees": (photos, insects)}
    print_table(
        ["accuracy, %", *PRECISIONS, "difference", "equal predictions, %"],
        [
            accuracy(f"{data}, {name}", network, X, y)
            for name, network in pretrained.items()
            if name in options.networks
            for data, (X, y) in sets.items()
        ],
    )


if __name__ == "__main__":
    main()
