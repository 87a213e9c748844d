"""The bugs, by subject. A bug is registered when its module is imported."""

from parc.verify.mutants.bugs import (  # noqa: F401
    capacity,
    chunks,
    collectives,
    data,
    gradients,
    loss,
    precision,
    recompute,
    routing,
    runs,
    scaled,
    sharding,
)
