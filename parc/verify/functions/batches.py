"""Which tokens every step has, over several passes over the data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NoReturn

import torch
from torch import Tensor

from parc.plan.blocks import Plan
from parc.runtime.batches import Batches, BatchSettings

LATER = (1_000, 12_345)  # steps far from the first ones
PASSES = 3


class _Positions:
    """Data whose ids are their positions."""

    def __init__(self, length: int) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def read(self, start: int, length: int) -> Tensor:
        return torch.arange(start, start + length)


def check_batches(trainer: Any, plan: Plan) -> Iterator[str]:
    """The batches of the first passes, and of later steps: each window once a pass, in another order each."""
    batch = plan.train.batch
    windows = 2 * batch.sequences + 1  # the last batch of a pass reaches into the next
    data = _Positions(windows * batch.length + 1)
    own = trainer.batches
    theirs = type(own)(data, replace(own.settings, vocabulary=None))
    ours = Batches(data, _settings(plan))
    rank, ranks = _find_share(plan)
    steps = (*range(PASSES * windows // batch.sequences + 1), *LATER)
    for step in steps:
        found, expected = theirs.load(step, rank, ranks), ours.load(step, rank, ranks)
        if not all(map(torch.equal, found, expected)):
            yield f"the batch of step {step} has other tokens or labels than it should"
            return
    orders = [[int(ours.read_sequence(epoch * windows + n)[0]) for n in range(windows)] for epoch in range(2)]
    if orders[0] == orders[1] or len({*orders[0]}) != windows or {*orders[0]} != {*orders[1]}:
        yield "two passes over the data do not have every window once, in different orders"


class _Asked(Exception):
    """What a step has asked for."""

    def __init__(self, *what: int) -> None:
        super().__init__()
        self.what = what


class _Spy:
    """Stands for the batches of a trainer, to see what its steps ask for."""

    def __init__(self, settings: Any) -> None:
        self.settings = settings

    def load(self, step: int, data_rank: int = 0, data_ranks: int = 1) -> NoReturn:
        raise _Asked(step, data_rank, data_ranks)


def check_requests(trainer: Any, plan: Plan) -> Iterator[str]:
    """Each step trains on the batch of its number."""
    rank, ranks = _find_share(plan)
    own = trainer.batches
    trainer.batches = _Spy(own.settings)
    try:
        for step in (0, 1, 2, 3, 4, 7, plan.train.steps - 1, *LATER):
            try:
                trainer.step(step)
            except _Asked as asked:
                if asked.what != (step, rank, ranks):
                    number, of_rank, of_ranks = asked.what
                    yield f"step {step} reads the batch of step {number} as data rank {of_rank} of {of_ranks}"
                    return
    finally:
        trainer.batches = own


def _settings(plan: Plan) -> BatchSettings:
    train, batch = plan.train, plan.train.batch
    return BatchSettings(
        sequences=batch.sequences,
        length=batch.length,
        microbatches=batch.microbatches,
        seed=train.seed,
        shift=train.loss.shift,
    )


def _find_share(plan: Plan) -> tuple[int, int]:
    axes = plan.list_axes("data")
    return plan.mesh.index(torch.distributed.get_rank(), axes), plan.mesh.product(axes)
