import threading

from sktransfer.activations.progress import counting, tell


def test_a_bar_has_the_title_and_counts_pictures(capsys):
    with counting("Extracting features", 8) as done:
        done(3)
        done(5)
    shown = capsys.readouterr().err
    assert "Extracting features: 100%" in shown
    assert "8/8" in shown


def test_without_a_title_nothing_is_shown_and_no_thread_starts(capsys):
    before = threading.active_count()
    with counting(None, 8) as done:
        done(8)
    assert capsys.readouterr().err == ""
    assert threading.active_count() == before


def test_a_line_is_printed_beside_a_bar(capsys):
    with counting("Predicting", 8):
        tell("resize='squash': it is better")
    assert "\rresize='squash': it is better\n" in capsys.readouterr().err.replace(" " * 2, "")
