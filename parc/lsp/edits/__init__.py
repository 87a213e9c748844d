"""Edits of a plan file: fixes, refactorings, renames, formatting."""
