"""Plans drawn at random: training runs of two small models, and layouts of each on up to 16 ranks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from parc.check.load import load_text
from parc.check.unsupported import find_unsupported
from parc.plan.blocks import Plan
from parc.source import Source

if TYPE_CHECKING:
    from parc.capture.capture import Captured

EXAMPLES = Path(__file__).parents[1] / "examples"
VOCABULARY = 32  # of both models
RANKS = (2, 4, 4, 8, 16)  # of a plan, at most: small meshes are drawn as often as large ones


def train(draw: Random, model: str) -> str:
    """The `model` and `train` blocks of a run, its sizes unlike each other."""
    layers, length = draw.choice([3, 4]), draw.choice([6, 10])
    experts, top_k = draw.choice([4, 8]), draw.choice([1, 2, 3])
    dense, shared = draw.choice([0, 1]), draw.choice([0, 8])
    if model == "moe":
        block = f"""
            source = "moe.py:MoETransformer"
            arguments {{
              n_layers = {layers}, dim = 16, n_heads = 4, n_kv_heads = {draw.choice([2, 4])}, ffn = 12
              n_experts = {experts}, top_k = {top_k}, vocab = 32, max_length = {length}
              n_dense_layers = {dense}, dense_ffn = 20, shared_ffn = {shared}, init_std = 0.3
            }}"""
    else:
        block = f"""
            source = "classic.py:SwitchGPT"
            arguments {{
              depth = {layers}, width = 16, heads = 4, inner = 24, count = {experts}, symbols = 32
              context = {length}
            }}"""
    clip = draw.choice(["", ", clip = 0.5"])
    # a frequent id that is no label: ranks have unlike numbers of valid ones. `classic` makes its own loss
    ignored = draw.choice(["", ", ignore_index = 0"]) if model == "moe" else ""
    moments = draw.choice(["", "", ", moments = fp32"])
    return f"""
        model m {{{block}
          shape {{ layers = {layers} }}
        }}
        train t {{
          model = m, seed = {draw.randrange(99)}, steps = 10
          batch {{ sequences = 16, length = {length}, microbatches = {draw.choice([1, 2, 4])} }}
          loss {{ balance = {draw.choice([0.0, 0.05]) if model == "moe" else 0.0}{ignored} }}
          optimizer = adamw {{ lr = 2e-3, warmup = 2{clip} }}
          precision {{ compute = fp64, master = fp64{moments} }}
        }}
        """


@dataclass(frozen=True)
class Compiled:
    """A plan of a drawn run, and the files of its program."""

    text: str
    plan: Plan
    captured: Captured
    files: dict[str, bytes]


def programs(draw: Random, run: str, count: int, most: int = RANKS[-1]) -> Iterator[Compiled]:
    """Distinct plans of `run` on up to `most` ranks that check without a fault and can be built."""
    from parc.capture.capture import capture
    from parc.diagnostic import CompileError
    from parc.emit.program import emit
    from parc.lower.program import lower
    from parc.shard.propagate import propagate

    captured = None
    seen: set[str] = set()
    while len(seen) < count:
        text, plan = _plan(draw, run, most)
        if text in seen:
            continue
        captured = captured or capture(plan)
        try:
            program = lower(plan, captured, propagate(plan, captured))
        except CompileError:  # refused in words: no program, nothing to compare
            continue
        seen.add(text)
        yield Compiled(text, plan, captured, emit(plan, program, {}))


def _plan(draw: Random, run: str, most: int) -> tuple[str, Plan]:
    """A legal plan, drawn until one is."""
    while True:
        ranks, layout = _layout(draw, 4 if "layers = 4 }" in run else 3, most)
        text = f"{run}\ncluster c {{ levels = [node: {ranks}] }}\nplan p for t on c {{\n{layout}\n}}\n"
        found = load_text(Source(str(EXAMPLES / "drawn.parc"), text))
        if found.ok and not find_unsupported(found.plans[0]):
            return text, found.plans[0]


def _layout(draw: Random, layers: int, most: int) -> tuple[int, str]:
    """Any mesh, and any strategies that the language allows over it."""
    sizes: dict[str, int] = {}
    most = draw.choice([ranks for ranks in RANKS if ranks <= most])
    while not sizes or prod(sizes.values()) > most:
        sizes = {name: draw.choice([1, 1, 2, 2, 4, 8]) for name in ("dp", "ep", "tp")}
        sizes["pp"] = draw.choice([1, 1, 2, 3, 4])
        sizes |= {"tq": draw.choice([1, 1, 2]), "et": draw.choice([1, 1, 1, 2])}
    names = draw.sample(list(sizes), len(sizes))
    mesh = [name for name in names if sizes[name] > 1] or ["dp"]
    lines = [f"mesh = [{', '.join(f'{name}: {sizes[name]}' for name in mesh)}]"]
    data = [name for name in mesh if name == "dp" or (name == "ep" and draw.random() < 0.7)]
    if data:
        shard = (
            draw.choice(["none", "optimizer", "gradients", "parameters"]) if sizes[data[0]] > 1 else "none"
        )
        part = [name for name in data if draw.random() < 0.6] if shard != "none" and len(data) > 1 else []
        over_part = f", shard_over = {_list(part)}" if part else ""
        options = f" {{ shard = {shard}{over_part} }}" if shard != "none" else ""
        lines.append(f"data over [{', '.join(data)}]{options}")
    tensor: list[str] = [name for name in ("tp", "tq") if name in mesh]
    if tensor:
        lines.append(f"tensor over {_list(tensor)} {{ sequence = {draw.choice(['true', 'false'])} }}")
    over: list[str] = [name for name in (*data, *tensor) if draw.random() < 0.3]
    over += [name for name in mesh if name == "ep" and name not in over]
    split = [name for name in tensor if name not in over and draw.random() < 0.5]
    split += [name for name in mesh if name == "et"]
    if over:
        lines.append(f"experts over {_list(over)} {{ tensor = {_list(split)} }}")
    if "pp" in mesh and sizes["pp"] <= layers:
        cuts = sorted(draw.sample(range(1, layers), sizes["pp"] - 1))
        stages = [end - start for start, end in zip([0, *cuts], [*cuts, layers], strict=True)]
        schedule = draw.choice(["gpipe", "1f1b"])
        lines.append(f"pipeline over [pp] {{ schedule = {schedule}, layers = {stages} }}")
    lines.append(f"recompute = {draw.choice(['none', 'none', 'layer', 'attention', 'experts'])}")
    return prod(sizes[name] for name in mesh), "\n".join(lines)


def _list(axes: Sequence[str]) -> str:
    return f"[{', '.join(axes)}]"
