import pytest

from sktransfer._common.environment import cache_size, memory_size, networks_size, shares_cache


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("512", 512),
        ("512B", 512),
        ("500MB", 500_000_000),
        ("500mb", 500_000_000),
        ("500M", 500_000_000),
        ("1.5GB", 1_500_000_000),
        ("0.5 kB", 500),
        ("  2 TB ", 2_000_000_000_000),
    ],
)
@pytest.mark.parametrize(
    ("variable", "limit"),
    [
        ("SKTRANSFER_CACHE_SIZE", cache_size),
        ("SKTRANSFER_MEMORY", memory_size),
        ("SKTRANSFER_NETWORKS", networks_size),
    ],
)
def test_sizes(monkeypatch, variable, limit, text, size):
    monkeypatch.setenv(variable, text)
    assert limit() == size


def test_defaults(monkeypatch):
    monkeypatch.delenv("SKTRANSFER_CACHE_SIZE", raising=False)
    monkeypatch.delenv("SKTRANSFER_MEMORY", raising=False)
    assert cache_size() == 20_000_000_000
    assert memory_size() == 4_000_000_000


def test_each_variable_has_its_own_limit(monkeypatch):
    monkeypatch.setenv("SKTRANSFER_CACHE_SIZE", "1MB")
    monkeypatch.setenv("SKTRANSFER_MEMORY", "2MB")
    assert (cache_size(), memory_size()) == (1_000_000, 2_000_000)


@pytest.mark.parametrize(
    "text", ["", "much", "-1GB", "1.GB", ".5GB", "1 2 GB", "1GiB", "1e9", "1PB", "1,5GB", "nan"]
)
@pytest.mark.parametrize(
    ("variable", "limit", "default"),
    [
        ("SKTRANSFER_CACHE_SIZE", cache_size, "20GB"),
        ("SKTRANSFER_MEMORY", memory_size, "4GB"),
        ("SKTRANSFER_NETWORKS", networks_size, "4GB"),
    ],
)
def test_what_is_no_size_is_told_with_the_variable(monkeypatch, variable, limit, default, text):
    monkeypatch.setenv(variable, text)
    with pytest.raises(ValueError, match=rf"variable {variable} must be .*'{default}'") as caught:
        limit()
    assert repr(text) in str(caught.value)


def test_sharing_is_asked_for(monkeypatch):
    monkeypatch.delenv("SKTRANSFER_SHARED_CACHE", raising=False)
    assert not shares_cache()
    for text in ("0", "1"):
        monkeypatch.setenv("SKTRANSFER_SHARED_CACHE", text)
        assert shares_cache() == (text == "1")
    monkeypatch.setenv("SKTRANSFER_SHARED_CACHE", "yes")
    with pytest.raises(ValueError, match=r"SKTRANSFER_SHARED_CACHE must be '1'.*got 'yes'"):
        shares_cache()
