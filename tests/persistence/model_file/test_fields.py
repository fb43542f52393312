import math

import pytest

from sktransfer.exceptions import ModelFileError
from sktransfer.persistence.model_file.fields import Fields


def test_values_are_taken_by_their_types():
    fields = Fields({"a": 1, "b": "x", "c": 1.5, "d": None, "e": [1, 2], "f": {"g": 1}}, "place")
    assert fields.peek("a") == 1
    assert fields.whole("a") == 1
    assert fields.text("b") == "x"
    assert fields.number("c") == 1.5
    assert fields.optional("d", fields.text) is None
    assert fields.wholes("e") == (1, 2)
    inner = fields.record("f")
    fields.end()
    with pytest.raises(ModelFileError, match=r"place\.f has unknown fields \['g'\]"):
        inner.end()


@pytest.mark.parametrize(
    ("method", "value"),
    [
        *(("whole", value) for value in (True, 1.0, "1", -1, 2**63, None)),
        *(("number", value) for value in (True, "1", math.inf, math.nan, None, [1.0])),
        *(("text", value) for value in (b"x", 1, None)),
        *(("numbers", value) for value in ([True], [math.nan], "12", [[1]], [10**400])),
        *(("wholes", value) for value in ([0], [1.0], [True], [2**40])),
        *(("texts", value) for value in ([1], "ab", [None])),
        *(("record", value) for value in ([], "x", None)),
        *(("records", value) for value in ({}, [1], "x")),
    ],
)
def test_values_of_other_types_are_refused(method, value):
    fields = Fields({"a": value}, "place")
    with pytest.raises(ModelFileError, match="place"):
        getattr(fields, method)("a")


def test_one_of_some_values():
    assert Fields({"a": "x"}, "place").one_of("a", ("x", "y")) == "x"
    for value in ("z", 1, True, None, []):
        with pytest.raises(ModelFileError):
            Fields({"a": value}, "place").one_of("a", ("x", 1.0))
    with pytest.raises(ModelFileError, match="lacks 'a'"):
        Fields({}, "place").text("a")
    with pytest.raises(ModelFileError, match="must be a record"):
        Fields([], "place")


def test_all_that_is_left():
    fields = Fields({"a": 1, "b": 2}, "place")
    fields.whole("a")
    assert dict(fields.items_left()) == {"b": 2}
    fields.end()
