"""Figures from the shape alone, against the events of the compiled program: every rank, every step.

All that a shape determines is equal: a program that does more than predicted is a bug of the cost model.
What a shape does not tell of `examples/classic.py` are biases and learned positions. They are left out of its
programs; positions that lie along the sequence are gathered for their gradient, which is arithmetic below.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from parc.cost.explain import count_devices, explain_flops
from parc.cost.job.from_plan import derive_job
from parc.cost.job.job import Job
from parc.cost.memory import parameters
from parc.cost.memory.peak import count_model_states
from parc.cost.network.traffic import bound_other_bytes, derive_traffic
from parc.cost.program import count_program_states, derive_program_traffic
from parc.ir.program import Program, Stage, Unit
from parc.plan.blocks import NumberType, Plan
from parc.plan.placement import list_term_axes, list_travel_axes
from tests.cost.programs import (
    Compiled,
    compile_examples,
    compile_file,
    compile_fixed,
    compile_random,
    compile_types,
)
from tests.verify.plans import LAYOUTS, find_plan, list_folded

Bytes = Counter[tuple[str, str]]
PAIR_COUNTS = "pair counts"
GATHERED_OR_REDUCED = ("gradients", "parameters of a module", "updated parameters")


def drop_unshaped(program: Program) -> Program:
    """The program without the parameters that no shape has."""

    def drop_from_unit(unit: Unit) -> Unit:
        kept = (each for each in unit.parameters if not each.path.endswith((".bias", "places.weight")))
        return replace(unit, parameters=tuple(kept))

    def drop_from_stage(stage: Stage) -> Stage:
        return replace(stage, root=drop_from_unit(stage.root), units=tuple(map(drop_from_unit, stage.units)))

    return replace(program, stages=tuple(map(drop_from_stage, program.stages)))


def find_axes(plan: Plan) -> dict[str, str]:
    """The name of each group but those of data, whose axes come one after the other."""
    tensor = plan.list_axes("tensor")
    found = {
        PAIR_COUNTS: plan.list_axes("data"),
        "tensor": tensor,
        "pipeline": plan.list_axes("pipeline"),
        "dispatch": list_travel_axes(plan),
        "expert_terms": [axis for axis in list_term_axes(plan) if axis not in tensor],
    }
    return {name: plan.mesh.name_group(axes) for name, axes in found.items() if axes}


def sum_by_shape(job: Job, stage: int, plan: Plan) -> Bytes:
    found: Bytes = Counter()
    for each in derive_traffic(job, stage):
        group = PAIR_COUNTS if PAIR_COUNTS in each.purpose and each.group == "data" else each.group
        found[each.kind, find_axes(plan).get(group, "gradients")] += round(each.total)
    return found


def sum_by_program(plan: Plan, program: Program, stage: int) -> Bytes:
    """Gradients are summed over axis after axis; those over axes of `tensor` count as of its group."""
    groups = dict.fromkeys(plan.list_axes("data"), "gradients")
    groups |= dict.fromkeys(plan.list_axes("tensor"), find_axes(plan).get("tensor", ""))
    found: Bytes = Counter()
    for each in derive_program_traffic(plan, program)[stage]:
        gradients = each.where in GATHERED_OR_REDUCED
        found[each.kind, groups.get(each.axis, each.axis) if gradients else each.axis] += each.total
    return found


def count_position_gathers(job: Job, plan: Plan, stage: int) -> Bytes:
    """Of `classic`: each rank of `tensor` has the gradient of its part of the sequence."""
    split = job.parallelism.sequence_parallel and job.degrees.tensor > 1 and stage == 0
    if not plan.train.model.source.endswith("classic.py:SwitchGPT") or not split:
        return Counter()
    bytes = job.architecture.length * job.architecture.hidden * job.software.element_bytes
    return Counter({("all_gather", find_axes(plan)["tensor"]): job.parallelism.microbatches * bytes})


def assert_equal(compiled: Compiled) -> None:
    plan, program = compiled.plan, drop_unshaped(compiled.program)
    job = derive_job(plan)
    assert job is not None
    for number, stage in enumerate(program.stages):
        held = parameters.count_rank_parameters(job, job.stages[number])
        updated = summed = held.total
        if plan.data and plan.data.shard != "none":
            updated = held.non_experts / job.shard_ranks.others + held.experts / job.shard_ranks.experts
        if plan.data and plan.data.shard in ("gradients", "parameters"):
            summed = updated
        in_full, states = held.total * job.software.element_bytes, updated * job.software.optimizer_bytes
        if plan.data and plan.data.shard == "parameters":  # they are there as slices of masters alone
            in_full = updated * job.software.master_bytes
            states = updated * job.software.moment_bytes
        assert count_program_states(plan, [stage]).parameters == in_full
        assert count_program_states(plan, [stage]).gradients == summed * job.software.gradient_bytes
        tensors = count_program_states(plan, [stage]).optimizer - states
        assert 0 < tensors <= 4 * 64  # AdamW's own counters, one a tensor
    assert_traffic_equal(plan, program, job)
    assert explain_flops(job).value * count_devices(job) == program.flops


def assert_traffic_equal(plan: Plan, program: Program, job: Job) -> None:
    for number in range(len(program.stages)):
        shape = sum_by_shape(job, number, plan) + count_position_gathers(job, plan, number)
        more = sum_by_program(plan, program, number)
        more.subtract(shape)
        small = {key: bytes for key, bytes in more.items() if bytes}
        assert all(kind in ("all_reduce", "broadcast", "send") for kind, _ in small), small
        assert all(bytes > 0 for bytes in small.values()), small
        assert sum(small.values()) <= bound_other_bytes(job, number)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("model", ["moe", "classic"])
def test_the_plans_of_the_suite(model: str, layout: str) -> None:
    assert_equal(compile_fixed(model, layout))


@pytest.mark.parametrize(
    "layout", ["everything", "gradients-sharded", "optimizer-sharded", "parameters-sharded"]
)
def test_gradients_that_are_sent_in_fewer_bits(layout: str) -> None:
    assert_equal(
        compile_types(find_plan("moe", layout), compute="bf16", master="fp32", reduce="bf16", moments="bf16")
    )


@pytest.mark.parametrize(
    "layout", ["everything", "gradients-sharded", "optimizer-sharded", "parameters-sharded"]
)
def test_parameters_that_stay_in_fp32_by_their_kind(layout: str) -> None:
    types: dict[str, NumberType] = {
        "compute": "bf16",
        "master": "fp32",
        "gradients": "bf16",
        "reduce": "bf16",
    }
    compiled = compile_types(find_plan("moe", layout), keep_fp32=("norms", "router"), **types)
    plan, program, job = compiled.plan, drop_unshaped(compiled.program), derive_job(compiled.plan)
    assert job is not None
    for number, stage in enumerate(program.stages):
        held, counted = count_program_states(plan, [stage]), count_model_states(job, number)
        assert (held.parameters, held.gradients) == (counted.parameters, counted.gradients)
        assert 0 < held.optimizer - counted.optimizer <= 4 * 64  # AdamW's own counters, one a tensor
    assert_traffic_equal(plan, program, job)


@pytest.mark.parametrize(("file", "name"), list_folded())
def test_strategies_over_several_axes(file: str, name: str) -> None:
    assert_equal(compile_file(file, name))


@pytest.mark.parametrize("name", ["data", "sequence", "folded", "everything"])
def test_experts_with_a_capacity(name: str) -> None:
    assert_equal(compile_file("capacity", name))


def test_the_examples() -> None:
    """All but 21 bytes in a million of the seed's traffic are named."""
    for compiled in compile_examples():
        assert_equal(compiled)
    job = derive_job(next(each.plan for each in compile_examples() if each.plan.name == "wide"))
    assert job is not None
    whole = [sum(each.total for each in derive_traffic(job, stage)) for stage in range(4)]
    assert all(bound_other_bytes(job, stage) < 2.1e-5 * bytes for stage, bytes in enumerate(whole))


@pytest.mark.parametrize("model", ["moe", "classic"])
@pytest.mark.parametrize("seed", range(2))
def test_plans_drawn_at_random(model: str, seed: int) -> None:
    for compiled in compile_random(model, seed, 6):
        assert_equal(compiled)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["moe", "classic"])
@pytest.mark.parametrize("seed", range(2, 12))
def test_more_of_them(model: str, seed: int) -> None:
    for compiled in compile_random(model, seed, 8):
        assert_equal(compiled)
