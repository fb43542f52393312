import pytest

from sktransfer.exceptions import ModelFileError
from sktransfer.persistence.model_file.manifest import MAX_BYTES, as_json, from_json


def test_it_comes_back():
    manifest = {"format": 1, "text": "grün \ud800", "number": 0.1, "list": [None, True]}
    assert from_json(as_json(manifest)) == manifest


def test_a_newer_format_names_the_version_that_it_needs():
    text = b'{"format": 2, "sktransfer": "3.4.5", "other": [1, 2]}'
    with pytest.raises(ModelFileError, match=r"format 2.*needs sktransfer 3\.4\.5 or newer"):
        from_json(text)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"{}",
        b'{"format": 0}',
        b'{"format": true}',
        b'{"format": "1"}',
        b'{"format": 1, "format": 1}',
        b'{"format": 1, "x": NaN}',
        b'{"format": 1, "x": -Infinity}',
        b'{"format": 1, "x": ' + b"9" * 5000 + b"}",
        b'{"format": 1, "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        '{"format": 1, "x": "ü"}'.encode(),
        b'{"format": 1}}',
    ],
    ids=lambda text: text[:30].decode("latin-1"),
)
def test_what_is_no_manifest(text):
    with pytest.raises(ModelFileError):
        from_json(text)


def test_one_that_is_too_large_is_not_written():
    with pytest.raises(ValueError, match="joblib"):
        as_json({"x": "x" * MAX_BYTES})
