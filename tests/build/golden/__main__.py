"""Writes the files of all folders anew."""

from __future__ import annotations

from tests.build.golden import FOLDERS, describe_difference, rewrite

for folder in FOLDERS:
    if difference := describe_difference(folder):
        print(difference, end="")
        rewrite(folder)
