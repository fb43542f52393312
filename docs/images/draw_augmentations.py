"""Draw augmentations.png: one drawing, and what each named augmentation makes of it."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt

from sktransfer import load_clipart, plot_augmentations

NAMES = ("light", "standard", "keras", "trivial")

paths, _ = load_clipart(return_X_y=True)
figure = plt.figure(figsize=(8, 4.6), layout="constrained")
for row, name in zip(figure.subfigures(len(NAMES), 1), NAMES, strict=True):
    plot_augmentations(paths[:1], name, n_views=7, random_state=1, figure=row)
    row.axes[0].set_title("as it is" if name == NAMES[0] else "", fontsize="small")
    row.axes[1].set_title(f'augment="{name}"', fontsize="small", loc="left")
figure.savefig(Path(__file__).with_name("augmentations.png"), dpi=80)
