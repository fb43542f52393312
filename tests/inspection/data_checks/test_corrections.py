import csv

import numpy as np
import pandas as pd
import pytest

from sktransfer import read_corrections
from sktransfer.exceptions import ParameterError
from sktransfer.inspection.data_checks.corrections import Doubt, write_doubts

NASTY = [
    "plain",
    'with "quotes"',
    "a,b;c\td",
    "two\nlines",
    "carriage\r\nreturn",
    " spaces ",
    "=1+1",
    "'=1+1",
    "+x",
    "-x",
    "@SUM(A1)",
    "\tx",
    "'",
    "''",
    "",
    "ünï 鳥",
    "007",
    "True",
    "a;=1+1",
    "a;'=1+1",
    'a\n"=1+1',
]


def write(path, y, rows, suggestion=None):
    labels = np.asarray(y).tolist()
    write_doubts(path, [Doubt(row, f"{row}.jpg", labels[row], suggestion, "why") for row in rows])


def edit(path, change, delimiter=","):
    """Change the lines as in a spreadsheet, which may write another delimiter."""
    with open(path, encoding="utf-8-sig", newline="") as file:
        lines = list(csv.DictReader(file))
    with open(path, "w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, lines[0].keys(), delimiter=delimiter)
        writer.writeheader()
        for line in lines:
            writer.writerow({**line, **change(line)})


LABELS = [
    np.array(NASTY),
    np.array(NASTY, dtype=object),
    pd.Series(NASTY),
    pd.Series(NASTY, dtype="category"),
    [3, -1, 7, 3],
    [True, False, True],
    [1.0, 2.0, 30.0],
    pd.Series([3, -1, 7], dtype="Int64"),
    pd.Series([True, False, True], dtype="boolean"),
]


@pytest.mark.parametrize("y", LABELS)
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_file_that_was_not_edited_changes_nothing(y, delimiter, tmp_path):
    write(tmp_path / "a.csv", y, range(len(y)))
    edit(tmp_path / "a.csv", lambda _: {}, delimiter)
    found = read_corrections(tmp_path / "a.csv", y)
    np.testing.assert_array_equal(found, np.asarray(y))
    assert found.dtype == np.asarray(y).dtype


@pytest.mark.parametrize("y", LABELS)
def test_every_label_can_be_put_in_the_place_of_every_other(y, tmp_path):
    labels = np.asarray(y).tolist()
    for other in labels:
        write(tmp_path / "a.csv", y, [1], suggestion=other)
        edit(tmp_path / "a.csv", lambda line: {"label": line["suggestion"]})
        found = read_corrections(tmp_path / "a.csv", y).tolist()
        assert found == [labels[0], other, *labels[2:]]


def test_labels_may_be_typed_without_the_apostrophe(tmp_path):
    write(tmp_path / "a.csv", ["=a", "b"], [1])
    edit(tmp_path / "a.csv", lambda _: {"label": "=a"})
    assert read_corrections(tmp_path / "a.csv", ["=a", "b"]).tolist() == ["=a", "=a"]


@pytest.mark.parametrize(
    ("y", "typed", "label"), [([True, False], "TRUE", True), ([2.0, 3.5], "2", 2.0)]
)
def test_labels_may_be_written_as_spreadsheets_do(y, typed, label, tmp_path):
    write(tmp_path / "a.csv", y, [1])
    edit(tmp_path / "a.csv", lambda _: {"label": typed})
    assert read_corrections(tmp_path / "a.csv", y).tolist() == [label, label]


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_no_cell_is_a_formula(start, tmp_path):
    nasty = f"{start}HYPERLINK()"
    write_doubts(tmp_path / "a.csv", [Doubt(0, nasty, nasty, nasty, nasty)])
    with open(tmp_path / "a.csv", encoding="utf-8-sig", newline="") as file:
        [line] = csv.DictReader(file)
    del line["row"]
    assert set(line.values()) == {f"'{nasty}"}


@pytest.mark.parametrize("text", ["a;=X()", 'a;"=X()', "a\n=X()", "a\t@X()", "a;\r;-X()"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_no_cell_is_a_formula_whatever_separates_cells(text, separator, tmp_path):
    write_doubts(tmp_path / "a.csv", [Doubt(0, text, text, text, text)])
    with open(tmp_path / "a.csv", encoding="utf-8-sig", newline="") as file:
        cells = [cell for line in csv.reader(file, delimiter=separator) for cell in line]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]


@pytest.mark.parametrize("y", [[["a"], ["b"]], np.array([["a"], ["b"]])])
def test_a_column_of_labels(y, tmp_path):
    write(tmp_path / "a.csv", ["a", "b"], [1])
    edit(tmp_path / "a.csv", lambda _: {"label": "a"})
    assert read_corrections(tmp_path / "a.csv", y).tolist() == ["a", "a"]
    assert read_corrections(tmp_path / "a.csv", pd.DataFrame(y)).tolist() == ["a", "a"]


def test_names_that_are_not_unicode(tmp_path):
    write_doubts(tmp_path / "a.csv", [Doubt(0, "\udcff.jpg", "a", "b", "\udcff")])
    assert read_corrections(tmp_path / "a.csv", ["a", "b"]).tolist() == ["a", "b"]


def test_lines_may_be_removed_and_y_is_not_changed(tmp_path):
    y = np.array(["a", "b", "a"])
    write(tmp_path / "a.csv", y, [2])
    edit(tmp_path / "a.csv", lambda _: {"label": "b"})
    assert read_corrections(tmp_path / "a.csv", y).tolist() == ["a", "b", "b"]
    assert y.tolist() == ["a", "b", "a"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": "brid"}, "label in line 2 of .* must be one of .*'bird', 'bug'; got 'brid'"),
        ({"label": ""}, "got ''"),
        ({"row": "7"}, "a number from 0 to 2; got '7'"),
        ({"row": "-1"}, "got '-1'"),
        ({"row": "x"}, "got 'x'"),
        ({"label_in_y": "bug"}, "of a label 'bug' in row 0, but y has 'bird'"),
        ({"row": "1", "label_in_y": "bug"}, "line 3 .* gives row 1 a second label"),
    ],
)
def test_what_is_wrong_is_told(change, message, tmp_path):
    y = ["bird", "bug", "bug"]
    write(tmp_path / "a.csv", y, [0, 1])
    edit(tmp_path / "a.csv", lambda line: change if line["row"] == "0" else {"label": "bug"})
    with pytest.raises(ParameterError, match=message):
        read_corrections(tmp_path / "a.csv", y)


def test_another_file_is_refused(tmp_path):
    (tmp_path / "a.csv").write_text("row,name\n1,x\n")
    with pytest.raises(ParameterError, match=r"lacks the columns \['label', 'label_in_y'\]"):
        read_corrections(tmp_path / "a.csv", ["a", "b"])
    (tmp_path / "a.csv").write_text("row,label_in_y,label\n1,x\n")
    with pytest.raises(ParameterError, match=r"Line 2 of .* too few columns"):
        read_corrections(tmp_path / "a.csv", ["a", "b"])
    (tmp_path / "a.csv").write_text("")
    with pytest.raises(ParameterError, match="lacks the columns"):
        read_corrections(tmp_path / "a.csv", ["a", "b"])


def test_several_labels_are_refused(tmp_path):
    with pytest.raises(ParameterError, match=r"got shape \(2, 2\)"):
        read_corrections(tmp_path / "a.csv", [[0, 1], [1, 1]])
