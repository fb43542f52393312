"""python -m sktransfer fit."""

from __future__ import annotations

import ast
import time
from argparse import Namespace
from collections.abc import Sequence
from typing import Any

from sktransfer.datasets import load_image_folder
from sktransfer.estimators.classifier import PretrainedImageClassifier
from sktransfer.persistence.model_file.save import save
from sktransfer.shell.targets import check_target


def fit(options: Namespace) -> int:
    """Fit a classifier on a folder, and write it."""
    target = check_target(options.output)
    classifier = PretrainedImageClassifier(options.backbone, verbose=0 if options.quiet else 1)
    # Raises for unknown names, and lists the known ones.
    classifier.set_params(**_as_values(options.parameters))
    paths, labels = load_image_folder(options.folder, return_X_y=True)
    start = time.perf_counter()
    classifier.fit(paths, labels)
    seconds = time.perf_counter() - start
    # Whoever opens the file decides about progress bars.
    save(classifier.set_params(verbose=0), target)
    n, k, size = len(paths), len(classifier.classes_), target.stat().st_size / 1e6
    print(f"Fitted {n} pictures of {k} classes in {seconds:.1f} s. Wrote {target} ({size:.1f} MB).")
    return 0


def _as_values(parameters: Sequence[str]) -> dict[str, Any]:
    """Parameters as NAME=VALUE: values of Python where they can be read so, else text."""
    values = {}
    for each in parameters:
        name, equals, text = each.partition("=")
        if not equals:
            raise ValueError(f"--set takes NAME=VALUE, as in unfreeze_depth=1; got {each!r}.")
        # As in most programs, and in Python.
        text = {"true": "True", "false": "False", "none": "None"}.get(text.lower(), text)
        try:
            values[name] = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            values[name] = text
    return values
