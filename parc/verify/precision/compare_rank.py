"""One rank in a step of low precision: routed as the reference was, then held against what is allowed."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from parc.plan.blocks import Plan
from parc.runtime.data import Dataset
from parc.verify.execution.watchdog import step
from parc.verify.numbers.shards import States, share_of
from parc.verify.numbers.training_step import taken
from parc.verify.precision.replay_routing import Choice, Choosing, Chosen, flips


@dataclass(frozen=True)
class Strain:
    """A quantity on one rank: its largest error against the largest that rounding allows."""

    what: str
    rank: int
    error: float
    allowed: float
    strain: float  # the largest of error / allowed, entry by entry


@dataclass(frozen=True)
class Said:
    """What one rank has to say."""

    strains: tuple[Strain, ...]
    flips: int  # choices that would have been others; a choice that several ranks make counts once
    choices: int
    fused: bool  # whether experts' products were

    @classmethod
    def read(cls, file: Path) -> Said:
        """From where `strained` has written it."""
        said = json.loads(file.read_text())
        return cls(tuple(Strain(**each) for each in said.pop("strains")), **said)


def strained(
    folder: str,
    dataset: Dataset,
    states: Mapping[tuple[str, int], States],
    plan: Plan,
    device: str,
    scratch: Path,
    timeout: float,
) -> None:
    """One rank: a step of the program's own trainer, routed as the reference was."""
    sys.path.insert(0, folder)
    import train  # type: ignore[import-not-found]

    limits = torch.load(scratch / "limits.pt", weights_only=True, mmap=True)
    trainer = train.prepare(dataset, train.parsed(["--data", "unused", "--device", device]), device)
    rank = torch.distributed.get_rank()
    choices = {Choice(*choice): indices for *choice, indices in limits["choices"]}
    routed = Routed(choices, states, rank, plan)
    routing = Choosing(trainer.stage, {path for path, _ in states}, routed.choose)
    found = list[Strain]()
    with step(timeout), routing, _Products() as products:
        made = taken(trainer, 0, lambda: found.extend(_strains(trainer, limits, "gradient of ")))
    for name, pair in limits["figures"].items():
        found.append(
            _strain(name, rank, *(torch.tensor([x], dtype=torch.float64) for x in (made[name], *pair)))
        )
    found += _strains(trainer, limits, "")
    said = Said(tuple(found), routed.flips, routed.choices, products.fused)
    (scratch / f"{rank}.json").write_text(json.dumps(asdict(said)))


class Routed:
    """Gives a rank its share of the reference's choices, and counts where its own differ: replicas once."""

    def __init__(
        self,
        wanted: Mapping[Choice, Tensor],
        states: Mapping[tuple[str, int], States],
        rank: int,
        plan: Plan,
    ) -> None:
        self.wanted, self.states, self.rank, self.mesh = wanted, states, rank, plan.mesh
        staged = plan.pipeline.axes if plan.pipeline else ()
        self.replicas = [axis for axis in plan.mesh.names if axis not in staged]
        self.flips = self.choices = 0

    def choose(self, choice: Choice, own: Chosen) -> Tensor | None:
        states = self.states.get((choice.path, choice.number))
        if states is None or choice not in self.wanted:
            return None
        cuts = {axis: at for axis, at in states.items() if at.sharded and at.dim < own.indices.ndim}
        wanted = share_of(cuts, self.wanted[choice], self.rank, self.mesh).to(own.indices.device)
        if wanted.shape != own.indices.shape:
            return None  # an edited program: what it chooses is its own, and told by what comes of it
        differs = flips(own, wanted)
        at = self.mesh.coordinates(self.rank)
        first = not any(at[axis] for axis in self.replicas if axis not in cuts)
        self.flips += int(differs.sum()) * first
        self.choices += differs.numel() * first
        return wanted


class _Products(TorchFunctionMode):
    """Notes whether experts' products are fused."""

    fused = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.fused |= func is torch._grouped_mm
        return func(*args, **(kwargs or {}))


def _strains(trainer: Any, limits: Mapping[str, Any], kind: str) -> Iterator[Strain]:
    """Of every gradient, or of every parameter."""
    from runtime.init import original_names  # type: ignore[import-not-found]
    from runtime.parameters import share  # type: ignore[import-not-found]

    for name, parameter, names in original_names(trainer.stage):
        found = []
        for of in (limits[kind], limits[f"allowed {kind}"]):
            whole = of[name] if names == (name,) else torch.stack([of[each] for each in names])
            found.append(share(parameter, whole))
        held = parameter.grad if kind else parameter.detach()
        mine = torch.zeros_like(found[0]) if held is None else held.to_local().cpu().double()
        yield _strain(kind + name, torch.distributed.get_rank(), mine, *found)


def _strain(what: str, rank: int, mine: Tensor, wanted: Tensor, most: Tensor) -> Strain:
    """The entry that is worst off. One that is right is so where nothing is allowed, too."""
    if not mine.numel():
        return Strain(what, rank, 0.0, 0.0, 0.0)
    error = (mine - wanted).abs().flatten()
    strains = torch.where(error == 0, 0.0, error / most.flatten()).nan_to_num(nan=torch.inf)
    at = int(strains.argmax())
    return Strain(what, rank, float(error[at]), float(most.flatten()[at]), float(strains[at]))
