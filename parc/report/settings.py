"""The settings in which two plans differ, key by key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import NamedTuple

from parc.plan.blocks import Cluster, Model, Plan, Spanned, Train

IGNORED = ("span", "spans", "name")  # positions and names have no effect
MAX_BYTES = 1 << 24  # of the source of a model that is compared


class SettingChange(NamedTuple):
    """`key` as in `--set`; "-" if one of the plans does not have it."""

    key: str
    before: str
    after: str


def compare_trains(before: Train, after: Train) -> tuple[SettingChange, ...]:
    """The settings that change what is computed, the source of the model included."""
    found = list(_list_changes(_flatten(before), _flatten(after)))
    if not any(each.key == "model.source" for each in found):
        one, other = _read_source(before.model), _read_source(after.model)
        if one and other and one[1] != other[1]:
            found.append(SettingChange("model.source", one[0], other[0]))
    return tuple(found)


def compare_clusters(before: Cluster, after: Cluster) -> tuple[SettingChange, ...]:
    return tuple(_list_changes(_flatten_cluster(before), _flatten_cluster(after)))


def compare_placements(before: Plan, after: Plan) -> tuple[SettingChange, ...]:
    return tuple(_list_changes(_flatten_placement(before), _flatten_placement(after)))


def _list_changes(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[SettingChange]:
    for key in {**before, **after}:
        if before.get(key) != after.get(key):
            yield SettingChange(key, before.get(key, "-"), after.get(key, "-"))


def _flatten(block: Spanned, inside: str = "") -> dict[str, str]:
    """The values of a block and of its sub-blocks, by their paths."""
    found: dict[str, str] = {}
    for field in fields(block):
        value = getattr(block, field.name)
        if field.name not in IGNORED:
            found |= _flatten_value(inside + field.name, value)
    return found


def _flatten_value(key: str, value: object) -> dict[str, str]:
    if isinstance(value, Spanned):
        return _flatten(value, f"{key}.")
    if isinstance(value, Mapping):
        return {f"{key}.{name}": str(each) for name, each in value.items()}
    if isinstance(value, tuple):
        return {key: f"[{', '.join(map(str, value))}]"}
    return {} if value is None else {key: str(value)}


def _flatten_cluster(cluster: Cluster) -> dict[str, str]:
    found = {"levels": " x ".join(f"{level.name} {level.size}" for level in cluster.levels)}
    if cluster.device:
        found |= _flatten(cluster.device, "device.")
    for link in cluster.links:
        found |= {
            key: each for key, each in _flatten(link, f"link.{link.level}.").items() if "level" not in key[5:]
        }
    return found


def _flatten_placement(plan: Plan) -> dict[str, str]:
    found = {"mesh": " x ".join(f"{axis.name} {axis.size}" for axis in plan.mesh.axes)}
    for name in ("data", "tensor", "experts", "pipeline"):
        strategy = getattr(plan, name)
        if strategy is not None:
            flat = _flatten(strategy)
            found[name] = f"over {flat.pop('axes')}"
            found |= {f"{name}.{key}": value for key, value in flat.items()}
    return found | {"recompute": plan.recompute}


def _read_source(model: Model) -> tuple[str, bytes] | None:
    """The path and content of the source of a model, which is never run; None if it cannot be read."""
    try:
        path = (Path(model.span.source.path).parent / model.source.partition(":")[0]).resolve()
        if path.suffix == ".py" and path.is_file() and path.stat().st_size <= MAX_BYTES:
            return str(path), path.read_bytes()
    except (OSError, ValueError, RuntimeError):  # a null character, a cycle of symbolic links
        return None
    return None
