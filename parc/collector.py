"""The garbage collector, which finds little in a compiler: what a pass makes, the next one needs."""

from __future__ import annotations

import atexit
import gc
from collections.abc import Iterator
from contextlib import contextmanager

atexit.register(gc.freeze)  # the last collection of a process would look at everything, for nothing


@contextmanager
def pause_collector() -> Iterator[None]:
    """Without the garbage collector: a large model has many thousands of modules, and all are alive."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
