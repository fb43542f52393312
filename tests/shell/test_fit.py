import pytest

from sktransfer import load, load_image_folder
from sktransfer.shell.main import main
from tests.shell.folders import FAST, make_folder


def test_a_folder_becomes_a_model(tmp_path, capsys):
    folder, path = make_folder(tmp_path / "train"), tmp_path / "model.skt"
    assert (
        main(["fit", str(folder), "-o", str(path), "-q", *FAST, "--set", "class_weight=balanced"])
        == 0
    )
    assert "Fitted 12 pictures of 2 classes" in capsys.readouterr().out
    model = load(str(path))
    assert (model.class_weight, model.weights, model.image_size) == ("balanced", None, 32)
    X, y = load_image_folder(folder, return_X_y=True)
    assert model.predict(X).tolist() == y.tolist()
    assert model.verbose == 0


def test_progress_is_shown_unless_quiet(tmp_path, capsys):
    folder = make_folder(tmp_path / "train")
    main(["fit", str(folder), "-o", str(tmp_path / "a"), *FAST])
    assert "Running frozen stages" in capsys.readouterr().err
    main(["fit", str(folder), "-o", str(tmp_path / "b"), "-q", *FAST])
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("parameter", "message"),
    [
        ("unfreeze", "NAME=VALUE"),
        ("unfreeze=1", "Invalid parameter 'unfreeze'"),
        ("resize=zoom", "'resize' parameter"),
    ],
)
def test_wrong_parameters(tmp_path, capsys, parameter, message):
    folder, path = make_folder(tmp_path / "train"), tmp_path / "model.skt"
    assert main(["fit", str(folder), "-o", str(path), "-q", *FAST, "--set", parameter]) == 1
    assert message in capsys.readouterr().err
    assert not path.exists()
