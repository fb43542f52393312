"""Names of the devices that torch can use on this machine."""

import torch

from sktransfer.exceptions import DeviceUnavailableError


def available_devices() -> list[str]:
    """Return the names of the devices that torch can use on this machine, fastest first."""
    names = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        names.append("mps")
    return [*names, "cpu"]


def resolve_device(device: str) -> str:
    """Return the full name of the requested device, after checking that it exists.

    Parameters
    ----------
    device : str
        ``"auto"`` (CUDA, then MPS, then CPU) or a torch device string.

    Returns
    -------
    str
        For example ``"cpu"``, ``"mps"`` or ``"cuda:1"``.

    Raises
    ------
    DeviceUnavailableError
        If the device is unknown or absent.
    """
    if device == "cpu":
        # To ask for GPUs may start CUDA, and then processes that are forked can't use torch's
        # optimizers.
        return "cpu"
    present = available_devices()
    name = present[0] if device == "auto" else _canonical(device, present)
    if name not in present:
        raise DeviceUnavailableError(
            f"device={device!r} is not available on this machine. "
            f"Use device='auto' or one of {present}."
        )
    # torch would raise too, but its message names multiprocessing's start method, and a user of
    # joblib chooses a backend instead.
    if name.startswith("cuda") and torch.cuda._is_in_bad_fork():
        raise DeviceUnavailableError(
            f"device={device!r} can't be used in a process that was forked after CUDA was started, "
            "as joblib's 'multiprocessing' backend does. Use the 'loky' backend, or device='cpu'."
        )
    return name


def _canonical(device: str, present: list[str]) -> str:
    try:
        asked = torch.device(device)
    except RuntimeError as error:
        raise DeviceUnavailableError(
            f"device={device!r} is not a torch device. Use 'auto' or one of {present}."
        ) from error
    # Only CUDA has several devices; "cpu:0" and "mps:0" are the same as "cpu" and "mps".
    return asked.type if asked.type != "cuda" else f"cuda:{asked.index or 0}"


def available_or_cpu(device: str) -> str:
    """Return `device` if this machine has it, else "cpu" (for unpickling)."""
    return device if device != "cpu" and device in available_devices() else "cpu"


def with_float64(device: str) -> str:
    """Return `device`, or "cpu" for Apple's MPS, which does not support float64."""
    return "cpu" if device == "mps" else device
