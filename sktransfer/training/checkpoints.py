"""Checkpoints, from which a training that was killed continues after its last whole epoch."""

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import fields
from hashlib import sha256
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from skorch.callbacks import Callback, EarlyStopping, LRScheduler

from sktransfer._common.files import replaced_when_complete
from sktransfer._common.identity import library_versions, stable_repr
from sktransfer._common.left_behind import remove_unfinished
from sktransfer._common.python_numbers import with_python_numbers
from sktransfer._common.warning import warn
from sktransfer.backbones.frozen import state_digest
from sktransfer.exceptions import TrainingWarning
from sktransfer.training.data import TrainingData
from sktransfer.training.net import TransferNet
from sktransfer.training.settings import TrainingSettings

_WRITTEN = {"finished", "module", "optimizer", "scaler", "average", "callbacks", "history"}
# Settings that the result does not depend on. A training may continue on another device, in
# another folder, and with other callbacks.
_NO_EFFECT = ("callbacks", "checkpoint_dir", "device", "verbose")
# The state of skorch's EarlyStopping, which has no method to give it.
_STOPPING = ("misses_", "dynamic_threshold_", "best_epoch_", "best_model_weights_")


class Checkpoint(Callback):  # type: ignore[misc]
    """Write all that training needs after each epoch, and continue from an earlier file.

    It must be the last of the callbacks, since it restores the state of the others, which they
    reset when training begins. No random state is kept: all draws of an epoch depend on the
    number of the epoch alone.

    Parameters
    ----------
    path : Path
        The file. It is replaced as a whole, so that a kill leaves the old one or the new one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_begin(self, net: TransferNet, **kwargs: Any) -> None:
        try:
            state = _checked(torch.load(self.path, map_location="cpu", weights_only=True), net)
        except FileNotFoundError:
            return
        except (OSError, EOFError, RuntimeError, ValueError, UnpicklingError) as error:
            warn(
                f"The checkpoint {str(self.path)!r} can't be read ({type(error).__name__}); "
                "training begins anew.",
                TrainingWarning,
            )
            return
        net.module_.load_state_dict(state["module"])
        net.optimizer_.load_state_dict(state["optimizer"])
        net.scaler_.load_state_dict(state["scaler"])
        if net.weight_average_ is not None:
            net.weight_average_.load_state_dict(state["average"])
        for name, callback in net.callbacks_:
            _restore(callback, state["callbacks"].get(name, {}))
        net.resume(state["history"], finished=state["finished"])

    def on_epoch_end(self, net: TransferNet, **kwargs: Any) -> None:
        self._write(net, finished=False)

    def on_train_end(self, net: TransferNet, **kwargs: Any) -> None:
        if not net.interrupted_ and not net.finished_:
            self._write(net, finished=True)

    def _write(self, net: TransferNet, *, finished: bool) -> None:
        average = net.weight_average_
        # Numbers of NumPy are loaded only with weights_only=False, which lets a file run code.
        state = {
            "finished": finished,
            "module": net.module_.state_dict(),
            "optimizer": with_python_numbers(net.optimizer_.state_dict()),
            "scaler": net.scaler_.state_dict(),
            "average": None if average is None else average.state_dict(),
            "callbacks": {
                name: with_python_numbers(_state_of(each)) for name, each in net.callbacks_
            },
            "history": [_plain(row) for row in net.history],
        }
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with replaced_when_complete(self.path) as unfinished, unfinished.open("wb") as file:
                torch.save(state, file)
        except OSError as error:
            raise OSError(
                f"checkpoint_dir={str(self.path.parent)!r}: no checkpoint can be written there: "
                f"{error}. An earlier one stays: the same fit goes on from it once this is mended."
            ) from error


class CheckpointFiles:
    """The checkpoint files of one training, one for each phase.

    Their name is a digest of all that the result depends on, so that trainings which share a
    folder, such as the candidates of a search, never continue from each other's files. Equal
    trainings, which may well run at once, share their files: each continues from where another
    has come, and the first to end removes them.

    Parameters
    ----------
    folder : Path or None
        None for no checkpoints.
    identity : callable
        A digest in hexadecimal. Called only if there is a folder: it reads all rows.
    """

    def __init__(self, folder: Path | None, identity: Callable[[], str]) -> None:
        self._folder = folder
        self._name = "" if folder is None else identity()[:32]

    def path(self, phase: str) -> Path | None:
        """The file of a phase, by its name; None without a folder."""
        return None if self._folder is None else self._folder / f"{self._name}-{phase}.pt"

    def remove(self) -> None:
        """Remove the files of a training that has ended."""
        if self._folder is not None:
            remove_unfinished(self._folder)
            for path in self._folder.glob(f"{self._name}-*"):
                # Windows refuses while another process has it open; that process removes it.
                with contextlib.suppress(OSError):
                    path.unlink(missing_ok=True)


def training_identity(settings: TrainingSettings, data: TrainingData) -> str:
    """A digest, in hexadecimal, of everything that the result of a training depends on."""
    given = {
        f.name: getattr(settings, f.name) for f in fields(settings) if f.name not in _NO_EFFECT
    }
    stages = data.stages
    # Parameters alone tell neither the kind of pooling nor what BatchNorm does in training.
    structure = f"{stages} {stages.fixed_statistics}"
    sha = sha256(f"{library_versions()} {stable_repr(given)} {structure}".encode())
    for module in (stages, data.earlier_head):
        sha.update(b"" if module is None else state_digest(module))
    for rows in (data.rows, data.validation):
        sha.update(b"" if rows is None else rows.digest())
    return sha.hexdigest()


def _checked(state: Any, net: TransferNet) -> dict[str, Any]:
    """The content of a file, if it is complete and belongs to such a net.

    Checked before any of it is used, so that a damaged file leaves the net as it was, and
    training can start from the beginning.

    Raises
    ------
    ValueError
        If something is missing, or the network has other shapes.
    """
    if not isinstance(state, dict) or not state.keys() >= _WRITTEN:
        raise ValueError("parts of it are missing")
    if _shapes(state["module"]) != _shapes(net.module_.state_dict()):
        raise ValueError("it is of another network")
    return state


def _shapes(tensors: Any) -> dict[str, Any]:
    known = tensors if isinstance(tensors, Mapping) else {}
    return {key: getattr(value, "shape", None) for key, value in known.items()}


def _state_of(callback: Callback) -> dict[str, Any]:
    """The state of schedules and early stopping; other callbacks of the user have none here."""
    if isinstance(callback, LRScheduler):
        return {"scheduler": callback.lr_scheduler_.state_dict(), "step": callback.batch_idx_}
    if isinstance(callback, EarlyStopping):
        return {name: getattr(callback, name) for name in _STOPPING}
    return {}


def _restore(callback: Callback, state: dict[str, Any]) -> None:
    if "scheduler" in state:
        callback.lr_scheduler_.load_state_dict(state["scheduler"])
        callback.batch_idx_ = state["step"]
    for name in _STOPPING:
        if name in state:
            setattr(callback, name, state[name])


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """A row of the history in numbers of Python, without its batches."""
    kept: dict[str, Any] = with_python_numbers({key: row[key] for key in row if key != "batches"})
    return kept | {"batches": []}
