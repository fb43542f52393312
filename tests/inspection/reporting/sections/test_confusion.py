import numpy as np
from sklearn.metrics import confusion_matrix

from sktransfer.inspection.outcomes import Outcomes
from sktransfer.inspection.reporting.blocks import Gallery, Table
from sktransfer.inspection.reporting.sections import confusion
from sktransfer.inspection.reporting.sections.confusion import section
from tests.inspection.reporting.materials import EXPECTED, SIDE, SURE, TRUE, Told, told, usual


def parts(material):
    blocks = section(material).blocks
    tables = [block for block in blocks if isinstance(block, Table)]
    galleries = {block.key: block for block in blocks if isinstance(block, Gallery)}
    return tables, galleries


def test_the_matrix():
    (matrix, pairs), _ = parts(usual())
    counts = [[cell.value for cell in row[1:]] for row in matrix.rows]
    assert counts == confusion_matrix(TRUE, EXPECTED).tolist()
    assert [row[0] for row in matrix.rows] == ["ant", "bee", "cat"]
    assert pairs.rows[0][:3] in (["bee", "ant", 1], ["bee", "cat", 1], ["cat", "bee", 1])


def test_cells_lead_to_their_pictures():
    (matrix, _), galleries = parts(usual())
    links = {cell.link for row in matrix.rows for cell in row[1:] if cell.value}
    assert links == set(galleries)
    assert [picture.row for picture in galleries["cell-1-0"].pictures] == [3]
    assert galleries["cell-1-0"].title == "bee predicted as ant (1)"
    assert galleries["cell-0-0"].note == ""


def test_there_are_not_too_many_pictures(monkeypatch):
    monkeypatch.setattr(confusion, "_IN_ALL", 4)
    _, galleries = parts(usual())
    assert sum(len(gallery.pictures) for gallery in galleries.values()) == 4
    # The mistakes come first.
    assert {"cell-1-0", "cell-2-1", "cell-1-2"} <= set(galleries)


def test_no_mistakes():
    blocks = section(told(SURE, EXPECTED)).blocks
    assert "There are no mistakes." in [getattr(block, "text", "") for block in blocks]


def test_ten_thousand_classes():
    n = 10_000
    names = np.array([f"c{i:05}" for i in range(n)])
    material = told(SURE[:2], TRUE[:2])
    rng = np.random.default_rng(0)
    outcomes = Outcomes(names, rng.integers(n, size=500), rng.integers(n, size=500))
    test = material.test.taken(np.zeros(500, int))
    vars(material).update(labels=names.tolist(), outcomes=outcomes, test=test)
    (matrix, pairs), galleries = parts(material)
    assert len(matrix.rows) == confusion.MOST_CLASSES
    assert len(pairs.rows) <= 20
    assert len(galleries) <= 400


def test_pictures_are_not_needed():
    assert SIDE == 8
    material = usual()
    object.__setattr__(material.test, "pictures", None)
    _, galleries = parts(material)
    assert galleries == {}
    assert isinstance(material.subject.estimator, Told)
