"""The rules, by subject. A new one: a function here, in the module of its subject; importing it declares it."""

from parc.check.rules import axes, claims, counts, division, model, pipeline

__all__ = ["axes", "claims", "counts", "division", "model", "pipeline"]
