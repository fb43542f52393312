"""The commands and their arguments, over the public functions of the package."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Sequence
from typing import Any

from sktransfer.shell.fit import fit
from sktransfer.shell.predict import predict
from sktransfer.shell.report import report

# Exit codes; argparse exits with 2 for arguments that it does not understand.
DONE, FAILED, INTERRUPTED = 0, 1, 130

_MODEL = "as `fit` or sktransfer.save has written it; a model file is data, and runs no code"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Parameters
    ----------
    arguments : sequence of str, optional
        By default those of the process.

    Returns
    -------
    code : int
        0 if the command did what it was asked for, 1 if not, 3 if `predict` left out pictures that
        can't be read, 130 after Ctrl-C.
    """
    options = _parser().parse_args(arguments)
    usual = warnings.showwarning
    # Warnings are lines of text here, without the line of code that they point at.
    warnings.showwarning = lambda message, *_: print(f"warning: {message}", file=sys.stderr)
    try:
        return int(options.run(options))
    except KeyboardInterrupt:
        print("sktransfer: interrupted", file=sys.stderr)
        return INTERRUPTED
    # What users can mend: wrong input, files, missing packages, weights that can't be had.
    except (ValueError, TypeError, OSError, ImportError, RuntimeError) as error:
        print(f"sktransfer: error: {error}", file=sys.stderr)
        return FAILED
    finally:
        warnings.showwarning = usual


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m sktransfer",
        description="Transfer learning for images: fit a classifier, predict, report.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_fit(commands)
    _add_predict(commands)
    _add_report(commands)
    return parser


def _add_fit(commands: Any) -> None:
    command = commands.add_parser(
        "fit",
        help="fit a classifier on a folder with one subfolder for each class (class folders)",
        description="Fit a PretrainedImageClassifier on a folder with class folders.",
    )
    command.add_argument("folder", help="such as photos/, with photos/ant/1.jpg")
    command.add_argument("-o", "--output", required=True, metavar="MODEL", help="such as model.skt")
    command.add_argument("--backbone", default="resnet18", help="default: resnet18")
    command.add_argument(
        "--set",
        dest="parameters",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="another parameter of the classifier, such as unfreeze_depth=1; may be repeated",
    )
    _add_quiet(command)
    command.set_defaults(run=fit)


def _add_predict(commands: Any) -> None:
    command = commands.add_parser(
        "predict",
        help="write the predictions for the pictures of a folder as CSV",
        description=(
            "Write a CSV file with path, prediction and the probability of each class, one line "
            "for each picture of a folder and its subfolders."
        ),
    )
    command.add_argument("model", help=_MODEL)
    command.add_argument("folder")
    command.add_argument("-o", "--output", metavar="CSV", help="default: standard output")
    _add_quiet(command)
    command.set_defaults(run=predict)


def _add_report(commands: Any) -> None:
    command = commands.add_parser(
        "report",
        help="write a report on a classifier as one HTML file",
        description=(
            "Write a report on a classifier, tested on a folder with one subfolder for each class."
        ),
    )
    command.add_argument("model", help=_MODEL)
    command.add_argument("folder", help="pictures that had no part in the fit, in class folders")
    command.add_argument(
        "-o", "--output", required=True, metavar="HTML", help="such as report.html"
    )
    command.add_argument(
        "--train", metavar="FOLDER", help="the folder of the fit, for more sections"
    )
    command.add_argument(
        "--learning-curve",
        action="store_true",
        help="fit parts of --train as well; takes some fits",
    )
    command.add_argument("--title")
    _add_quiet(command)
    command.set_defaults(run=report)


def _add_quiet(command: Any) -> None:
    command.add_argument("-q", "--quiet", action="store_true", help="no progress bars")
