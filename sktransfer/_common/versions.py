"""Versions of packages."""

from importlib.metadata import PackageNotFoundError, version


def installed_version(package: str) -> str:
    """The version of a package; "" where it is not installed, as in a folder of its code."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
