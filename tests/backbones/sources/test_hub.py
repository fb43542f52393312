import pytest

from sktransfer.backbones.sources.hub import fetch_from_hub, hub_file, hub_url, in_hub_cache
from sktransfer.exceptions import WeightsUnavailableError
from tests.backbones.sources.hub_folder import put_into_hub_cache

pytest.importorskip("huggingface_hub")


@pytest.fixture(autouse=True)
def hub(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return tmp_path


def test_a_file_in_the_cache(hub):
    put_into_hub_cache(hub, "timm/net.tag", "model.safetensors", b"values")
    assert fetch_from_hub("net", "timm/net.tag").read_bytes() == b"values"


@pytest.mark.parametrize(
    ("asked", "there", "found"),
    [
        (None, ["model.safetensors", "pytorch_model.bin"], "model.safetensors"),
        (None, ["pytorch_model.bin"], "pytorch_model.bin"),
        ("open_clip_pytorch_model.bin", ["open_clip_model.safetensors"], None),
        ("special.bin", ["special.bin", "special.safetensors"], "special.safetensors"),
        ("special.bin", ["special.bin"], "special.bin"),
        ("weights.pth", ["weights.pth", "model.safetensors"], "weights.pth"),
    ],
)
def test_what_can_not_run_code_is_preferred(hub, asked, there, found):
    for name in there:
        put_into_hub_cache(hub, "a/b", name, b"")
    assert fetch_from_hub("net", "a/b", asked).name == (found or there[0])


def test_a_revision(hub):
    put_into_hub_cache(hub, "a/b", "model.safetensors", b"old", revision="v1")
    assert fetch_from_hub("net", "a/b@v1").read_bytes() == b"old"
    with pytest.raises(WeightsUnavailableError):
        fetch_from_hub("net", "a/b")


@pytest.mark.parametrize("filename", [None, "special.bin"])
def test_in_the_cache_or_not(hub, filename):
    assert not in_hub_cache("a/b", filename)
    put_into_hub_cache(hub, "a/b", filename or "model.safetensors", b"")
    assert in_hub_cache("a/b", filename)
    assert not in_hub_cache("a/c", filename)


@pytest.mark.parametrize("file", [("a/b", None), ("a/b@v2", "w.bin")])
def test_addresses(file):
    assert hub_file(hub_url(*file)) == file
    assert hub_file("https://example.org/a/b") is None


def test_what_is_not_there():
    with pytest.raises(WeightsUnavailableError, match=r"(?s)timm/net.*hf download a/b.*weights="):
        fetch_from_hub("timm/net", "a/b")
