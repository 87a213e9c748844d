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
from parc.report.groups import GroupSet, format_ranks
from parc.report.overview import Overview
from parc.report.rank import Peers, RankOverview
from parc.report.stages import StageRow
from parc.report.step import StepOverview

VERSION = 2


def serialize_overview(overview: Overview) -> dict[str, Any]:
    plan, batch = overview.plan, overview.plan.train.batch
    layout = overview.job.parallelism if overview.job else None
    return {
        "version": VERSION,
        "plan": plan.name,
        "train": plan.train.name,
        "model": plan.train.model.name,
        "mesh": [axis._asdict() | {"stride": plan.mesh.stride(axis.name)} for axis in plan.mesh.axes],
        "ranks": plan.mesh.size,
        "rank": plan.mesh.format_rank(),
        "cluster": {
            "name": plan.cluster.name,
            "levels": [{"name": level.name, "size": level.size} for level in plan.cluster.levels],
            "devices": plan.cluster.devices,
            "memory": overview.limit,
        },
        "batch": {name: getattr(batch, name) for name in ("sequences", "length", "microbatches")},
        "schedule": {"name": layout.schedule, "chunks": layout.chunks} if layout else None,
        "groups": [_serialize_group(each) for each in overview.groups],
        "stages": [_serialize_stage(each) for each in overview.stages],
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
            for stage in overview.traffic
        ],
        "parameters": serialize_figure(overview.parameters),
        "active_parameters": serialize_figure(overview.active),
        "flops": serialize_figure(overview.flops),
        "bubble": serialize_figure(overview.bubble),
        "step": _serialize_step(overview.step),
        "claims": [_serialize_claim(each) for each in overview.claims],
        "missing": [each._asdict() for each in overview.missing],
    }


def serialize_figure(figure: Figure | None) -> dict[str, Any] | None:
    return asdict(figure) if figure else None


def _serialize_group(groups: GroupSet) -> dict[str, Any]:
    return {
        "strategy": groups.strategy.title,
        "axes": list(groups.strategy.axes),
        "groups": groups.count,
        "ranks": groups.size,
        "spans": dict(groups.units),
        "first": serialize_lattice(groups.first),
    }


def serialize_lattice(ranks: Lattice) -> dict[str, Any]:
    """`base` + the sum of index x stride over `digits`, which are (size, stride), outermost first."""
    return {
        "base": ranks.base,
        "digits": [list(digit) for digit in ranks.digits],
        "text": format_ranks(ranks),
    }


def _serialize_stage(stage: StageRow) -> dict[str, Any]:
    return {
        "index": stage.index,
        "layers": [[each.start, each.stop - 1] for each in stage.layers if each],
        "moe_layers": stage.moe_layers,
        "experts": stage.experts,
        "parameters": serialize_figure(stage.parameters),
        "share": serialize_figure(stage.share),
        "memory": serialize_figure(stage.memory),
    }


def _serialize_claim(verdict: Verdict) -> dict[str, Any]:
    """`holds` is null if the claim cannot be judged; `missing` has the reason."""
    return {
        "claim": verdict.claim.span.text,
        "holds": verdict.holds,
        "doubtful": verdict.doubtful,
        "claimed": verdict.claimed,
        "figure": serialize_figure(verdict.figure),
        "missing": verdict.missing,
    }


def _serialize_step(step: StepOverview | None) -> dict[str, Any] | None:
    if step is None:
        return None
    return {
        "time": serialize_figure(step.time),
        "waits": serialize_figure(step.waits),
        "mfu": serialize_figure(step.mfu),
        "tokens_per_second": serialize_figure(step.tokens),
    }


def serialize_rank(rank: RankOverview) -> dict[str, Any]:
    return {
        "version": VERSION,
        "rank": rank.rank,
        "coordinates": rank.coordinates,
        "place": [{"level": name, "index": index} for name, index in rank.place],
        "stage": rank.stage.index,
        "layers": [[each.start, each.stop - 1] for each in rank.stage.layers if each],
        "experts": [rank.experts.start, rank.experts.stop - 1] if rank.experts else None,
        "sequences": [rank.sequences.start, rank.sequences.stop - 1],
        "axes": [_serialize_peers(each) for each in rank.axes],
        "groups": [_serialize_peers(each) for each in rank.strategies],
        "holds": serialize_figure(rank.holds),
        "buffers": serialize_figure(rank.buffers),
    }


def _serialize_peers(peers: Peers) -> dict[str, Any]:
    return {
        "name": peers.strategy.title,
        "axes": list(peers.strategy.axes),
        "position": peers.position,
        "ranks": serialize_lattice(peers.ranks),
    }


def serialize_difference(difference: Difference) -> dict[str, Any]:
    """`same`: both plans compute the same numbers."""
    settings = {
        "train": difference.train,
        "cluster": difference.cluster,
        "placement": difference.placement,
        "assignment": difference.assignment,
    }
    changes = {"memory": difference.memory, "traffic": difference.traffic, "step": difference.step}
    return {
        "version": VERSION,
        "before": difference.before.plan.name,
        "after": difference.after.plan.name,
        "same": not difference.train,
        **{name: [each._asdict() for each in some] for name, some in settings.items()},
        **{name: [_serialize_change(each) for each in some] for name, some in changes.items()},
        "missing": [each._asdict() for each in difference.missing],
    }


def _serialize_change(change: Change) -> dict[str, Any]:
    return {
        "name": change.name,
        "before": serialize_figure(change.before),
        "after": serialize_figure(change.after),
        "ratio": change.ratio,
    }
