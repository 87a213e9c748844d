"""A difference in words: which tensor, on which ranks, by how much, and what came before it."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import combinations
from math import prod
from pathlib import Path
from typing import Any, TypeAlias

from parc.emit.program import Files
from parc.ir.program import Collective, Parameter
from parc.plan.blocks import Plan
from parc.verify.numbers.forward_sites import Place
from parc.verify.numbers.shards import compressed
from parc.verify.numbers.tolerance import SAME, Gap
from parc.verify.report import Finding

Edit: TypeAlias = tuple[str | None, int | None]  # file and line


@dataclass(frozen=True)
class First:
    """The first tensor that differs in a step."""

    what: str  # "the output of `layers.0.moe`"
    microbatch: int | None
    gaps: Mapping[int, Gap]  # by rank, of those that differ
    holders: int  # ranks that hold it
    stage: int
    before: tuple[Place, ...]  # moves made before it, the latest first
    backward: bool = False  # whether their answers in the backward pass are meant
    parameter: Parameter | None = None  # whose gradient it is
    unit: str = ""  # the class that it is of


def told(
    first: First, step: int, plan: Plan, files: Files, folder: Path, ranks: Sequence[Mapping[str, Any]]
) -> Finding:
    """`ranks` is what each has seen of the step; `files` are as emitted, `folder` has them as they are."""
    worst = max(first.gaps, key=lambda rank: (first.gaps[rank].error, -rank))
    module = next(seen["file"] for seen in ranks if seen["stage"] == first.stage)
    when = f"step {step}" + ("" if first.microbatch is None else f", microbatch {first.microbatch}")
    message = f"{first.what} differs first: {when}, {_ranks(first)}"
    details = [_size(first.gaps[worst], worst), *_scale(first, plan), *_sums(first)]
    details += [
        _just_before(place, place.move, first.backward, module, folder)
        for place in first.before
        if place.move
    ]
    file, line = edited(files, folder, module, first.unit)
    return Finding(message, tuple(details), file, line)


def _ranks(first: First) -> str:
    which = f"rank{'s' if len(first.gaps) > 1 else ''} {compressed(list(first.gaps))}"
    return which if len(first.gaps) < first.holders else f"{which}: all that hold it"


def _size(gap: Gap, rank: int) -> str:
    return (
        f"norm {gap.expected:.6g} expected, {gap.found:.6g} found on rank {rank}; "
        f"they differ by {gap.error:.1e} of the largest entry"
    )


def _scale(first: First, plan: Plan) -> Iterator[str]:
    """A multiple of what it should be, and the sizes that could have made it so."""
    gaps = list(first.gaps.values())
    ratio = gaps[0].ratio
    alike = all(each.scaled and abs(each.ratio - ratio) <= SAME * ratio for each in gaps)
    if not alike or abs(ratio - 1) <= SAME:
        return
    up = max(ratio, 1 / ratio)
    number = f"{round(up)}" if ratio > 1 else f"1/{round(up)}"
    if abs(up - round(up)) > SAME * up:
        yield f"every entry is {ratio:.6g} times what it should be"
        return
    guilty = _of_size(round(up), plan)
    over = f": a scale error over {' or '.join(guilty)}" if guilty else ""
    yield f"every entry is exactly {number} times what it should be{over}"


def _of_size(size: int, plan: Plan) -> list[str]:
    """Axes of a size; where there is none, products of them; and the microbatches."""
    axes = [axis for axis in plan.mesh.axes if axis.size > 1]
    found: list[str] = []
    for length in range(1, len(axes) + 1):
        chosen = [some for some in combinations(axes, length) if prod(axis.size for axis in some) == size]
        found += [" x ".join(f"`{axis.name}`" for axis in some) for some in chosen]
        if found:
            break
    microbatches = plan.train.batch.microbatches
    return found + ([f"the {microbatches} microbatches"] if microbatches == size else [])


def _sums(first: First) -> Iterator[str]:
    if first.parameter is not None:
        axes = ", ".join(f"`{axis}`" for axis in first.parameter.reduce)
        yield (
            f"after the last microbatch its terms are summed over {axes}"
            if axes
            else "no sum over ranks completes it"
        )


def _just_before(place: Place, move: Collective, backward: bool, module: str, folder: Path) -> str:
    line = line_of(folder / module, place.unit.name, move)
    where = (
        f"{module}{f':{line}' if line else ''}, class {place.unit.name}, for `{place.path or 'the model'}`"
    )
    over = f" over `{move.axis}`" if move.axis else ""
    moved = f"{move.verb} of `{move.operand.name}`"
    if backward:
        return f"just before it: {move.backward}{over}, the backward pass of {moved} at {where}"
    return f"just before it: {moved}{over} ({move.src} -> {move.dst}) at {where}"


def line_of(file: Path, name: str, move: Collective) -> int | None:
    """The line of a class that makes a move, itself or by a function that is told its group."""
    try:
        tree = ast.parse(file.read_text(errors="replace"))
    except (OSError, SyntaxError):
        return None
    calls = [
        call
        for each in tree.body
        if isinstance(each, ast.ClassDef) and each.name == name
        for call in ast.walk(each)
        if isinstance(call, ast.Call) and _names(call, move)
    ]
    return calls[0].lineno if calls else None


def _names(call: ast.Call, move: Collective) -> bool:
    if ast.unparse(call.func) == move.verb:
        to = next((ast.unparse(each.value) for each in call.keywords if each.arg == "dst"), str(move.dst))
        return (not call.args or ast.unparse(call.args[0]) == move.operand.name) and to == str(move.dst)
    return (
        isinstance(call.func, ast.Name)
        and move.operand is move.result
        and f"self.{move.axis}" in ast.unparse(call)
    )


def edited(files: Files, folder: Path, module: str = "", unit: str = "") -> Edit:
    """The first line that is not as it was emitted: of a class, else of its file, else of any."""
    changed = {
        name: lines
        for name in sorted(files, key=lambda name: (name != module, name))
        if name.endswith(".py") and (lines := _changed(files[name].decode(), folder / name))
    }
    for name, lines in changed.items():
        own = [line for line in lines if name == module and line in _span(folder / name, unit)]
        return name, (own or lines)[0]
    return None, None


def _changed(emitted: str, file: Path) -> list[int]:
    """Lines of a file that were not emitted so; where some are gone, the line that follows."""
    now = file.read_text(errors="replace").splitlines() if file.exists() else []
    parts = SequenceMatcher(None, emitted.splitlines(), now, autojunk=False).get_opcodes()
    return [
        line + 1
        for kind, _, _, low, high in parts
        if kind != "equal"
        for line in range(low, max(high, low + 1))
    ]


def _span(file: Path, name: str) -> range:
    try:
        tree = ast.parse(file.read_text(errors="replace"))
    except SyntaxError:
        return range(0)
    found = (each for each in tree.body if isinstance(each, ast.ClassDef) and each.name == name)
    return next((range(each.lineno, (each.end_lineno or each.lineno) + 1) for each in found), range(0))
