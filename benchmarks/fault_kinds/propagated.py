"""Faults of propagation: a rule says another state than the operator has."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, TypeAlias

from fault_kinds.registry import Baseline, Sites, fault
from parc.ir.states import I, Kind, P, S
from parc.shard.rules import Decision, Site

Decide: TypeAlias = Callable[[Site], Decision]
Change: TypeAlias = Callable[[Decision], Decision]


def _at(number: int, change: Change) -> Callable[[Decide], Decide]:
    """Changes what is decided at one of all calls."""

    def inject(decide: Decide) -> Decide:
        calls = 0

        def decide_wrongly(site: Site) -> Decision:
            nonlocal calls
            calls += 1
            decision = decide(site)
            return change(decision) if calls == number + 1 else decision

        return decide_wrongly

    return inject


def _list_decisions(baseline: Baseline) -> Iterator[tuple[int, Site, Decision]]:
    """What is decided in the last round: what is decided before a cut is retracted is decided again."""
    every = list(enumerate(baseline.decisions))
    yield from ((number, *each) for number, each in every[baseline.last_round :])


def _name(site: Site, number: int) -> str:
    return f"{site.node.name} {number}"


def _is_zero(site: Site) -> bool:
    """A sum of zeros is zero."""
    return site.node.name.startswith(("new_zeros", "zeros"))


def _put(states: Any, place: int, state: Any) -> tuple[Any, ...]:
    return (*states[:place], state, *states[place + 1 :])


@fault("a partial sum is taken for the whole", "propagate")
def _forget_sums(baseline: Baseline) -> Sites:
    for number, site, decision in _list_decisions(baseline):
        for place, state in enumerate(decision.results):
            if state.partial and site.node.users:

                def change(decided: Decision, place: int = place) -> Decision:
                    return replace(decided, results=_put(decided.results, place, I))

                yield f"{_name(site, number)} {place}", _at(number, change)


@fault("a whole value is taken for a partial sum", "propagate")
def _invent_sums(baseline: Baseline) -> Sites:
    for number, site, decision in _list_decisions(baseline):
        for place, state in enumerate(decision.results):
            if state == I and site.operands and site.node.users and not site.lazy and not _is_zero(site):
                floating = all(operand.grad for operand in site.operands)

                def change(decided: Decision, place: int = place) -> Decision:
                    return replace(decided, results=_put(decided.results, place, P))

                if floating:
                    yield f"{_name(site, number)} {place}", _at(number, change)


@fault("a sum of gradients is forgotten", "propagate")
def _forget_gradients(baseline: Baseline) -> Sites:
    """Where something that is cut is computed from a whole value, each rank has a term of its gradient."""
    for number, site, decision in _list_decisions(baseline):
        cut = any(state.sharded for state in (*decision.wanted, *decision.results))
        for place, state in enumerate(decision.wanted):
            if cut and state.kind is Kind.REPLICATE and site.operands[place].grad and site.states[place] == I:

                def change(decided: Decision, place: int = place) -> Decision:
                    return replace(decided, wanted=_put(decided.wanted, place, I))

                yield f"{_name(site, number)} {place}", _at(number, change)


@fault("a shard is of another dim", "propagate")
def _shard_other_dims(baseline: Baseline) -> Sites:
    for number, site, decision in _list_decisions(baseline):
        for place, state in enumerate(decision.results):
            for dim, size in enumerate(site.shapes[place]):
                if state.sharded and dim != state.dim and size > 1 and site.node.users:

                    def change(decided: Decision, place: int = place, dim: int = dim) -> Decision:
                        return replace(decided, results=_put(decided.results, place, S(dim)))

                    yield f"{_name(site, number)} {place} on {dim}", _at(number, change)


@fault("blocks of a shard are forgotten", "propagate")
def _forget_blocks(baseline: Baseline) -> Sites:
    for number, site, decision in _list_decisions(baseline):
        for place, state in enumerate(decision.results):
            if state.sharded and state.blocks > 1 and site.node.users:

                def change(decided: Decision, place: int = place, dim: int = state.dim) -> Decision:
                    return replace(decided, results=_put(decided.results, place, S(dim)))

                yield f"{_name(site, number)} {place}", _at(number, change)
