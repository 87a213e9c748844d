"""Describes a divergence: which tensor, on which ranks, by how much, and the collectives before it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import prod
from pathlib import Path

from parc.emit.program import MODEL
from parc.ir.forward_sites import ForwardSite
from parc.ir.program import ROOT, Collective, Parameter
from parc.plan.blocks import Plan
from parc.verify.numbers.activations import RankActivations
from parc.verify.numbers.tolerance import SAME, TensorError
from parc.verify.report import RungFinding, format_ranks
from parc.verify.sample.sample import SampleRun
from parc.verify.source_lines import find_call, find_edit


@dataclass(frozen=True)
class Divergence:
    """The first tensor of a step that differs."""

    what: str  # "the output of `layers.0.moe`"
    microbatch: int | None
    errors: Mapping[int, TensorError]  # by rank, of those that differ
    holders: int  # ranks that hold the tensor
    stage: int
    before: tuple[ForwardSite, ...]  # collectives before it, the latest first
    backward: bool = False  # whether the backward pass of those collectives is meant
    parameter: Parameter | None = None  # whose gradient it is
    unit: str = ""  # the class that returns it or has the parameter


def describe_divergence(
    found: Divergence, step: int, run: SampleRun, ranks: Sequence[RankActivations]
) -> RungFinding:
    """The finding of a divergence in `step` of a run, where `ranks` are the activations of the step."""
    module = next(each.modules[found.stage] for each in ranks if found.stage in each.modules)
    when = f"step {step}" + ("" if found.microbatch is None else f", microbatch {found.microbatch}")
    where = format_ranks(found.errors) + (": all that hold it" if len(found.errors) == found.holders else "")
    details = [
        _describe_size(found),
        *_describe_scale(found, run.sample.plan),
        *_describe_sum(found.parameter),
    ]
    details += [
        _describe_collective(site, site.move, found.backward, module, run.folder)
        for site in found.before
        if site.move
    ]
    message = f"{found.what} differs first: {when}, {where}"
    edit = find_edit(run.sample.files, run.folder, _find_file(found.unit, module), found.unit)
    return RungFinding(message, tuple(details), *edit)


def _find_file(unit: str, module: str) -> str:
    """The file with a class of a stage; `module` has the root."""
    return MODEL if unit and unit != ROOT else module


def _describe_size(found: Divergence) -> str:
    rank = max(found.errors, key=lambda rank: (found.errors[rank].error, -rank))
    worst = found.errors[rank]
    return (
        f"norm {worst.expected_norm:.6g} expected, {worst.norm:.6g} found on rank {rank}; "
        f"they differ by {worst.error:.1e} of the largest entry"
    )


def _describe_scale(found: Divergence, plan: Plan) -> Iterator[str]:
    """The factor, where one factor explains the difference, and the sizes that may be its cause."""
    errors = list(found.errors.values())
    ratio = errors[0].ratio
    alike = all(each.scaled and abs(each.ratio - ratio) <= SAME * ratio for each in errors)
    if not alike or abs(ratio - 1) <= SAME:
        return
    factor = max(ratio, 1 / ratio)
    if abs(factor - round(factor)) > SAME * factor:
        yield f"every entry is {ratio:.6g} times what it should be"
        return
    number = f"{round(factor)}" if ratio > 1 else f"1/{round(factor)}"
    causes = _list_sizes(round(factor), plan)
    over = f": a scale error over {' or '.join(causes)}" if causes else ""
    yield f"every entry is exactly {number} times what it should be{over}"


def _list_sizes(size: int, plan: Plan) -> list[str]:
    """The axes of a size; where there is none, products of axes; and the microbatches."""
    axes = [axis for axis in plan.mesh.axes if axis.size > 1]
    found: list[str] = []
    for length in range(1, len(axes) + 1):
        chosen = [some for some in combinations(axes, length) if prod(axis.size for axis in some) == size]
        found += [" x ".join(f"`{axis.name}`" for axis in some) for some in chosen]
        if found:
            break
    microbatches = plan.train.batch.microbatches
    return found + ([f"the {microbatches} microbatches"] if microbatches == size else [])


def _describe_sum(parameter: Parameter | None) -> Iterator[str]:
    """How a gradient is completed."""
    if parameter is not None:
        axes = ", ".join(f"`{axis}`" for axis in parameter.reduce)
        over = f"after the last microbatch its terms are summed over {axes}"
        yield over if axes else "no sum over ranks completes it"


def _describe_collective(
    site: ForwardSite, move: Collective, backward: bool, module: str, folder: Path
) -> str:
    module = _find_file(site.unit.name, module)
    line = find_call(folder / module, site.unit.name, move)
    at = f":{line}" if line else ""
    where = f"{module}{at}, class {site.unit.name}, for `{site.path or 'the model'}`"
    over = f" over `{move.axis}`" if move.axis else ""
    moved = f"{move.verb} of `{move.operand.expression}`"
    if backward:
        return f"just before it: {move.backward}{over}, the backward pass of {moved} at {where}"
    return f"just before it: {moved}{over} ({move.src} -> {move.dst}) at {where}"
