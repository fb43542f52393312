"""The other side: what a competent user writes with torch, skorch and Keras.

Keras' networks have no pretrained weights here, as they would have to be downloaded;
how long they take does not depend on the values.
"""

import os
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from skorch import NeuralNetClassifier
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset
from torchvision import models

from sktransfer.backbones.weights import read_file

# The first block of MobileNetV2 that trains at each unfreeze_depth: where its resolution
# last halves, and where it does so the time before.
FIRST_TRAINED_BLOCK = {1: 14, 2: 7}


class Photos(Dataset):
    """The data set that people write: open, torchvision's preset, tensor, class."""

    def __init__(self, paths: Sequence[str], labels: Sequence[str] | None = None) -> None:
        self.paths = paths
        self.codes = np.zeros(len(paths), int)
        if labels is not None:
            self.codes = np.unique(labels, return_inverse=True)[1]
        # The same for all networks here.
        self.preset = models.MobileNet_V2_Weights.IMAGENET1K_V1.transforms()

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, i: int):
        return self.preset(Image.open(self.paths[i]).convert("RGB")), int(self.codes[i])

    def in_memory(self) -> TensorDataset:
        """The same, decoded once."""
        X = torch.stack([self[i][0] for i in range(len(self))])
        return TensorDataset(X, torch.from_numpy(self.codes))


def plain_network(name: str, weights: str | Path | None = None, head: nn.Module | None = None):
    """The network of torchvision with another head, by default none; as it comes otherwise."""
    network = models.get_model(name, weights=None)
    if weights is not None:
        network.load_state_dict(read_file(weights), strict=False)
    last = "fc" if hasattr(network, "fc") else "classifier"
    setattr(network, last, head or nn.Identity())
    return network.eval()


def loop(network: nn.Module, photos: Photos, workers: int) -> np.ndarray:
    """Features by a DataLoader and the network."""
    batches = DataLoader(photos, batch_size=64, num_workers=workers)
    with torch.inference_mode():
        return torch.cat([network(batch) for batch, _ in batches]).numpy()


class Transfer(nn.Module):
    """MobileNetV2 with a new head, of which the first blocks are frozen; without tricks."""

    def __init__(self, weights: Path, depth: int, n_classes: int) -> None:
        super().__init__()
        self.network = plain_network("mobilenet_v2", weights, nn.Linear(1280, n_classes))
        self.network.features.requires_grad_(False)
        if depth:
            self.network.features[FIRST_TRAINED_BLOCK[depth] :].requires_grad_(True)

    def train(self, mode: bool = True):
        super().train(mode)
        self.network.features.eval()  # BatchNorm keeps its statistics; faster, and as ours
        return self

    def forward(self, X):
        return self.network(X)


def skorch_net(weights: Path, depth: int, n_classes: int, workers: int = 0):
    """A plain skorch classifier that is ready for an epoch on all rows it is given."""
    net = NeuralNetClassifier(
        Transfer,
        module__weights=weights,
        module__depth=depth,
        module__n_classes=n_classes,
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.AdamW,
        lr=3e-4,
        batch_size=32,
        max_epochs=1,
        train_split=None,
        iterator_train__shuffle=True,
        iterator_train__num_workers=workers,
        iterator_valid__num_workers=workers,
        verbose=0,
    )
    return net.initialize()


def skorch_epochs(weights: Path, depth: int, photos: Photos) -> dict[str, Callable[[], object]]:
    """One epoch of plain skorch, by how it gets at the pictures."""
    n_classes = len(np.unique(photos.codes))
    sides = {}
    for workers in (0, 2):
        net = skorch_net(weights, depth, n_classes, workers)
        sides[f"plain skorch from files, {workers} workers"] = lambda net=net: net.partial_fit(
            photos
        )
    net, decoded = skorch_net(weights, depth, n_classes), photos.in_memory()
    sides["plain skorch from tensors in memory"] = lambda: net.partial_fit(decoded)
    return sides


@cache
def keras():
    """The module, with TensorFlow below it and as many threads as torch has; None without it."""
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        import keras
        import tensorflow
    except ImportError:
        print('Keras is left out: pip install "sktransfer[bench]" brings it.\n')
        return None
    tensorflow.config.threading.set_intra_op_parallelism_threads(torch.get_num_threads())
    return keras


def keras_photos(folder: Path, batch_size: int, *, labels: bool = False):
    """The pictures of a folder with one subfolder a class, decoded and resized in parallel."""
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
    """The network without its classifier, its own preprocessing in front."""
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
    """The network as a model that gives features."""
    pictures, _, features = _keras_network(name)
    model = keras().Model(pictures, features)
    # Keras' own choice, XLA, takes many times longer for MobileNetV2 on a CPU.
    model.compile(jit_compile=False)
    return model


def keras_epochs(folder: Path, depth: int, n_classes: int) -> dict[str, Callable[[], object]]:
    """A first epoch of Keras, which decodes, and a later one on the pictures that it kept.

    MobileNetV2 with a new head, its last blocks trained as in `Transfer`; none without Keras.
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
    fresh = keras_photos(folder, 32, labels=True)
    kept = keras_photos(folder, 32, labels=True).cache()
    # The data sets shuffle themselves; Keras warns unless it is told not to.
    return {
        "Keras, first epoch": lambda: model.fit(fresh, shuffle=False, verbose=0),
        "Keras, later epoch": lambda: model.fit(kept, shuffle=False, verbose=0),
    }


def ten_epochs(seconds: dict[str, float]) -> dict[str, float]:
    """What ten epochs of each peer take, scaled from the epochs that were measured."""
    totals = {
        f"{name} (1 epoch x 10)": 10 * value
        for name, value in seconds.items()
        if name.startswith("plain skorch")
    }
    if "Keras, first epoch" in seconds:
        totals["Keras, pictures kept in memory (first epoch + 9 x later epoch)"] = (
            seconds["Keras, first epoch"] + 9 * seconds["Keras, later epoch"]
        )
    return totals


def fastest(totals: dict[str, float], peer: str) -> float | None:
    """The least time of the rows whose name starts with `peer`, None if there are none."""
    return min((v for name, v in totals.items() if name.startswith(peer)), default=None)
