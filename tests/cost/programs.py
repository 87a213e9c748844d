"""Programs for tests: the plans of the examples, the fixed plans of the suite, random plans."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from random import Random
from typing import NamedTuple

import torch
import torch.distributed as dist

import parc
from benchmarks.drawn import programs, train
from parc.capture.capture import Captured, capture
from parc.check.unsupported import find_unsupported
from parc.cost.job.from_plan import decide_to_resend
from parc.diagnostic import has_errors
from parc.ir.program import Program
from parc.plan.blocks import NumberType, Plan, Precision
from tests.verify.plans import captured, compile_program, find_plan

EXAMPLES = Path(__file__).parents[2] / "examples"


class Compiled(NamedTuple):
    plan: Plan
    captured: Captured
    program: Program


def compile_fixed(model: str, layout: str) -> Compiled:
    plan = find_plan(model, layout)
    return Compiled(plan, captured(model), compile_program(plan, captured(model)))


def compile_file(file: str, name: str) -> Compiled:
    """A plan of a file in `tests/plans/run/`, by its name."""
    plan = find_plan(name, file)
    model = capture(plan)
    return Compiled(plan, model, compile_program(plan, model))


def compile_types(plan: Plan, keep_fp32: tuple[str, ...] = (), **types: NumberType) -> Compiled:
    """A plan in other types; those that are not given are fp32."""
    precision = Precision(span=plan.span, keep_fp32=keep_fp32, **types)
    plan = replace(plan, train=replace(plan.train, precision=precision))
    model = capture(plan)
    return Compiled(plan, model, compile_program(plan, model))


@cache
def compile_examples() -> tuple[Compiled, ...]:
    found = []
    for file in sorted(EXAMPLES.glob("*.parc")):
        loaded = parc.load(file)
        plans = [decide_to_resend(plan) for plan in loaded.plans if not has_errors(find_unsupported(plan))]
        if plans and not has_errors(loaded.diagnostics):
            model = capture(plans[0])  # all plans of a file are of one run
            found += [Compiled(plan, model, compile_program(plan, model)) for plan in plans]
    return tuple(found)


def compile_random(model: str, seed: int, count: int = 6) -> Iterator[Compiled]:
    draw = Random(seed)
    for each in programs(draw, train(draw, model), count):
        yield Compiled(add_shape(each.plan), each.captured, compile_program(each.plan, each.captured))


def measure_states(folder: Path, world: int, rank: int) -> tuple[int, int, int]:
    """Bytes of parameters, gradients and optimizer state in a process that is one rank of the program."""
    with get_context("fork").Pool(1, maxtasksperchild=1) as pool:
        return pool.apply_async(_measure_states, (folder, world, rank)).get(timeout=60)


class _Zeros:
    def __len__(self) -> int:
        return 1 << 30

    def read(self, start: int, length: int) -> torch.Tensor:
        return torch.zeros(length, dtype=torch.int64)


def _measure_states(folder: Path, world: int, rank: int) -> tuple[int, int, int]:
    from torch.testing._internal.distributed.fake_pg import FakeStore

    torch.set_num_threads(1)  # the threads of the process that this one was forked from are not here
    sys.path.insert(0, str(folder))
    dist.init_process_group("fake", store=FakeStore(), rank=rank, world_size=world)
    import train  # type: ignore[import-not-found]

    trainer = train.build_trainer(
        _Zeros(), train.parse_arguments(["--data", "unused", "--device", "cpu"]), "cpu"
    )
    trainer.gradients.complete()
    gradients = [(each.tensor.grad, each.reduced) for each in trainer.parameters]
    bytes_of_gradients = _count_bytes([each for pair in gradients for each in pair if each is not None])
    trainer.optimizer.step(0)
    state = [each for states in trainer.optimizer.adamw.state.values() for each in states.values()]
    assert not any(each.tensor.untyped_storage().nbytes() for each in trainer.parameters if each.gathered)
    copies = [each.master for each in trainer.parameters if not _share_memory(each.master, each.kept)]
    parameters = _count_bytes([parameter.kept for parameter in trainer.parameters])
    return parameters, bytes_of_gradients, _count_bytes([*state, *copies])


def _share_memory(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.untyped_storage().data_ptr() == other.untyped_storage().data_ptr()


def _count_bytes(tensors: list[torch.Tensor]) -> int:
    return sum(each.numel() * each.element_size() for each in tensors)


def add_shape(plan: Plan) -> Plan:
    """The random plan with the full shape that follows from its model's arguments."""
    model = plan.train.model
    sizes = {name: value for name, value in model.arguments.items() if isinstance(value, int)}
    if "n_layers" in sizes:
        shape = replace(
            model.shape,
            hidden=sizes["dim"],
            heads=sizes["n_heads"],
            kv_heads=sizes["n_kv_heads"],
            ffn=sizes["ffn"],
            dense_ffn=sizes["dense_ffn"],
            shared_ffn=sizes["shared_ffn"],
            dense_layers=sizes["n_dense_layers"],
            gated=True,
            experts=sizes["n_experts"],
            top_k=sizes["top_k"],
            vocab=sizes["vocab"],
        )
    else:
        shape = replace(
            model.shape,
            hidden=sizes["width"],
            heads=sizes["heads"],
            ffn=sizes["inner"],
            experts=sizes["count"],
            top_k=1,
            vocab=sizes["symbols"],
        )
    return replace(plan, train=replace(plan.train, model=replace(model, shape=shape)))
