"""PretrainedImageClassifier: a pretrained backbone, a new head, as much trained as asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import log_softmax, softmax
from sklearn.base import ClassifierMixin
from sklearn.model_selection import train_test_split
from sklearn.utils import (
    assert_all_finite,
    check_consistent_length,
    check_random_state,
    column_or_1d,
)
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from sktransfer._base import BackboneEstimator
from sktransfer._sklearn import Interval, StrOptions, check_sample_weight
from sktransfer.training.batches import Rows
from sktransfer.training.optimizers import OPTIMIZERS, SCHEDULES
from sktransfer.training.recipe import Recipe
from sktransfer.training.weighting import row_weights


class PretrainedImageClassifier(ClassifierMixin, BackboneEstimator):  # type: ignore[misc]
    """Classify pictures with a pretrained network, fine-tuned as deep as you say.

    The stages that stay frozen run once over the pictures; training works on what they
    gave, so epochs cost little. A linear head on a frozen backbone, the default, is a
    convex problem and is solved by L-BFGS. With unfrozen stages the head is solved first
    and everything is then trained together (LP-FT, Kumar et al., ICLR 2022).

    Parameters
    ----------
    backbone : str, default="resnet18"
        Name of any torchvision classification network, or ``"efficientnet_lite0"``;
        :func:`list_backbones` lists them.

    weights : str, path or None, default="DEFAULT"
        ``"DEFAULT"``, another of torchvision's names for the backbone's weights, the path
        of a ``.safetensors`` or ``.pth`` file, or None for random weights drawn from
        `random_state`.

    unfreeze_depth : int or "all", default=0
        How many of the last stages train with the head. Stages are levels of resolution
        (encoder blocks for transformers); those without weight matrices are not counted.
        Frozen stages, with their BatchNorm statistics, keep their values to the bit.
        Unfrozen stages keep BatchNorm statistics too, unless ``weights=None``.

    pooling : {"native", "avg", "max", "flatten"}, default="native"
        How the last map becomes the head's input: as the network itself does it, the mean
        or maximum over places, or all values. Anything but "native" replaces the network's
        pooling and all that follows it.

    hidden_layer_sizes : int or tuple of int, default=()
        Dense layers with ReLU between the features and the scores; ``(1024,)`` is the
        classic Keras head.

    dropout : float, default=0.0
        Share of values dropped after each hidden layer, or before the last layer if there
        is none.

    image_size : int or None, default=None
        Side in pixels of the square the network sees; None for the size the weights were
        trained on.

    image_shape : tuple (h, w) or (h, w, c), or None, default=None
        Accept rows of flattened pixels of this shape, as scikit-learn's own image sets are.

    class_weight : None, "balanced" or dict, default=None
        Weight of each class in the loss; a dict is keyed by the labels in y. Multiplied
        with `sample_weight`.

    optimizer : {"auto", "lbfgs", "adamw", "adam", "sgd"}, default="auto"
        "auto" is L-BFGS for a linear head on a frozen backbone without dropout, and AdamW
        elsewhere. "sgd" has a Nesterov momentum of 0.9.

    lr : float, default=3e-4
        Learning rate of the head. L-BFGS has none.

    lr_decay : float, default=0.9
        Each unfrozen stage learns this much slower than the one after it.

    weight_decay : float, default=1e-4
        Strength of the penalty on weights. In the convex problem, half of it times the
        squared norm of the weights is added to the mean loss, with the features scaled to
        rows of mean squared length 1; elsewhere it is the optimizer's own.

    schedule : {"cosine"} or None, default="cosine"
        The learning rate climbs during the first tenth of the steps, then falls to 0 as
        half a cosine; None keeps it as it is. L-BFGS has none.

    max_epochs : int, default=10
        Passes over the stored activations. For L-BFGS one epoch is up to 20 iterations,
        and it stops sooner when it has converged. The head that is trained before
        fine-tuning gets at least 10.

    batch_size : int, default=32
        Rows a training step, and pictures computed at once.

    head_init : {"probe", "random"}, default="probe"
        With unfrozen stages: train the head alone first, or start it at random.

    validation_fraction : float or None, default=None
        Share of the rows, drawn by class, that is not trained on but scored each epoch.

    device : str, default="auto"
        ``"auto"`` (CUDA, then MPS, then CPU) or a torch device such as ``"cuda:1"``.

    precision : {"float32", "bfloat16", "float16"}, default="float32"
        Of the frozen stages' arithmetic. The shorter ones are faster where the hardware has
        them, and cost digits; "float16" is for CUDA. Features are float32 all the same.

    engine : {"auto", "torch", "openvino"}, default="auto"
        Who runs the frozen stages. OpenVINO (extra ``openvino``) is 1.2 to 2.9 times as fast on
        CPUs and needs some seconds once a process, and with `cache` once, to convert a
        network; "auto" uses it where it is installed and there are enough pictures to repay
        that. The engines agree to rtol 1e-4.

    n_jobs : int or None, default=None
        Threads that read pictures. None means as many as torch uses, which is one a core,
        and one in the workers of a parallel search.

    cache : str, path or None, default=None
        A folder that keeps activations by the content of the pictures, for later calls,
        other folds and candidates, and other processes. On a local disk;
        :func:`cache_info` and :func:`clear_cache` look after it.

    random_state : int, RandomState or None, default=None
        Of the head's first values, the order of batches, dropout and the validation split.
        On a CPU the same int gives the same predictions to the bit.

    verbose : int, default=0
        1 shows a progress bar for the pictures, 2 also skorch's table of epochs.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels, in the order of the columns of `predict_proba`.

    history_ : list of dict
        One record an epoch: ``phase`` ("probe", "head" or "fine-tune"), ``epoch``,
        ``train_loss``, ``lr``, and with `validation_fraction` ``valid_loss`` and
        ``valid_score`` (accuracy).

    n_iter_ : int
        Number of epochs, over all phases.

    net_ : skorch.NeuralNet
        The trained stages and head, working on activations of the frozen part.

    device_ : str
        The device in use.

    n_features_in_ : int
        Number of columns of X. Only with `image_shape` and flattened rows.

    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of those columns, where X had names.

    See Also
    --------
    PretrainedFeatureExtractor : The frozen backbone alone, for any other model.

    Examples
    --------
    >>> from sktransfer import PretrainedImageClassifier, load_clipart
    >>> paths, labels = load_clipart(return_X_y=True)
    >>> classifier = PretrainedImageClassifier("efficientnet_lite0", random_state=0)
    >>> classifier.fit(paths[::10], labels[::10]).predict(paths[:1])
    array(['bird'], dtype='<U7')
    """

    _parameter_constraints: dict[str, Any] = {
        **BackboneEstimator._parameter_constraints,
        "unfreeze_depth": [Interval(Integral, 0, None, closed="left"), StrOptions({"all"})],
        "hidden_layer_sizes": [Interval(Integral, 1, None, closed="left"), tuple, list],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "class_weight": [StrOptions({"balanced"}), Mapping, None],
        "optimizer": [StrOptions({"auto", "lbfgs", *OPTIMIZERS})],
        "lr": [Interval(Real, 0, None, closed="neither")],
        "lr_decay": [Interval(Real, 0, 1, closed="right")],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "schedule": [StrOptions(set(SCHEDULES)), None],
        "max_epochs": [Interval(Integral, 1, None, closed="left")],
        "head_init": [StrOptions({"probe", "random"})],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither"), None],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        backbone: str = "resnet18",
        *,
        weights: str | Path | None = "DEFAULT",
        unfreeze_depth: int | str = 0,
        pooling: str = "native",
        hidden_layer_sizes: int | Sequence[int] = (),
        dropout: float = 0.0,
        image_size: int | None = None,
        image_shape: tuple[int, ...] | None = None,
        class_weight: Mapping[Any, float] | str | None = None,
        optimizer: str = "auto",
        lr: float = 3e-4,
        lr_decay: float = 0.9,
        weight_decay: float = 1e-4,
        schedule: str | None = "cosine",
        max_epochs: int = 10,
        batch_size: int = 32,
        head_init: str = "probe",
        validation_fraction: float | None = None,
        device: str = "auto",
        precision: str = "float32",
        engine: str = "auto",
        n_jobs: int | None = None,
        cache: str | Path | None = None,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        self.backbone = backbone
        self.weights = weights
        self.unfreeze_depth = unfreeze_depth
        self.pooling = pooling
        self.hidden_layer_sizes = hidden_layer_sizes
        self.dropout = dropout
        self.image_size = image_size
        self.image_shape = image_shape
        self.class_weight = class_weight
        self.optimizer = optimizer
        self.lr = lr
        self.lr_decay = lr_decay
        self.weight_decay = weight_decay
        self.schedule = schedule
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.head_init = head_init
        self.validation_fraction = validation_fraction
        self.device = device
        self.precision = precision
        self.engine = engine
        self.n_jobs = n_jobs
        self.cache = cache
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> PretrainedImageClassifier:
        """Run the frozen stages over the pictures once, then train on what they gave.

        Parameters
        ----------
        X : array, tensor, list, Series or one-column DataFrame
            Pictures or paths of pictures: uint8 or float (0..1) arrays of shape
            (n, h, w, 3), (n, h, w) or (n, h, w, 1); tensors of shape (n, 3, h, w); lists of
            arrays, PIL images or paths; with `image_shape`, rows of flattened pixels.
        y : array-like of shape (n,)
            Labels: strings, integers or bools.
        sample_weight : array-like of shape (n,), optional
            What each row counts in the loss; 0 is as good as absent.

        Returns
        -------
        self : PretrainedImageClassifier

        Raises
        ------
        ValueError
            If a parameter, X or y is invalid; see :mod:`sktransfer.exceptions`.
        TrainingDivergedError
            If the loss becomes NaN or infinite. The estimator is then not fitted.
        """
        self.__dict__.pop("net_", None)  # a fit that fails leaves no older one behind
        seeds = check_random_state(self.random_state).randint(2**31 - 1, size=3).tolist()
        images = self._prepare(X, seed=seeds[0] if self.weights is None else 0)
        codes = self._encode(y, len(images))
        weights = self._row_weights(codes, sample_weight)
        train, held_out = self._split(codes, seeds[1])
        self._check_optimizer()

        backbone = self._loaded_backbone()
        frozen, stages = backbone.split(self.unfreeze_depth, self.pooling)
        # A size that the backbone can't take fails here, before any picture is read.
        backbone.width(pooling=self.pooling, image_size=self._preprocessing.crop_size)
        activations, _ = self._pass(frozen, "Running frozen stages", may_map=True).collect(images)
        rows = Rows.of(activations, codes, weights, train)
        validation = None
        if held_out is not None:
            validation = Rows.of(activations, codes, weights, held_out)
        net, self.history_ = self._recipe(seeds[2]).train(
            stages, rows, validation, len(self.classes_)
        )
        self.n_iter_ = len(self.history_)
        self._split_key = (self.unfreeze_depth, self.pooling)
        self.net_ = net
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Most likely label of each picture.

        Parameters
        ----------
        X : array, tensor, list, Series or one-column DataFrame
            As in `fit`; pictures may have other sizes.

        Returns
        -------
        labels : ndarray of shape (n,)
            Of the dtype that y had.
        """
        winners = self._scores(X).argmax(axis=1)
        labels: np.ndarray = self.classes_[winners]
        return labels

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probability of each class.

        Parameters
        ----------
        X : array, tensor, list, Series or one-column DataFrame
            As in `fit`.

        Returns
        -------
        probabilities : ndarray of shape (n, n_classes), float32
            Columns in the order of ``classes_``.
        """
        probabilities: np.ndarray = softmax(self._scores(X), axis=1)
        return probabilities

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Logarithm of the probability of each class.

        Parameters
        ----------
        X : array, tensor, list, Series or one-column DataFrame
            As in `fit`.

        Returns
        -------
        log_probabilities : ndarray of shape (n, n_classes), float32
        """
        logarithms: np.ndarray = log_softmax(self._scores(X), axis=1)
        return logarithms

    def decision_function(self, X: Any) -> np.ndarray:
        """Scores of the classes before they become probabilities.

        Parameters
        ----------
        X : array, tensor, list, Series or one-column DataFrame
            As in `fit`.

        Returns
        -------
        scores : ndarray of shape (n, n_classes), float32
            With two classes of shape (n,): the logarithm of the odds of ``classes_[1]``.
        """
        scores = self._scores(X)
        return scores[:, 1] - scores[:, 0] if scores.shape[1] == 2 else scores

    def _encode(self, y: Any, n_rows: int) -> np.ndarray:
        """Codes 0..k-1 of the labels, which are kept in ``classes_``."""
        if y is None:
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is None."
            )
        labels = column_or_1d(y, warn=True)
        check_consistent_length(np.empty(n_rows), labels)
        if labels.dtype.kind == "f":
            assert_all_finite(labels, input_name="y")
        missing = [i for i, label in enumerate(labels.tolist()) if _is_missing(label)]
        if missing:
            raise ValueError(f"Input y contains NaN or None, first in row {missing[0]} of y.")
        check_classification_targets(labels)
        self.classes_, codes = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                f"y holds one class only, {self.classes_.tolist()[0]!r}: a classifier needs at "
                "least two."
            )
        return codes.astype(np.int64)

    def _row_weights(self, codes: np.ndarray, sample_weight: Any) -> np.ndarray:
        if sample_weight is not None:
            sample_weight = check_sample_weight(
                sample_weight, codes, dtype=np.float64, ensure_non_negative=True
            )
        return row_weights(codes, self.classes_, self.class_weight, sample_weight)

    def _split(self, codes: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Rows to train on, and rows held out for validation."""
        rows = np.arange(len(codes))
        if self.validation_fraction is None:
            return rows, None
        try:
            train, held_out = train_test_split(
                rows, test_size=self.validation_fraction, stratify=codes, random_state=seed
            )
        except ValueError as error:
            raise ValueError(
                f"validation_fraction={self.validation_fraction} can't hold out rows of every "
                f"class: {error} Change the fraction, or use None."
            ) from error
        return np.sort(train), np.sort(held_out)

    def _hidden_layer_sizes(self) -> tuple[int, ...]:
        given: Any = self.hidden_layer_sizes
        sizes = (given,) if isinstance(given, Integral) else tuple(given)
        if not all(isinstance(size, Integral) and int(size) > 0 for size in sizes):
            raise ValueError(
                f"hidden_layer_sizes must hold positive integers; got {self.hidden_layer_sizes!r}."
            )
        return tuple(int(size) for size in sizes)

    def _check_optimizer(self) -> None:
        if self.optimizer != "lbfgs":
            return
        for name in ("unfreeze_depth", "hidden_layer_sizes", "dropout"):
            value = getattr(self, name)
            if value not in (0, (), []):
                raise ValueError(
                    "optimizer='lbfgs' is for the convex problem, a linear head on a frozen "
                    f"backbone, but {name}={value!r}. Use optimizer='auto' or 'adamw'."
                )

    def _recipe(self, seed: int) -> Recipe:
        return Recipe(
            hidden_layer_sizes=self._hidden_layer_sizes(),
            dropout=self.dropout,
            optimizer=self.optimizer,
            lr=self.lr,
            lr_decay=self.lr_decay,
            weight_decay=self.weight_decay,
            schedule=self.schedule,
            max_epochs=self.max_epochs,
            batch_size=self.batch_size,
            head_init=self.head_init,
            device=self.device_,
            seed=seed,
            verbose=self.verbose,
        )

    def _scores(self, X: Any) -> np.ndarray:
        """One score a class for each picture, in one pass."""
        check_is_fitted(self)
        images = self._images(X, reset=False)
        images.check()
        frozen = self._loaded_backbone().frozen_network(*self._split_key)
        one_pass = self._pass(frozen, "Predicting")
        scores, _ = one_pass.collect(images, then=self.net_.scores)
        return scores.numpy()

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "net_")


def _is_missing(label: Any) -> bool:
    return label is None or label != label  # NaN and NaT differ from themselves
