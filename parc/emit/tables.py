"""`ranks.csv`, where every rank lies, and `plan.lock.json`, what a program was made from."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from parc.plan.blocks import Plan, Spanned
from parc.plan.placement import locate_stages
from parc.version import find_version


@dataclass(frozen=True)
class Nodes:
    """How many nodes a plan starts on, and the ranks of each."""

    nodes: int
    per_node: int


def count_nodes(plan: Plan) -> Nodes:
    """Whole nodes where the plan fills them."""
    per_node = plan.cluster.levels[-1].size if plan.cluster.levels else plan.mesh.size
    per_node = per_node if plan.mesh.size % per_node == 0 else plan.mesh.size
    return Nodes(plan.mesh.size // per_node, per_node)


def format_rank_table(plan: Plan) -> str:
    """rank, node, device, coordinates, stage, experts, data: a row a rank; stages are separated by spaces."""
    per_node = count_nodes(plan).per_node
    names = [axis.name for axis in plan.mesh.axes]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["rank", "node", "device", *names, "stage", "experts", "data"])
    for rank in range(plan.mesh.size):
        node, device = divmod(rank, per_node)
        at = plan.mesh.coordinates(rank)
        stages = " ".join(map(str, locate_stages(plan, rank)))
        data = plan.mesh.index(rank, plan.data.axes) if plan.data else 0
        coordinates = [at[name] for name in names]
        writer.writerow([rank, node, device, *coordinates, stages, _format_experts(plan, rank), data])
    return text.getvalue()


def _format_experts(plan: Plan, rank: int) -> str:
    """The experts of a rank in each layer: `8-15`."""
    count = plan.train.model.shape.experts
    if not count:
        return ""
    ways = plan.mesh.product(plan.experts.axes) if plan.experts else 1
    mine = count // ways
    first = plan.mesh.index(rank, plan.experts.axes) * mine if plan.experts else 0
    return f"{first}-{first + mine - 1}"


def format_lock(plan: Plan, sources: Mapping[str, bytes], written: Mapping[str, bytes]) -> str:
    """The resolved plan, what it was made from, and what was made: the same input gives the same text."""
    train = plan.train
    strategies = {
        "data": plan.data,
        "tensor": plan.tensor,
        "experts": plan.experts,
        "pipeline": plan.pipeline,
    }
    facts = {
        "parc": find_version() or "unknown",
        "plan": plan.name,
        "cluster": {
            "name": plan.cluster.name,
            "levels": {level.name: level.size for level in plan.cluster.levels},
            "device": _convert_block(plan.cluster.device) if plan.cluster.device else None,
        },
        "mesh": {axis.name: axis.size for axis in plan.mesh.axes},
        "strategies": {name: _convert_block(strategy) for name, strategy in strategies.items() if strategy},
        "train": {
            "name": train.name,
            "seed": train.seed,
            "steps": train.steps,
            "batch": _convert_block(train.batch),
            "loss": _convert_block(train.loss),
            "optimizer": _convert_block(train.optimizer),
            "precision": _convert_block(train.precision),
            "dataset": _convert_block(train.dataset) if train.dataset else None,
        },
        "model": {
            "source": train.model.source,
            "arguments": dict(train.model.arguments),
            "shape": _convert_block(train.model.shape),
        },
        "sha256": _hash_all(sources),
        "files": _hash_all(written),
    }
    return json.dumps(facts, indent=2) + "\n"


def _hash_all(texts: Mapping[str, bytes]) -> dict[str, str]:
    return {name: hashlib.sha256(text).hexdigest() for name, text in sorted(texts.items())}


def add_validation(lock: bytes, record: Mapping[str, object] | None) -> bytes:
    """The text of `plan.lock.json` with what was compared with the model; null where nothing was."""
    return (json.dumps({**json.loads(lock), "validation": record}, indent=2) + "\n").encode()


def _convert_block(block: Spanned) -> dict[str, Any]:
    return {key: value for key, value in asdict(block).items() if key not in ("span", "spans")}
