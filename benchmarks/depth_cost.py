"""The time that `unfreeze_depth="auto"` takes on few pictures, and where it goes.

Run with ``python -m benchmarks.depth_cost``. Seconds are of the processor, of one fit each, after
one that is not counted. No cache is kept from fit to fit. "All steps" are those of gradient
descent, a part of the trials and of the training of the choice.
"""

import time
from collections import Counter
from contextlib import ExitStack, contextmanager
from itertools import product
from unittest import mock

from benchmarks._common import ants_and_bees, mobilenet, parser, print_machine, print_table
from sktransfer import PretrainedImageClassifier
from sktransfer.activations.streaming import FrozenPass
from sktransfer.estimators import fit_model
from sktransfer.selection import depth as selection
from sktransfer.training.net import TransferNet

COLUMNS = ("passes", "trials of 0", "trials of 1", "trials of 2", "training of the choice")


@contextmanager
def parts():
    """Sum up the seconds of the parts of a fit, by name."""
    seconds = Counter()

    def timed(owner, attribute, name):
        original = getattr(owner, attribute)

        def run(*arguments, **options):
            start = time.process_time()
            try:
                return original(*arguments, **options)
            finally:
                seconds[name(*arguments)] += time.process_time() - start

        return mock.patch.object(owner, attribute, run)

    with ExitStack() as stack:
        for patched in (
            timed(FrozenPass, "collect", lambda *_: "passes"),
            timed(selection, "_tried", lambda _, stages, *__: f"trials of {_depth(stages)}"),
            timed(fit_model, "train", lambda *_: "training of the choice"),
            timed(TransferNet, "train_step", lambda *_: "steps"),
        ):
            stack.enter_context(patched)
        yield seconds


def _depth(stages):
    return max(stages.depths.values(), default=0)


def measured(X, y, **parameters):
    """Return the depth that a fit has, its seconds, and those of its parts."""
    start = time.process_time()
    with parts() as seconds:
        model = PretrainedImageClassifier(**parameters, random_state=0).fit(X, y)
    return model.unfreeze_depth_, time.process_time() - start, seconds


def main():
    arguments = parser(__doc__)
    arguments.add_argument("--image-size", type=int, nargs="+", default=[96, 224])
    arguments.add_argument("--backbones", nargs="+", default=["MobileNetV2", "Lite0"])
    options = arguments.parse_args()
    print_machine()
    X, y = ants_and_bees(options.data, "train")
    rows = []
    networks = {"MobileNetV2": mobilenet(options.data), "Lite0": {"backbone": "efficientnet_lite0"}}
    for network, size in product(options.backbones, options.image_size):
        common = {**networks[network], "image_size": size}
        measured(X, y, **common)
        _, default, _ = measured(X, y, **common)
        chosen, whole, of = measured(X, y, **common, unfreeze_depth="auto")
        known = [of[name] for name in COLUMNS]
        rest = whole - sum(known)
        rows.append([network, size, default, whole, *known, rest, of["steps"], chosen])
    titles = ["backbone", "pixels", "default fit", "auto", *COLUMNS, "rest", "all steps", "choice"]
    print_table(titles, rows)


if __name__ == "__main__":
    main()
