"""Ten epochs of fine-tuning the last one or two stages: sktransfer, plain skorch, Keras.

First sktransfer's training alone is compared with a loop written by hand, on the same stored
activations: what all that it does besides costs. Then whole fits are compared.

All of them train the same blocks, with fixed BatchNorm statistics. All epochs of a peer take the
same time, so one is measured and multiplied by ten, as in `benchmarks.head`. sktransfer's time
includes solving the head first, which the peers do not do.

Run with ``python -m benchmarks.fine_tuning``.
"""

import copy
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from benchmarks._common import (
    alternate,
    clock,
    head_settings,
    judge,
    mobilenet,
    parser,
    print_machine,
    print_table,
    write_photos,
)
from benchmarks._peers import Photos, keras_epochs, skorch_epochs, ten_epochs
from sktransfer import PretrainedImageClassifier
from sktransfer.activations.streaming import FrozenPass
from sktransfer.backbones.loading import load_backbone
from sktransfer.images.sources import as_images
from sktransfer.training.batches import Rows
from sktransfer.training.data import TrainingData
from sktransfer.training.train import train

EPOCHS, BATCH_SIZE = 10, 32


def by_hand(stages, activations, codes):
    """Train stages and a linear layer as a tutorial does."""
    stages = copy.deepcopy(stages)
    with torch.no_grad():
        width = stages(activations[:1]).flatten(1).shape[1]
    model = nn.Sequential(stages, nn.Flatten(), nn.Linear(width, len(codes.unique())))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4)
    steps = EPOCHS * -(-len(codes) // BATCH_SIZE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    model.train()  # `TrainableStages` keep their BatchNorm statistics
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(codes)).split(BATCH_SIZE):
            optimizer.zero_grad()
            loss = functional.cross_entropy(model(activations[rows]), codes[rows])
            loss.backward()
            optimizer.step()
            schedule.step()


def on_stored_activations(depth, network, paths, labels, repeats):
    """Return rows of the table of training alone."""
    backbone = load_backbone(network["backbone"], network["weights"], 0)
    frozen, stages = backbone.split(depth)
    one_pass = FrozenPass(frozen, backbone.preprocessing)
    activations, _ = one_pass.collect(as_images(paths))
    codes = torch.from_numpy(np.unique(labels, return_inverse=True)[1])
    settings = head_settings(2, max_epochs=EPOCHS, batch_size=BATCH_SIZE)

    def ours():
        train(settings, TrainingData(copy.deepcopy(stages), Rows(activations, codes)))

    sides = {
        f"training of sktransfer, depth {depth}": ours,
        f"a loop by hand, depth {depth}": lambda: by_hand(stages, activations, codes),
    }
    seconds = alternate(sides, repeats)
    *_, loop = seconds.values()
    return [[name, value, value / loop] for name, value in seconds.items()]


def measure(depth, network, folder, paths, labels, repeats):
    """Return rows of the table for one depth, and the additional seconds of the first fit."""
    classifier = PretrainedImageClassifier(
        **network,
        unfreeze_depth=depth,
        max_epochs=10,
        engine="auto",
        device="cpu",
        random_state=0,
    )
    fit = f"fit, unfreeze_depth={depth}"
    sides = {
        fit: lambda: classifier.fit(paths, labels),
        **skorch_epochs(network["weights"], depth, Photos(paths, labels)),
        **keras_epochs(folder, depth, 2),
    }
    # The first run in a process also converts the network for OpenVINO; later ones reuse it.
    first = clock(sides[fit])
    seconds = alternate(sides, repeats)
    rows = {fit: seconds[fit], **ten_epochs(seconds)}
    return [[name, value, value / seconds[fit]] for name, value in rows.items()], first - seconds[
        fit
    ]


def main():
    arguments = parser(__doc__, pictures=244)
    arguments.add_argument("--training-only", action="store_true", help="no whole fits")
    options = arguments.parse_args()
    network = mobilenet(options.data)
    with TemporaryDirectory() as folder:
        paths, labels = write_photos(options.data, options.pictures, Path(folder))
        for depth in (1, 2):
            alone = on_stored_activations(depth, network, paths, labels, options.repeats)
            print_table([f"{len(paths)} photos, 10 epochs", "seconds", "time against loop"], alone)
            judge(f"depth {depth} against a loop by hand", alone[0][-1], at_most=1.1)
            if options.training_only:
                continue
            rows, more = measure(depth, network, folder, paths, labels, options.repeats)
            if depth == 1:
                print_machine()
            print(f"The first fit took {max(0.0, more):.1f} s more: conversion, if any.\n")
            print_table(
                [f"{len(paths)} JPEG photos, 10 epochs", "seconds", "time against fit"], rows
            )


if __name__ == "__main__":
    main()
