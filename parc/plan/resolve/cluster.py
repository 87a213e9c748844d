"""Resolves `cluster` and `machine` blocks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from parc.diagnostic import Label, error
from parc.plan import blocks
from parc.plan.resolve.reader import BlockReader
from parc.plan.suggest import fix_spelling, suggest_spelling
from parc.syntax import tree

FindMachine: TypeAlias = "Callable[[BlockReader], blocks.Machine | None]"


def resolve_machine(name: str, block: BlockReader) -> blocks.Machine | None:
    """A machine. Its links may belong to levels outside of the machine, such as the fabric."""
    levels = tuple(blocks.Level(*each) for each in block.read_sizes("levels"))
    inner = block.read_block("device")
    links = _resolve_links(block, None)
    device = _resolve_device(inner) if inner else None
    if device:
        _check_reserved(block, device)
    if not block.finish():
        return None
    return blocks.Machine(
        name=name, levels=levels, device=device, links=links, span=block.span, spans=block.spans
    )


def resolve_cluster(name: str, block: BlockReader, find_machine: FindMachine) -> blocks.Cluster | None:
    """A cluster; `find_machine` returns the machine that the block refers to."""
    levels = tuple(blocks.Level(*each) for each in block.read_sizes("levels"))
    machine = find_machine(block)
    inner = block.read_block("device")
    names = [level.name for level in levels]
    links = _resolve_links(block, names)
    device = _resolve_device(inner) if inner else None
    if machine:
        device = _merge_devices(device, machine.device)
    if inner and device:  # that of the machine alone has been checked
        _check_reserved(block, device)
    if not block.finish():
        return None
    return blocks.Cluster(
        name=name,
        levels=levels,
        machine=machine,
        device=device,
        links=(*links, *_inherit_links(links, names, machine)),
        span=block.span,
        spans=block.spans,
    )


def _merge_devices(own: blocks.Device | None, known: blocks.Device | None) -> blocks.Device | None:
    """The device of the cluster; values that it leaves out are those of the machine."""
    if own is None or known is None:
        return own or known
    return blocks.Device(
        compute=own.compute or known.compute,
        compute_fp32=own.compute_fp32 or known.compute_fp32,
        compute_fp64=own.compute_fp64 or known.compute_fp64,
        memory=own.memory or known.memory,
        reserved=known.reserved if own.reserved is None else own.reserved,
        memory_bandwidth=own.memory_bandwidth or known.memory_bandwidth,
        span=own.span,
        spans={**known.spans, **own.spans},
    )


def _inherit_links(
    own: Sequence[blocks.Link], names: Sequence[str], machine: blocks.Machine | None
) -> list[blocks.Link]:
    """The links of the machine for levels that have no link in the cluster."""
    wanted = set(names) - {link.level for link in own}
    return [link for link in machine.links if link.level in wanted] if machine else []


def _resolve_device(block: BlockReader) -> blocks.Device:
    device = blocks.Device(
        compute=block.read_quantity("compute"),
        compute_fp32=block.read_quantity("compute_fp32"),
        compute_fp64=block.read_quantity("compute_fp64"),
        memory=block.read_quantity("memory"),
        reserved=block.read_quantity("reserved", may_be_zero=True),
        memory_bandwidth=block.read_quantity("memory_bandwidth"),
        span=block.span,
        spans=block.spans,
    )
    block.finish()
    return device


def _check_reserved(block: BlockReader, device: blocks.Device) -> None:
    """Report more memory as reserved than there is."""
    if device.memory is None or device.reserved is None or device.reserved < device.memory:
        return
    labels = [Label(device.at("reserved"), "reserved"), Label(device.at("memory"), "all there is")]
    message = "the memory of a device must be more than what is reserved of it"
    block.scope.faults.append(error("P111", message, *labels))


def _resolve_links(outer: BlockReader, names: Sequence[str] | None) -> tuple[blocks.Link, ...]:
    first: dict[str, tree.Name] = {}
    for block in outer.get_blocks("link"):
        if block.label and first.setdefault(block.label.text, block.label) is not block.label:
            outer.report_duplicate(f"link {block.label.text}", first[block.label.text].span, block.label.span)
    return tuple(link for each in outer.get_blocks("link") if (link := _resolve_link(outer, each, names)))


def _resolve_link(outer: BlockReader, block: tree.Block, names: Sequence[str] | None) -> blocks.Link | None:
    """A link of one of the levels `names`, or of any level if `names` is None."""
    inner = outer.enter(block)
    bandwidth = inner.read_quantity("bandwidth")
    latency = inner.read_quantity("latency")
    sound, level = inner.finish(), block.label.text if block.label else ""
    if block.label and names is not None and block.label.text not in names:
        message = f"the cluster has no level `{block.label.text}`"
        word, span = block.label.text, block.label.span
        help, fix = suggest_spelling(word, names), fix_spelling(span, word, names)
        outer.report("P101", span, message, "unknown level", help, fix)
        if fix is None or not fix.safe:
            return None
        level = fix.edits[0][1]
    if block.label is None or not sound:
        return None
    return blocks.Link(level=level, bandwidth=bandwidth, latency=latency, span=inner.span, spans=inner.spans)
