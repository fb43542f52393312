"""Every error and warning that sktransfer raises by name, in one tree.

Each one is also the builtin that scikit-learn's callers catch (``ValueError``,
``RuntimeError``, ``UserWarning``), so code that knows nothing of sktransfer keeps
working, and code that does can be precise.
"""

from sklearn.exceptions import ConvergenceWarning

__all__ = [
    "BackboneError",
    "CacheWarning",
    "DeviceMemoryError",
    "DeviceUnavailableError",
    "DeviceWarning",
    "EngineUnavailableError",
    "ForgettingWarning",
    "ImageError",
    "ImageWarning",
    "InterruptedWarning",
    "ParameterError",
    "ShortTrainingWarning",
    "SktransferError",
    "SktransferWarning",
    "TrainingDivergedError",
    "TrainingWarning",
    "UnreadableImageError",
    "WeightsError",
    "WeightsUnavailableError",
]


class SktransferError(Exception):
    """Base of every error that sktransfer raises by name."""


class ImageError(SktransferError, ValueError):
    """X, or one picture of it, is not something that can be read as an image."""


class UnreadableImageError(ImageError):
    """A picture is missing, truncated, or no image: what ``on_error`` is about."""


class BackboneError(SktransferError, ValueError):
    """An unknown backbone, stage or depth, or a size the backbone can't take."""


class WeightsError(SktransferError, ValueError):
    """Weights that exist but don't belong to the backbone, or are damaged."""


class WeightsUnavailableError(SktransferError, RuntimeError):
    """Pretrained weights that can be had neither from disk nor from the network."""


class DeviceUnavailableError(SktransferError, ValueError):
    """A device that this machine doesn't have."""


class EngineUnavailableError(SktransferError, ValueError):
    """An engine that is not installed, or that the device or the precision rules out."""


class DeviceMemoryError(SktransferError, RuntimeError):
    """A device whose memory can't hold the work on one picture, or on one training batch."""


class ParameterError(SktransferError, ValueError):
    """Parameters that contradict each other or y, or one that training can't use."""


class TrainingDivergedError(SktransferError, RuntimeError):
    """The training loss became NaN or infinite."""


class SktransferWarning(UserWarning):
    """Base of every warning that sktransfer emits."""


class ImageWarning(SktransferWarning):
    """Pictures that were read, but not as their owner may expect."""


class TrainingWarning(SktransferWarning):
    """Training that ended otherwise than asked, with a classifier that can be used."""


class ForgettingWarning(TrainingWarning):
    """Fine-tuning that lost more than it learned."""


class InterruptedWarning(TrainingWarning):
    """Training that was interrupted, by Ctrl-C for example, and keeps what it had learned."""


class ShortTrainingWarning(TrainingWarning, ConvergenceWarning):  # type: ignore[misc]
    """Training that ended while its loss still fell fast."""


class DeviceWarning(SktransferWarning):
    """A fitted estimator that was opened where its device is missing: the CPU computes."""


class CacheWarning(SktransferWarning):
    """A cache folder that can't be used, or not wholly: work is slower, never wrong."""
