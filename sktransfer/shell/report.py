"""python -m sktransfer report."""

from __future__ import annotations

import sys
from argparse import Namespace

from sktransfer.datasets import load_image_folder
from sktransfer.inspection.reporting.report import report as make_report
from sktransfer.inspection.subject import subject_of
from sktransfer.persistence.model_file.load import load
from sktransfer.shell.targets import check_target


def report(options: Namespace) -> int:
    """Report on a classifier that is tested on a folder."""
    target = check_target(options.output, options.model)
    estimator = load(options.model)
    network = subject_of(estimator, "report").network
    if network is not None and not options.quiet:
        network.set_params(verbose=1)
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
    for text in found.warnings:
        print(f"warning: {text}", file=sys.stderr)
    print(f"Wrote {target}. {found!r}")
    return 0
