"""`cluster` and `machine` blocks: what there is to run on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from parc.plan import blocks as facts
from parc.plan.resolve.reader import Reader
from parc.plan.suggest import did_you_mean, respelling
from parc.syntax import tree

FindMachine: TypeAlias = "Callable[[Reader], facts.Machine | None]"


def machine(name: str, block: Reader) -> facts.Machine | None:
    """What clusters are made of. Its links may be of levels that it does not have itself: of the fabric."""
    levels = tuple(facts.Level(*each) for each in block.sizes("levels", "[node: 8]"))
    inner = block.block("device")
    links = _links(block, None)
    device = _device(inner) if inner else None
    if not block.finish():
        return None
    return facts.Machine(
        name=name, levels=levels, device=device, links=links, span=block.span, spans=block.spans
    )


def cluster(name: str, block: Reader, find_machine: FindMachine) -> facts.Cluster | None:
    levels = tuple(facts.Level(*each) for each in block.sizes("levels", "[fabric: 8, node: 16]"))
    kind = find_machine(block)
    inner = block.block("device")
    names = [level.name for level in levels]
    links = _links(block, names)
    device = _device(inner) if inner else None
    if not block.finish():
        return None
    return facts.Cluster(
        name=name,
        levels=levels,
        machine=kind,
        device=_filled(device, kind.device) if kind else device,
        links=(*links, *_added(links, names, kind)),
        span=block.span,
        spans=block.spans,
    )


def _filled(own: facts.Device | None, known: facts.Device | None) -> facts.Device | None:
    """What the cluster says of its devices goes before what is known of the machine's."""
    if own is None or known is None:
        return own or known
    return facts.Device(
        compute=own.compute or known.compute,
        compute_fp32=own.compute_fp32 or known.compute_fp32,
        compute_fp64=own.compute_fp64 or known.compute_fp64,
        memory=own.memory or known.memory,
        memory_bandwidth=own.memory_bandwidth or known.memory_bandwidth,
        span=own.span,
        spans={**known.spans, **own.spans},
    )


def _added(
    own: Sequence[facts.Link], names: Sequence[str], machine: facts.Machine | None
) -> list[facts.Link]:
    """The machine's links of levels whose link the cluster leaves out."""
    wanted = set(names) - {link.level for link in own}
    return [link for link in machine.links if link.level in wanted] if machine else []


def _device(block: Reader) -> facts.Device:
    device = facts.Device(
        compute=block.maybe_quantity("compute"),
        compute_fp32=block.maybe_quantity("compute_fp32"),
        compute_fp64=block.maybe_quantity("compute_fp64"),
        memory=block.maybe_quantity("memory"),
        memory_bandwidth=block.maybe_quantity("memory_bandwidth"),
        span=block.span,
        spans=block.spans,
    )
    block.finish()
    return device


def _links(outer: Reader, names: Sequence[str] | None) -> tuple[facts.Link, ...]:
    first: dict[str, tree.Name] = {}
    for block in outer.all_blocks("link"):
        if block.label and first.setdefault(block.label.text, block.label) is not block.label:
            outer.twice(f"link {block.label.text}", first[block.label.text].span, block.label.span)
    return tuple(link for each in outer.all_blocks("link") if (link := _link(outer, each, names)))


def _link(outer: Reader, block: tree.Block, names: Sequence[str] | None) -> facts.Link | None:
    """Of one of the levels `names`; None: of any."""
    inner = outer.enter(block)
    bandwidth = inner.maybe_quantity("bandwidth")
    latency = inner.maybe_quantity("latency")
    sound = inner.finish()
    if block.label and names is not None and block.label.text not in names:
        message = f"the cluster has no level `{block.label.text}`"
        word, span = block.label.text, block.label.span
        help, fix = did_you_mean(word, names), respelling(span, word, names)
        outer.fault("P101", span, message, "unknown level", help, fix)
        return None
    if block.label is None or not sound:
        return None
    return facts.Link(
        level=block.label.text, bandwidth=bandwidth, latency=latency, span=inner.span, spans=inner.spans
    )
