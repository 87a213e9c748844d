"""What two plans say, key by key, where they say it differently."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import NamedTuple

from parc.plan.blocks import Cluster, Model, Plan, Spanned, Train

UNTOLD = ("span", "spans", "name")  # where it is written and what it is called: neither changes what it does
LARGEST = 1 << 24  # bytes of a model's file that are compared


class Said(NamedTuple):
    """`key` as in `--set`; "-" where one of the plans has no such thing."""

    key: str
    before: str
    after: str


def of_train(before: Train, after: Train) -> tuple[Said, ...]:
    """What differs in what is computed."""
    found = list(_differing(_flat(before), _flat(after)))
    if not any(each.key == "model.source" for each in found):
        one, other = _code(before.model), _code(after.model)
        if one and other and one[1] != other[1]:
            found.append(Said("model.source", one[0], other[0]))
    return tuple(found)


def of_cluster(before: Cluster, after: Cluster) -> tuple[Said, ...]:
    return tuple(_differing(_of_cluster(before), _of_cluster(after)))


def of_placement(before: Plan, after: Plan) -> tuple[Said, ...]:
    return tuple(_differing(_placement(before), _placement(after)))


def _differing(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[Said]:
    for key in {**before, **after}:
        if before.get(key) != after.get(key):
            yield Said(key, before.get(key, "-"), after.get(key, "-"))


def _flat(block: Spanned, inside: str = "") -> dict[str, str]:
    """Every key of a block and of those in it, by its path."""
    found: dict[str, str] = {}
    for field in fields(block):
        value = getattr(block, field.name)
        if field.name not in UNTOLD:
            found |= _value(inside + field.name, value)
    return found


def _value(key: str, value: object) -> dict[str, str]:
    if isinstance(value, Spanned):
        return _flat(value, f"{key}.")
    if isinstance(value, Mapping):
        return {f"{key}.{name}": str(each) for name, each in value.items()}
    if isinstance(value, tuple):
        return {key: f"[{', '.join(map(str, value))}]"}
    return {} if value is None else {key: str(value)}


def _of_cluster(of: Cluster) -> dict[str, str]:
    found = {"levels": " x ".join(f"{level.name} {level.size}" for level in of.levels)}
    if of.device:
        found |= _flat(of.device, "device.")
    for link in of.links:
        found |= {
            key: each for key, each in _flat(link, f"link.{link.level}.").items() if "level" not in key[5:]
        }
    return found


def _placement(of: Plan) -> dict[str, str]:
    found = {"mesh": " x ".join(f"{axis.name} {axis.size}" for axis in of.mesh.axes)}
    for name in ("data", "tensor", "experts", "pipeline"):
        strategy = getattr(of, name)
        if strategy is not None:
            flat = _flat(strategy)
            found[name] = f"over {flat.pop('axes')}"
            found |= {f"{name}.{key}": value for key, value in flat.items()}
    return found | {"recompute": of.recompute}


def _code(model: Model) -> tuple[str, bytes] | None:
    """The file of a model's source, and what it says; it is read, never run. None: it cannot be."""
    try:
        path = (Path(model.span.source.path).parent / model.source.partition(":")[0]).resolve()
        if path.suffix == ".py" and path.is_file() and path.stat().st_size <= LARGEST:
            return str(path), path.read_bytes()
    except (OSError, ValueError, RuntimeError):  # a zero byte in its name, a loop of links
        return None
    return None
