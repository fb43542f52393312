from sktransfer.shell.main import main
from tests.shell.folders import FAST, make_folder


def test_a_report_is_written(tmp_path, capsys):
    train, test = make_folder(tmp_path / "train"), make_folder(tmp_path / "test", seed=1)
    model, output = str(tmp_path / "model.skt"), tmp_path / "report.html"
    assert main(["fit", str(train), "-o", model, "-q", *FAST]) == 0
    command = ["report", model, str(test), "-o", str(output), "-q", "--title", "Red and green"]
    assert main([*command, "--train", str(train)]) == 0
    assert f"Wrote {output}" in capsys.readouterr().out
    text = output.read_text("utf-8")
    assert "<h1>Red and green</h1>" in text
    assert "12 training pictures of 2 classes" in text


def test_a_learning_curve_needs_training_pictures(tmp_path, capsys):
    train = make_folder(tmp_path / "train")
    model = str(tmp_path / "model.skt")
    main(["fit", str(train), "-o", model, "-q", *FAST])
    output = tmp_path / "report.html"
    assert main(["report", model, str(train), "-o", str(output), "--learning-curve"]) == 1
    assert "give X_train" in capsys.readouterr().err
    assert not output.exists()
