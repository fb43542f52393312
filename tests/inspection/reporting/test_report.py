import json
import os
import re
import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVC

from sktransfer import report
from sktransfer.exceptions import ParameterError
from sktransfer.inspection.reporting.report import Report
from tests.conftest import make_pictures, save_pictures
from tests.inspection.reporting.test_as_html import EVIL, Elements
from tests.small_estimators import make_classifier, make_extractor

X, y = make_pictures(32)
LABELS = np.array(["red", "green"])[y]
WRONG = np.where(np.arange(32) % 5 == 0, "red", LABELS)
TRAIN, TEST = slice(0, 20), slice(20, 32)


@pytest.fixture(scope="module")
def model():
    return make_classifier().fit(X[TRAIN], LABELS[TRAIN])


@pytest.fixture(scope="module")
def whole(model):
    """A report with all sections."""
    return report(
        *(model, X[TEST], WRONG[TEST]),
        X_train=X[TRAIN],
        y_train=LABELS[TRAIN],
        groups=["a", "b", None] * 4,
        learning_curve=True,
        card={"limits": "Only red and green."},
    )


def sections(made):
    return list(json.loads(made.json())["sections"])


def test_all_sections_are_there(whole):
    assert sections(whole) == [
        *("mistakes", "scores", "confusion", "classes", "calibration", "thresholds", "groups"),
        *("data", "learning-curve", "speed", "model", "card"),
    ]
    elements = Elements(whole.html())
    ids = [attrs["id"] for _, attrs in elements.found if "id" in attrs]
    assert len(ids) == len(set(ids))
    assert {a["href"].removeprefix("#") for a in elements.all("a")} <= set(ids)
    assert all(img["alt"] for img in elements.all("img"))


def test_a_page_needs_nothing_else(whole):
    text = whole.html()
    elements = Elements(text)
    assert all(img["src"].startswith("data:image/jpeg;base64,") for img in elements.all("img"))
    assert not elements.all("script")
    assert not elements.all("link")
    assert not re.findall(r"url\(\s*['\"]?(?!#)", text)
    assert "Only red and green." in text


def test_figures_are_the_same_in_all_formats(whole, model):
    right = float(np.mean(model.predict(X[TEST]) == WRONG[TEST]))
    data = json.loads(whole.json())
    assert data["facts"]["accuracy"] == f"{right:.3f}"
    (table,) = [
        b for b in data["sections"]["scores"]["blocks"] if b.get("columns", [""])[0] == "score"
    ]
    assert table["rows"][0][:2] == ["accuracy", pytest.approx(right)]
    assert f"| accuracy | {right:.3f} |" in whole.markdown()
    assert f"accuracy: {right:.3f}" in repr(whole)


def test_notebooks_show_it_in_a_frame(whole):
    (frame,) = Elements(whole._repr_html_()).all("iframe")
    page = frame["srcdoc"].replace('<base href="about:srcdoc">\n', "")
    assert page == whole.html()


def test_files_are_replaced_when_complete(model, tmp_path):
    path = tmp_path / "report.html"
    path.write_text("old")
    made = report(model, X[TEST], LABELS[TEST], path=path)
    assert path.read_text("utf-8") == made.html()
    assert os.listdir(tmp_path) == ["report.html"]
    with pytest.raises(OSError, match="missing"):
        made.write_html(tmp_path / "missing" / "report.html")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder"):
        made.write_html(tmp_path / "folder")
    assert sorted(os.listdir(tmp_path)) == ["folder", "report.html"]


def test_labels_and_names_of_files_stay_text(tmp_path):
    folder = tmp_path / "<script>alert(1)<"
    folder.mkdir()
    paths = [str(tmp_path / f"<img src=x onerror=alert({i})>.png") for i, _ in enumerate(X)]
    for old, new in zip(save_pictures(X, tmp_path), paths, strict=True):
        os.rename(old, new)
    labels = np.array([EVIL, '"><b>green'], dtype=object)[y]
    evil = make_classifier().fit(paths[:20], labels[:20])
    wrong = np.where(np.arange(12) % 5 == 0, EVIL, labels[20:])
    made = report(
        *(evil, paths[20:], wrong),
        X_train=paths[:20],
        y_train=labels[:20],
        groups=[EVIL] * 6 + ["<i>"] * 6,
        title=EVIL,
        card={"limits": EVIL},
    )
    for text in (made.html(), made.html_snippet()):
        elements = Elements(text)
        names = {name for name, _ in elements.found}
        assert not names & {"script", "b", "i"}
        assert not any(set(attrs) & {"onload", "onerror"} for _, attrs in elements.found)
    assert "onerror" in Elements(made.html()).text
    assert [name for name, _ in Elements(made._repr_html_()).found] == ["iframe"]


@pytest.mark.parametrize(
    "make",
    [
        lambda: make_pipeline(make_extractor(), LogisticRegression()),
        lambda: make_pipeline(make_extractor(), SVC()),
        lambda: GridSearchCV(make_classifier(), {"class_weight": [None, "balanced"]}, cv=2),
        lambda: CalibratedClassifierCV(make_classifier(), cv=2),
        lambda: make_classifier(unfreeze_depth=1, max_epochs=1),
        lambda: make_classifier(tta=2),
    ],
    ids=["pipeline", "no probabilities", "search", "calibrated", "depth 1", "tta"],
)
def test_other_classifiers(make, tmp_path):
    paths = save_pictures(X, tmp_path)
    fitted = make().fit(paths[:20], LABELS[:20])
    frame = pd.DataFrame({"path": paths[20:]}) if not hasattr(fitted, "cv") else paths[20:]
    made = report(fitted, frame, WRONG[20:], X_train=paths[:20], y_train=LABELS[:20])
    assert {"mistakes", "scores", "confusion", "model"} <= set(sections(made))
    right = np.mean(fitted.predict(paths[20:]) == WRONG[20:])
    assert json.loads(made.json())["facts"]["accuracy"] == f"{right:.3f}"


def test_several_labels():
    several = np.stack([y, 1 - y, np.arange(32) % 3 == 0], axis=1)
    fitted = make_classifier(loss="binary_cross_entropy").fit(X[TRAIN], several[TRAIN])
    made = report(
        *(fitted, X[TEST], several[TEST]),
        X_train=X[TRAIN],
        y_train=several[TRAIN],
        groups=["a", "b"] * 6,
        learning_curve=True,
    )
    assert "there is no confusion matrix" in made.markdown()
    assert "thresholds" not in sections(made)


def test_many_pictures_stay_small():
    n = 1000
    rng = np.random.default_rng(0)
    noisy = rng.integers(0, 256, (n, 64, 64, 3), dtype=np.uint8)
    labels = rng.integers(0, 12, n)
    fitted = make_classifier().fit(noisy[:100], labels[:100])
    made = report(fitted, noisy, labels, X_train=noisy[:100], y_train=labels[:100])
    # Noise is the worst for JPEG: these thumbnails are as large as they can be.
    assert len(made.html()) < 5e6


def test_errors(model):
    with pytest.raises(NotFittedError):
        report(make_classifier(), X, LABELS)
    with pytest.raises(TypeError, match="report takes a fitted classifier"):
        report(make_extractor().fit(X), X, LABELS)
    with pytest.raises(ParameterError, match="give X_train"):
        report(model, X, LABELS, learning_curve=True)
    with pytest.raises(ParameterError, match="12 pictures, but y_test has 32"):
        report(model, X[TEST], LABELS)
    with pytest.raises(ParameterError, match="card may hold"):
        report(model, X[TEST], LABELS[TEST], card={"x": "y"})


def test_missing_packages_are_named(model, monkeypatch):
    monkeypatch.setitem(sys.modules, "fairlearn", None)
    with pytest.raises(ImportError, match=r"report needs fairlearn: pip install"):
        report(model, X[TEST], LABELS[TEST])


def test_a_report_keeps_no_estimator(whole):
    assert isinstance(whole, Report)
    assert set(vars(whole)) == {"_document"}


def test_reports_with_other_pictures_have_other_names(model):
    """Links of one report in a notebook must not lead to the pictures of another."""
    found = [
        report(model, X[TEST][rows], WRONG[TEST][rows])
        for rows in (slice(None), slice(None, None, -1))
    ]
    ids = [
        {attrs["id"] for _, attrs in Elements(each.html_snippet()).found if "id" in attrs}
        for each in found
    ]
    assert not ids[0] & ids[1]


def test_what_makes_figures_doubtful_stands_at_the_top(model):
    made = report(model, X[TRAIN], LABELS[TRAIN], X_train=X[TRAIN], y_train=LABELS[TRAIN])
    assert any("errors in the data" in text for text in made.warnings)
    head = made.html().split("<nav")[0]
    assert "errors in the data" in head
    assert "see its 2 warnings" in repr(made)


def test_labels_that_the_classifier_knows_none_of_are_an_error(model):
    with pytest.raises(ParameterError, match=r"knows none of the labels in y_test.*'green', 'red'"):
        report(model, X[TEST], y[TEST])


def test_a_path_is_checked_before_the_work(model, monkeypatch, tmp_path):
    monkeypatch.setattr(type(model), "predict", None)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        report(model, X[TEST], LABELS[TEST], path=tmp_path / "missing" / "report.html")
