"""The peers that sktransfer is compared with: code for torch, skorch and Keras.

The code is what a competent user would write. Each peer runs in its best setting, which is found
in the same run: batches of 8 to 64 pictures, with and without worker processes. The "tuned"
variants also use channels-last memory, and compute no gradients in frozen layers.

Keras' networks have random weights, because pretrained ones would have to be downloaded. Speed
does not depend on the values.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from skorch import NeuralNetClassifier
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset
from torchvision import models

from benchmarks._common import clock
from sktransfer.backbones.state_dicts import read_state_dict

# The first block of MobileNetV2 that is trained at each unfreeze_depth. Stages begin where the
# resolution is halved: at block 14 for the last time, and at block 7 before that.
FIRST_TRAINED_BLOCK = {1: 14, 2: 7}


BATCH_SIZES, WORKERS = (8, 16, 32, 64), (0, 2)
# Number of pictures used to find the best setting.
FEW = 96


class Setting(NamedTuple):
    """Batch size and number of workers; `workers` is None for a peer without worker processes."""

    batch_size: int
    workers: int | None = None

    def __str__(self) -> str:
        workers = "" if self.workers is None else f", {self.workers} workers"
        return f"batches of {self.batch_size}{workers}"


def settings(workers: Sequence[int | None] = WORKERS) -> list[Setting]:
    return [Setting(size, n) for size in BATCH_SIZES for n in workers]


def quickest(peer: str, candidates: Mapping[Setting, Callable[[], object]]) -> Setting:
    """Return the setting that is fastest on a few pictures, and print the speed of each."""
    seconds = {setting: clock(run) for setting, run in candidates.items()}
    found = "; ".join(f"{setting}: {FEW / value:.3g}" for setting, value in seconds.items())
    print(f"{peer}, pictures/s over {FEW}: {found}", flush=True)
    return min(seconds, key=lambda setting: seconds[setting])


class Photos(Dataset):
    """A typical data set for torch: open a file and apply torchvision's preset."""

    def __init__(self, paths: Sequence[str], labels: Sequence[str] | None = None) -> None:
        self.paths = paths
        self.codes = np.zeros(len(paths), int)
        if labels is not None:
            self.codes = np.unique(labels, return_inverse=True)[1]
        # All networks of the benchmarks have this preset.
        self.preset = models.MobileNet_V2_Weights.IMAGENET1K_V1.transforms()

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, i: int):
        return self.preset(Image.open(self.paths[i]).convert("RGB")), int(self.codes[i])

    def few(self) -> "Photos":
        """Return the first pictures, to find the best setting."""
        some = Photos(self.paths[:FEW])
        # The codes of the whole set, because the first pictures may not have all classes.
        some.codes = self.codes[:FEW]
        return some

    def in_memory(self) -> TensorDataset:
        """Return the decoded pictures as a data set of tensors."""
        X = torch.stack([self[i][0] for i in range(len(self))])
        return TensorDataset(X, torch.from_numpy(self.codes))


def plain_network(name: str, weights: str | Path | None = None, head: nn.Module | None = None):
    """Return torchvision's network, with its last layer replaced by `head` or removed."""
    network = models.get_model(name, weights=None)
    if weights is not None:
        network.load_state_dict(read_state_dict(weights), strict=False)
    last = "fc" if hasattr(network, "fc") else "classifier"
    setattr(network, last, head or nn.Identity())
    return network.eval()


def loop(network: nn.Module, photos: Photos, setting: Setting, tuned: bool = False) -> np.ndarray:
    """Compute features with a DataLoader; `tuned` for a network in channels-last memory."""
    batches = DataLoader(photos, batch_size=setting.batch_size, num_workers=setting.workers)
    order = torch.channels_last if tuned else torch.contiguous_format
    with torch.inference_mode():
        return torch.cat(
            [network(batch.contiguous(memory_format=order)) for batch, _ in batches]
        ).numpy()


def loops(
    name: str, weights: str | Path | None, photos: Photos
) -> dict[str, Callable[[], np.ndarray]]:
    """Return the plain and the tuned loop over a DataLoader, each in its best setting."""
    sides = {}
    for tuned in (False, True):
        title = "DataLoader loop" + (", tuned" if tuned else "")
        network = plain_network(name, weights)
        if tuned:
            network = network.to(memory_format=torch.channels_last)
        run = partial(loop, network, tuned=tuned)
        run(photos.few(), Setting(16, 0))  # warms up
        best = quickest(title, {s: partial(run, photos.few(), s) for s in settings()})
        sides[f"{title} ({best})"] = partial(run, photos, best)
    return sides


class Transfer(nn.Module):
    """MobileNetV2 with a new head, whose first blocks are frozen."""

    def __init__(self, weights: Path, depth: int, n_classes: int, tuned: bool) -> None:
        super().__init__()
        self.network = plain_network("mobilenet_v2", weights, nn.Linear(1280, n_classes))
        self.first = FIRST_TRAINED_BLOCK[depth] if depth else len(self.network.features)
        self.network.features[: self.first].requires_grad_(False)
        self.tuned = tuned
        if tuned:
            self.network = self.network.to(memory_format=torch.channels_last)

    def train(self, mode: bool = True):
        super().train(mode)
        # Keeps BatchNorm's statistics fixed, as sktransfer does. It is also faster.
        self.network.features.eval()
        return self

    def forward(self, X):
        if not self.tuned:
            return self.network(X)
        blocks = self.network.features
        with torch.no_grad():
            X = blocks[: self.first](X.contiguous(memory_format=torch.channels_last))
        return self.network.classifier(blocks[self.first :](X).mean((2, 3)))


def skorch_net(weights: Path, depth: int, n_classes: int, tuned: bool, setting: Setting):
    """Return a skorch classifier whose partial_fit trains one epoch on all rows."""
    net = NeuralNetClassifier(
        Transfer,
        module__weights=weights,
        module__depth=depth,
        module__n_classes=n_classes,
        module__tuned=tuned,
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.AdamW,
        lr=3e-4,
        batch_size=setting.batch_size,
        max_epochs=1,
        train_split=None,  # skorch holds out a fifth of the rows by default
        iterator_train__shuffle=True,
        iterator_train__num_workers=setting.workers or 0,
        iterator_valid__num_workers=setting.workers or 0,
        verbose=0,
    )
    return net.initialize()


def best_skorch(
    weights: Path, depth: int, tuned: bool, rows: Dataset, n_classes: int, in_memory: bool = False
) -> Setting:
    """Return the setting in which an epoch over a few pictures is fastest."""
    title = f"{'tuned' if tuned else 'plain'} skorch, depth {depth}" + ", in memory" * in_memory
    return quickest(
        title,
        {
            setting: partial(
                skorch_net(weights, depth, n_classes, tuned, setting).partial_fit, rows
            )
            # Worker processes would only copy pictures that are decoded already.
            for setting in settings([None] if in_memory else WORKERS)
        },
    )


def skorch_epochs(weights: Path, depth: int, photos: Photos) -> dict[str, Callable[[], object]]:
    """Return one epoch of skorch, plain and tuned, from files and from decoded pictures."""
    n_classes = len(np.unique(photos.codes))
    places = {
        "from files": (photos, photos.few()),
        "from tensors in memory": (photos.in_memory(), photos.few().in_memory()),
    }
    sides = {}
    for tuned in (False, True):
        for place, (rows, few) in places.items():
            best = best_skorch(weights, depth, tuned, few, n_classes, place != "from files")
            net = skorch_net(weights, depth, n_classes, tuned, best)
            title = f"{'tuned' if tuned else 'plain'} skorch {place} ({best})"
            sides[title] = partial(net.partial_fit, rows)
    return sides


@cache
def keras():
    """Import Keras with TensorFlow, using as many threads as torch; None if not installed."""
    # Keras and TensorFlow read these variables when they are imported.
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        import keras
        import tensorflow
    except ImportError:
        print('Keras is not installed: pip install "sktransfer[bench]" adds it.\n')
        return None
    tensorflow.config.threading.set_intra_op_parallelism_threads(torch.get_num_threads())
    return keras


def keras_photos(folder: Path, batch_size: int, *, labels: bool = False):
    """Return the pictures in a folder with one subfolder per class, decoded in parallel."""
    return keras().utils.image_dataset_from_directory(
        folder,
        label_mode="int" if labels else None,
        image_size=(224, 224),
        crop_to_aspect_ratio=True,
        batch_size=batch_size,
        shuffle=labels,
        verbose=False,
    )


def _keras_network(name: str):
    """Return input, base network and features of a network without its classifier."""
    applications = keras().applications
    build, preprocess = {
        "mobilenet_v2": (
            applications.MobileNetV2,
            applications.mobilenet_v2.preprocess_input,
        ),
        "resnet50": (applications.ResNet50, applications.resnet50.preprocess_input),
    }[name]
    pictures = keras().Input((224, 224, 3))
    base = build(include_top=False, weights=None, pooling="avg", input_shape=(224, 224, 3))
    base.trainable = False
    return pictures, base, base(preprocess(pictures), training=False)


def keras_features(name: str):
    """Return a compiled model that computes features."""
    pictures, _, features = _keras_network(name)
    model = keras().Model(pictures, features)
    # Keras would choose XLA, which takes many times longer for MobileNetV2 on a CPU.
    model.compile(jit_compile=False)
    return model


def _best_keras(title: str, run: Callable[[object], object], folder: Path, **labels: bool):
    """Return the batch size that is fastest on a few pictures that are decoded already."""
    few = {}
    for setting in settings([None]):
        pictures = keras_photos(folder, setting.batch_size, **labels).unbatch().take(FEW)
        few[setting] = pictures.batch(setting.batch_size).cache()
        run(few[setting])  # warm-up: decodes the pictures and compiles the model
    return quickest(title, {setting: partial(run, pictures) for setting, pictures in few.items()})


def keras_passes(name: str, folder: Path) -> dict[str, Callable[[], object]]:
    """Return passes by Keras' `predict`, and by a compiled function called for each batch.

    The dict is empty if Keras is not installed.
    """
    if keras() is None:
        return {}
    import tensorflow

    model = keras_features(name)
    compiled = tensorflow.function(lambda batch: model(batch, training=False))
    ways = {
        "Keras, predict": lambda pictures: model.predict(pictures, verbose=0),
        "Keras, tuned": lambda pictures: np.concatenate([compiled(batch) for batch in pictures]),
    }
    sides = {}
    for title, run in ways.items():
        best = _best_keras(title, run, folder)
        sides[f"{title} ({best})"] = partial(run, keras_photos(folder, best.batch_size))
    return sides


def keras_epochs(folder: Path, depth: int, n_classes: int) -> dict[str, Callable[[], object]]:
    """Return a first epoch of Keras, which decodes, and a later one on cached pictures.

    They train MobileNetV2 with a new head and the last blocks, like `Transfer`. The dict is
    empty if Keras is not installed.
    """
    if keras() is None:
        return {}
    pictures, base, features = _keras_network("mobilenet_v2")
    if depth:
        base.trainable = True
        # Keras numbers its blocks from 0; torchvision's list starts with the stem.
        first = base.get_layer(f"block_{FIRST_TRAINED_BLOCK[depth] - 1}_expand")
        for layer in base.layers[: base.layers.index(first)]:
            layer.trainable = False
    model = keras().Model(pictures, keras().layers.Dense(n_classes)(features))
    loss = keras().losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras().optimizers.AdamW(3e-4), loss, jit_compile=False)  # as keras_features
    # The data sets are shuffled already, and Keras warns unless shuffle=False is set.
    run = partial(model.fit, shuffle=False, verbose=0)
    best = _best_keras(f"Keras, depth {depth}", run, folder, labels=True)
    fresh = keras_photos(folder, best.batch_size, labels=True)
    kept = keras_photos(folder, best.batch_size, labels=True).cache()
    return {
        f"Keras, first epoch ({best})": partial(run, fresh),
        f"Keras, later epoch ({best})": partial(run, kept),
    }


def ten_epochs(seconds: dict[str, float]) -> dict[str, float]:
    """Return the seconds of ten epochs of each peer, scaled from the measured epochs."""
    totals = {
        f"{name}, 1 epoch x 10": 10 * value for name, value in seconds.items() if "skorch" in name
    }
    first, later = (fastest(seconds, f"Keras, {which} epoch") for which in ("first", "later"))
    if first is not None and later is not None:
        best = next(name for name in seconds if name.startswith("Keras")).partition("(")[2]
        title = f"Keras, pictures kept in memory ({best}, first epoch + 9 x later epoch"
        totals[title] = first + 9 * later
    return totals


def fastest(totals: dict[str, float], peer: str) -> float | None:
    """Return the least time of all names that start with `peer`, or None if there are none."""
    return min((v for name, v in totals.items() if name.startswith(peer)), default=None)
