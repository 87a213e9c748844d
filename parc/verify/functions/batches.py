"""Which tokens every step has, over several passes over the data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NoReturn

import torch
import torch.distributed as dist
from torch import Tensor

from parc.plan.blocks import Plan
from parc.runtime.data.batches import Batches, BatchSettings

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


class _Request(Exception):
    """What a step has asked for."""

    def __init__(self, *what: int) -> None:
        super().__init__()
        self.what = what


class _Spy:
    """Stands for the batches of a trainer, to see what its steps ask for."""

    def __init__(self, settings: Any) -> None:
        self.settings = settings

    def load(self, step: int, data_rank: int = 0, data_ranks: int = 1) -> NoReturn:
        raise _Request(step, data_rank, data_ranks)


def check_requests(trainer: Any, plan: Plan) -> Iterator[str]:
    """Each step trains on the batch of its number, and the data ranks share it.

    Which of them has which share is its own affair: everything is summed over them.
    """
    rank, ranks = _find_share(plan)
    own, asked = trainer.batches, []
    trainer.batches = _Spy(own.settings)
    steps = (0, 1, 2, 3, 4, 7, plan.train.steps - 1, *LATER)
    for step in steps:
        try:
            trainer.step(step)
        except _Request as found:
            asked.append(found.what)
    trainer.batches = own
    for step, (number, _, of) in zip(steps, asked, strict=True):
        if (number, of) != (step, ranks):
            yield f"step {step} reads the batch of step {number} as one of {of} data ranks, not of {ranks}"
            break
    pairs = torch.tensor([[rank, share] for _, share, _ in asked])
    everywhere = [torch.empty_like(pairs) for _ in range(plan.mesh.size)]
    dist.all_gather(everywhere, pairs)
    for step, of_step in zip(steps, torch.stack(everywhere, dim=1), strict=True):
        shares = {(int(place), int(share)) for place, share in of_step}
        if sorted(share for _, share in shares) != list(range(ranks)):
            yield f"in step {step} the data ranks do not read every share of the batch once"
            return


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
    return plan.mesh.index(dist.get_rank(), axes), plan.mesh.product(axes)
