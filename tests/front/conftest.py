"""Hypothesis as these tests use it."""

from hypothesis import settings

# The machine decides how long an example takes; the suite's own limit is on the whole test.
settings.register_profile("front", deadline=None)
settings.load_profile("front")
