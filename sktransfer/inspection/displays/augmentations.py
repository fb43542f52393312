"""plot_augmentations: show the effect of an augmentation on the user's pictures."""

from __future__ import annotations

from typing import Any

from sklearn.utils import check_random_state

from sktransfer._common.sklearn_private import check_matplotlib_support
from sktransfer.images.augmentation import AUGMENTATIONS, AugmentedView, Transform
from sktransfer.images.preprocessing import Preprocessing
from sktransfer.images.sources import as_images


def plot_augmentations(
    X: Any,
    augment: str | Transform = "standard",
    *,
    n_views: int = 6,
    image_size: int = 224,
    random_state: Any = None,
    figure: Any = None,
) -> Any:
    """Draw pictures, each followed by augmented views of it.

    Parameters
    ----------
    X : array, list, Series or one-column DataFrame
        A few pictures or paths, in any form that `fit` takes, of other channels than those of RGB
        three: ``X[..., :3]``. The figure has one row per picture.
    augment : str or transform, default="standard"
        Same as the parameter `augment` of :class:`PretrainedImageClassifier`.
    n_views : int, default=6
        Number of augmented views per picture.
    image_size : int, default=224
        Side of the network's square input, in pixels.
    random_state : int, RandomState or None, default=None
    figure : matplotlib Figure, optional
        Figure to draw on. By default a new one is made.

    Returns
    -------
    figure : matplotlib Figure

    Raises
    ------
    ValueError
        If `augment` is unknown, or X holds no pictures.
    ImportError
        If matplotlib is missing.

    Examples
    --------
    >>> from sktransfer import load_clipart
    >>> from sktransfer.inspection import plot_augmentations
    >>> paths, _ = load_clipart(return_X_y=True)
    >>> figure = plot_augmentations(paths[:2], "keras", n_views=3, random_state=0)
    >>> len(figure.axes)
    8
    """
    check_matplotlib_support("plot_augmentations")
    import matplotlib.pyplot as plt

    if isinstance(augment, str) and augment not in AUGMENTATIONS:
        raise ValueError(
            f"augment must be one of {list(AUGMENTATIONS)} or a torchvision v2 transform; got "
            f"{augment!r}."
        )
    source = as_images(X)
    seed = int(check_random_state(random_state).randint(2**31 - 1))
    if figure is None:
        size = (1.4 * (n_views + 1), 1.5 * len(source))
        figure = plt.figure(figsize=size, layout="constrained")
    axes = figure.subplots(len(source), n_views + 1, squeeze=False)
    # 8/7 is 256 to 224, the ratio of most weights' presets. Mean and std are not used here.
    square = Preprocessing(round(image_size * 8 / 7), image_size, "bilinear", (0,) * 3, (1,) * 3)
    for row in range(len(source)):
        pixels = square(source.read(row))
        views = [AugmentedView(augment, image_size, seed, number) for number in range(n_views)]
        shown = [pixels, *(view(pixels) for view in views)]
        for ax, picture in zip(axes[row], shown, strict=True):
            ax.imshow(picture)
            ax.set_axis_off()
    axes[0, 0].set_title("as it is", fontsize="small")
    return figure
