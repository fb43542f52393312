"""load: the estimator of a model file."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from sklearn.base import BaseEstimator

from sktransfer._common.devices import resolve_device
from sktransfer.backbones.backbone import Backbone
from sktransfer.exceptions import (
    ModelFileError,
    ParameterError,
    WeightsUnavailableError,
)
from sktransfer.persistence.model_file import manifest, tensors
from sktransfer.persistence.model_file.backbone_records import Here
from sktransfer.persistence.model_file.container import Archive, opened_archive
from sktransfer.persistence.model_file.estimator_records import estimator_of
from sktransfer.persistence.model_file.fields import Fields
from sktransfer.persistence.model_file.objects import object_of
from sktransfer.persistence.model_file.tensors import Tensors, check_size, read_tensors


def load(
    path: str | os.PathLike[str],
    *,
    device: str = "auto",
    weights: str | os.PathLike[str] | Mapping[str, Any] | None = None,
) -> Any:
    """Open a model file that `save` wrote.

    Nothing of the file is run, whoever made it: all of it is numbers and names, and each is
    checked before it is used.

    Parameters
    ----------
    path : str or path
    device : str, default="auto"
        The device of the estimator from now on. With "auto" it is the one that its parameter
        `device` names, or the CPU where this machine does not have it.
    weights : str, path, mapping of str to path, or None, default=None
        Where the weights of the backbone are on this machine, if the file does not hold them and
        they are not found where they were: as the estimators' parameter `weights`, which becomes
        this value. A mapping gives them by the names of several backbones.

    Returns
    -------
    estimator : object
        As it was saved: parameters, fit, history, and what `set_output` and the metadata requests
        had set. `cache` and `checkpoint_dir` are None. On the same machine and device, predictions
        are equal to the last bit.

    Raises
    ------
    ModelFileError
        If it is not a model file, is damaged, or holds what no model file may hold; or if it was
        written by a newer version, which the message names.
    WeightsError
        If the weights that are found are not those of the fit.
    WeightsUnavailableError
        If they are not in the file, and can't be had.
    BackboneError
        If `weights` is neither a file nor a published name.
    DeviceUnavailableError
        If this machine does not have `device`.
    OSError
        If there is no such file, or it can't be read.

    Warns
    -----
    DeviceWarning
        If the estimator names a device that this machine does not have.

    See Also
    --------
    save : Writes such a file.

    Examples
    --------
    >>> import os, tempfile
    >>> from sktransfer import PretrainedFeatureExtractor, load, save
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "extractor.skt")
    ...     save(PretrainedFeatureExtractor("efficientnet_lite0"), path)
    ...     load(path, device="cpu")
    PretrainedFeatureExtractor(backbone='efficientnet_lite0', device='cpu')
    """
    if not isinstance(path, str | os.PathLike) or not isinstance(device, str):
        raise ParameterError(
            f"load takes the name of a file, and of a device; got path={path!r:.60}, "
            f"device={device!r:.60}."
        )
    if device != "auto":
        resolve_device(device)  # before anything is read
    target = Path(path)
    if target.is_dir():
        raise IsADirectoryError(f"{target} is a folder. Give the name of a model file.")
    try:
        return opened(target, device, weights)
    except ModelFileError as error:
        raise ModelFileError(f"{target} can't be opened. {error}") from error
    except MemoryError as error:
        raise ModelFileError(
            f"{target} can't be opened. It needs more memory than is left."
        ) from error
    except WeightsUnavailableError as error:
        raise WeightsUnavailableError(
            f"{target} does not hold the weights of its backbone. Use load(..., weights=PATH) with "
            f"a file of them, or save it with include_backbone=True. {error}"
        ) from error


def opened(
    path: Path, device: str, weights: Any, known: Mapping[str, Backbone] = MappingProxyType({})
) -> Any:
    """What a model file holds.

    Parameters
    ----------
    path, device, weights
        As those of `load`.
    known : mapping of str to Backbone
        Backbones that need not be made again, by digest.

    Raises
    ------
    ModelFileError
    """
    with opened_archive(path) as archive:
        return _Reader(archive, device, weights, known).content()


class _Reader:
    """Reads each estimator and object of an archive once.

    Parameters
    ----------
    archive : Archive
    device, weights, known
        As those of `opened`.
    """

    def __init__(
        self, archive: Archive, device: str, weights: Any, known: Mapping[str, Backbone]
    ) -> None:
        self._archive = archive
        self._fields = _manifest_of(archive)
        for name, kind in (("sktransfer", str), ("libraries", dict), ("made", str)):
            self._fields.take(name, kind)  # for people
        self._records = self._fields.records("estimators")
        self._tensors = _tensors_of(archive, self._fields)
        self._here = Here(device, _weights_by_name(weights, self._records), known)
        # None while one is read: an estimator can't be a part of itself.
        self._estimators: dict[int, Any] = {}
        self._objects: set[int] = set()

    def content(self) -> Any:
        """What was saved."""
        fields = self._fields.record("content")
        try:
            content = self._other(fields, fields.text("kind"))
        except RecursionError as error:
            raise ModelFileError("It holds estimators within estimators, too deep.") from error
        fields.end()
        if not isinstance(content, BaseEstimator):
            raise ModelFileError("It holds no estimator.")
        if len(self._estimators) < len(self._records):
            raise ModelFileError("It has estimators of no use.")
        self._tensors.end()
        self._fields.end()
        return content

    def _other(self, fields: Fields, kind: str) -> Any:
        """The estimator or object that a record names."""
        if kind not in ("estimator", "object"):
            fields.refuse("kind", kind)
        number = fields.whole("number")
        return self._estimator(number) if kind == "estimator" else self._object(number)

    def _estimator(self, number: Any) -> Any:
        if number not in self._estimators:
            if type(number) is not int or not 0 <= number < len(self._records):
                raise ModelFileError(f"It has no estimator {number!r:.40}.")
            self._estimators[number] = None
            self._estimators[number] = estimator_of(
                *(self._records[number], self._tensors, f"estimators/{number}"),
                *(self._here, self._other),
            )
        if self._estimators[number] is None:
            raise ModelFileError("An estimator is a part of itself.")
        return self._estimators[number]

    def _object(self, number: int) -> Any:
        name = f"objects/{number}.skops"
        if name not in self._archive.names or number in self._objects:
            raise ModelFileError(f"It has no object {number}, or uses it twice.")
        self._objects.add(number)
        return object_of(self._archive.read(name), self._estimator)


def _manifest_of(archive: Archive) -> Fields:
    if manifest.NAME not in archive.names:
        raise ModelFileError("It is not a model file: it has no manifest.")
    if archive.size(manifest.NAME) > manifest.MAX_BYTES:
        raise ModelFileError("Its manifest is larger than that of any model file.")
    fields = Fields(manifest.from_json(archive.read(manifest.NAME)), "manifest")
    fields.whole("format", 1)
    objects = fields.whole("objects", 0, len(archive.names))
    expected = {manifest.NAME, tensors.NAME, *(f"objects/{i}.skops" for i in range(objects))}
    if set(archive.names) != expected:
        raise ModelFileError("It has other entries than those that its manifest names.")
    return fields


def _tensors_of(archive: Archive, fields: Fields) -> Tensors:
    table: dict[str, Any] = fields.take("tensors", dict)
    check_size(archive.size(tensors.NAME), table)
    return read_tensors(archive.read(tensors.NAME), table)


def _backbones_of(record: Fields) -> Iterator[Any]:
    """The names in a record: that of the parameter, and that of the fit, which may differ."""
    parameters, fitted = record.peek("parameters"), record.peek("fitted")
    if isinstance(parameters, dict):
        yield parameters.get("backbone")
    if isinstance(fitted, dict) and isinstance(fitted.get("backbone"), dict):
        yield fitted["backbone"].get("name")


def _weights_by_name(weights: Any, records: list[Fields]) -> dict[str, Any]:
    """The parameter `weights` of `load` by the names of backbones."""
    if weights is None:
        return {}
    names = {str(name) for each in records for name in _backbones_of(each)}
    if isinstance(weights, Mapping):
        if not weights.keys() <= names:
            raise ParameterError(
                f"weights has the backbones {sorted(weights)}; the model file has {sorted(names)}."
            )
        return dict(weights)
    if len(names) > 1:
        raise ParameterError(
            f"weights={str(weights)!r} names one file, but the model file has the backbones "
            f"{sorted(names)}. Use a mapping of their names to files."
        )
    return {name: weights if isinstance(weights, str) else Path(weights) for name in names}
