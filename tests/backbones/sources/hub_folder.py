"""A folder like the cache of the Hugging Face hub."""

import hashlib


def put_into_hub_cache(folder, repository, filename, content, revision="main"):
    """Write a file as huggingface_hub does after a download."""
    commit = hashlib.sha1(revision.encode()).hexdigest()
    root = folder / f"models--{repository.replace('/', '--')}"
    snapshot = root / "snapshots" / commit
    for each in (root / "refs", snapshot):
        each.mkdir(parents=True, exist_ok=True)
    (root / "refs" / revision).write_text(commit)
    (snapshot / filename).write_bytes(content)
