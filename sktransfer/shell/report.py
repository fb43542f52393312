"""python -m sktransfer report."""

from __future__ import annotations

from argparse import Namespace

from sktransfer.datasets import load_image_folder
from sktransfer.inspection.reporting.report import report as make_report
from sktransfer.shell.models import check_target, load_model


def report(options: Namespace) -> int:
    """Report on a classifier that is tested on a folder."""
    target = check_target(options.output)
    estimator = load_model(options.model)
    X_test, y_test = load_image_folder(options.folder, return_X_y=True)
    train = (None, None)
    if options.train is not None:
        train = load_image_folder(options.train, return_X_y=True)
    found = make_report(
        *(estimator, X_test, y_test),
        X_train=train[0],
        y_train=train[1],
        learning_curve=options.learning_curve,
        title=options.title,
        path=target,
    )
    print(f"Wrote {target}. {found!r}")
    return 0
