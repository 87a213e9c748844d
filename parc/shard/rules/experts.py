"""The experts of a MoE layer, seen from outside."""

from __future__ import annotations

from parc.capture.graph import get_name
from parc.ir.states import P, R
from parc.shard.rules import Conflict, Decision, Site, rule, settle, settle_all


@rule("parc::experts")
def run_experts(site: Site) -> Decision:
    """tokens (.., H), indices and weights (.., K) -> (.., H).

    On an axis of experts, tokens that are sharded travel to the ranks of their experts and back; tokens that
    every rank holds stay, each rank runs its own experts on them, and the results add up. An axis that splits
    each expert needs whole tokens and yields a partial sum as well.
    """
    tokens = settle(site.operands[0])
    if tokens.sharded and tokens.dim == len(site.operands[0].shape) - 1:
        raise Conflict("experts read the whole width of a token", [0])
    if site.splits_experts or (site.dispatches and not tokens.sharded):
        return Decision([R, R, R], [P])
    if tokens.sharded:
        return Decision([tokens] * 3, [tokens])
    return settle_all(site)


@rule("parc::grouped_add", "parc::grouped_mul")
def apply_vector(site: Site) -> Decision:
    """rows (n, width) and a vector of each expert (experts, width) -> (n, width)"""
    rows, vector = site.operands
    if any(state.sharded and state.dim == 0 for state in site.states) or (
        rows.state.partial and vector.state.sharded
    ):
        raise Conflict(f"its operands are {rows.state.describe()} and {vector.state.describe()}", [0, 1])
    if rows.state.sharded:
        return Decision([rows.state, rows.state], [rows.state])
    if rows.state.partial:
        return Decision([P, P if get_name(site.node) == "parc::grouped_add" else R], [P])
    if vector.state.sharded:
        return Decision([R, vector.state], [vector.state])
    return settle_all(site)
