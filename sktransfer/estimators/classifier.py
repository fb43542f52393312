"""PretrainedImageClassifier: a pretrained backbone and a new head, trained as deep as requested."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from sktransfer._common.sklearn_private import (
    HasMethods,
    Interval,
    StrOptions,
    captioned_block,
    printed_as_estimators_are,
)
from sktransfer.estimators.base import BackboneEstimator
from sktransfer.estimators.checked_input import FitArguments, checked_input
from sktransfer.estimators.fit_model import fit_model
from sktransfer.estimators.fitted import FittedModel, PredictionOptions
from sktransfer.exceptions import ParameterError
from sktransfer.images.augmentation import AUGMENTATIONS
from sktransfer.images.preprocessing import RESIZES
from sktransfer.selection.scores import as_dicts
from sktransfer.training.losses import LOSSES, as_loss
from sktransfer.training.optimizers import OPTIMIZERS
from sktransfer.training.sampling import SAMPLINGS
from sktransfer.training.schedules import SCHEDULES

_SHARE = Interval(Real, 0, 1, closed="left")
_NOT_NEGATIVE = Interval(Real, 0, None, closed="left")
_POSITIVE = Interval(Real, 0, None, closed="neither")
_COUNT = Interval(Integral, 1, None, closed="left")
_SEVERAL = Interval(Integral, 2, None, closed="left")


@printed_as_estimators_are
class PretrainedImageClassifier(ClassifierMixin, BackboneEstimator):  # type: ignore[misc]
    """Classify pictures with a pretrained network, fine-tuned as deeply as requested.

    The frozen stages run once over the pictures, and training works on their stored
    activations, so epochs cost little. A linear head on a frozen backbone, the default, is a
    convex problem and is solved by L-BFGS. With unfrozen stages the head is solved first,
    and then head and stages are trained together (LP-FT, Kumar et al., ICLR 2022).

    Parameters
    ----------
    backbone : str, default="resnet18"
        Name of any torchvision classification network, ``"efficientnet_lite0"`` to
        ``"efficientnet_lite2"``, ``"timm/"`` and a name of timm (extra ``timm``), or a name that
        :func:`register_backbone` made known; :func:`list_backbones` lists them.

    weights : str, path or None, default="DEFAULT"
        ``"DEFAULT"``, another published name of the backbone's weights, the path
        of a ``.safetensors`` or ``.pth`` file, or None for random weights drawn from
        `random_state`.

    unfreeze_depth : int, "all" or "auto", default=0
        How many of the last stages train with the head. Stages are levels of resolution
        (encoder blocks for transformers); those without weight matrices are not counted.
        Frozen stages keep their weights and BatchNorm statistics bit for bit. Unfrozen
        stages keep their BatchNorm statistics too, unless `batch_norm` says otherwise.
        "auto" tries 0, 1 and 2 on at most 500 of the training rows: each depth is trained two
        times on two thirds of them, with the parameters of the fit, and judged by its log loss
        on the other third. The smallest depth stays that the best one does not beat by more than
        the standard error of the difference; 0 if there are fewer than 20 rows. Trials take the
        pictures as they are, without `augment` and `distill_from`. A continued fit, by
        `warm_start` or `partial_fit`, keeps the depth of the first one.

    pooling : {"native", "avg", "max", "flatten", "cls", "cls+avg"}, default="native"
        How the last map becomes the head's input: as in the network itself, by the mean or
        the maximum over positions, or as all values. Networks of tokens also have "cls", the
        class token, and "cls+avg", the class token beside the mean of the positions. Anything but
        "native" replaces the network's pooling and all that follows it.

    hidden_layer_sizes : int or tuple of int, default=()
        Dense layers with ReLU between the features and the scores; ``(1024,)`` is the
        classic Keras head.

    dropout : float, default=0.0
        Share of values that are dropped after each hidden layer, or before the last layer if
        there is none.

    image_size : int or None, default=None
        Side in pixels of the square that the network sees; None for the size that the
        weights were trained on. A larger size shows smaller things, and takes time in
        proportion to its square.

    resize : {"crop", "squash", "pad", "auto"}, default="crop"
        How a picture of any shape becomes that square. "crop" resizes the shorter side and keeps
        the middle, as it was done when the weights were trained; "squash" resizes the whole
        picture, which changes the ratio of its sides; "pad" keeps the ratio, and fills the square
        with the colour of the picture's border. "auto" compares the three by the log loss of
        linear heads in 5-fold cross-validation, on at most 500 of the training rows, and keeps
        "crop" where no other one gains more than a standard error. That takes two more passes
        over these rows and 15 solved heads. A continued fit keeps the first choice.

    image_shape : tuple (h, w) or (h, w, c), or None, default=None
        Accept rows of flattened pixels of this shape, as scikit-learn's own image sets are.

    in_channels : int, default=3
        Number of channels of the pictures, from 1 to 512. With 3, pictures of any form become RGB.
        With any other number, arrays (n, h, w, c) and tensors (n, c, h, w) must have that many
        channels, all of which are data; with 1, files and PIL images are converted to grey. The
        first convolution of the backbone then has the weights of red, green and blue in turn,
        times ``3 / in_channels``, or with 1 their sum, as ``adapt_input_conv`` of timm makes them.

    augment : {"light", "standard", "keras", "trivial"}, transform or None, default=None
        Train on changed copies of the pictures. "light": cropped a little and flipped;
        "standard": cropped to half the area at least, flipped and recoloured; "keras":
        ImageDataGenerator's classic set (turned by up to 40 degrees, shifted, zoomed,
        flipped); "trivial": TrivialAugmentWide and flipped. Or a torchvision v2 transform of
        uint8 tensors (c, h, w). :func:`plot_augmentations` draws them. "standard" and "trivial"
        change colours, and need ``in_channels=3``.

    n_views : int or None, default=None
        Number of augmented views of each picture, which take turns. The frozen stages run
        over each of them once, however many epochs there are. None makes a new view for every
        epoch, which costs one pass over the pictures per epoch.

    mixup : float, default=0.0
        Mix each row with another row of its batch, with a share drawn from
        Beta(mixup, mixup); 0.2 is usual, 0 mixes nothing (Zhang et al., ICLR 2018). The input
        of the unfrozen stages and the head is mixed: pixels at depth "all", else activations.

    cutmix : float, default=0.0
        Mix by pasting a box of the other row (Yun et al., ICCV 2019); 1 is usual. With
        `mixup`, each batch gets one of the two.

    loss : {"cross_entropy", "binary_cross_entropy", "focal"} or class, default="cross_entropy"
        "binary_cross_entropy" tells each class apart from all others, and is the loss for
        several labels per picture; "focal" (Lin et al., ICCV 2017, gamma=2) down-weights rows
        already classified correctly, and is for one label or several. Or a loss class of
        `torch.nn`, called with ``reduction="none"``.

    label_smoothing : float, default=0.0
        Share of each target that is spread over the classes.

    class_weight : None, "balanced" or dict, default=None
        Weight of each class in the loss; a dict is keyed by the labels in y. Multiplied
        with `sample_weight`. With several labels per picture, the weight of the presence of
        each label relative to its absence; a dict is keyed by the number of the column.

    sampling : {"oversample", "undersample", "balanced"} or None, default=None
        Draw the rows of an epoch so that all classes are equally frequent. "oversample"
        repeats rows of the rarer classes until each has as many as the largest;
        "undersample" leaves rows of the larger classes out, others in each epoch, until each
        has as few as the smallest; "balanced" draws as many rows as there are, with
        replacement. L-BFGS has no epochs: it weights each row by how often it would be drawn
        on average.

    distill_from : fitted classifier or None, default=None
        A teacher with the same classes, whose `predict_proba` is learned in addition to the
        labels (Hinton et al., 2015). In a search, wrap it in
        :class:`sklearn.frozen.FrozenEstimator`, which `clone` leaves fitted.

    distill_weight : float, default=0.5
        Share of the teacher in the loss.

    distill_temperature : float, default=2.0
        The scores of teacher and student are divided by it. A higher temperature gives more
        weight to classes that the teacher finds similar.

    optimizer : {"auto", "lbfgs", "adamw", "adam", "sgd"} or class, default="auto"
        "auto" is L-BFGS where the problem is convex (a linear head on a frozen backbone,
        without dropout, mixing, or new views in each epoch), and AdamW elsewhere. "sgd" has a
        Nesterov momentum of 0.9. Or an optimizer class of `torch.optim`.

    lr : float or "auto", default="auto"
        Learning rate of the head. "auto" is 3e-3 for a head that begins at random on frozen
        features, as one with hidden layers does, and 3e-4 for all else. L-BFGS has none.

    lr_decay : float, default=0.9
        The learning rate of each unfrozen stage is that of the stage after it times this.

    weight_decay : float or "auto", default="auto"
        Strength of the penalty on weights. In the convex problem, half of it times the
        squared norm of the weights is added to the mean loss, with the features scaled to
        rows of mean squared length 1; elsewhere it is the optimizer's own. "auto" is 1e-4,
        and 1e-2 for a head that is solved before stages train with it: a head that fits its
        rows less closely leaves the stages more to learn (Ren et al., ICLR 2023).

    feature_penalty : float or "auto", default="auto"
        Where stages train: strength of the penalty that holds the features of each picture near
        those that the stages gave it before this fit. This times the mean squared distance is
        added to the loss, on a scale where the features of different pictures are at a mean
        squared distance of 1 from their mean, so that a value means the same for every network
        (DELTA, Li et al., ICLR 2019). "auto" is 0.01 for pretrained stages with a head that was
        trained first, and 0 elsewhere; 0 holds nothing. Without effect at depth 0.

    schedule : {"cosine", "onecycle", "plateau"}, class or None, default="cosine"
        "cosine": the learning rate climbs during the first tenth of the steps, one epoch or 50
        steps at most, then falls to 0 along half a cosine. "onecycle" is torch's OneCycleLR.
        "plateau" divides the rate by ten after 2 epochs without a lower loss (the validation
        loss, if there is one). Or a class of `torch.optim.lr_scheduler`, stepped once per epoch.
        None keeps the rate constant. L-BFGS has no schedule.

    gradient_clipping : float or None, default=None
        Largest norm of all gradients together. L-BFGS does not clip.

    ema_decay : float or None, default=None
        Predict with an exponential moving average of the weights, of which each step keeps
        this share; 0.99 averages over about one hundred steps.

    batch_norm : {"auto", "fixed", "train"}, default="auto"
        "fixed" keeps the BatchNorm statistics of unfrozen stages, "train" updates them with
        each batch, and "auto" keeps those of pretrained weights.

    max_epochs : int or "auto", default="auto"
        Number of passes over the stored activations. "auto" is 10, or as many as make 1,000
        steps for a head that begins at random on stored features, if that is more. For L-BFGS
        one epoch is up to 20 iterations, and it stops as soon as it has converged. The head
        that is trained before fine-tuning gets at least 10.

    batch_size : int, default=32
        Number of rows per training step, and of pictures that are computed at once.

    head_init : {"probe", "random"}, default="probe"
        If L-BFGS does not solve everything: train the head alone first ("probe"), or begin
        with a random head.

    gradual_unfreezing : bool or list of int, default=False
        Unfreeze one stage after the other, beginning with the last: at equal intervals, or in
        the epochs of a list, counted from 0.

    validation_fraction : float, splitter or None, default=None
        Rows that are held out from training and scored after each epoch: a share, stratified
        by class, or the first split of a scikit-learn splitter, which gets the `groups` given
        to `fit`.

    early_stopping : bool, default=False
        Stop when the validation loss has not fallen for `n_iter_no_change` epochs, and keep
        the weights of the best one; those that training began with (the solved head with
        untouched stages, or an earlier fit) if no epoch was better.

    n_iter_no_change : int, default=5
        Epochs to wait for a lower validation loss.

    calibrate : {"temperature"} or None, default=None
        Divide the scores by the temperature that suits the validation rows best, weighted as
        in their loss (``temperature_``; Guo et al., ICML 2017). It calibrates probabilities;
        predictions do not change.

    callbacks : list of skorch callbacks or None, default=None
        Called during the last phase of training; used as they are, not copied. Batches hold
        activations, and labels as codes (positions in ``classes_``); scorers get codes too.

    warm_start : bool, default=False
        Let `fit` continue from the head and stages of the fit before. Classes, backbone and
        shape of the head must be the same; `unfreeze_depth` may grow. A `validation_fraction`
        holds the same rows out again.

    checkpoint_dir : str, path or None, default=None
        A folder in which the state of training is saved after each epoch. If the process is
        killed, the same call of `fit` continues from there and ends with the same weights, bit
        for bit on a CPU. Needs an int as `random_state`. `fit` removes its files when it ends.

    tta : int or None, default=None
        Predict with the mean over this many views: the picture as it is, and views made by
        `augment`, or by "light" without it.

    mc_dropout : int or None, default=None
        Predict with the mean over this many samples of the head's dropout (Gal & Ghahramani,
        ICML 2016); ``predict_proba(X, return_std=True)`` also gives their standard deviation.

    device : str, default="auto"
        ``"auto"`` (CUDA, then MPS, then CPU) or a torch device such as ``"cuda:1"``.

    precision : {"float32", "bfloat16", "float16"}, default="float32"
        Precision of the arithmetic in frozen stages and, by autocast, in those that train. The
        shorter ones are faster where the hardware has them, and lose digits; "float16" is for CUDA.
        On a CPU without instructions for "bfloat16", OpenVINO is an error, and ``engine="auto"``
        computes in float32 instead and logs it. Features, weights and scores are float32 all the
        same.

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

    random_state : int, RandomState or None, default=None
        Seed of the head's first values, augmentation, batches, dropout and the validation split.
        On a CPU the same int gives the same predictions to the bit.

    verbose : int, default=0
        1 shows progress bars for pictures and epochs, and a line for each choice that "auto" makes
        by evidence; 2 also skorch's table of epochs.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels, in the order of the columns of `predict_proba`; column numbers where a
        picture may have several labels.

    history_ : list of dict
        One record per epoch: ``phase`` ("probe", "head" or "fine-tune"), ``epoch``,
        ``train_loss`` (without the penalty on weights), ``lr``, and with validation rows
        ``valid_loss`` and ``valid_score`` (accuracy, with rows weighted as in the loss; with
        several labels a row counts only if all of them are right); and the scores of skorch's
        EpochScoring and BatchScoring among the `callbacks`, by their names.

    n_iter_ : int
        Number of epochs, over all phases.

    unfreeze_depth_ : int or "all"
        How many of the last stages train: the parameter, or the choice of "auto".

    unfreeze_depth_scores_ : dict of dict, or None
        The evidence of "auto", by depth: ``mean`` (log-likelihood of the held-out labels; higher
        is better), ``gain`` (its difference to that of depth 0) and ``gain_error`` (the standard
        error of that, paired by row). A depth is missing if the one before it was worse than a
        smaller one. None if nothing was compared.

    resize_ : {"crop", "squash", "pad"}
        How pictures become squares: the parameter, or the choice of "auto".

    resize_scores_ : dict of dict, or None
        The evidence of "auto", by candidate: ``mean`` (cross-validated log-likelihood of the
        labels; higher is better), ``gain`` (its difference to that of "crop") and ``gain_error``
        (the standard error of that, paired by row). Without "pad" where all pictures are square.
        None if nothing was compared: `resize` was given, or there were too few rows.

    temperature_ : float
        Temperature that the scores are divided by; 1 without `calibrate`.

    net_ : skorch.NeuralNet
        The trained stages and head, which take activations of the frozen stages.

    device_ : str
        The device in use.

    n_features_in_ : int
        Number of columns of X. Only with `image_shape` and flattened rows.

    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of those columns, where X had names.

    See Also
    --------
    PretrainedFeatureExtractor : The frozen backbone alone, for any other model.
    SelectionDisplay : Plots the evidence of the choices that "auto" made.

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
        "resize": [StrOptions({"auto", *RESIZES})],
        "unfreeze_depth": [Interval(Integral, 0, None, closed="left"), StrOptions({"all", "auto"})],
        "hidden_layer_sizes": [_COUNT, tuple, list],
        "dropout": [_SHARE],
        "augment": [StrOptions(set(AUGMENTATIONS)), callable, None],
        "n_views": [_COUNT, None],
        "mixup": [_NOT_NEGATIVE],
        "cutmix": [_NOT_NEGATIVE],
        "loss": [StrOptions(set(LOSSES)), callable],
        "label_smoothing": [_SHARE],
        "class_weight": [StrOptions({"balanced"}), Mapping, None],
        "sampling": [StrOptions(set(SAMPLINGS)), None],
        "distill_from": [HasMethods(["predict_proba"]), None],
        "distill_weight": [Interval(Real, 0, 1, closed="both")],
        "distill_temperature": [_POSITIVE],
        "optimizer": [StrOptions({"auto", "lbfgs", *OPTIMIZERS}), callable],
        "lr": [_POSITIVE, StrOptions({"auto"})],
        "lr_decay": [Interval(Real, 0, 1, closed="right")],
        "weight_decay": [_NOT_NEGATIVE, StrOptions({"auto"})],
        "feature_penalty": [_NOT_NEGATIVE, StrOptions({"auto"})],
        "schedule": [StrOptions(set(SCHEDULES)), callable, None],
        "gradient_clipping": [_POSITIVE, None],
        "ema_decay": [_SHARE, None],
        "batch_norm": [StrOptions({"auto", "fixed", "train"})],
        "max_epochs": [_COUNT, StrOptions({"auto"})],
        "head_init": [StrOptions({"probe", "random"})],
        "gradual_unfreezing": ["boolean", list, tuple],
        "validation_fraction": [
            Interval(Real, 0, 1, closed="neither"),
            HasMethods(["split", "get_n_splits"]),
            None,
        ],
        "early_stopping": ["boolean"],
        "n_iter_no_change": [_COUNT],
        "calibrate": [StrOptions({"temperature"}), None],
        "callbacks": [list, tuple, None],
        "warm_start": ["boolean"],
        "checkpoint_dir": [str, Path, None],
        "tta": [_SEVERAL, None],
        "mc_dropout": [_SEVERAL, None],
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
        resize: str = "crop",
        image_shape: tuple[int, ...] | None = None,
        in_channels: int = 3,
        augment: str | Callable[[Any], Any] | None = None,
        n_views: int | None = None,
        mixup: float = 0.0,
        cutmix: float = 0.0,
        loss: str | Callable[..., Any] = "cross_entropy",
        label_smoothing: float = 0.0,
        class_weight: Mapping[Any, float] | str | None = None,
        sampling: str | None = None,
        distill_from: Any = None,
        distill_weight: float = 0.5,
        distill_temperature: float = 2.0,
        optimizer: str | Callable[..., Any] = "auto",
        lr: float | str = "auto",
        lr_decay: float = 0.9,
        weight_decay: float | str = "auto",
        feature_penalty: float | str = "auto",
        schedule: str | Callable[..., Any] | None = "cosine",
        gradient_clipping: float | None = None,
        ema_decay: float | None = None,
        batch_norm: str = "auto",
        max_epochs: int | str = "auto",
        batch_size: int = 32,
        head_init: str = "probe",
        gradual_unfreezing: bool | Sequence[int] = False,
        validation_fraction: float | Any = None,
        early_stopping: bool = False,
        n_iter_no_change: int = 5,
        calibrate: str | None = None,
        callbacks: Sequence[Any] | None = None,
        warm_start: bool = False,
        checkpoint_dir: str | Path | None = None,
        tta: int | None = None,
        mc_dropout: int | None = None,
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
        self.resize = resize
        self.image_shape = image_shape
        self.in_channels = in_channels
        self.augment = augment
        self.n_views = n_views
        self.mixup = mixup
        self.cutmix = cutmix
        self.loss = loss
        self.label_smoothing = label_smoothing
        self.class_weight = class_weight
        self.sampling = sampling
        self.distill_from = distill_from
        self.distill_weight = distill_weight
        self.distill_temperature = distill_temperature
        self.optimizer = optimizer
        self.lr = lr
        self.lr_decay = lr_decay
        self.weight_decay = weight_decay
        self.feature_penalty = feature_penalty
        self.schedule = schedule
        self.gradient_clipping = gradient_clipping
        self.ema_decay = ema_decay
        self.batch_norm = batch_norm
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.head_init = head_init
        self.gradual_unfreezing = gradual_unfreezing
        self.validation_fraction = validation_fraction
        self.early_stopping = early_stopping
        self.n_iter_no_change = n_iter_no_change
        self.calibrate = calibrate
        self.callbacks = callbacks
        self.warm_start = warm_start
        self.checkpoint_dir = checkpoint_dir
        self.tta = tta
        self.mc_dropout = mc_dropout
        self.device = device
        self.precision = precision
        self.engine = engine
        self.n_jobs = n_jobs
        self.cache = cache
        self.random_state = random_state
        self.verbose = verbose

    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        validation_data: tuple[Any, Any] | None = None,
        groups: Any = None,
    ) -> PretrainedImageClassifier:
        """Run the frozen stages over the pictures once, then train on their activations.

        A fit that fails leaves the estimator as it was.

        Parameters
        ----------
        X : array, tensor, list, Series or one-column DataFrame
            Pictures or paths of pictures: uint8 or float (0..1) arrays of shape
            (n, h, w, 3), (n, h, w) or (n, h, w, 1); tensors of shape (n, 3, h, w); lists of
            arrays, PIL images or paths; with `image_shape`, rows of flattened pixels.
        y : array-like of shape (n,), or indicator of shape (n, n_classes)
            Labels: strings, integers or bools. Or, with a loss for several labels, 1 in the
            column of each label that a picture has, and 0 elsewhere.
        sample_weight : array-like of shape (n,), optional
            Weight of each row in the loss, relative to the mean of all; a row of weight 0
            counts as absent.
        validation_data : tuple (X, y), optional
            Pictures to validate on, instead of a `validation_fraction` of X.
        groups : array-like of shape (n,), optional
            Rows that belong together, such as pictures of one animal: for a splitter given as
            `validation_fraction`, and for what is "auto" by evidence.

        Returns
        -------
        self : PretrainedImageClassifier

        Raises
        ------
        ValueError
            If a parameter, X or y is invalid, or two contradict each other; see
            :mod:`sktransfer.exceptions`.
        TrainingDivergedError
            If the loss becomes NaN or infinite.

        Warns
        -----
        TrainingWarning
            If `early_stopping` left the unfrozen stages as they are, because no epoch was better
            than the head alone. As InterruptedWarning, if training was interrupted (Ctrl-C), which
            keeps the weights reached by then. As ForgettingWarning, if the unfrozen stages ended
            with a training loss far above that of the head alone.
        ConvergenceWarning
            Scikit-learn's: if L-BFGS ended before it converged, or, as ShortTrainingWarning, if
            training ended while the training loss still fell fast.
        """
        # Without warm_start a fit knows nothing of the one before, as everywhere in scikit-learn.
        earlier = self._model if self.warm_start and self.__sklearn_is_fitted__() else None
        given = FitArguments(X, y, sample_weight, validation_data=validation_data, groups=groups)
        return self._fit(given, earlier)

    def partial_fit(
        self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None
    ) -> PretrainedImageClassifier:
        """Continue training with some more pictures.

        Where the problem is convex and `optimizer` is "auto", each call solves the head for its
        pictures, near the solution of the calls before: the more pictures that solution was
        learned from, the less it moves. Shuffled pieces end near a fit on all their rows. Pieces
        that are sorted by class do not: the classes of the last pieces are preferred. Elsewhere
        the first call solves the head or begins with a random one, and each call trains for one
        epoch with `optimizer`, whose state is kept, at a learning rate of `lr` without a
        `schedule`. A call that fails leaves the estimator as it was.

        Parameters
        ----------
        X : array, tensor, list, Series or one-column DataFrame
            As in `fit`.
        y : array-like of shape (n,), or indicator of shape (n, n_classes)
        classes : array-like of shape (n_classes,), optional
            All labels that will occur; needed in the first call, unless its y has them all.
        sample_weight : array-like of shape (n,), optional
            Weight of each row in the loss. It is not scaled, as it is in `fit`: a row of weight
            2 counts twice as much as a row of weight 1 in any other piece; a row of weight 0
            counts as absent.

        Returns
        -------
        self : PretrainedImageClassifier

        Raises
        ------
        ValueError
            As in `fit`; if y holds a class that was not named in the first call; or if a
            parameter has no meaning where rows come in pieces, such as `early_stopping`.
        """
        earlier = self._model if self.__sklearn_is_fitted__() else None
        given = FitArguments(X, y, sample_weight, classes=classes, in_pieces=True)
        return self._fit(given, earlier)

    def _fit(self, given: FitArguments, earlier: FittedModel | None) -> PretrainedImageClassifier:
        checked = checked_input(self, given, earlier)
        self._keep_fit(checked.columns, _model=fit_model(self, checked, earlier))
        return self

    # Attributes of a fit are read from its model, so they change together, and can't be set.

    @property
    def classes_(self) -> np.ndarray:
        return self._model.classes

    @property
    def history_(self) -> list[dict[str, Any]]:
        return self._model.history

    @property
    def n_iter_(self) -> int:
        return len(self._model.history)

    @property
    def unfreeze_depth_(self) -> int | str:
        return self._model.architecture.unfreeze_depth

    @property
    def unfreeze_depth_scores_(self) -> dict[int, dict[str, float]] | None:
        return as_dicts(self._model.depth_scores)

    @property
    def resize_(self) -> str:
        return self._model.backbone.preprocessing.resize

    @property
    def resize_scores_(self) -> dict[str, dict[str, float]] | None:
        return as_dicts(self._model.resize_scores)

    @property
    def temperature_(self) -> float:
        return self._model.temperature

    @property
    def net_(self) -> Any:
        return self._model.net

    @property
    def device_(self) -> str:
        return self._model.backbone.device

    def predict(self, X: Any) -> np.ndarray:
        """Predict the most likely label of each picture, or all labels more likely than not.

        Parameters
        ----------
        X : array, tensor, list, Series or one-column DataFrame
            As in `fit`; pictures may have other sizes.

        Returns
        -------
        labels : ndarray of shape (n,), or (n, n_classes)
            With the dtype of y; an indicator of integers if y was one.
        """
        model, scores = self._scored(X)
        return model.labels(scores)

    def predict_proba(
        self, X: Any, *, return_std: bool = False
    ) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
        """Predict the probability of each class.

        Parameters
        ----------
        X : array, tensor, list, Series or one-column DataFrame
            As in `fit`.
        return_std : bool, default=False
            With `mc_dropout` or `tta`: also return the standard deviation over samples and
            views.

        Returns
        -------
        probabilities : ndarray of shape (n, n_classes), float32
            Columns in the order of ``classes_``. They sum to 1 for each picture, unless it may
            have several labels.
        spread : ndarray of shape (n, n_classes), float32
            With `return_std`.

        Raises
        ------
        ParameterError
            If `return_std` is given without `mc_dropout` and `tta`.
        """
        model, scores = self._drawn(X, several=return_std)
        # The mean is taken over probabilities and not over scores: Gal & Ghahramani, eq. 6.
        draws = model.task.probabilities(scores)
        probabilities: np.ndarray = draws.mean(axis=1)
        return (probabilities, draws.std(axis=1)) if return_std else probabilities

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Predict the logarithm of the probability of each class.

        Parameters
        ----------
        X : array, tensor, list, Series or one-column DataFrame
            As in `fit`.

        Returns
        -------
        log_probabilities : ndarray of shape (n, n_classes), float32
        """
        model, scores = self._scored(X)
        return model.task.log_probabilities(scores)

    def decision_function(self, X: Any) -> np.ndarray:
        """Compute the scores of the classes, from which probabilities are made.

        Parameters
        ----------
        X : array, tensor, list, Series or one-column DataFrame
            As in `fit`.

        Returns
        -------
        scores : ndarray of shape (n, n_classes), float32
            With two classes, an array of shape (n,): the log-odds of ``classes_[1]``.
        """
        model, scores = self._scored(X)
        if len(model.classes) > 2 or model.task.multilabel:
            return scores
        # scikit-learn's tools expect one column for two classes. Log-odds, and not the difference
        # of scores, agree with predict_proba for every loss.
        logarithms = model.task.log_probabilities(scores)
        return logarithms[:, 1] - logarithms[:, 0]

    def _predictions_and_probabilities(self, X: Any) -> tuple[np.ndarray, np.ndarray]:
        """Give what `predict` and `predict_proba` return, by one pass of the pictures."""
        model, draws = self._drawn(X)
        return model.labels(model.joined(draws)), model.task.probabilities(draws).mean(axis=1)

    def _scored(self, X: Any) -> tuple[FittedModel, np.ndarray]:
        """Scores (n, n_classes); of several draws, the scores of their mean probabilities."""
        model, draws = self._drawn(X)
        return model, model.joined(draws)

    def _drawn(self, X: Any, *, several: bool = False) -> tuple[FittedModel, np.ndarray]:
        """Scores (n, n_draws, n_classes) in one pass for each view, and the model that gave them.

        The model is read once: another thread may fit this estimator in the meantime.
        """
        check_is_fitted(self)
        self._check_parameters()
        if several and self.tta is None and self.mc_dropout is None:
            raise ParameterError(
                "return_std=True needs several draws, but tta=None and mc_dropout=None. Set "
                "mc_dropout=20 (with dropout), or tta=5."
            )
        model = self._model
        images = self._images(X, model.backbone.image_shape, model.backbone.in_channels)
        return model, model.scores(images, self._prediction_options())

    def _prediction_options(self) -> PredictionOptions:
        return PredictionOptions(
            run=self._run_options(),
            tta=self.tta,
            mc_dropout=self.mc_dropout,
            augment=self.augment,
            keep_views=self._keeps_views(),
        )

    def _keeps_views(self) -> bool:
        """Return True if augmented views are kept in the cache: another seed never meets them."""
        return isinstance(self.random_state, Integral)

    def __repr__(self, N_CHAR_MAX: int = 700) -> str:
        # Comments tell of the decisions of a fit, so the text remains Python code. They come first:
        # in the repr of a list, a comment at the end would take in the closing bracket.
        lines = [*(f"# {line}" for line in self._decisions()), super().__repr__(N_CHAR_MAX)]
        return "\n".join(lines)

    @property
    def _sk_visual_block_(self) -> Callable[[], Any]:
        lines = self._decisions()
        if not lines or self.distill_from is not None:
            # scikit-learn draws an estimator without this attribute, and the teacher beside it.
            raise AttributeError("_sk_visual_block_")
        return lambda: captioned_block(self, "; ".join(lines))

    def _decisions(self) -> list[str]:
        """One line for each parameter that the fit has decided by evidence."""
        return [str(d) for d in self._model.decisions()] if self.__sklearn_is_fitted__() else []

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_model")

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = as_loss(self.loss).multilabel
        return tags
