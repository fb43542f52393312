import numpy as np

from sktransfer.inspection.reporting.as_data import as_data
from sktransfer.inspection.reporting.blocks import (
    Blank,
    Cell,
    Document,
    Gallery,
    Picture,
    Plot,
    Section,
    Table,
    Text,
)


def test_everything_but_pixels_is_there():
    pixels = np.zeros((4, 4, 3), np.uint8)
    blocks = [
        Text("note", is_warning=True),
        Table(["a", "b"], [["x", Cell(np.int64(3), link="y")], ["z", float("nan")]], "caption"),
        Plot("<svg/>", "alt", "a plot"),
        Gallery([Picture(pixels, "alt", ["line"], 7)], title="title"),
        Blank("limits", "none", "hint"),
    ]
    data = as_data(Document("t", [("0.5", "accuracy")], [Section("s", "S", blocks)]))
    assert data["facts"] == {"accuracy": "0.5"}
    note, table, plot, gallery, blank = data["sections"]["s"]["blocks"]
    assert note == {"text": "note", "is_warning": True}
    assert table == {"caption": "caption", "columns": ["a", "b"], "rows": [["x", 3], ["z", None]]}
    assert plot == {"plot": "a plot"}
    assert gallery["pictures"] == [{"row": 7, "lines": ["line"]}]
    assert blank == {"field": "limits", "text": "none"}
