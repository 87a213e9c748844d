"""Edits of a plan: fixes, refactorings, values that fit, layout."""
