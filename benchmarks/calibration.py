"""Gain of temperature calibration: log loss on rows used neither to train nor to calibrate.

A head is fitted on some rows, a temperature on 18, 40 or 120 others, and the log loss is computed
on the rest. This is repeated for 50 random splits. Heads with little weight decay are
overconfident, and heads with much weight decay are underconfident.

The scale of the prior was chosen on cifar10_subset: the largest one that is no worse than no
calibration for any head, number of training rows and number of validation rows. It is then tested
on ants_bees and clip-art.

Run with ``python -m benchmarks.calibration``; ten minutes on two cores.
"""

import numpy as np
import torch
from sklearn.preprocessing import LabelEncoder

from benchmarks._common import (
    ants_and_bees,
    head_settings,
    mobilenet,
    parser,
    print_machine,
    print_table,
)
from sktransfer import PretrainedFeatureExtractor, load_clipart, load_image_folder
from sktransfer.backbones.freezing import TrainableStages
from sktransfer.training.batches import Rows
from sktransfer.training.calibration import best_temperature
from sktransfer.training.data import TrainingData
from sktransfer.training.task import OneLabel
from sktransfer.training.train import train

DRAWS = 50
SIZES = (18, 40, 120)
MOST_JUDGED = 1500
HEADS = {"too sure": 1e-7, "by default": 1e-4, "not sure enough": 1e-2}
# Scales of the prior; infinity is no prior.
SCALES = (0.03, 0.05, 0.07, 0.1, 0.2, 0.5, np.inf)
# The scale that was chosen, which is the default, and no prior.
JUDGED = (0.07, np.inf)
LINK = OneLabel()


def features(data, *parts, image_size=None):
    """Return features and encoded classes of all parts of a data set."""
    X, y = (np.concatenate(each) for each in zip(*parts, strict=True))
    X = PretrainedFeatureExtractor(**mobilenet(data), image_size=image_size).fit_transform(X)
    return torch.from_numpy(X), LabelEncoder().fit_transform(y)


def gains(X, y, n_trained, weight_decay, scales):
    """Return the change of log loss by calibration: an array (scale, size, draw)."""
    found = np.zeros((len(scales), len(SIZES), DRAWS))
    for draw in range(DRAWS):
        order = np.random.default_rng(draw).permutation(len(y))
        trained, others = np.split(order[: n_trained + max(SIZES) + MOST_JUDGED], [n_trained])
        rows = Rows(X[trained], torch.from_numpy(y[trained]))
        settings = head_settings(y.max() + 1, weight_decay=weight_decay)
        net = train(settings, TrainingData(TrainableStages(), rows)).net
        scores = net.scores_of(Rows(X[others])).numpy()
        judged = scores[max(SIZES) :].astype(float), y[others][max(SIZES) :]
        judged = *judged, np.ones(len(judged[1]))
        without = LINK.log_loss(*judged)
        for i, scale in enumerate(scales):
            for j, n in enumerate(SIZES):
                t = best_temperature(LINK, scores[:n], y[others][:n], np.ones(n), scale=scale)
                found[i, j, draw] = LINK.log_loss(judged[0] / t, *judged[1:]) - without
    return found


def table(title, X, y, scales, n_trained=150):
    """Print one row per scale; each cell is a mean over draws with its standard error."""
    title = f"{title}, {n_trained} training rows"
    columns = [f"{head}, {n}" for head in HEADS for n in SIZES]
    found = [gains(X, y, n_trained, decay, scales) for decay in HEADS.values()]
    found = np.concatenate(found, axis=1)
    errors = found.std(axis=2, ddof=1) / DRAWS**0.5
    rows = [
        [f"scale {scale:g}", *(f"{m:+.4f} ± {e:.4f}" for m, e in zip(means, spread, strict=True))]
        for scale, means, spread in zip(scales, found.mean(axis=2), errors, strict=True)
    ]
    print_table([title, *columns], rows)


def main():
    options = parser(__doc__).parse_args()
    print_machine()
    cifar = [
        load_image_folder(options.data / "data" / "cifar10_subset" / part, return_X_y=True)
        for part in ("train", "test")
    ]
    rows = features(options.data, *cifar, image_size=128)
    for n_trained in (150, 300):
        table("cifar10_subset", *rows, SCALES, n_trained)
    photos = [ants_and_bees(options.data, part) for part in ("train", "val")]
    table("ants_bees", *features(options.data, *photos), JUDGED)
    table("clip-art", *features(options.data, load_clipart(return_X_y=True)), JUDGED)


if __name__ == "__main__":
    main()
