"""Tests that need ranks fork them from the test process, by the code under test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

from parc.runtime.process.launch import spawn

Ranks = Callable[..., list[Any]]


@pytest.fixture
def ranks(tmp_path: Path) -> Ranks:
    """`ranks(4, work, *args)`: what `work(*args)` returns on each of 4 ranks, in rank order."""

    def run(world: int, work: Callable[..., Any], *args: object) -> list[Any]:
        def keep() -> None:
            torch.save(work(*args), tmp_path / f"{dist.get_rank()}.pt")
            dist.barrier()  # a rank that leaves early breaks the connections that others still make

        spawn(world, keep)
        return [torch.load(tmp_path / f"{rank}.pt") for rank in range(world)]

    return run


@pytest.fixture(autouse=True)
def default_dtype() -> Iterator[None]:
    """A test may train in float64 by torch's default; the next one starts with float32."""
    yield
    torch.set_default_dtype(torch.float32)
