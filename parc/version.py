"""The version of this compiler."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def find_version() -> str | None:
    """The version that is installed; None for a checkout that is not."""
    try:
        return version("parc-compiler")
    except PackageNotFoundError:
        return None
