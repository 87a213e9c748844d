"""Kinds of faults: each finds where in a compiled plan it can be, and leaves out where it has no effect."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from parc.capture.capture import Captured
from parc.emit.program import Files
from parc.ir.program import Program
from parc.plan.blocks import Plan
from parc.shard.placed import PlacedModel
from parc.shard.rules import Decision, Site

Pass: TypeAlias = Literal["capture", "propagate", "lower", "emit"]


@dataclass(frozen=True)
class Baseline:
    """A plan at a tiny size, and what each pass makes of it where no fault is injected."""

    plan: Plan
    captured: Captured
    placed: PlacedModel
    decisions: Sequence[tuple[Site, Decision]]  # of the rules, in the order in which they were asked for
    last_round: int  # number of the first decision after which nothing is decided again
    program: Program
    files: Files


@dataclass(frozen=True)
class Fault:
    """One fault. `inject` changes what its pass has made: in place, or by returning another value.

    What it changes is a `Captured`, a `Program` or `Files`; of a fault of propagation, the function `decide`
    that answers what a rule says.
    """

    kind: str
    made_by: Pass
    site: str
    inject: Callable[[Any], Any]

    def __str__(self) -> str:
        return f"{self.kind}: {self.site}"


Sites: TypeAlias = Iterator[tuple[str, Callable[[Any], Any]]]
KINDS: dict[str, tuple[Pass, Callable[[Baseline], Sites]]] = {}


def fault(kind: str, made_by: Pass) -> Callable[[Callable[[Baseline], Sites]], Callable[[Baseline], Sites]]:
    """Registers a function that yields the sites of a kind of fault, and how each is injected."""

    def register(find: Callable[[Baseline], Sites]) -> Callable[[Baseline], Sites]:
        assert kind not in KINDS, kind
        KINDS[kind] = made_by, find
        return find

    return register


def list_faults(baseline: Baseline, kind: str) -> list[Fault]:
    """The faults of a kind in a plan, one a site."""
    made_by, find = KINDS[kind]
    found = {site: Fault(kind, made_by, site, inject) for site, inject in find(baseline)}
    return list(found.values())
