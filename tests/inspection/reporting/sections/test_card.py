import pytest

from sktransfer.exceptions import ParameterError
from sktransfer.inspection.reporting.blocks import Blank
from sktransfer.inspection.reporting.sections.card import FIELDS, checked_card, section
from tests.inspection.reporting.materials import usual


def test_fields_are_filled_in_or_blank():
    blanks = [b for b in section(usual(card={"limits": "snow"})).blocks if isinstance(b, Blank)]
    assert [blank.name for blank in blanks] == list(FIELDS)
    assert {blank.name: blank.text for blank in blanks if blank.text} == {"limits": "snow"}


def test_unknown_fields_are_errors():
    assert checked_card(None) == {}
    assert checked_card({"contact": 5}) == {"contact": "5"}
    with pytest.raises(ParameterError, match=r"'intended use'.*\['limit'\]"):
        checked_card({"limit": "x"})
