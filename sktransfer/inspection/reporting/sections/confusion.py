"""Which classes are taken for which, with the pictures of each cell."""

from __future__ import annotations

import numpy as np

from sktransfer.inspection.reporting.blocks import Block, Cell, Gallery, Section, Table, Text
from sktransfer.inspection.reporting.material import Material

# A matrix of more classes can't be read; the most frequent confusions are listed in any case.
MOST_CLASSES = 20
_MOST_PAIRS = 10
# Pictures of one cell, and of all cells: with 96 pixels, each is about 4 kB of the file.
_PER_CELL, _PER_RIGHT_CELL, _IN_ALL = 12, 4, 400
_SIDE = 96


def section(material: Material) -> Section:
    """A matrix whose cells lead to their pictures."""
    if material.multilabel:
        return Section(
            "confusion",
            "Confusion matrix",
            [Text("A picture may have several labels, so there is no confusion matrix.")],
        )
    cells = _cells(material)
    classes = _shown_classes(material, cells)
    galleries = _galleries(material, cells, classes)
    linked = {gallery.key for gallery in galleries}
    blocks: list[Block] = [_matrix(material, cells, classes, linked)]
    if len(classes) < len(material.labels):
        blocks.append(
            Text(
                f"Of {len(material.labels)} classes, the matrix shows the {len(classes)} that take "
                "part in most mistakes."
            )
        )
    blocks += [*_pairs(material, cells), *galleries]
    return Section("confusion", "Confusion matrix", blocks)


def _cells(material: Material) -> dict[tuple[int, int], np.ndarray]:
    """Rows (n_rows,) of each cell that has some, by positions of the true and predicted label.

    There is no array of all cells: ten thousand classes have a hundred million of them.
    """
    codes = np.stack([material.true, material.predicted], axis=1)
    found, which = np.unique(codes, axis=0, return_inverse=True)
    which = which.reshape(-1)  # of another shape in NumPy 2.0
    order = np.argsort(which, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(which[order])) + 1)
    return {
        (int(true), int(predicted)): rows
        for (true, predicted), rows in zip(found, parts, strict=True)
    }


def _shown_classes(material: Material, cells: dict[tuple[int, int], np.ndarray]) -> list[int]:
    """Positions of the classes of the matrix, in order."""
    counts = np.zeros(len(material.labels), dtype=np.int64)
    mistakes = np.zeros_like(counts)
    for (true, predicted), rows in cells.items():
        counts[[true, predicted]] += len(rows)
        if true != predicted:
            mistakes[[true, predicted]] += len(rows)
    occur = np.flatnonzero(counts)
    most = occur[np.lexsort((-counts[occur], -mistakes[occur]))][:MOST_CLASSES]
    return sorted(most.tolist())


def _matrix(
    material: Material,
    cells: dict[tuple[int, int], np.ndarray],
    classes: list[int],
    linked: set[str],
) -> Table:
    names = [str(material.labels[c]) for c in classes]
    of_class = np.bincount(material.true, minlength=len(material.labels))
    rows = []
    for true in classes:
        row: list[object] = [str(material.labels[true])]
        for predicted in classes:
            count = len(cells.get((true, predicted), ()))
            hint = f"{count} of {of_class[true]} {material.labels[true]} predicted as "
            key = _key(true, predicted)
            row.append(
                Cell(
                    count,
                    link=key if key in linked else "",
                    shade=count / of_class[true] if of_class[true] else 0.0,
                    hint=hint + str(material.labels[predicted]),
                )
            )
        rows.append(row)
    return Table(
        ["true \N{RIGHTWARDS ARROW} predicted", *names],
        rows,
        "Number of test pictures of each class (rows) by predicted class (columns), shaded by "
        "their share of the row. Underlined numbers lead to pictures.",
        is_dense=True,
    )


def _key(true: int, predicted: int) -> str:
    return f"cell-{true}-{predicted}"


def _pairs(material: Material, cells: dict[tuple[int, int], np.ndarray]) -> list[Block]:
    of_class = np.bincount(material.true, minlength=len(material.labels))
    wrong = [(len(rows), pair) for pair, rows in cells.items() if pair[0] != pair[1]]
    if not wrong:
        return [Text("There are no mistakes.")]
    wrong.sort(key=lambda each: (-each[0], each[1]))
    return [
        Table(
            ["true", "predicted", "pictures", "share of the true class"],
            [
                [str(material.labels[true]), str(material.labels[predicted]), n, n / of_class[true]]
                for n, (true, predicted) in wrong[:_MOST_PAIRS]
            ],
            "The most frequent confusions.",
        )
    ]


def _galleries(
    material: Material, cells: dict[tuple[int, int], np.ndarray], classes: list[int]
) -> list[Gallery]:
    """Pictures of the cells that are shown: mistakes first, for there may be too many pictures."""
    shown = [pair for pair in cells if set(pair) <= set(classes)]
    shown.sort(key=lambda pair: (pair[0] == pair[1], pair))
    galleries, left = [], _IN_ALL
    for true, predicted in shown:
        rows = cells[true, predicted]
        chosen = rows[: min(left, _PER_RIGHT_CELL if true == predicted else _PER_CELL)]
        if not len(chosen) or material.test.pictures is None:
            break
        left -= len(chosen)
        more = len(rows) - len(chosen)
        of_class, as_class = material.labels[true], material.labels[predicted]
        galleries.append(
            Gallery(
                material.shown(material.test, chosen, _SIDE, [[]] * len(chosen)),
                title=f"{of_class} predicted as {as_class} ({len(rows)})",
                key=_key(true, predicted),
                note=f"{more} more are not shown." if more else "",
                is_small=True,
            )
        )
    return galleries
