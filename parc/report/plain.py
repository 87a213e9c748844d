"""The overview of a plan, and of a rank, as what JSON can hold: the one form for scripts and for the page.

Its `version` changes when a field goes or changes its sense. Units are SI; a figure carries its grade and its
derivation.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from parc.check.claims.verdict import Verdict
from parc.cost.figure import Figure
from parc.plan.mesh import Lattice
from parc.report.difference import Change, Difference
from parc.report.groups import GroupSet, formula, ranges
from parc.report.overview import Overview
from parc.report.rank import Peers, RankFacts
from parc.report.stages import StageRow
from parc.report.step import StepFacts

VERSION = 1


def overview(of: Overview) -> dict[str, Any]:
    plan, batch = of.plan, of.plan.train.batch
    layout = of.job.parallelism if of.job else None
    return {
        "version": VERSION,
        "plan": plan.name,
        "train": plan.train.name,
        "model": plan.train.model.name,
        "mesh": [axis._asdict() | {"stride": plan.mesh.stride(axis.name)} for axis in plan.mesh.axes],
        "ranks": plan.mesh.size,
        "rank": formula(plan),
        "cluster": {
            "name": plan.cluster.name,
            "levels": [{"name": level.name, "size": level.size} for level in plan.cluster.levels],
            "devices": plan.cluster.devices,
            "memory": of.limit,
        },
        "batch": {name: getattr(batch, name) for name in ("sequences", "length", "microbatches")},
        "schedule": {"name": layout.schedule, "chunks": layout.chunks} if layout else None,
        "groups": [_group(each) for each in of.groups],
        "stages": [_stage(each) for each in of.stages],
        "experts": plan.train.model.shape.experts or 0,
        "traffic": [
            [
                {
                    "strategy": each.carried.title,
                    "axes": list(each.carried.axes),
                    "level": each.level,
                    "calls": dict(each.calls),
                    "sent": figure(each.sent),
                }
                for each in stage
            ]
            for stage in of.traffic
        ],
        "flops": figure(of.flops),
        "bubble": figure(of.bubble),
        "step": _step(of.step),
        "claims": [_claim(each) for each in of.claims],
        "missing": [each._asdict() for each in of.missing],
    }


def figure(of: Figure | None) -> dict[str, Any] | None:
    return asdict(of) if of else None


def _group(of: GroupSet) -> dict[str, Any]:
    return {
        "strategy": of.carried.title,
        "axes": list(of.carried.axes),
        "groups": of.count,
        "ranks": of.size,
        "spans": dict(of.span),
        "first": lattice(of.first),
    }


def lattice(ranks: Lattice) -> dict[str, Any]:
    """`base` + sum of index x stride over `digits`, each (size, stride), outermost first."""
    return {"base": ranks.base, "digits": [list(digit) for digit in ranks.digits], "text": ranges(ranks)}


def _stage(of: StageRow) -> dict[str, Any]:
    return {
        "index": of.index,
        "layers": [[each.start, each.stop - 1] for each in of.layers if each],
        "moe_layers": of.moe_layers,
        "experts": of.experts,
        "parameters": figure(of.parameters),
        "share": figure(of.share),
        "memory": figure(of.memory),
    }


def _claim(of: Verdict) -> dict[str, Any]:
    """`holds` is null where the claim cannot be judged, for the reason in `missing`."""
    return {
        "claim": of.claim.span.text,
        "holds": of.holds,
        "doubtful": of.doubtful,
        "claimed": of.claimed,
        "figure": figure(of.figure),
        "missing": of.missing,
    }


def _step(of: StepFacts | None) -> dict[str, Any] | None:
    if of is None:
        return None
    return {
        "time": figure(of.time),
        "waits": figure(of.waits),
        "mfu": figure(of.mfu),
        "tokens_per_second": figure(of.tokens),
    }


def rank(of: RankFacts) -> dict[str, Any]:
    return {
        "version": VERSION,
        "rank": of.rank,
        "coordinates": of.coordinates,
        "place": [{"level": name, "index": index} for name, index in of.place],
        "stage": of.stage.index,
        "layers": [[each.start, each.stop - 1] for each in of.stage.layers if each],
        "experts": [of.experts.start, of.experts.stop - 1] if of.experts else None,
        "sequences": [of.sequences.start, of.sequences.stop - 1],
        "axes": [_peers(each) for each in of.axes],
        "groups": [_peers(each) for each in of.strategies],
        "holds": figure(of.holds),
        "buffers": figure(of.buffers),
    }


def _peers(of: Peers) -> dict[str, Any]:
    return {
        "name": of.carried.title,
        "axes": list(of.carried.axes),
        "position": of.position,
        "ranks": lattice(of.ranks),
    }


def difference(of: Difference) -> dict[str, Any]:
    """`same` says whether both compute the same numbers."""
    said = {
        "train": of.train,
        "cluster": of.cluster,
        "placement": of.placement,
        "homes": of.homes,
    }
    changes = {"memory": of.memory, "traffic": of.traffic, "step": of.step}
    return {
        "version": VERSION,
        "before": of.before.plan.name,
        "after": of.after.plan.name,
        "same": not of.train,
        **{name: [each._asdict() for each in some] for name, some in said.items()},
        **{name: [_change(each) for each in some] for name, some in changes.items()},
        "missing": [each._asdict() for each in of.missing],
    }


def _change(of: Change) -> dict[str, Any]:
    return {"name": of.name, "before": figure(of.before), "after": figure(of.after), "ratio": of.ratio}
