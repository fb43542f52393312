"""Draw docs/images/predictions.png, the picture at the top of the README.

Fits on three quarters of the clip-art and shows drawings of the other quarter, three of
each class, picked at random, not by success: ``python docs/images/draw_readme_picture.py``.
"""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import FancyBboxPatch
from PIL import Image
from sklearn.model_selection import train_test_split

from sktransfer import PretrainedImageClassifier, load_clipart

OUTPUT = Path(__file__).with_name("predictions.png")
ROWS = 3
RIGHT, WRONG, FRAME = "#2f6f4f", "#b3402a", "#d9dde2"

clipart = load_clipart()
train_paths, test_paths, train_labels, test_labels = train_test_split(
    clipart.data, clipart.target, stratify=clipart.target, random_state=0
)
classifier = PretrainedImageClassifier("efficientnet_lite0", random_state=0)
classifier.fit(train_paths, train_labels)
predicted = classifier.predict(test_paths)
print(f"accuracy on {len(test_paths)}: {(predicted == test_labels).mean():.3f}")

rng = np.random.default_rng(0)
columns = [
    rng.choice(np.flatnonzero(test_labels == name), ROWS, replace=False)
    for name in clipart.target_names
]
plt.rcParams["font.family"] = "DejaVu Sans"
figure, grid = plt.subplots(ROWS, len(columns), figsize=(12, 5.5))
figure.subplots_adjust(left=0.01, right=0.99, top=0.985, bottom=0.06, wspace=0.1, hspace=0.3)
for axes, row in zip(grid.T.ravel(), np.concatenate(columns), strict=True):
    drawing = Image.open(test_paths[row])
    axes.imshow(drawing, interpolation="lanczos", extent=(0.06, 0.94, 0.06, 0.94))
    axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    axes.axis("off")
    box = FancyBboxPatch(
        (0.02, 0.02),
        0.96,
        0.96,
        boxstyle="round,pad=0,rounding_size=0.07",
        facecolor="white",
        edgecolor=FRAME,
        linewidth=1.2,
        zorder=-1,
        clip_on=False,
    )
    axes.add_patch(box)
    right = predicted[row] == test_labels[row]
    text = predicted[row] if right else f"{predicted[row]} ({test_labels[row]})"
    axes.text(
        0.5,
        -0.05,
        text,
        ha="center",
        va="top",
        fontsize=11.5,
        color=RIGHT if right else WRONG,
        fontweight="normal" if right else "bold",
    )
figure.savefig(OUTPUT, dpi=110, facecolor="white")
plt.close(figure)
# A palette of 256 colours is a third of the size and looks the same.
Image.open(OUTPUT).convert("RGB").quantize(256).save(OUTPUT, optimize=True)
print(f"{OUTPUT.name}: {OUTPUT.stat().st_size / 1024:.0f} kB")
