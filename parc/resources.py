"""Finds files that are not code: beside `parc/` in a checkout, inside it in an installed wheel."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).parent


def find_folder(name: str) -> Path:
    """The folder `grammar`, `templates` or `docs/rules`."""
    installed = PACKAGE / name
    return installed if installed.is_dir() else PACKAGE.parent / name


def find_file(name: str) -> Path:
    """The file `LICENSE`."""
    installed = PACKAGE / name
    return installed if installed.is_file() else PACKAGE.parent / name
