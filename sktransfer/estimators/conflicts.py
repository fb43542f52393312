"""Parameters that can't be used together: each pair is an error that names both."""

from __future__ import annotations

from collections.abc import Iterator
from numbers import Integral, Real
from typing import Any

from sktransfer.estimators.labels import Labels
from sktransfer.exceptions import ParameterError
from sktransfer.training.losses import LOSSES, as_loss
from sktransfer.training.pace import epochs
from sktransfer.training.user_callbacks import check_callbacks

# Values that leave the problem convex, so that optimizer="auto" is L-BFGS.
_CONVEX: dict[str, tuple[Any, ...]] = {
    "unfreeze_depth": (0,),
    "hidden_layer_sizes": ((), []),
    "dropout": (0,),
    "mixup": (0,),
    "cutmix": (0,),
    "loss": tuple(name for name, loss in LOSSES.items() if loss.convex),
    "ema_decay": (None,),
}
# L-BFGS does not clip gradients. optimizer="auto" may ignore that, but a user who asks for L-BFGS
# by name has to know.
_LBFGS = {**_CONVEX, "gradient_clipping": (None,)}


def check_conflicts(classifier: Any, *, held_out: bool, groups: bool, validation: bool) -> None:
    """Raise for the first contradiction among the parameters of a classifier and of its fit.

    Parameters
    ----------
    classifier : PretrainedImageClassifier
        Each of its parameters is valid by itself.
    held_out : bool
        Whether rows are held out or given for validation.
    groups, validation : bool
        Whether `groups` and `validation_data` were given to fit.

    Raises
    ------
    ParameterError
    """
    for message in _conflicts(classifier, held_out, groups, validation):
        raise ParameterError(message)  # the first one: the others may vanish with its remedy


def _conflicts(it: Any, held_out: bool, groups: bool, validation: bool) -> Iterator[str]:
    if it.optimizer == "lbfgs":
        yield from _against_lbfgs(it, _LBFGS)
    decides = "auto" in (it.resize, it.unfreeze_depth)
    if groups and not decides and not hasattr(it.validation_fraction, "split"):
        yield (
            "groups say which rows a validation split, or a choice by evidence, must keep "
            f"together, but validation_fraction={it.validation_fraction!r} does not use them and "
            "nothing is chosen. Use validation_fraction=GroupShuffleSplit(1), or leave groups out."
        )
    if groups and decides and isinstance(it.validation_fraction, Real):
        yield (
            f"groups must stay together, but validation_fraction={it.validation_fraction!r} holds "
            "out rows one by one. Use validation_fraction=GroupShuffleSplit(1), or None."
        )
    if validation and it.validation_fraction is not None:
        yield (
            f"validation_data and validation_fraction={it.validation_fraction!r} both choose the "
            "rows to validate on. Use one of them."
        )
    for name, value in (("early_stopping", False), ("calibrate", None)):
        if getattr(it, name) != value and not held_out:
            yield (
                f"{name}={getattr(it, name)!r} needs rows that do not train, but "
                "validation_fraction=None. Set validation_fraction=0.1, or give validation_data "
                "to fit."
            )
    if it.n_views is not None and it.augment is None:
        yield f"n_views={it.n_views} counts augmented views, but augment=None. Set augment='light'."
    if it.cutmix and _without_stages(it):
        yield (
            f"cutmix={it.cutmix} pastes boxes of maps, but {_without_stages(it)}: the head then "
            "gets features, which have no height and width. Use mixup, or unfreeze_depth=1."
        )
    if it.mc_dropout is not None and not it.dropout:
        yield f"mc_dropout={it.mc_dropout} draws from dropout, but dropout=0. Set dropout=0.5."
    if it.label_smoothing and callable(it.loss):
        yield (
            f"label_smoothing={it.label_smoothing} is for losses by name, but loss={it.loss!r}. "
            "Let the class smooth, by functools.partial, or use loss='cross_entropy'."
        )
    # Torch's losses differ in what they take for targets: codes, shares, or both.
    if callable(it.loss) and (it.mixup or it.cutmix):
        yield (
            f"mixup={it.mixup} and cutmix={it.cutmix} give rows a share of several classes, which "
            f"loss={it.loss!r} may not accept. Use loss='cross_entropy', or no mixing."
        )
    if it.checkpoint_dir is not None and not isinstance(it.random_state, Integral):
        yield (
            f"checkpoint_dir={str(it.checkpoint_dir)!r} needs a training that can be repeated, but "
            f"random_state={it.random_state!r}. Set random_state=0."
        )
    yield from _about_unfreezing(it)


def _against_lbfgs(it: Any, allowed: dict[str, tuple[Any, ...]], **changed: Any) -> Iterator[str]:
    for name, convex in allowed.items():
        value = changed.get(name, getattr(it, name))
        # NumPy compares its numbers with an empty list element by element, which is no answer.
        if (float(value) if isinstance(value, Real) else value) not in convex:
            yield (
                "optimizer='lbfgs' is for the convex problem, a linear head on a frozen "
                f"backbone, but {name}={value!r}. Use optimizer='auto' or 'adamw', or "
                f"{name}={convex[0]!r}."
            )
    if it.augment is not None and it.n_views is None:
        yield (
            f"optimizer='lbfgs' solves one fixed problem, but augment={it.augment!r} with "
            "n_views=None changes the pictures every epoch. Set n_views=4, or use "
            "optimizer='adamw'."
        )


def _without_stages(it: Any) -> str:
    """The parameter by which no stage trains, or perhaps none; empty if some do."""
    if it.unfreeze_depth == "auto":
        return "unfreeze_depth='auto', which may choose 0"
    return "" if it.unfreeze_depth else f"unfreeze_depth={it.unfreeze_depth!r}"


def _about_unfreezing(it: Any) -> Iterator[str]:
    begins = it.gradual_unfreezing
    listed = isinstance(begins, list | tuple)  # else a bool, of Python's or NumPy's
    if not listed and not begins:
        return
    if _without_stages(it):
        yield (
            f"gradual_unfreezing={begins!r} has nothing to unfreeze, but {_without_stages(it)}. "
            "Set unfreeze_depth to the number of stages that train in the end."
        )
    elif listed:
        whole = all(isinstance(epoch, Integral) and int(epoch) >= 0 for epoch in begins)
        if not whole or list(begins) != sorted(begins):
            yield (
                "gradual_unfreezing must be True, False or the epochs, counted from 0, in which "
                f"the last stage, the one before it, and so on begin to train; got {begins!r}."
            )
        elif it.unfreeze_depth not in ("all", len(begins)):
            yield (
                f"gradual_unfreezing={begins!r} names {len(begins)} stages, but unfreeze_depth="
                f"{it.unfreeze_depth!r}. Give one epoch for each."
            )
        elif max(begins, default=0) >= epochs(it.max_epochs):
            yield (
                f"gradual_unfreezing={begins!r} unfreezes a stage after the last epoch, for "
                f"max_epochs={epochs(it.max_epochs)}. Train longer, or begin earlier."
            )


def check_user_callbacks(classifier: Any, *, held_out: bool, in_pieces: bool = False) -> None:
    """Raise if one of the `callbacks` can't be used with the other parameters.

    Raises
    ------
    ParameterError
    """
    ways = {is_solved(classifier)}
    if classifier.unfreeze_depth == "auto":  # callbacks must suit whatever is chosen
        ways.add(is_solved(classifier, unfreeze_depth=0))
    for solved in ways:
        check_callbacks(
            classifier.callbacks,
            held_out=held_out,
            mixes=bool(classifier.mixup or classifier.cutmix),
            solved=solved,
            schedule=None if in_pieces else classifier.schedule,
        )


def is_solved(classifier: Any, **changed: Any) -> bool:
    """Tell if L-BFGS does all the training of a fit, or of a piece.

    Parameters
    ----------
    classifier : PretrainedImageClassifier
    **changed
        Parameters that have another value than in the classifier.
    """
    named = classifier.optimizer in ("auto", "lbfgs")
    return named and not any(_against_lbfgs(classifier, _CONVEX, **changed))


def check_against_labels(classifier: Any, labels: Labels) -> None:
    """Raise if parameters contradict the kind of y.

    Raises
    ------
    ParameterError
    """
    if not labels.multilabel:
        return
    if not as_loss(classifier.loss).multilabel:
        raise ParameterError(
            "y is an indicator of several labels per picture, but "
            f"loss={classifier.loss!r} is for one. "
            "Use loss='binary_cross_entropy'; or, for one label in each row, y.argmax(axis=1)."
        )
    if classifier.sampling is not None:
        raise ParameterError(
            f"sampling={classifier.sampling!r} draws rows by their class, but y is an indicator of "
            "several labels. Use sampling=None, and class_weight='balanced'."
        )


def check_partial_fit(classifier: Any) -> None:
    """Raise for parameters that have no meaning where the rows come in pieces.

    Raises
    ------
    ParameterError
    """
    # "balanced" needs the counts of all rows; the others need rows to validate on, or a known
    # number of epochs; a piece has neither.
    allowed = {
        "optimizer": classifier.optimizer != "lbfgs",
        "class_weight": classifier.class_weight != "balanced",
        "early_stopping": not classifier.early_stopping,
        "validation_fraction": classifier.validation_fraction is None,
        "calibrate": classifier.calibrate is None,
        "gradual_unfreezing": classifier.gradual_unfreezing in (False,),
        "checkpoint_dir": classifier.checkpoint_dir is None,
        "n_views": classifier.n_views is None,
    }
    for name, is_allowed in allowed.items():
        if not is_allowed:
            raise ParameterError(
                f"partial_fit gets the rows in pieces and can't use {name}="
                f"{getattr(classifier, name)!r}. Use fit, or leave {name} at its default."
            )
