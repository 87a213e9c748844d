"""Overviews of plans and ranks, and differences, as JSON values for scripts and for the page.

Their `version` changes when a field is removed or changes its meaning. Units are SI. A figure has its grade
and its derivation.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from parc.check.claims.verdict import Verdict
from parc.cost.figure import Figure
from parc.plan.mesh import Lattice
from parc.report.difference import Change, Difference
from parc.report.groups import GroupSet, format_rank_formula, format_ranks
from parc.report.overview import Overview
from parc.report.rank import Peers, RankOverview
from parc.report.stages import StageRow
from parc.report.step import StepOverview

VERSION = 2


def serialize_overview(of: Overview) -> dict[str, Any]:
    plan, batch = of.plan, of.plan.train.batch
    layout = of.job.parallelism if of.job else None
    return {
        "version": VERSION,
        "plan": plan.name,
        "train": plan.train.name,
        "model": plan.train.model.name,
        "mesh": [axis._asdict() | {"stride": plan.mesh.stride(axis.name)} for axis in plan.mesh.axes],
        "ranks": plan.mesh.size,
        "rank": format_rank_formula(plan),
        "cluster": {
            "name": plan.cluster.name,
            "levels": [{"name": level.name, "size": level.size} for level in plan.cluster.levels],
            "devices": plan.cluster.devices,
            "memory": of.limit,
        },
        "batch": {name: getattr(batch, name) for name in ("sequences", "length", "microbatches")},
        "schedule": {"name": layout.schedule, "chunks": layout.chunks} if layout else None,
        "groups": [_serialize_group(each) for each in of.groups],
        "stages": [_serialize_stage(each) for each in of.stages],
        "experts": plan.train.model.shape.experts or 0,
        "traffic": [
            [
                {
                    "strategy": each.strategy.title,
                    "axes": list(each.strategy.axes),
                    "level": each.level,
                    "calls": dict(each.calls),
                    "sent": serialize_figure(each.sent),
                }
                for each in stage
            ]
            for stage in of.traffic
        ],
        "flops": serialize_figure(of.flops),
        "bubble": serialize_figure(of.bubble),
        "step": _serialize_step(of.step),
        "claims": [_serialize_claim(each) for each in of.claims],
        "missing": [each._asdict() for each in of.missing],
    }


def serialize_figure(of: Figure | None) -> dict[str, Any] | None:
    return asdict(of) if of else None


def _serialize_group(of: GroupSet) -> dict[str, Any]:
    return {
        "strategy": of.strategy.title,
        "axes": list(of.strategy.axes),
        "groups": of.count,
        "ranks": of.size,
        "spans": dict(of.units),
        "first": serialize_lattice(of.first),
    }


def serialize_lattice(ranks: Lattice) -> dict[str, Any]:
    """`base` + the sum of index x stride over `digits`, which are (size, stride), outermost first."""
    return {
        "base": ranks.base,
        "digits": [list(digit) for digit in ranks.digits],
        "text": format_ranks(ranks),
    }


def _serialize_stage(of: StageRow) -> dict[str, Any]:
    return {
        "index": of.index,
        "layers": [[each.start, each.stop - 1] for each in of.layers if each],
        "moe_layers": of.moe_layers,
        "experts": of.experts,
        "parameters": serialize_figure(of.parameters),
        "share": serialize_figure(of.share),
        "memory": serialize_figure(of.memory),
    }


def _serialize_claim(of: Verdict) -> dict[str, Any]:
    """`holds` is null if the claim cannot be judged; `missing` has the reason."""
    return {
        "claim": of.claim.span.text,
        "holds": of.holds,
        "doubtful": of.doubtful,
        "claimed": of.claimed,
        "figure": serialize_figure(of.figure),
        "missing": of.missing,
    }


def _serialize_step(of: StepOverview | None) -> dict[str, Any] | None:
    if of is None:
        return None
    return {
        "time": serialize_figure(of.time),
        "waits": serialize_figure(of.waits),
        "mfu": serialize_figure(of.mfu),
        "tokens_per_second": serialize_figure(of.tokens),
    }


def serialize_rank(of: RankOverview) -> dict[str, Any]:
    return {
        "version": VERSION,
        "rank": of.rank,
        "coordinates": of.coordinates,
        "place": [{"level": name, "index": index} for name, index in of.place],
        "stage": of.stage.index,
        "layers": [[each.start, each.stop - 1] for each in of.stage.layers if each],
        "experts": [of.experts.start, of.experts.stop - 1] if of.experts else None,
        "sequences": [of.sequences.start, of.sequences.stop - 1],
        "axes": [_serialize_peers(each) for each in of.axes],
        "groups": [_serialize_peers(each) for each in of.strategies],
        "holds": serialize_figure(of.holds),
        "buffers": serialize_figure(of.buffers),
    }


def _serialize_peers(of: Peers) -> dict[str, Any]:
    return {
        "name": of.strategy.title,
        "axes": list(of.strategy.axes),
        "position": of.position,
        "ranks": serialize_lattice(of.ranks),
    }


def serialize_difference(of: Difference) -> dict[str, Any]:
    """`same`: both plans compute the same numbers."""
    settings = {
        "train": of.train,
        "cluster": of.cluster,
        "placement": of.placement,
        "assignment": of.assignment,
    }
    changes = {"memory": of.memory, "traffic": of.traffic, "step": of.step}
    return {
        "version": VERSION,
        "before": of.before.plan.name,
        "after": of.after.plan.name,
        "same": not of.train,
        **{name: [each._asdict() for each in some] for name, some in settings.items()},
        **{name: [_serialize_change(each) for each in some] for name, some in changes.items()},
        "missing": [each._asdict() for each in of.missing],
    }


def _serialize_change(of: Change) -> dict[str, Any]:
    return {
        "name": of.name,
        "before": serialize_figure(of.before),
        "after": serialize_figure(of.after),
        "ratio": of.ratio,
    }
