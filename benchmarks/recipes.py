"""Comparison of ways to train, on real pictures with pretrained weights, over five seeds.

Run with ``python -m benchmarks.recipes``, optionally with names of questions: fine_tuning, knobs,
views, distillation, resumed. All questions together take about three hours on two cores, and less
with ``--seeds 2``.
"""

import multiprocessing
import os
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import train_test_split
from skorch.callbacks import Callback

from benchmarks._common import (
    add_questions,
    alternate,
    ants_and_bees,
    judge,
    mobilenet,
    parser,
    print_machine,
    print_table,
    write_photos,
)
from sktransfer import (
    PretrainedFeatureExtractor,
    PretrainedImageClassifier,
    load_clipart,
    load_image_folder,
)

LITE0 = {"backbone": "efficientnet_lite0"}
STUDENTS = ("mobilenet_v3_small", "squeezenet1_1")


def mean_and_spread(scores):
    """Format mean and standard deviation for a table."""
    return f"{np.mean(scores):.3f} ± {np.std(scores):.3f}"


def accuracies(parts, seeds, **parameters):
    """Return the test accuracy for each seed."""
    train, test = parts
    # A frozen backbone is a convex problem, whose solution does not depend on the seed.
    return [
        PretrainedImageClassifier(**parameters, random_state=seed).fit(*train).score(*test)
        for seed in range(seeds if parameters.get("unfreeze_depth") else 1)
    ]


def data_sets(data):
    """Return training and test pictures of each data set, and the network to use."""
    X, y = load_clipart(return_X_y=True)
    X, X_test, y, y_test = train_test_split(X, y, test_size=0.3, stratify=y, random_state=0)
    cifar = data / "data" / "cifar10_subset"
    photos = partial(load_image_folder, return_X_y=True)
    return {
        "ants_bees": ((ants_and_bees(data, "train"), ants_and_bees(data, "val")), mobilenet(data)),
        "clip-art": (((X, y), (X_test, y_test)), LITE0),
        "cifar10_subset": ((photos(cifar / "train"), photos(cifar / "test")), mobilenet(data)),
    }


def fine_tuning(options):
    """Compare fine-tuning at depth 1 with the frozen probe, in one table per data set."""
    variants = {
        "frozen probe": {"unfreeze_depth": 0},
        "unfreeze_depth=1": {"unfreeze_depth": 1},
    }
    for name, (parts, network) in data_sets(options.data).items():
        with TemporaryDirectory() as cache:
            scores = {
                title: accuracies(parts, options.seeds, **network, cache=cache, **parameters)
                for title, parameters in variants.items()
            }
        rows = [[title, mean_and_spread(each)] for title, each in scores.items()]
        print_table([f"{name}, {options.seeds} seeds", "accuracy"], rows)
        # Rounded, so that equal accuracies are not judged by their last bit.
        gain = round(
            float(np.mean(scores["unfreeze_depth=1"]) - np.mean(scores["frozen probe"])), 6
        )
        aim = 0.03 if name == "cifar10_subset" else 0.0
        judge(f"{name}: accuracy at depth 1 less that of the probe", gain, at_least=aim)


KNOBS = [
    {"unfreeze_depth": 0},
    {"unfreeze_depth": 0, "weight_decay": 1e-2},
    {},
    {"lr_decay": 0.5},
    {"weight_decay": 1e-2},
    {"optimizer": "sgd"},
    {"optimizer": "sgd", "lr": 3e-3},
    {"optimizer": "sgd", "lr": 3e-3, "gradient_clipping": 1.0},
    {"schedule": "onecycle"},
    {"schedule": None},
    {"gradient_clipping": 1.0},
    {"ema_decay": 0.99},
    {"batch_norm": "train"},
    {"head_init": "random"},
    {"label_smoothing": 0.1},
    {"mixup": 0.2},
    {"cutmix": 1.0},
    {"augment": "light", "n_views": 4},
    {"augment": "standard", "n_views": 4},
    {"unfreeze_depth": 2},
    {"unfreeze_depth": 2, "gradual_unfreezing": True},
]


def knobs(options):
    """Measure the effect of single parameters at depth 1, with defaults for all others.

    Trains on a sixth of the photos, and tests on a thousand.
    """
    ((X, y), test), network = data_sets(options.data)["cifar10_subset"]
    rows = []
    with TemporaryDirectory() as cache:
        common = {**network, "cache": cache, "unfreeze_depth": 1}
        for knob in KNOBS:
            scores = accuracies(((X[::6], y[::6]), test), options.seeds, **{**common, **knob})
            title = ", ".join(f"{key}={value!r}" for key, value in knob.items())
            rows.append([title or "unfreeze_depth=1, defaults", mean_and_spread(scores)])
    title = f"cifar10_subset, {len(X[::6])} photos, {options.seeds} seeds"
    print_table([title, "accuracy"], rows)


def views(options):
    """Measure the cost of four augmented views, in multiples of one pass."""
    names = ("light", "standard", "keras", "trivial")
    with TemporaryDirectory() as folder:
        paths, labels = write_photos(options.data, options.pictures, Path(folder))
        network = mobilenet(options.data)
        extractor = PretrainedFeatureExtractor(**network).fit(paths)
        classifiers = {
            f"fit, augment={name!r}, n_views=4": PretrainedImageClassifier(
                **network, augment=name, n_views=4, random_state=0
            )
            for name in names
        }
        seconds = alternate(
            {
                "transform, one pass": lambda: extractor.transform(paths),
                **{title: partial(it.fit, paths, labels) for title, it in classifiers.items()},
            },
            options.repeats,
        )
    one = seconds["transform, one pass"]
    rows = [[title, each, each / one] for title, each in seconds.items()]
    print_table([f"mobilenet_v2, {len(paths)} JPEG photos", "seconds", "passes"], rows)
    for title, each in seconds.items():
        if title.startswith("fit"):
            judge(f"{title}: passes", each / one, at_most=4.5)


def distillation(options):
    """Distil a fine-tuned EfficientNet-Lite0 into small networks without pretrained weights."""
    cifar = options.data / "data" / "cifar10_subset"
    train, test = (load_image_folder(cifar / part, return_X_y=True) for part in ("train", "test"))
    rows = []
    with TemporaryDirectory() as cache:
        teacher = PretrainedImageClassifier(**LITE0, unfreeze_depth=1, cache=cache, random_state=0)
        teacher.fit(*train)
        rows.append(["efficientnet_lite0, the teacher", f"{teacher.score(*test):.3f}", ""])
        for student in STUDENTS:
            scores = {"labels": [], "teacher": []}
            for seed in range(options.seeds):
                for name, distill in (
                    ("labels", {}),
                    ("teacher", {"distill_from": FrozenEstimator(teacher), "distill_weight": 0.9}),
                ):
                    classifier = PretrainedImageClassifier(
                        student,
                        weights=None,
                        unfreeze_depth="all",
                        head_init="random",
                        image_size=64,
                        max_epochs=20,
                        lr=1e-3,
                        random_state=seed,
                        **distill,
                    )
                    scores[name].append(classifier.fit(*train).score(*test))
            rows.append([student, *(mean_and_spread(scores[name]) for name in scores)])
    print_table(["cifar10_subset, accuracy", "from labels", "and from the teacher"], rows)


class _KilledIn(Callback):
    """End the process in the middle of an epoch, like `kill -9`."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_batch_end(self, net, training=False, **kwargs):
        if training and len(net.history) == self.epoch:
            os._exit(9)


def _fit_and_die(parameters, X, y):
    PretrainedImageClassifier(**parameters, callbacks=[_KilledIn(4)]).fit(X, y)


def resumed(options):
    """Compare a fit that is resumed after its process was killed with an undisturbed one."""
    X, y = (of[::8] for of in load_clipart(return_X_y=True))
    same, epochs_left = [], []
    for seed in range(options.seeds):
        common = {**LITE0, "unfreeze_depth": 1, "image_size": 96, "random_state": seed}
        whole = PretrainedImageClassifier(**common).fit(X, y)
        with TemporaryDirectory() as folder:
            common["checkpoint_dir"] = folder
            # A process of its own, because the callback ends the process without any cleaning up.
            process = multiprocessing.get_context("spawn").Process(
                target=_fit_and_die, args=(common, X, y)
            )
            process.start()
            process.join()
            assert process.exitcode == 9
            epochs = _Epochs()
            again = PretrainedImageClassifier(**common, callbacks=[epochs]).fit(X, y)
        epochs_left.append(epochs.n)
        same.append(np.array_equal(whole.predict_proba(X), again.predict_proba(X)))
    print_table(
        ["killed in epoch 4 of 10, seeds", "epochs trained after that", "bit-identical"],
        [[len(same), max(epochs_left), sum(same)]],
    )
    judge("seeds that end equal", sum(same), at_least=len(same))


class _Epochs(Callback):
    """Count epochs."""

    n = 0

    def on_epoch_end(self, net, **kwargs):
        self.n += 1


QUESTIONS = {f.__name__: f for f in (fine_tuning, knobs, views, distillation, resumed)}


def main():
    options = parser(__doc__, pictures=488)
    add_questions(options, QUESTIONS)
    options.add_argument("--seeds", type=int, default=5)
    options = options.parse_args()
    print_machine()
    for question in options.questions:
        QUESTIONS[question](options)


if __name__ == "__main__":
    main()
