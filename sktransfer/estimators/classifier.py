"""PretrainedImageClassifier: a pretrained backbone, a new head, as much trained as asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from sktransfer._common.sklearn_private import HasMethods, Interval, StrOptions
from sktransfer.estimators.base import BackboneEstimator
from sktransfer.estimators.conflicts import check_conflicts, check_partial_fit, check_watchers
from sktransfer.estimators.fitting import Fitting, keeps_earlier
from sktransfer.exceptions import ParameterError
from sktransfer.images.augmentation import AUGMENTATIONS
from sktransfer.training.losses import LOSSES, as_loss
from sktransfer.training.optimizers import OPTIMIZERS
from sktransfer.training.sampling import SAMPLINGS
from sktransfer.training.schedules import SCHEDULES

_SHARE = Interval(Real, 0, 1, closed="left")
_NOT_NEGATIVE = Interval(Real, 0, None, closed="left")
_POSITIVE = Interval(Real, 0, None, closed="neither")
_COUNT = Interval(Integral, 1, None, closed="left")
_SEVERAL = Interval(Integral, 2, None, closed="left")


class PretrainedImageClassifier(ClassifierMixin, Fitting):  # type: ignore[misc]
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
        Unfrozen stages keep BatchNorm statistics too, unless `batch_norm` says otherwise.

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

    augment : {"light", "standard", "keras", "trivial"}, transform or None, default=None
        Changed copies of the pictures to train on. "light": cropped a little and flipped;
        "standard": cropped to half the area at least, flipped and recoloured; "keras":
        ImageDataGenerator's classic set (turned by up to 40 degrees, shifted, zoomed,
        flipped); "trivial": TrivialAugmentWide and flipped. Or a torchvision v2 transform of
        uint8 tensors (3, h, w). :func:`plot_augmentations` shows what they do.

    n_views : int or None, default=None
        Number of augmented views of each picture that take turns. The frozen stages run over
        each of them once, whatever the epochs. None makes a new view for every epoch, which
        costs a pass an epoch.

    mixup : float, default=0.0
        Mix each row with another one of its batch, in a share drawn from Beta(mixup, mixup);
        0.2 is usual, 0 is none (Zhang et al., ICLR 2018). What is mixed is what the head and
        the unfrozen stages are fed: pixels at depth "all", else activations.

    cutmix : float, default=0.0
        The same by pasting a box of the other row (Yun et al., ICCV 2019); 1 is usual. With
        `mixup`, each batch gets one of the two.

    loss : {"cross_entropy", "binary_cross_entropy", "focal"} or class, default="cross_entropy"
        "binary_cross_entropy" tells each class apart from all others, and is the loss for
        several labels a picture; "focal" (Lin et al., ICCV 2017, gamma=2) counts rows that
        are already right for less, and does either. Or a class of torch's kind, called with
        ``reduction="none"``.

    label_smoothing : float, default=0.0
        Share of each target that is spread over the classes.

    class_weight : None, "balanced" or dict, default=None
        Weight of each class in the loss; a dict is keyed by the labels in y. Multiplied
        with `sample_weight`. With several labels a picture, what the presence of each label
        counts against its absence; a dict is keyed by the number of the column.

    sampling : {"oversample", "undersample", "balanced"} or None, default=None
        Which rows an epoch trains on: those of rarer classes repeated until all have as many
        as the largest, those of larger ones left out until all have as few as the smallest
        (others in each epoch), or as many as there are, drawn with every class as likely.
        L-BFGS, which knows no epochs, weighs each row by how often it would be drawn on
        average: every row counts, and every class alike.

    distill_from : fitted classifier or None, default=None
        A teacher, with the same classes, whose `predict_proba` is learned beside the labels
        (Hinton et al., 2015). In a search, wrap it in
        :class:`sklearn.frozen.FrozenEstimator`, which `clone` leaves fitted.

    distill_weight : float, default=0.5
        Share of the teacher in the loss.

    distill_temperature : float, default=2.0
        What the scores of both are divided by: higher shows more of what the teacher holds
        for similar.

    optimizer : {"auto", "lbfgs", "adamw", "adam", "sgd"} or class, default="auto"
        "auto" is L-BFGS where the problem is convex (a linear head on a frozen backbone,
        without dropout, mixing, or new views in each epoch), and AdamW elsewhere. "sgd" has a
        Nesterov momentum of 0.9. Or a class of `torch.optim`.

    lr : float or "auto", default="auto"
        Learning rate of the head. "auto" is 3e-3 for a head that begins at random on frozen
        features, as one with hidden layers does, and 3e-4 for all else. L-BFGS has none.

    lr_decay : float, default=0.9
        Each unfrozen stage learns this much slower than the one after it.

    weight_decay : float, default=1e-4
        Strength of the penalty on weights. In the convex problem, half of it times the
        squared norm of the weights is added to the mean loss, with the features scaled to
        rows of mean squared length 1; elsewhere it is the optimizer's own.

    schedule : {"cosine", "onecycle", "plateau"}, class or None, default="cosine"
        "cosine": the learning rate climbs during the first tenth of the steps, an epoch at
        most, then falls to 0 as half a cosine. "onecycle" is torch's OneCycleLR. "plateau"
        divides it by ten after 2 epochs without a lower loss (of validation, where there is
        one). Or a class of `torch.optim.lr_scheduler`, stepped once an epoch. None keeps it as
        it is. L-BFGS has none.

    gradient_clipping : float or None, default=None
        Largest norm of all gradients together. L-BFGS has none.

    ema_decay : float or None, default=None
        Predict with an exponential moving average of the weights, of which each step keeps
        this share; 0.99 averages over about a hundred steps.

    batch_norm : {"auto", "fixed", "train"}, default="auto"
        Whether unfrozen stages keep their BatchNorm statistics or move them with each batch.
        "auto" keeps those of pretrained weights.

    max_epochs : int or "auto", default="auto"
        Passes over the stored activations. "auto" is 10, and for a head that begins at random
        on stored features as many more as make 1,000 steps. For L-BFGS one epoch is up to 20
        iterations, and it stops sooner when it has converged. The head that is trained before
        fine-tuning gets at least 10.

    batch_size : int, default=32
        Rows a training step, and pictures computed at once.

    head_init : {"probe", "random"}, default="probe"
        Where not all is solved by L-BFGS: train the head alone first, or start it at random.

    fine_tune : {"auto", "always"}, default="auto"
        "auto" leaves the unfrozen stages as they are, and warns, where the linear head that was
        solved first has nothing left that they could be seen to mend: where, cross-validated
        in 5 folds, it makes fewer mistakes in the n training rows than ``sqrt(n)``, counted
        by their weights. (An accuracy measured on n rows has a standard error of up to
        ``0.5 / sqrt(n)``.) "always" trains them, and so does "auto" with a random head,
        `hidden_layer_sizes` or `distill_from`, in `partial_fit`, and where a fit goes on with
        an earlier one.

    gradual_unfreezing : bool or list of int, default=False
        Let the unfrozen stages begin to train one after the other, from the last: at equal
        distances, or in the epochs of a list, counted from 0.

    validation_fraction : float, splitter or None, default=None
        Rows that are not trained on but scored each epoch: a share, drawn by class, or the
        first split of a scikit-learn splitter, which gets the `groups` given to `fit`.

    early_stopping : bool, default=False
        Stop when the validation loss has not fallen for `n_iter_no_change` epochs, and keep
        the weights of the best one; those that training began with (the solved head with
        untouched stages, or an earlier fit) if no epoch was better.

    n_iter_no_change : int, default=5
        Epochs to wait for a lower validation loss.

    calibrate : {"temperature"} or None, default=None
        Divide the scores by the number that suits the validation rows, weighted as in
        their loss, best (``temperature_``; Guo et al., ICML 2017): probabilities become
        honest, predictions stay.

    callbacks : list of skorch callbacks or None, default=None
        They see the last phase of training, and are used as they are, not copied. Batches hold
        activations, and labels as codes (positions in ``classes_``); scorers get codes too.

    warm_start : bool, default=False
        Let another `fit` go on with the head and stages of the one before. Classes, backbone
        and shape of the head must be the same; `unfreeze_depth` may grow. Of the same rows
        the same ones are held out by a `validation_fraction`.

    checkpoint_dir : str, path or None, default=None
        A folder in which training is written down after each epoch. The same fit, killed and
        called again, goes on there and ends with the same weights, to the bit on a CPU. Needs
        an int as `random_state`. Files of a fit that has ended are removed.

    tta : int or None, default=None
        Predict with the mean over so many views: the picture as it is, and others by
        `augment`, or "light" without it.

    mc_dropout : int or None, default=None
        Predict with the mean over so many draws of the head's dropout (Gal & Ghahramani,
        ICML 2016); ``predict_proba(X, return_std=True)`` also gives their spread.

    device : str, default="auto"
        ``"auto"`` (CUDA, then MPS, then CPU) or a torch device such as ``"cuda:1"``.

    precision : {"float32", "bfloat16", "float16"}, default="float32"
        Precision of the arithmetic in frozen stages and, by autocast, in those that train. The
        shorter ones are faster where the hardware has them, and lose digits; "float16" is for CUDA.
        Features, weights and scores are float32 all the same.

    engine : {"auto", "torch", "openvino"}, default="auto"
        Who runs the frozen stages. OpenVINO (extra ``openvino``) is 1.2 to 2.9 times as fast on
        CPUs and needs some seconds once a process, and with `cache` once, to convert a
        network; "auto" uses it where it is installed and there are enough pictures to repay
        that. The engines agree to 1e-4 of the largest value.

    n_jobs : int or None, default=None
        Threads that read pictures. None means as many as torch uses, which is one a core,
        and one in the workers of a parallel search.

    cache : str, path or None, default=None
        A folder that keeps activations by the content of the pictures, for later calls,
        other folds and candidates, and other processes. On a local disk;
        :func:`cache_info` and :func:`clear_cache` look after it.

    random_state : int, RandomState or None, default=None
        Seed of the head's first values, augmentation, batches, dropout and the validation split.
        On a CPU the same int gives the same predictions to the bit.

    verbose : int, default=0
        1 shows progress bars for pictures and epochs, 2 also skorch's table of epochs.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels, in the order of the columns of `predict_proba`; numbers of columns where
        a picture may have several.

    history_ : list of dict
        One record an epoch: ``phase`` ("probe", "head" or "fine-tune"), ``epoch``,
        ``train_loss`` (of the rows, without the penalty on weights), ``lr``, and with
        validation rows ``valid_loss`` and
        ``valid_score`` (accuracy, with rows weighted as in the loss; of whole rows where
        there are several labels); and what skorch's EpochScoring and BatchScoring among the
        `callbacks` measure, by their names.

    n_iter_ : int
        Number of epochs, over all phases.

    temperature_ : float
        What the scores are divided by; 1 without `calibrate`.

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
        "weight_decay": [_NOT_NEGATIVE],
        "schedule": [StrOptions(set(SCHEDULES)), callable, None],
        "gradient_clipping": [_POSITIVE, None],
        "ema_decay": [_SHARE, None],
        "batch_norm": [StrOptions({"auto", "fixed", "train"})],
        "max_epochs": [_COUNT, StrOptions({"auto"})],
        "head_init": [StrOptions({"probe", "random"})],
        "fine_tune": [StrOptions({"auto", "always"})],
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
        image_shape: tuple[int, ...] | None = None,
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
        weight_decay: float = 1e-4,
        schedule: str | Callable[..., Any] | None = "cosine",
        gradient_clipping: float | None = None,
        ema_decay: float | None = None,
        batch_norm: str = "auto",
        max_epochs: int | str = "auto",
        batch_size: int = 32,
        head_init: str = "probe",
        fine_tune: str = "auto",
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
        self.image_shape = image_shape
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
        self.schedule = schedule
        self.gradient_clipping = gradient_clipping
        self.ema_decay = ema_decay
        self.batch_norm = batch_norm
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.head_init = head_init
        self.fine_tune = fine_tune
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

    @keeps_earlier
    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        validation_data: tuple[Any, Any] | None = None,
        groups: Any = None,
    ) -> PretrainedImageClassifier:
        """Run the frozen stages over the pictures once, then train on what they gave.

        Parameters
        ----------
        X : array, tensor, list, Series or one-column DataFrame
            Pictures or paths of pictures: uint8 or float (0..1) arrays of shape
            (n, h, w, 3), (n, h, w) or (n, h, w, 1); tensors of shape (n, 3, h, w); lists of
            arrays, PIL images or paths; with `image_shape`, rows of flattened pixels.
        y : array-like of shape (n,), or indicator of shape (n, n_classes)
            Labels: strings, integers or bools. Or, for a loss that tells each class apart by
            itself, 1 in the column of each label that a picture has, and 0 elsewhere.
        sample_weight : array-like of shape (n,), optional
            What each row counts in the loss, against the mean of all; 0 is as good as absent.
        validation_data : tuple (X, y), optional
            Pictures to validate on, instead of a `validation_fraction` of X.
        groups : array-like of shape (n,), optional
            For a splitter given as `validation_fraction`: rows that belong together.

        Returns
        -------
        self : PretrainedImageClassifier

        Raises
        ------
        ValueError
            If a parameter, X or y is invalid, or two contradict each other; see
            :mod:`sktransfer.exceptions`.
        TrainingDivergedError
            If the loss becomes NaN or infinite. The estimator is then not fitted, or, with
            `warm_start`, as it was before.

        Warns
        -----
        TrainingWarning
            If training was interrupted (Ctrl-C): what was learned by then is kept. If the
            unfrozen stages were left as they are (`fine_tune`, or `early_stopping` where no epoch
            was better than the head alone), or ended with a training loss far above that of
            the head alone.
        ConvergenceWarning
            Scikit-learn's: if training ended while the training loss still fell fast, or L-BFGS
            before it converged.
        """
        earlier = self._earlier() if self.warm_start else None
        if earlier is None:
            self.__dict__.pop("net_", None)  # a fit that fails leaves no older one behind
        images = self._prepare(X, seed=self._draw_seeds(earlier), goes_on=earlier is not None)
        validates = self.validation_fraction is not None or validation_data is not None
        check_conflicts(
            self,
            held_out=validates,
            groups=groups is not None,
            validation=validation_data is not None,
        )
        check_watchers(self, held_out=validates)
        labels = self._learned_labels(y, len(images), earlier)
        self._try_out()
        weights = self._row_weights(labels, sample_weight)
        train, held_out = self._split(labels, weights, groups)
        rows, validation, stages = self._training_rows(
            X, images, labels, weights, train, held_out, validation_data
        )
        return self._train(stages, rows, validation, earlier)

    @keeps_earlier
    def partial_fit(
        self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None
    ) -> PretrainedImageClassifier:
        """Learn some more pictures, and keep what was learned before.

        Where the problem is convex and `optimizer` is "auto", each call solves the head for its
        pictures, near the solution of those before: the more pictures that was learned from,
        the less it moves. Shuffled pieces teach nearly what all their rows together would. Pieces
        that are sorted by class do not: the classes of the last ones are preferred to those of the
        first. Elsewhere the first call solves or draws a head, and each call trains for one epoch
        by `optimizer`, whose state is kept, at a learning rate of `lr` without a `schedule`.

        Parameters
        ----------
        X : array, tensor, list, Series or one-column DataFrame
            As in `fit`.
        y : array-like of shape (n,), or indicator of shape (n, n_classes)
        classes : array-like of shape (n_classes,), optional
            All labels that there will be; in the first call, unless its y has them all.
        sample_weight : array-like of shape (n,), optional
            What each row counts in the loss. Not scaled, as it is in `fit`: a row of weight 2
            counts twice as much as one of weight 1 in any other piece; 0 is as good as absent.

        Returns
        -------
        self : PretrainedImageClassifier

        Raises
        ------
        ValueError
            As in `fit`; if y holds a class that was not named in the first call; or if a
            parameter means nothing where rows come in pieces, such as `early_stopping`.
        """
        earlier = self._earlier()
        images = self._prepare(
            X,
            seed=self._draw_seeds(earlier),
            reset=earlier is None,
            goes_on=earlier is not None,
        )
        check_partial_fit(self)
        check_conflicts(self, held_out=False, groups=False, validation=False)
        check_watchers(self, held_out=False, in_pieces=True)
        labels = self._learned_labels(y, len(images), earlier, classes)
        self._try_out()
        weights = self._row_weights(labels, sample_weight, all_classes=False)
        present = np.flatnonzero(weights)
        rows, _, stages = self._training_rows(X, images, labels, weights, present)
        piece_weight = float(weights[present].mean())
        return self._train(stages, rows, None, earlier, piece_weight=piece_weight)

    def predict(self, X: Any) -> np.ndarray:
        """Most likely label of each picture, or all labels that are more likely than not.

        Parameters
        ----------
        X : array, tensor, list, Series or one-column DataFrame
            As in `fit`; pictures may have other sizes.

        Returns
        -------
        labels : ndarray of shape (n,), or (n, n_classes)
            Of the dtype that y had; an indicator of integers if y was one.
        """
        predictions = self._task.predictions(self._scores(X))
        labels: np.ndarray = predictions if self._task.multilabel else self.classes_[predictions]
        return labels

    def predict_proba(
        self, X: Any, *, return_std: bool = False
    ) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
        """Probability of each class.

        Parameters
        ----------
        X : array, tensor, list, Series or one-column DataFrame
            As in `fit`.
        return_std : bool, default=False
            With `mc_dropout` or `tta`: also their standard deviation over draws and views.

        Returns
        -------
        probabilities : ndarray of shape (n, n_classes), float32
            Columns in the order of ``classes_``. Rows sum to 1 unless a picture may have
            several labels.
        spread : ndarray of shape (n, n_classes), float32
            With `return_std`.

        Raises
        ------
        ParameterError
            If `return_std` is asked for and there is but one draw.
        """
        scores = self._drawn_scores(X, several=return_std)
        draws = self._task.probabilities(scores)
        probabilities: np.ndarray = draws.mean(axis=1)
        return (probabilities, draws.std(axis=1)) if return_std else probabilities

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
        scores = self._scores(X)
        return self._task.log_probabilities(scores)

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
        if len(self.classes_) > 2 or self._task.multilabel:
            return scores
        logarithms = self._task.log_probabilities(scores)
        return logarithms[:, 1] - logarithms[:, 0]

    def _scores(self, X: Any) -> np.ndarray:
        """Scores (n, n_classes); of several draws, those that have their mean probabilities."""
        draws = self._drawn_scores(X)
        if draws.shape[1] == 1:
            return draws[:, 0]
        return self._task.scores(self._task.probabilities(draws).mean(axis=1))

    def _drawn_scores(self, X: Any, *, several: bool = False) -> np.ndarray:
        """Scores (n, draws, n_classes), in as many passes as there are views."""
        check_is_fitted(self)
        self._check_parameters()
        if several and self.tta is None and self.mc_dropout is None:
            raise ParameterError(
                "return_std=True needs several draws, but tta=None and mc_dropout=None. Set "
                "mc_dropout=20 (with dropout), or tta=5."
            )
        images = self._images(X, reset=False)
        images.check()
        return self._predicting(images) / np.float32(self.temperature_)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "net_")

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = as_loss(self.loss).multilabel
        return tags
