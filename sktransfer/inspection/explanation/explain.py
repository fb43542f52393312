"""explain: the parts of each picture that speak for a class."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.nn import functional

from sktransfer.exceptions import ParameterError
from sktransfer.images.preprocessing import Preprocessing
from sktransfer.images.sources import ImageSource
from sktransfer.inspection.explanation import closed_form, grad_cam
from sktransfer.inspection.explanation.geometry import Box, on_picture
from sktransfer.inspection.explanation.occlusion import N_PREDICTIONS, occlusion_maps
from sktransfer.inspection.explanation.parted_network import PartedNetwork, parted_network
from sktransfer.inspection.explanation.targets import target_codes
from sktransfer.inspection.subject import Subject, subject_of

logger = logging.getLogger("sktransfer")

METHODS = ("auto", "cam", "gradcam", "occlusion")
# Side of maps where there is no network that says how many pixels it sees.
_SIDE = 224
# Maps that are enlarged at once.
_AT_ONCE = 256


@dataclass(frozen=True, eq=False)
class Explanation:
    """Maps of the parts of pictures that speak for a class. Use :func:`explain` to make one.

    Parameters
    ----------
    maps : ndarray of shape (n, side, side), float32
        At the size of the square that the network sees: 1 where a picture speaks most for the
        class, and 0 where it does not, or speaks against it. All 0 if it does so nowhere.
    method : {"cam", "gradcam", "occlusion"}
        How they were found.
    target : ndarray of shape (n,)
        The class that each map is for.
    images : ImageSource
        The pictures, which are read again where their size is asked for.
    """

    maps: np.ndarray
    method: str
    target: np.ndarray
    images: ImageSource = field(repr=False)
    _preprocessing: Preprocessing | None = field(repr=False)

    def __repr__(self) -> str:
        return f"<Explanation of {len(self.maps)} pictures by {self.method!r}>"

    def __len__(self) -> int:
        return len(self.maps)

    def box(self, i: int) -> Box:
        """Where the square lies in the picture that it was made of.

        Parameters
        ----------
        i : int
            Row of X.

        Returns
        -------
        left, top, right, bottom : float
            In pixels of the picture, which is read again. They lie inside of it where `resize`
            crops, on its border where it squashes, and outside where it pads.

        Raises
        ------
        UnreadableImageError
            If the picture can't be read any more.
        """
        return self._box(self._size(i))

    def on_original(self, i: int, side: int | None = None) -> np.ndarray:
        """Draw a map on the picture that it is for, with crop, squash or padding undone.

        Parameters
        ----------
        i : int
            Row of X.
        side : int, optional
            Length of the longer side of the result. By default that of the picture.

        Returns
        -------
        map : ndarray of shape (h, w), float32
            In the picture's own shape. NaN where the network did not see it.

        Raises
        ------
        UnreadableImageError
            If the picture can't be read any more.
        """
        size = self._size(i)
        scale = 1.0 if side is None else side / max(size)
        width, height = (max(1, round(scale * each)) for each in size)
        return on_picture(self.maps[i], self._box(size), size, (width, height))

    def _size(self, i: int) -> tuple[int, int]:
        picture = self.images.read(i)
        if isinstance(picture, Image.Image):
            return picture.size
        height, width, _ = picture.shape
        return width, height

    def _box(self, size: tuple[int, int]) -> Box:
        if self._preprocessing is None:
            return 0.0, 0.0, float(size[0]), float(size[1])
        return self._preprocessing.seen(*size)


def explain(estimator: Any, X: Any, target: Any = None, method: str = "auto") -> Explanation:
    """Find the parts of pictures that speak for a class.

    "cam", the class activation map, is what each position of the network's last map adds to the
    score of the class: exact, without gradients, and computed by the engine and the cache of the
    estimator. It needs features that are means over positions, as most convolutional networks
    have, and a linear head. "gradcam" weights the channels of the last map by their mean
    gradient, which is the same where "cam" holds; it needs the package grad-cam (extra
    ``explain``) and a head of layers or of a linear model. "occlusion" hides 81 patches of each
    picture, one after the other, and measures by how much the prediction suffers: it works for
    any classifier of pictures, and takes 82 predictions for each picture.

    Maps are coarse, 7 x 7 positions for most networks at 224 pixels, and are enlarged. They show
    where the evidence lies, and not why it is evidence. Test-time augmentation, samples of
    dropout and the temperature of a calibration do not change "cam" and "gradcam": these are maps
    of the picture as it is.

    Sources: Zhou et al., "Learning Deep Features for Discriminative Localization", CVPR 2016
    ("cam"); Selvaraju et al., "Grad-CAM", ICCV 2017; Zeiler & Fergus, "Visualizing and
    Understanding Convolutional Networks", ECCV 2014, section 4.2 ("occlusion").

    Parameters
    ----------
    estimator : classifier
        A fitted PretrainedImageClassifier, a Pipeline that begins with a
        PretrainedFeatureExtractor, or a search over one of them. Any other classifier of pictures
        is explained by "occlusion".
    X : array, tensor, list, Series or one-column DataFrame
        Pictures, in any form that `fit` takes.
    target : label or array-like of shape (n,), optional
        The class to look for, one for all pictures or one for each; where a picture may have
        several labels, the number of a label. By default the predicted class of each picture; the
        most likely label where there may be several.
    method : {"auto", "cam", "gradcam", "occlusion"}, default="auto"
        "auto" is the first of the others that the estimator allows. It logs a line where that is
        "occlusion".

    Returns
    -------
    explanation : Explanation
        With ``maps``, an array of shape (n, side, side) in 0..1, ``method``, ``target``, and
        ``on_original(i)``, which draws a map at the size of its picture.

    Raises
    ------
    TypeError
        If `estimator` is no classifier.
    NotFittedError
        If it is not fitted.
    ParameterError
        If a target is unknown, or the estimator does not allow the method.
    ImageError
        If a picture can't be used, naming its row and path.

    Examples
    --------
    >>> from sktransfer import PretrainedImageClassifier, explain, load_clipart
    >>> paths, labels = load_clipart(return_X_y=True)
    >>> classifier = PretrainedImageClassifier("efficientnet_lite0", random_state=0)
    >>> classifier = classifier.fit(paths[::10], labels[::10])
    >>> explanation = explain(classifier, paths[:2], target="bird")
    >>> explanation
    <Explanation of 2 pictures by 'cam'>
    >>> explanation.maps.shape
    (2, 224, 224)
    """
    check_method(method)
    subject = subject_of(estimator, "explain")
    images = subject.pictures(X)
    codes = target_codes(target, subject, X, len(images))
    return explained(subject, X, images, np.arange(len(images)), codes, method)


def explained(
    subject: Subject, X: Any, images: ImageSource, rows: np.ndarray, codes: np.ndarray, method: str
) -> Explanation:
    """Explain some of the pictures in X.

    Parameters
    ----------
    subject : Subject
    X : as the user gave it
    images : ImageSource
        All pictures of X.
    rows : ndarray of shape (m,)
        Those to explain.
    codes : ndarray of shape (m,)
        Positions in `subject.classes` of the classes that the maps are for.
    method : str
        See `explain`.
    """
    check_method(method)
    images = images.taken(rows.tolist())
    chosen, parted = _chosen(method, subject, images)
    if parted is None:
        some = X[rows] if isinstance(X, np.ndarray) else images.items
        maps = occlusion_maps(subject, some, images, codes)
    elif chosen == "cam":
        maps = closed_form.class_activation_maps(parted, images, codes)
    else:
        maps = grad_cam.gradient_maps(parted, images, codes)
    backbone = subject.backbone
    preprocessing = None if backbone is None else backbone.preprocessing
    side = _SIDE if preprocessing is None else preprocessing.crop_size
    return Explanation(
        maps=_enlarged(maps, side),
        method=chosen,
        target=subject.classes[codes],
        images=images,
        _preprocessing=preprocessing,
    )


def check_method(method: str) -> None:
    """Raise unless there is such a method.

    Raises
    ------
    ParameterError
    """
    if method not in METHODS:
        raise ParameterError(f"method must be one of {list(METHODS)}; got {method!r}.")


def _chosen(method: str, subject: Subject, images: ImageSource) -> tuple[str, PartedNetwork | None]:
    """The method, and the network that it needs."""
    if method == "occlusion":
        return method, None
    try:
        parted = parted_network(subject, images)
    except ParameterError as error:
        if method != "auto":
            raise
        return _fallen_back(str(error))
    if method != "auto":
        return method, parted
    if not closed_form.why_not(parted):
        return "cam", parted
    if grad_cam.is_installed():
        return "gradcam", parted
    return _fallen_back(f"{closed_form.why_not(parted)} {grad_cam.NOT_INSTALLED}")


def _fallen_back(reason: str) -> tuple[str, None]:
    logger.warning(
        "explain hides parts of the pictures, with %d predictions for each: %s",
        *(N_PREDICTIONS, reason),
    )
    return "occlusion", None


def _enlarged(maps: np.ndarray, side: int) -> np.ndarray:
    """Maps (n, side, side) in 0..1 of coarse ones."""
    enlarged = np.empty((len(maps), side, side), dtype=np.float32)
    for start in range(0, len(maps), _AT_ONCE):
        some = torch.from_numpy(maps[start : start + _AT_ONCE]).clamp(min=0)[:, None]
        # Bicubic, so that peaks may lie between positions. Their peaks are where the evidence is 3
        # points more often than those of bilinear ones, on pictures that did not decide this.
        large = functional.interpolate(some, (side, side), mode="bicubic").clamp(min=0)
        largest = large.amax((2, 3), keepdim=True)
        # Where nothing speaks for the class, the map stays 0.
        enlarged[start : start + len(some)] = (large / largest.clamp(min=1e-30))[:, 0].numpy()
    return enlarged
