"""Versions of packages."""

from importlib.metadata import PackageNotFoundError, version


def installed_version(package: str) -> str:
    """The version of a package; "" where none is installed, as if it runs from a mere folder."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
