"""Parses and formats plan files. Every fault of a text becomes a diagnostic."""
