"""save: an estimator as a file that is safe to open."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sktransfer._common.files import check_writable, replaced_when_complete
from sktransfer._common.sklearn_private import BaseSearchCV
from sktransfer._common.versions import installed_version
from sktransfer.backbones.backbone import Backbone
from sktransfer.estimators.base import BackboneEstimator
from sktransfer.exceptions import ModelFileError, ParameterError
from sktransfer.persistence.model_file import manifest, tensors
from sktransfer.persistence.model_file.container import write_archive
from sktransfer.persistence.model_file.estimator_records import estimator_record
from sktransfer.persistence.model_file.load import opened
from sktransfer.persistence.model_file.objects import NotTrustedError, object_bytes
from sktransfer.persistence.model_file.values import NotPlainError

# Endings of the files of `export`.
_GRAPHS = (".onnx", ".xml", ".pt2")
_LIBRARIES = ("torch", "torchvision", "timm", "scikit-learn", "numpy", "skops")


def save(
    estimator: Any, path: str | os.PathLike[str], *, include_backbone: bool | str = "auto"
) -> None:
    """Write an estimator to a model file, which anyone can open safely by `load`.

    The file is a zip archive of ``manifest.json``, which people can read, and
    ``tensors.safetensors``. Nothing in it is code, so no parameter may be a function or a class of
    your own. Folders of this machine are not stored: `cache`, `checkpoint_dir`, and `memory` of a
    Pipeline.

    The file is opened once before it is kept. One that exists is replaced once the new one is
    complete and on the disk; until then, and after any error, it is as it was.

    Parameters
    ----------
    estimator : PretrainedImageClassifier, PretrainedFeatureExtractor or object of scikit-learn
        Fitted or not. Or a Pipeline, or another object of scikit-learn, with such estimators and
        scikit-learn's own in it (extra ``pipelines``).
    path : str or path
        The file, with any ending; ``.skt`` is usual.
    include_backbone : {"auto", True, False}, default="auto"
        Whether the file holds the frozen stages' weights too. With "auto" it does if they came
        from a file of your own, and does not if `load` can find them again: published weights,
        registered networks, and random weights. With True, the file opens on a machine without
        the weights; a registered network must be registered there all the same.

    Raises
    ------
    ParameterError
        If the estimator holds what no model file can hold: code, types of other packages, values
        that are not finite. If `path` is no name of a file, or ends as that of a graph.
    OSError
        If the file can't be written.

    See Also
    --------
    load : Opens such a file.
    export : Writes a graph that runs without sktransfer.

    Examples
    --------
    >>> import os, tempfile
    >>> from sktransfer import PretrainedImageClassifier, load, load_clipart, save
    >>> paths, labels = load_clipart(return_X_y=True)
    >>> classifier = PretrainedImageClassifier("efficientnet_lite0", random_state=0)
    >>> classifier = classifier.fit(paths[::10], labels[::10])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "model.skt")
    ...     save(classifier, path)
    ...     load(path).predict(paths[:1])
    array(['bird'], dtype='<U7')
    """
    if not isinstance(include_backbone, bool) and include_backbone != "auto":
        raise ParameterError(
            f"include_backbone must be 'auto', True or False; got {include_backbone!r}."
        )
    target = _target(path)
    check_writable(target)
    writer = _Writer(include_backbone)
    entries = writer.entries(estimator)
    with replaced_when_complete(target) as unfinished:
        write_archive(unfinished, entries)
        # One that can't be opened would be found out when the estimator is gone.
        try:
            opened(unfinished, "cpu", None, writer.known)
        except ModelFileError as error:
            raise ParameterError(
                f"{type(estimator).__name__} can't be kept in a model file, and none was written. "
                f"{error} Use joblib.dump instead."
            ) from error


def _target(path: Any) -> Path:
    """The path of a file that is to be written."""
    if not isinstance(path, str | os.PathLike):
        raise ParameterError(
            f"path must be the name of a file; got a {type(path).__name__}. "
            "Use save(estimator, path)."
        )
    target = Path(path)
    if target.suffix.lower() in _GRAPHS:
        raise ParameterError(
            f"path={str(path)!r} names a graph, and save writes model files. Use export(estimator, "
            "path), or a name that ends in .skt."
        )
    return target


class _Writer:
    """Numbers the estimators and objects of one file, and writes each once."""

    def __init__(self, include_backbone: bool | str) -> None:
        self._include = include_backbone
        self._tensors = tensors.Tensors()
        self._records: list[Any] = []
        self._objects: list[bytes] = []
        # Loaded backbones by digest.
        self.known: dict[str, Backbone] = {}
        # The estimators too: the id of a deleted one may be used again.
        self._numbers: dict[int, tuple[int, Any]] = {}

    def entries(self, estimator: Any) -> dict[str, bytes]:
        """The entries of the archive."""
        content = self._root(estimator)
        described = {
            "format": manifest.FORMAT,
            "sktransfer": installed_version("sktransfer"),
            "libraries": {name: installed_version(name) for name in _LIBRARIES},
            "made": datetime.now(UTC).isoformat(timespec="seconds"),
            "content": content,
            "estimators": self._records,
            "objects": len(self._objects),
            "tensors": self._tensors.table(),
        }
        try:
            text = manifest.as_json(described)
        except ValueError as error:
            raise ParameterError(str(error)) from error
        objects = {f"objects/{i}.skops": each for i, each in enumerate(self._objects)}
        return {manifest.NAME: text, tensors.NAME: self._tensors.as_bytes(), **objects}

    def _root(self, estimator: Any) -> dict[str, Any]:
        try:
            return self._other(estimator)
        except NotPlainError as error:
            raise ParameterError(
                f"A model file can hold sktransfer's estimators and objects of scikit-learn; "
                f"{type(estimator).__name__} {error}."
            ) from error

    def _other(self, value: Any) -> dict[str, Any]:
        """The record of an estimator of ours, or of an object of scikit-learn."""
        if isinstance(value, BaseSearchCV):
            raise NotPlainError("is a search. Save its best_estimator_")
        if isinstance(value, BackboneEstimator):
            return {"kind": "estimator", "number": self._number(value)}
        module = type(value).__module__
        if isinstance(value, type) or module.partition(".")[0] not in ("sklearn", "scipy"):
            raise NotPlainError(f"is a {module}.{type(value).__qualname__}")
        try:
            content = object_bytes(value, self._number)
        except NotTrustedError as error:
            raise NotPlainError(f"can't be in one: {error}") from error
        self._objects.append(content)
        return {"kind": "object", "number": len(self._objects) - 1}

    def _number(self, estimator: BackboneEstimator) -> int:
        """The number of an estimator, whose record is written at the first request."""
        if id(estimator) not in self._numbers:
            number = len(self._records)
            self._numbers[id(estimator)] = number, estimator
            self._records.append(None)
            place = f"estimators/{number}"
            self._records[number] = estimator_record(
                estimator, self._tensors, place, self._include, self._other
            )
            for fitted in ("_model", "_fitted"):
                if fitted in vars(estimator):
                    reference = vars(estimator)[fitted].backbone.reference
                    self.known[reference.digest] = reference.get()
        return self._numbers[id(estimator)][0]
