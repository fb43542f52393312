"""Pictures of other than three channels: accuracy with a frozen backbone, compared with RGB.

The same pictures are given in several forms: as RGB; in grey, repeated to RGB or as a single
channel; and as four and five channels that are mixed of red, green and blue, so that they hold no
more than RGB does. They show what a first convolution whose weights are repeated and rescaled
(`in_channels`) loses. Bands that tell more than RGB may gain; no such set is at hand.

The default head is cross-validated on frozen features, in five folds that are drawn five times.
Differences to RGB are paired by picture, in points of accuracy with their standard error.

Run with ``python -m benchmarks.channels``.
"""

from collections.abc import Callable
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image
from sklearn.model_selection import RepeatedStratifiedKFold

from benchmarks._common import parser, print_machine, print_table
from benchmarks.heads import whole
from sktransfer import PretrainedFeatureExtractor, PretrainedImageClassifier, load_clipart

FORMS: dict[str, tuple[int, Callable[[np.ndarray], np.ndarray]]] = {
    "RGB": (3, lambda rgb: rgb),
    "grey, repeated to RGB": (3, lambda rgb: grey(rgb)),
    "grey": (1, lambda rgb: grey(rgb)),
    "RGB and grey": (4, lambda rgb: np.dstack([rgb, grey(rgb)])),
    "R, RG, G, GB, B": (5, lambda rgb: five_bands(rgb)),
}


def grey(rgb):
    return np.asarray(Image.fromarray(rgb).convert("L"))


def five_bands(rgb):
    """Red, green and blue, and the means of neighbours between them."""
    red, green, blue = np.moveaxis(rgb.astype(np.uint16), 2, 0)
    bands = [red, (red + green) // 2, green, (green + blue) // 2, blue]
    return np.dstack(bands).astype(np.uint8)


def data_sets(options):
    """Yield name, RGB arrays and labels of each set."""
    data = options.data / "data"
    for name, (paths, y) in {
        "clip-art": load_clipart(return_X_y=True),
        "ants_bees": whole(data / "ants_bees", "train", "val"),
    }.items():
        yield name, [np.asarray(Image.open(path).convert("RGB")) for path in paths], y


def right_answers(X, y, channels):
    """Return for each picture the share of draws in which it is classified correctly."""
    with TemporaryDirectory() as folder:
        own = {"backbone": "efficientnet_lite0", "in_channels": channels, "cache": folder}
        PretrainedFeatureExtractor(**own).fit_transform(X)
        shares = np.zeros(len(X))
        splitter = RepeatedStratifiedKFold(n_splits=5, n_repeats=5, random_state=0)
        for learned, held_out in splitter.split(X, y):
            classifier = PretrainedImageClassifier(**own, random_state=0)
            classifier.fit([X[row] for row in learned], y[learned])
            shares[held_out] += classifier.predict([X[row] for row in held_out]) == y[held_out]
    return shares / 5


def main():
    options = parser(__doc__).parse_args()
    print_machine()
    rows = []
    for name, pictures, y in data_sets(options):
        rgb = None
        for form, (channels, changed) in FORMS.items():
            right = right_answers([changed(picture) for picture in pictures], y, channels)
            rgb = right if rgb is None else rgb
            gain = 100 * (right - rgb)
            error = gain.std(ddof=1) / np.sqrt(len(gain))
            rows.append(
                (name, form, channels, f"{right.mean():.3f}", f"{gain.mean():+.1f} +/- {error:.1f}")
            )
    print_table(("set", "pictures as", "in_channels", "accuracy", "difference to RGB"), rows)


if __name__ == "__main__":
    main()
