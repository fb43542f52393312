"""Pictures in memory on a GPU: sktransfer against a hand-written bfloat16 loop.

The pictures have the size that the preset resizes to, so neither side resizes; both crop and
normalise. The loop copies pinned uint8 pixels without blocking, crops and normalises on the GPU,
and runs the network in channels_last under autocast. It is used for two fits. One computes the
features once, and trains a linear head with AdamW (sktransfer uses L-BFGS). The other trains the
last stage, and runs the whole network in each epoch. Weights are random: speed does not depend on
their values.

Run with ``python -m benchmarks.gpu``.
"""

import numpy as np
import torch
from PIL import Image
from sklearn.base import clone
from torch import nn
from torch.nn.functional import cross_entropy

from benchmarks._common import alternate, judge, parser, print_machine, print_table
from benchmarks._peers import FIRST_TRAINED_BLOCK, plain_network
from sktransfer import PretrainedFeatureExtractor, PretrainedImageClassifier, load_clipart

SIDE, CROP, EPOCHS, BATCH = 256, 224, 10, 256
MEAN, STD = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])


def pictures(n):
    """Return `n` pictures, which repeat the packaged drawings, and their encoded labels."""
    paths, labels = load_clipart(return_X_y=True)
    arrays = [np.asarray(Image.open(path).convert("RGB").resize((SIDE, SIDE))) for path in paths]
    rows = np.arange(n) % len(paths)
    return np.stack(arrays)[rows], np.unique(labels, return_inverse=True)[1][rows]


class HandWritten:
    """A training loop as written by someone who knows how to use a GPU."""

    def __init__(self, name, device="cuda"):
        self.name, self.device = name, device
        self.frozen, self.last = self.parts()
        # Normalisation as one multiplication and one addition.
        self.scale = (1 / (255 * STD)).to(device)[:, None, None]
        self.shift = (-MEAN / STD).to(device)[:, None, None]

    def parts(self):
        """Return the network before its last stage, and the last stage with pooling."""
        network = plain_network(self.name)
        if self.name == "resnet50":
            *blocks, _, _ = network.children()
            first = blocks.index(network.layer4)
        else:
            blocks, first = list(network.features), FIRST_TRAINED_BLOCK[1]
        last = nn.Sequential(*blocks[first:], nn.AdaptiveAvgPool2d(1), nn.Flatten())
        return [
            part.to(self.device, memory_format=torch.channels_last)
            for part in (nn.Sequential(*blocks[:first]), last)
        ]

    def batch(self, X):
        """Copy uint8 pixels to the device, and crop and normalise them there."""
        pixels = torch.from_numpy(X).pin_memory().to(self.device, non_blocking=True)
        edge = (SIDE - CROP) // 2
        pixels = pixels[:, edge : edge + CROP, edge : edge + CROP].permute(0, 3, 1, 2)
        return (
            pixels.to(torch.bfloat16, memory_format=torch.channels_last) * self.scale + self.shift
        )

    def autocast(self):
        return torch.autocast(torch.device(self.device).type, torch.bfloat16)

    def features(self, X):
        with torch.inference_mode(), self.autocast():
            batches = (self.batch(X[i : i + BATCH]) for i in range(0, len(X), BATCH))
            return torch.cat([self.last(self.frozen(batch)) for batch in batches]).float()

    def transform(self, X):
        return self.features(X).cpu().numpy()

    def fit_head(self, X, y):
        # Cloned, because tensors made in inference mode can't be used in training.
        features, codes = self.features(X).clone(), torch.from_numpy(y).to(self.device)
        head = nn.Linear(features.shape[1], len(np.unique(y)), device=self.device)
        optimizer = torch.optim.AdamW(head.parameters(), lr=3e-4)
        for _ in range(EPOCHS):
            for rows in torch.randperm(len(y), device=self.device).split(BATCH):
                self.step(optimizer, head(features[rows]), codes[rows])
        return head.weight.cpu()

    def fit_last_stage(self, X, y):
        _, last = self.parts()  # a copy, so that each fit starts from the same weights
        width, codes = self.features(X[:1]).shape[1], torch.from_numpy(y).to(self.device)
        head = nn.Linear(width, len(np.unique(y)), device=self.device)
        module = nn.Sequential(last, head).train()
        optimizer = torch.optim.AdamW(module.parameters(), lr=3e-4)
        for _ in range(EPOCHS):
            for rows in torch.randperm(len(y)).split(BATCH):
                with self.autocast():
                    with torch.no_grad():
                        maps = self.frozen(self.batch(X[rows.numpy()]))
                    scores = module(maps)
                self.step(optimizer, scores.float(), codes[rows.to(self.device)])
        return head.weight.cpu()

    def step(self, optimizer, scores, codes):
        optimizer.zero_grad(set_to_none=True)
        cross_entropy(scores, codes).backward()
        optimizer.step()


def sides_of(name, X, y, device="cuda"):
    ours = {
        "backbone": name,
        "weights": None,
        "precision": "bfloat16",
        "batch_size": BATCH,
        "device": device,
    }
    extractor = PretrainedFeatureExtractor(**ours).fit(X[:1])
    head = PretrainedImageClassifier(**ours, max_epochs=EPOCHS, random_state=0)
    # By default, training may be skipped if the head alone is as good.
    deeper = clone(head).set_params(unfreeze_depth=1)
    theirs = HandWritten(name, device)
    return {
        "transform": (lambda: extractor.transform(X), lambda: theirs.transform(X)),
        "fit, head": (lambda: head.fit(X, y), lambda: theirs.fit_head(X, y)),
        "fit, unfreeze_depth=1": (lambda: deeper.fit(X, y), lambda: theirs.fit_last_stage(X, y)),
    }


def main():
    options = parser(__doc__, pictures=4096).parse_args()
    if not torch.cuda.is_available():
        print("Skipped: this machine has no CUDA device.")
        return
    print_machine()
    print(f"{torch.cuda.get_device_name()}, precision bfloat16, batches of {BATCH}\n")
    X, y = pictures(options.pictures)
    rows = []
    for name in ("resnet50", "mobilenet_v2"):
        for task, (ours, theirs) in sides_of(name, X, y).items():
            seconds = alternate({"ours": ours, "theirs": theirs}, options.repeats)
            speeds = [len(X) / seconds[side] for side in ("ours", "theirs")]
            rows.append([name, task, *speeds, speeds[0] / speeds[1]])
    print_table(
        [f"pictures/s, {len(X)} arrays", "task", "sktransfer", "hand-written", "ratio"], rows
    )
    for name, task, *_, ratio in rows:
        judge(f"{name}, {task}: pictures/s against the loop's", ratio, at_least=0.9)


if __name__ == "__main__":
    main()
