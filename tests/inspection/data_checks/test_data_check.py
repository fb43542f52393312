import csv

import numpy as np
import pytest

from sktransfer.exceptions import ParameterError
from sktransfer.inspection.data_checks.data_check import DataCheck
from sktransfer.inspection.data_checks.findings import Finding


def finding(kind, severity, rows=(), **more):
    return Finding(kind, severity, f"{kind}.", "Look.", rows=rows, **more)


@pytest.fixture
def check():
    return DataCheck(
        [
            finding("outlier", "note", (3,)),
            finding("label_error", "warning", (1,), score=0.1, suggestion="b"),
            finding("label_conflict", "error", (0, 1)),
            finding("blank", "warning", (), test_rows=(0,)),
        ],
        not_made={"shift": "no X_test"},
        n_rows=4,
        n_test_rows=1,
        y=np.array(["a", "a", "b", "b"]),
        pictures=["0.jpg", "1.jpg", "2.jpg", "3.jpg"],
    )


def test_findings_are_sorted_by_severity_and_kind(check):
    assert [each.kind for each in check] == ["label_conflict", "label_error", "blank", "outlier"]
    assert len(check) == 4
    assert check[0].kind == "label_conflict"
    assert [each.kind for each in check[-1:]] == ["outlier"]


def test_findings_of_a_kind(check):
    assert check.counts == {"label_conflict": 1, "label_error": 1, "blank": 1, "outlier": 1}
    assert [each.rows for each in check.of_kind("label_error")] == [(1,)]
    assert check.of_kind("tiny") == ()
    with pytest.raises(ParameterError, match="got 'bad'"):
        check.of_kind("bad")


def test_a_frame_has_a_row_for_each_finding(check):
    pytest.importorskip("pandas")
    frame = check.to_frame()
    assert list(frame.columns) == [
        *("kind", "severity", "message", "advice", "rows", "test_rows", "score", "suggestion")
    ]
    assert frame.rows.tolist() == [(0, 1), (1,), (), (3,)]


def test_a_frame_takes_names_that_are_no_text():
    pytest.importorskip("pandas")
    found = [finding("blank", "warning", suggestion="\udce9", score=1), finding("shift", "note")]
    frame = DataCheck(
        [Finding("blank", "note", "\udce9.png", ""), *found], not_made={}, n_rows=2
    ).to_frame()
    assert frame.message.tolist() == ["blank.", "\udce9.png", "shift."]
    assert frame.score.dtype == float


def test_the_title_counts(check):
    assert str(check).startswith("4 pictures in X and 1 in X_test: 1 error, 2 warnings, 1 note\n")
    assert "<p>4 pictures in X and 1 in X_test" in check._repr_html_() == check.html()
    assert str(DataCheck([], not_made={}, n_rows=2)) == "2 pictures in X: no findings"


def test_corrections_have_one_line_for_each_doubtful_row(check, tmp_path):
    assert check.write_corrections(tmp_path / "a.csv") == 2
    with open(tmp_path / "a.csv", encoding="utf-8-sig", newline="") as file:
        lines = list(csv.DictReader(file))
    assert [tuple(line.values()) for line in lines] == [
        ("0", "0.jpg", "a", "a", "", "label_conflict."),
        ("1", "1.jpg", "a", "a", "b", "label_conflict. label_error."),
    ]


@pytest.mark.parametrize("y", [None, np.eye(2)])
def test_corrections_need_one_label_per_picture(y, tmp_path):
    with pytest.raises(ParameterError, match="one label per picture"):
        DataCheck([], not_made={}, n_rows=2, y=y).write_corrections(tmp_path / "a.csv")
