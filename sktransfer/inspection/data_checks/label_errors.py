"""Labels that are probably wrong, by heads that did not train on them."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

import numpy as np
import torch

from sktransfer.activations.views import FixedViews
from sktransfer.estimators.classifier import PretrainedImageClassifier
from sktransfer.estimators.labels import Labels
from sktransfer.estimators.settings import training_settings
from sktransfer.inspection.data_checks.findings import Finding, NotMade
from sktransfer.inspection.data_checks.material import Material
from sktransfer.selection.cross_validation import make_folds, probabilities, unseen
from sktransfer.training.batches import Rows

# Without cleanlab, which tells how many there are: the first of the ranking.
_RANKED = 50
_RANKED_PART = 0.05
# Heads of more classes take hours: their weights grow with the classes, and so do the rows.
_MOST_CLASSES = 1000

_ADVICE = (
    "Look at it. If the label is wrong, correct it: write_corrections(path) lists all such rows "
    "for a spreadsheet, and read_corrections(path, y) reads it back."
)
_WITHOUT_COUNT = (
    " This is only the top of a ranking, of which many may be right; install cleanlab "
    '(pip install "sktransfer[labels]") to estimate how many labels are wrong.'
)


def find_label_errors(material: Material) -> list[Finding]:
    """One finding for each label that is probably wrong, the least likely first."""
    labels = material.one_label_each()
    rows = [i for i in material.described if i < material.n_rows]
    codes = labels.y[rows]
    guesses, unknown = _held_out(material, rows, Labels(labels.classes, codes))
    counted = importlib.util.find_spec("cleanlab") is not None
    chosen = _counted(codes, guesses) if counted else _ranked(codes, guesses)
    found = []
    for i in chosen:
        position, guess = rows[i], int(guesses[i].argmax())
        if guess == codes[i] or unknown[i]:
            continue
        own, other = (material.class_names[code] for code in (codes[i], guess))
        finding = material.finding(
            "label_error",
            "warning" if counted else "note",
            [position],
            f"{material.facts[position].name} is labelled {own!r}. A head that did not train on it "
            f"gives this label a probability of {guesses[i, codes[i]]:.3f}, and {other!r} "
            f"{guesses[i, guess]:.3f}.",
            _ADVICE if counted else _ADVICE + _WITHOUT_COUNT,
            float(guesses[i, codes[i]]),
            suggestion=other,
        )
        found.append(finding)
    return found


def _held_out(
    material: Material, rows: Sequence[int], labels: Labels
) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (n, n_classes) by heads that did not see a row, and rows of a class unknown."""
    assert material.features is not None
    # Classes without any readable picture would only take time, and cleanlab refuses them.
    present, codes = np.unique(labels.y, return_inverse=True)
    if len(present) < 2:
        raise NotMade("the pictures that can be read are of one class only")
    if len(present) > _MOST_CLASSES:
        raise NotMade(
            f"there are {len(present):,} classes, and heads of more than {_MOST_CLASSES:,} take "
            "too long; check the pictures of some classes at a time"
        )
    # Copies are in one fold: a head would recognise the others, with a label as wrong as theirs.
    groups = material.near.of_all(len(material.facts))[list(rows)]
    folds = make_folds(codes, groups, seed=0)
    if not folds:
        raise NotMade("there are too few different pictures to hold some out")
    weights = np.ones(len(codes))
    settings = training_settings(
        *(PretrainedImageClassifier(), Labels(labels.classes[present], codes), weights),
        device="cpu",
        precision="float32",
        seed=0,
    )
    features = torch.from_numpy(np.asarray(material.features[list(rows)], dtype=np.float32))
    if (features == features[0]).all():
        raise NotMade("all pictures have the same features, which tell no class from another")
    found = np.zeros((len(codes), len(labels.classes)))
    found[:, present] = probabilities(
        settings, Rows.of(FixedViews([features]), codes, weights), folds
    )
    unknown = np.zeros(len(codes), dtype=bool)
    for learned, held_out in folds:
        unknown[held_out] = unseen(codes, learned, held_out)
    return found, unknown


def _counted(codes: np.ndarray, guesses: np.ndarray) -> np.ndarray:
    """Positions of the least self-confident rows, as many as confident learning counts errors.

    Northcutt, Jiang & Chuang, "Confident Learning: Estimating Uncertainty in Dataset Labels", JAIR
    70, 2021. The count is cleanlab's; the order by self-confidence has found more flipped labels
    among so many rows than its other filters have, on the clip-art and on the sets it was not
    chosen on.
    """
    from cleanlab.filter import find_label_issues  # an optional dependency

    present, own = np.unique(codes, return_inverse=True)
    issues: np.ndarray = find_label_issues(
        own,
        guesses[:, present],
        filter_by="low_self_confidence",
        return_indices_ranked_by="self_confidence",
        n_jobs=1,
    )
    return issues


def _ranked(codes: np.ndarray, guesses: np.ndarray) -> np.ndarray:
    """Positions of the least self-confident rows."""
    most = min(_RANKED, max(1, round(_RANKED_PART * len(codes))))
    return np.argsort(guesses[np.arange(len(codes)), codes], kind="stable")[:most]
