"""PretrainedFeatureExtractor: pictures in, a feature matrix out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import TransformerMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from sktransfer._common.sklearn_private import StrOptions
from sktransfer._common.warning import warn
from sktransfer.estimators.base import BackboneEstimator
from sktransfer.estimators.fitted import FittedFeatures
from sktransfer.exceptions import ImageWarning


class PretrainedFeatureExtractor(TransformerMixin, BackboneEstimator):  # type: ignore[misc]
    """Turn pictures into the activations of a pretrained network.

    The backbone is frozen, in evaluation mode: a picture's features depend on nothing
    but the picture. Nothing is learned, so `fit` only checks; pictures are read in
    `transform`, batch by batch, each once.

    Parameters
    ----------
    backbone : str, default="resnet18"
        Name of any torchvision classification network, ``"efficientnet_lite0"`` to
        ``"efficientnet_lite2"``, ``"timm/"`` and a name of timm (extra ``timm``), or a name that
        :func:`register_backbone` made known; :func:`list_backbones` lists them.

    weights : str, path or None, default="DEFAULT"
        ``"DEFAULT"``, another published name of the backbone's weights, the path
        of a ``.safetensors`` or ``.pth`` file, or None for random weights (always the same
        ones).

    stage : str, list of str or None, default=None
        Stage or stages whose activations become features: None for the network's own features
        (the input of its last Linear layer), the name of a stage, several names (concatenated,
        still one pass), or ``"logits"`` for the scores of the pretrained classifier.

    pooling : {"native", "avg", "max", "flatten", "cls", "cls+avg"}, default="native"
        How a map of activations becomes features: as in the network itself, by the mean or the
        maximum over positions, or as all values. With ``stage=None``, anything but "native"
        replaces the network's pooling and all that follows it. Tokens of transformers are
        averaged without those of the whole picture: the class token ("cls") and registers.
        "cls+avg" puts the class token before the mean, as DINOv2 was evaluated (Oquab et al.,
        "DINOv2: Learning Robust Visual Features without Supervision", TMLR 2024, appendix B.3).

    image_size : int or None, default=None
        Side in pixels of the square that the network sees; None for the size that the
        weights were trained on. A larger size shows smaller things, and takes time in
        proportion to its square.

    resize : {"crop", "squash", "pad"}, default="crop"
        How a picture of any shape becomes that square. "crop" resizes the shorter side and keeps
        the middle, as it was done when the weights were trained; "squash" resizes the whole
        picture, which changes the ratio of its sides; "pad" keeps the ratio, and fills the square
        with the colour of the picture's border.

    image_shape : tuple (h, w) or (h, w, c), or None, default=None
        Accept rows of flattened pixels of this shape, as scikit-learn's own image sets are.

    in_channels : int, default=3
        Number of channels of the pictures, from 1 to 512. With 3, pictures of any form become RGB.
        With any other number, arrays (n, h, w, c) and tensors (n, c, h, w) must have that many
        channels, all of which are data; with 1, files and PIL images are converted to grey. The
        first convolution of the backbone then has the weights of red, green and blue in turn,
        times ``3 / in_channels``, or with 1 their sum, as ``adapt_input_conv`` of timm makes them.

    batch_size : int, default=64
        Pictures computed at once. Changes memory and speed, not results.

    device : str, default="auto"
        ``"auto"`` (CUDA, then MPS, then CPU) or a torch device such as ``"cuda:1"``.

    precision : {"float32", "bfloat16", "float16"}, default="float32"
        Precision of the frozen stages' arithmetic. The shorter ones are faster where the
        hardware has them, and lose digits; "float16" is for CUDA. On a CPU without instructions
        for "bfloat16", OpenVINO is an error, and ``engine="auto"`` computes in float32 instead
        and logs it. Features are float32 all the same.

    engine : {"auto", "torch", "openvino"}, default="auto"
        Backend that runs the frozen stages. OpenVINO (extra ``openvino``) is 1.1 to 2.9 times as
        fast on CPUs and needs some seconds per process, or once with `cache`, to convert a
        network; "auto" uses it where it is installed and there are enough pictures to repay
        that. The engines agree to 1e-4 of the largest value. In "bfloat16" they differ in the
        second or third digit: there "auto" uses OpenVINO for any number of pictures, and
        all later calls use the engine of the fit.

    n_jobs : int or None, default=None
        Number of threads that read pictures. None is as many as torch uses: one per core,
        and one in the workers of a parallel search.

    cache : str, path or None, default=None
        A folder that keeps activations by the content of the pictures, for later calls,
        other folds and candidates, and other processes. On a local disk;
        :func:`cache_info` and :func:`clear_cache` look after it.

    on_error : {"raise", "nan"}, default="raise"
        How to handle a missing or damaged file: raise an error that names the row, or return
        a row of NaN and count it in one warning.

    verbose : int, default=0
        1 shows a progress bar.

    Attributes
    ----------
    device_ : str
        The device in use.

    n_features_in_ : int
        Number of columns of X. Only with `image_shape` and flattened rows.

    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of those columns, where X had names.

    See Also
    --------
    PretrainedImageClassifier : Trains a head, and stages of the backbone with it.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sktransfer import PretrainedFeatureExtractor, load_clipart
    >>> paths, labels = load_clipart(return_X_y=True)
    >>> extractor = PretrainedFeatureExtractor("efficientnet_lite0")
    >>> extractor.fit_transform(paths[:4]).shape
    (4, 1280)
    >>> model = make_pipeline(extractor, LogisticRegression())
    >>> model.fit(paths[::20], labels[::20]).predict(paths[:1])
    array(['bird'], dtype='<U7')
    """

    _parameter_constraints: dict[str, Any] = {
        **BackboneEstimator._parameter_constraints,
        "stage": [str, list, tuple, None],
        "on_error": [StrOptions({"raise", "nan"})],
    }

    def __init__(
        self,
        backbone: str = "resnet18",
        *,
        weights: str | Path | None = "DEFAULT",
        stage: str | Sequence[str] | None = None,
        pooling: str = "native",
        image_size: int | None = None,
        resize: str = "crop",
        image_shape: tuple[int, ...] | None = None,
        in_channels: int = 3,
        batch_size: int = 64,
        device: str = "auto",
        precision: str = "float32",
        engine: str = "auto",
        n_jobs: int | None = None,
        cache: str | Path | None = None,
        on_error: str = "raise",
        verbose: int = 0,
    ) -> None:
        self.backbone = backbone
        self.weights = weights
        self.stage = stage
        self.pooling = pooling
        self.image_size = image_size
        self.resize = resize
        self.image_shape = image_shape
        self.in_channels = in_channels
        self.batch_size = batch_size
        self.device = device
        self.precision = precision
        self.engine = engine
        self.n_jobs = n_jobs
        self.cache = cache
        self.on_error = on_error
        self.verbose = verbose

    def fit(self, X: Any, y: Any = None) -> PretrainedFeatureExtractor:
        """Check the parameters and X, and get the backbone ready.

        Files are checked to exist, not read.

        Parameters
        ----------
        X : array, tensor, list, Series or one-column DataFrame
            Pictures or paths of pictures: uint8 or float (0..1) arrays of shape
            (n, h, w, 3), (n, h, w) or (n, h, w, 1); tensors of shape (n, 3, h, w); lists of
            arrays, PIL images or paths; with `image_shape`, rows of flattened pixels.
        y : ignored
            Present for scikit-learn's convention.

        Returns
        -------
        self : PretrainedFeatureExtractor

        Raises
        ------
        ValueError
            If a parameter or X is invalid; see :mod:`sktransfer.exceptions`.
        WeightsUnavailableError
            If the weights can't be downloaded.
        """
        self._check_parameters()
        reader = self._reader()
        missing_ok = self.on_error == "nan"
        reader._images(X, self._shape(), self.in_channels, reset=True, missing_ok=missing_ok)
        fitted = self._fitted_features()
        self._keep_fit(reader._columns(), _fitted=fitted, _n_features_out=fitted.n_features())
        return self

    def _fitted_features(self) -> FittedFeatures:
        """The result of a fit, which depends on parameters only."""
        backbone = self._fitted_backbone(self._settled_choice(), self.resize)
        # A copy: the user may change the list later.
        stage = self.stage if isinstance(self.stage, str | None) else tuple(self.stage)
        return FittedFeatures(backbone, stage, self.pooling)

    @property
    def device_(self) -> str:
        return self._fitted.backbone.device

    def transform(self, X: Any) -> np.ndarray:
        """Compute the features of pictures.

        Parameters
        ----------
        X : array, tensor, list, Series or one-column DataFrame
            As in `fit`; pictures may have other sizes.

        Returns
        -------
        features : ndarray of shape (n, n_features), float32
            A DataFrame after ``set_output``.

        Raises
        ------
        ImageError
            If a picture can't be used, naming its row and path.
        """
        check_is_fitted(self)
        self._check_parameters()
        skip = self.on_error == "nan"
        fitted = self._fitted  # read once: another thread may fit this extractor meanwhile
        backbone = fitted.backbone
        images = self._images(X, backbone.image_shape, backbone.in_channels, missing_ok=skip)
        features, unreadable = fitted.features(images, self._run_options(), skip)
        if unreadable:
            shown = ", ".join(images.describe(row) for row in unreadable[:3])
            warn(
                f"{len(unreadable)} of {len(images)} pictures could not be read; their features "
                f"are NaN: {shown}{', ...' if len(unreadable) > 3 else ''}.",
                ImageWarning,
            )
        return features

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Names of the columns that `transform` gives.

        Parameters
        ----------
        input_features : ignored
            Present for scikit-learn's convention.

        Returns
        -------
        names : ndarray of str
            ``"resnet18_0"`` and so on; with stages, ``"resnet18_layer4_0"``.
        """
        check_is_fitted(self)
        fitted = self._fitted
        backbone = fitted.backbone.reference.name
        names = [
            f"{backbone}_{i}" if stage is None else f"{backbone}_{stage}_{i}"
            for stage, width in fitted.width_of_each_stage()
            for i in range(width)
        ]
        return np.asarray(names, dtype=object)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_fitted")

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.requires_fit = True
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags
