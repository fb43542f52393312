"""Devices, threads and random state: what a process shares and must get back as it was."""

import contextlib
import threading
from collections.abc import Iterator

import torch

from sktransfer.exceptions import DeviceUnavailableError

# torch's global generator belongs to the whole process. Whoever seeds it holds this
# lock until the old state is back, so that two fits in two threads cannot mix.
_GLOBAL_RANDOM_STATE = threading.RLock()


def available_devices() -> list[str]:
    """Names of the devices that torch can use on this machine, fastest first."""
    names = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        names.append("mps")
    return [*names, "cpu"]


def resolve_device(device: str) -> str:
    """Name of a device that exists, from what the user asked for.

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
    present = available_devices()
    if device == "auto":
        return present[0]
    try:
        asked = torch.device(device)
    except RuntimeError as error:
        raise DeviceUnavailableError(
            f"device={device!r} is not a torch device. Use 'auto' or one of {present}."
        ) from error
    name = asked.type if asked.type != "cuda" else f"cuda:{asked.index or 0}"
    if name not in present:
        raise DeviceUnavailableError(
            f"device={device!r} is not available on this machine. "
            f"Use device='auto' or one of {present}."
        )
    return name


def available_or_cpu(device: str) -> str:
    """The same device if this machine has it, else the CPU (for unpickling)."""
    return device if device in available_devices() else "cpu"


def reading_threads(n_jobs: int | None) -> int:
    """Number of threads that decode pictures.

    torch's own thread count respects ``OMP_NUM_THREADS``, the process's affinity and
    joblib's limits inside its workers, so it is the default; negative numbers count
    back from it as joblib's do.
    """
    limit = torch.get_num_threads()
    if n_jobs is None:
        return limit
    return n_jobs if n_jobs > 0 else max(1, limit + 1 + n_jobs)


@contextlib.contextmanager
def seeded(seed: int, device: str = "cpu") -> Iterator[None]:
    """Run a block under torch's global generators set to `seed`, then restore them."""
    cuda = [torch.device(device)] if device.startswith("cuda") else []
    with _GLOBAL_RANDOM_STATE, torch.random.fork_rng(devices=cuda):
        torch.manual_seed(seed)
        yield
