"""The bugs, one subject a file; each is registered as its module is imported."""

from parc.verify.mutants.bugs import (  # noqa: F401
    data,
    gradients,
    groups,
    initial,
    loss,
    moves,
    norm,
    routing,
    scaled,
    vocabulary,
)
