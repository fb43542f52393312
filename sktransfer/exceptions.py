"""All error and warning classes of sktransfer.

Each class also inherits from the builtin that callers of scikit-learn catch (``ValueError``,
``RuntimeError`` or ``UserWarning``), so code written for scikit-learn handles these errors
without knowing sktransfer. A ``ValueError`` is about parameters or input. A ``RuntimeError``
depends on the machine, the network connection or the course of training.
"""

from sklearn.exceptions import ConvergenceWarning

__all__ = [
    "BackboneError",
    "CacheWarning",
    "DeviceMemoryError",
    "DeviceUnavailableError",
    "DeviceWarning",
    "EngineUnavailableError",
    "ExportError",
    "ForgettingWarning",
    "ImageError",
    "ImageWarning",
    "InterruptedWarning",
    "ModelFileError",
    "ParameterError",
    "RankingWarning",
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
    """Base class of all errors that sktransfer defines."""


class ImageError(SktransferError, ValueError):
    """X, or one picture in it, has a type, shape or content that can't be read as a picture."""


# A class of its own, because ``on_error`` must not hide mistakes such as a folder among the paths.
class UnreadableImageError(ImageError):
    """A picture file is missing, damaged or not an image; ``on_error`` applies to it."""


class BackboneError(SktransferError, ValueError):
    """The backbone, stage or depth is unknown, or the backbone can't take the image size."""


class WeightsError(SktransferError, ValueError):
    """Weights exist, but are damaged or don't belong to the backbone."""


class WeightsUnavailableError(SktransferError, RuntimeError):
    """Pretrained weights can neither be found on disk nor downloaded."""


class DeviceUnavailableError(SktransferError, ValueError):
    """The requested device is not available on this machine."""


class EngineUnavailableError(SktransferError, ValueError):
    """The engine is not installed, or does not support the device or the precision."""


class ExportError(SktransferError, RuntimeError):
    """A graph can't be made of an estimator, or its graph does not give the same values."""


class DeviceMemoryError(SktransferError, RuntimeError):
    """The device has too little memory for a single picture, or for one training batch."""


class ModelFileError(SktransferError, ValueError):
    """A file is not a model file, is damaged, or holds what no model file may hold."""


class ParameterError(SktransferError, ValueError):
    """Parameters contradict each other or y, or training can't use one of them."""


class TrainingDivergedError(SktransferError, RuntimeError):
    """The training loss became NaN or infinite."""


class SktransferWarning(UserWarning):
    """Base class of all warnings that sktransfer emits."""


class ImageWarning(SktransferWarning):
    """Pictures were read, but perhaps not in the way that was meant."""


class TrainingWarning(SktransferWarning):
    """Training did not end as requested, but the classifier can be used."""


class ForgettingWarning(TrainingWarning):
    """Fine-tuning ended at a much higher training loss than the head alone had reached."""


class InterruptedWarning(TrainingWarning):
    """Training was interrupted, for example by Ctrl-C; the model trained so far is kept."""


# Also scikit-learn's ConvergenceWarning, so that filters for other estimators apply to it.
class ShortTrainingWarning(TrainingWarning, ConvergenceWarning):  # type: ignore[misc]
    """Training ended while the loss was still decreasing fast."""


class RankingWarning(SktransferWarning):
    """A ranking lacks some of its candidates, which failed, or were not reached."""


class DeviceWarning(SktransferWarning):
    """A fitted estimator computes on another device, or in another precision, than in its fit."""


class CacheWarning(SktransferWarning):
    """A cache folder can't be used, or only in part: work is slower, but results are the same."""
