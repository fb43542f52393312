"""Fetch weights from the Hugging Face hub, or from its cache on this machine."""

from pathlib import Path

from sktransfer.exceptions import WeightsUnavailableError

_HUB, _FILE = "https://huggingface.co/", "/resolve/main/"


def fetch_from_hub(name: str, repository: str, filename: str | None = None) -> Path:
    """Path of a file with weights in the hub's cache, downloaded if absent.

    The cache and the environment variables are those of huggingface_hub: with
    ``HF_HUB_OFFLINE=1`` nothing is downloaded.

    Parameters
    ----------
    name : str
        The backbone, for messages.
    repository : str
        "organisation/model", optionally with "@revision".
    filename : str, optional
        Default: the usual names, of which safetensors is preferred.

    Raises
    ------
    WeightsUnavailableError
        If the file is not in the cache and can't be had.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    repo_id, _, revision = repository.partition("@")
    error: Exception | None = None
    for each in _candidates(filename):
        try:
            return Path(hf_hub_download(repo_id, filename=each, revision=revision or None))
        except EntryNotFoundError as missing:
            error = missing
        # Of any type: the hub's client also raises errors of the library by which it connects.
        except Exception as failed:
            error = failed
            break
    raise WeightsUnavailableError(
        f"The weights of {name} could not be had from the Hugging Face hub: {str(error)[:300]}. "
        f"Two ways to get them: (1) on a machine with internet, `hf download {repo_id}`, and copy "
        'its cache folder here; (2) pass the path of their file, weights="/path/to/file". '
        "(weights=None is random.)"
    ) from error


def hub_url(repository: str, filename: str | None = None) -> str:
    """The address of a repository, or of a file in it."""
    return f"{_HUB}{repository}" + (f"{_FILE}{filename}" if filename else "")


def hub_file(url: str) -> tuple[str, str | None] | None:
    """Repository and file name of an address that `hub_url` made; None of others."""
    if not url.startswith(_HUB):
        return None
    repository, _, filename = url.removeprefix(_HUB).partition(_FILE)
    return repository, filename or None


def in_hub_cache(repository: str, filename: str | None = None) -> bool:
    """True if a file with weights is in the hub's cache on this machine."""
    from huggingface_hub import try_to_load_from_cache

    repo_id, _, revision = repository.partition("@")
    found = (
        try_to_load_from_cache(repo_id, each, revision=revision or None)
        for each in _candidates(filename)
    )
    return any(isinstance(each, str) for each in found)


def _candidates(filename: str | None) -> list[str]:
    if filename is None:
        return ["model.safetensors", "pytorch_model.bin"]
    # What has been pickled is often there as safetensors too.
    stem, _, suffix = filename.rpartition(".")
    safe = {"open_clip_pytorch_model": "open_clip_model"}.get(stem, stem)
    return [f"{safe}.safetensors", filename] if suffix == "bin" else [filename]
