"""Hypothesis as these tests use it."""

from hypothesis import settings

settings.register_profile("cost", deadline=None)
settings.load_profile("cost")
