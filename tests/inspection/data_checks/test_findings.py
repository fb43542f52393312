import pytest

from sktransfer.inspection.data_checks.findings import Finding, listed


@pytest.mark.parametrize(
    ("things", "text"),
    [
        (["a"], "a"),
        (["a", "b"], "a and b"),
        (["a", "b", "c"], "a, b and c"),
        (list("abcdef"), "a, b, c, d and 2 more"),
    ],
)
def test_things_are_listed_as_in_a_sentence(things, text):
    assert listed(things) == text


@pytest.mark.parametrize("wrong", [{"kind": "bad"}, {"severity": "fatal"}])
def test_a_finding_is_of_a_known_kind_and_severity(wrong):
    with pytest.raises(AssertionError):
        Finding(**{"kind": "blank", "severity": "note", "message": "m", "advice": "a", **wrong})
