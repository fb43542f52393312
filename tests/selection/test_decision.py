import pytest

from sktransfer.selection.decision import Decision
from sktransfer.selection.scores import Score

CROP, SQUASH, PAD = Score(-0.8, 0.0, 0.0), Score(-0.7387, 0.0613, 0.0142), Score(-0.82, -0.02, 0.03)


@pytest.mark.parametrize(
    ("decision", "sentence"),
    [
        (
            Decision("resize", "squash", {"crop": CROP, "squash": SQUASH, "pad": PAD}),
            "resize='squash': cross-validated log-likelihood +0.061 +/- 0.014 against "
            "'crop' ('pad': -0.020 +/- 0.030)",
        ),
        (
            Decision("resize", "crop", {"crop": CROP, "pad": PAD}),
            "resize='crop': no gain in cross-validated log-likelihood beyond a standard error "
            "('pad': -0.020 +/- 0.030)",
        ),
        (
            Decision("unfreeze_depth", 1, {0: CROP, 1: SQUASH}),
            "unfreeze_depth=1: cross-validated log-likelihood +0.061 +/- 0.014 against 0",
        ),
        (Decision("resize", "crop", None), "resize='crop': too few rows to compare it with others"),
    ],
)
def test_one_sentence_tells_the_choice_and_its_figures(decision, sentence):
    assert str(decision) == sentence
    assert sentence.isascii()
