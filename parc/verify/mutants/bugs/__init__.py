"""The bugs, by subject. A bug is registered when its module is imported."""

from parc.verify.mutants.bugs import chunks, collectives, data, gradients, loss, routing, runs, scaled  # noqa: F401
