import csv
import io
import os

import numpy as np
import pytest

from sktransfer import load, save
from sktransfer.shell.main import main
from tests.shell.folders import FAST, labels_of, make_folder
from tests.small_estimators import make_classifier


@pytest.fixture
def model(tmp_path):
    path = str(tmp_path / "model.skt")
    assert main(["fit", str(make_folder(tmp_path / "train")), "-o", path, "-q", *FAST]) == 0
    return path


def rows_of(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_each_picture_has_a_line(model, tmp_path):
    folder, output = make_folder(tmp_path / "new", seed=1), tmp_path / "predictions.csv"
    assert main(["predict", model, str(folder), "-o", str(output), "-q"]) == 0
    rows = rows_of(output)
    paths = [row["path"] for row in rows]
    assert len(paths) == 12
    expected = load(model)
    assert [row["prediction"] for row in rows] == expected.predict(paths).tolist()
    written = [
        [float(row[f"probability of {label}"]) for label in expected.classes_] for row in rows
    ]
    np.testing.assert_allclose(written, expected.predict_proba(paths), atol=1e-6)


def test_standard_output(model, tmp_path, capsys):
    capsys.readouterr()
    assert main(["predict", model, str(make_folder(tmp_path / "new")), "-q"]) == 0
    assert len(list(csv.DictReader(io.StringIO(capsys.readouterr().out)))) == 12


def test_pictures_that_cannot_be_read_have_an_empty_line(model, tmp_path, capsys):
    folder, output = make_folder(tmp_path / "new"), tmp_path / "predictions.csv"
    (folder / "red" / "0.png").write_bytes(b"broken")
    assert main(["predict", model, str(folder), "-o", str(output), "-q"]) == 3
    assert "1 of 12 pictures can't be read" in capsys.readouterr().err
    empty = [row for row in rows_of(output) if not row["prediction"]]
    assert [row["path"] for row in empty] == [str(folder / "red" / "0.png")]
    others = [row for row in rows_of(output) if row["prediction"]]
    assert [row["prediction"] for row in others] == labels_of([r["path"] for r in others]).tolist()


def test_several_labels(tmp_path):
    folder = make_folder(tmp_path / "new")
    paths = sorted(str(path) for path in folder.rglob("*.png"))
    red = labels_of(paths) == "red"
    several = np.stack([red, ~red, np.arange(12) % 3 == 0], axis=1).astype(int)
    model = make_classifier(loss="binary_cross_entropy").fit(paths, several)
    save(model, tmp_path / "model.skt")
    output = tmp_path / "predictions.csv"
    assert main(["predict", str(tmp_path / "model.skt"), str(folder), "-o", str(output), "-q"]) == 0
    for row in rows_of(output):
        (expected,) = model.predict([row["path"]])
        assert row["prediction"] == " ".join(map(str, np.flatnonzero(expected)))


def test_wrong_input(model, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert main(["predict", model, str(tmp_path / "empty")]) == 1
    assert "No picture found" in capsys.readouterr().err
    assert main(["predict", str(tmp_path / "train" / "red" / "0.png"), str(tmp_path)]) == 1
    assert "not a model file" in capsys.readouterr().err
    broken = make_folder(tmp_path / "broken", n=2)
    for path in broken.rglob("*.png"):
        path.write_bytes(b"")
    assert main(["predict", model, str(broken)]) == 1
    assert "None of the 2 pictures" in capsys.readouterr().err


def test_the_model_is_not_overwritten(model, tmp_path, capsys):
    before = (tmp_path / "model.skt").read_bytes()
    assert main(["predict", model, str(make_folder(tmp_path / "new")), "-o", model, "-q"]) == 1
    assert "Give the name of another file" in capsys.readouterr().err
    assert (tmp_path / "model.skt").read_bytes() == before


def test_names_of_files_are_neither_formulas_nor_errors(model, tmp_path, monkeypatch):
    folder = make_folder(tmp_path / "new", n=2)
    (folder / "red" / "0.png").rename(folder / "=1+1.png")
    os.rename(folder / "green" / "1.png", os.fsencode(folder) + b"/b\xff.png")
    monkeypatch.chdir(folder)
    assert main(["predict", model, ".", "-o", "out.csv", "-q"]) == 0
    lines = (folder / "out.csv").read_bytes().splitlines()
    assert lines[1].startswith((b"./=1+1.png,", b"b\xff.png,"))
    assert len(lines) == 3
