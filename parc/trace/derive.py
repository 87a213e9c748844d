"""The operations of one optimizer step, by role: what the runtime's `Trainer.step` issues for a program."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from math import prod

from parc.ir.module_calls import assign_parameters
from parc.ir.parameters import (
    count_local_elements,
    count_slice_elements,
    list_slice_axes,
    named_parameters,
    named_units,
)
from parc.ir.program import Parameter, Program
from parc.plan.blocks import TORCH_NAMES, Pipeline, Plan, choose_type
from parc.plan.mesh import split_group_name
from parc.plan.placement import (
    gathers_by_module,
    list_shard_axes,
    locate_stages,
    name_schedule,
    reduces_by_module,
)
from parc.schedule.messages import Action, add_messages
from parc.schedule.order import order_passes
from parc.trace.ops import IssuedOp, Op, Role, Tape
from parc.trace.passes import Passes, derive_passes
from parc.trace.schedule import SINGLE, exchange_shapes, run_actions, run_sequentially

BUCKET = 1 << 24  # elements that the runtime sends in one call


def derive_roles(plan: Plan, program: Program, steps: Sequence[int] = (1,)) -> tuple[Role, ...]:
    """A role for each rank of the pipeline: the place on any other axis changes none of its operations.

    Steps after step 0 are alike. In step 0 the stages of a pipeline exchange their shapes as well.
    """
    ranks = (_Rank(plan, program, number) for number in range(_count_roles(plan)))
    return tuple(build_role(plan, rank.number, rank.derive(steps)) for rank in ranks)


def build_role(plan: Plan, number: int, issued: tuple[IssuedOp, ...]) -> Role:
    """The role of the ranks at place `number` of the pipeline, which issue `issued`."""
    groups = dict.fromkeys(each.op.axis for each in issued)
    members = {group: _list_member_roles(plan, group, number) for group in groups}
    return Role(_name_role(plan, number), issued, members)


def _count_roles(plan: Plan) -> int:
    return plan.mesh.product(plan.list_axes("pipeline"))


def _name_role(plan: Plan, number: int) -> str:
    if plan.pipeline is None:
        return "every rank"
    numbers = [str(stage) for stage in list_role_stages(plan, number)]
    return f"stage{'s' * (len(numbers) > 1)} {' and '.join(numbers)}"


def list_role_stages(plan: Plan, number: int) -> tuple[int, ...]:
    """The stages of the ranks at place `number` of the pipeline."""
    return locate_stages(plan, find_first_rank(plan, number))


def find_first_rank(plan: Plan, number: int) -> int:
    """The first of the ranks at place `number` of the pipeline."""
    return plan.mesh.group(0, plan.list_axes("pipeline"))[number]


class _Rank:
    """The steps of a rank at one place of the pipeline."""

    def __init__(self, plan: Plan, program: Program, number: int) -> None:
        self.plan, self.program, self.number = plan, program, number
        self.stages = {stage: program.stages[stage] for stage in list_role_stages(plan, number)}
        self.shard = list_shard_axes(plan)
        self.sizes = plan.mesh.sizes
        self.pipeline = plan.mesh.name_group(plan.pipeline.axes) if plan.pipeline else None
        self.holders = _list_holders(plan)
        self.by_module, self.gathered = reduces_by_module(plan), gathers_by_module(plan)
        self.parameters = [each for stage in self.stages.values() for _, each in named_parameters(stage)]
        self.types = plan.train.precision
        self.tape = Tape()

    def derive(self, steps: Iterable[int]) -> tuple[IssuedOp, ...]:
        for step in steps:
            self._run("before the first microbatch", self._count_labels())
            self._run_microbatches(first=step == 0)
            self._run("after the last microbatch", self._sum_gradients())
            self._run("loss of the step", self._report_loss())
            self._run("gradient norm", self._sum_squares())
            self._run("load of the experts", self._report_load())
            self._run("after the update", self._gather_parameters())
        return self.tape.list_issued()

    def _run(self, phase: str, ops: Iterable[Op]) -> None:
        self.tape.phase = phase
        self.tape.run(op for op in ops if self.sizes[op.axis] > 1)

    def _count_labels(self) -> Iterator[Op]:
        data = () if self.program.mean else self.plan.list_axes("data")
        axes = (axis for axis in self.sizes if axis in data)
        yield from (_build_sum(axis, (), "torch.int64", "valid labels") for axis in axes)

    def _run_microbatches(self, first: bool) -> None:
        pipeline, microbatches = self.plan.pipeline, self.plan.train.batch.microbatches
        parts = {number: self._derive_passes(number) for number in self.stages}
        if pipeline is None:
            run_sequentially(self.tape, parts[0], microbatches)
            return
        if first:
            exchange_shapes(self.tape, self.pipeline or "", self.holders, self.number)
        if pipeline.chunks == 1 and pipeline.schedule in SINGLE:
            run = SINGLE[pipeline.schedule]
            run(self.tape, parts[self.number], microbatches, self.number, len(self.holders))
        else:
            run_actions(self.tape, parts, _order_actions(pipeline, self.holders, microbatches)[self.number])

    def _derive_passes(self, number: int) -> Passes:
        before, after = (self.holders[(number + step) % len(self.holders)] for step in (-1, 1))
        stage, pipeline = self.stages[number], self.pipeline or ""
        modules: dict[str, list[Parameter]] = defaultdict(list)
        if self.by_module:
            assigned = assign_parameters(stage)
            for path, parameter in named_parameters(stage):
                modules[assigned[path]].append(parameter)

        def gather(module: str) -> Iterator[Op]:
            return self._gather(modules[module] if self.gathered else [], "parameters of a module")

        def reduce(module: str) -> Iterator[Op]:
            for sliced, _, bucket in self._group_alike(modules[module]):
                count = sum(map(self._count_slice, bucket))
                yield from self._reduce_to_slices(sliced, count, self._name_sent(bucket[0]))

        return derive_passes(stage, before, after, pipeline, self.sizes, gather, reduce)

    def _sum_gradients(self) -> Iterator[Op]:
        """To slices where backward passes have not done so, and then over the other axes."""
        alike: dict[tuple[tuple[str, ...], tuple[str, ...], str], list[Parameter]] = defaultdict(list)
        for parameter in self.parameters:
            sliced = self._list_slice_axes(parameter)
            axes = (axis for axis in sorted(parameter.reduce) if self.sizes[axis] > 1)
            others = tuple(axis for axis in axes if axis not in sliced)
            alike[() if self.by_module else sliced, others, self._name_sent(parameter)].append(parameter)
        for (sliced, others, sent), members in alike.items():
            for bucket in self._fill_buckets(members):
                count = sum(map(self._count_slice, bucket))
                yield from self._reduce_to_slices(sliced, count, sent)
                yield from (_build_sum(axis, (count,), sent, "gradients") for axis in others)

    def _name_sent(self, parameter: Parameter) -> str:
        """The type in which ranks send the gradient of a parameter."""
        return TORCH_NAMES[choose_type(self.types.reduce, parameter.keep_fp32)]

    def _reduce_to_slices(self, axes: Sequence[str], count: int, sent: str) -> Iterator[Op]:
        """To slices of `count` elements, the innermost axis first: a share is left for each outer one."""
        left = count * prod(self.sizes[axis] for axis in axes)
        for axis in reversed(axes):
            left //= self.sizes[axis]
            yield Op("reduce_scatter", axis, (left,), sent, "sum", where="gradients")

    def _gather_parameters(self) -> Iterator[Op]:
        """Of the parameters that ranks share, where they hold the whole ones between steps."""
        yield from self._gather([] if self.gathered else self.parameters, "updated parameters")

    def _gather(self, parameters: Sequence[Parameter], where: str) -> Iterator[Op]:
        """From slices, the outermost axis first."""
        for sliced, dtype, bucket in self._group_alike(parameters):
            count = sum(map(self._count_slice, bucket))
            for axis in sliced:
                yield Op("all_gather", axis, (count,), dtype, where=where)
                count *= self.sizes[axis]

    def _group_alike(
        self, parameters: Iterable[Parameter]
    ) -> Iterator[tuple[tuple[str, ...], str, list[Parameter]]]:
        """The parameters with slices over the same axes and of the same types, in buckets."""
        alike: dict[tuple[tuple[str, ...], str, str], list[Parameter]] = defaultdict(list)
        for parameter in parameters:
            if sliced := self._list_slice_axes(parameter):
                alike[sliced, parameter.dtype, self._name_sent(parameter)].append(parameter)
        for (sliced, dtype, _), members in alike.items():
            yield from ((sliced, dtype, bucket) for bucket in self._fill_buckets(members))

    def _list_slice_axes(self, parameter: Parameter) -> tuple[str, ...]:
        return list_slice_axes(parameter, self.shard, self.sizes)

    def _count_slice(self, parameter: Parameter) -> int:
        return count_slice_elements(parameter, self.shard, self.sizes)

    def _fill_buckets(self, parameters: Iterable[Parameter]) -> Iterator[list[Parameter]]:
        """Parameters that communicate in one call: in turn, and up to `BUCKET` elements."""
        bucket: list[Parameter] = []
        held = 0
        for parameter in parameters:
            count = count_local_elements(parameter, self.sizes)
            if bucket and held + count > BUCKET:
                yield bucket
                bucket, held = [], 0
            bucket.append(parameter)
            held += count
        yield bucket

    def _report_loss(self) -> Iterator[Op]:
        last = len(self.holders) - 1
        if last in self.stages:
            yield from (_build_sum(axis, (), "torch.float64", "loss") for axis in self.program.loss_axes)
            balanced = self.program.balance_axes if self.program.balanced else ()
            yield from (_build_sum(axis, (), "torch.float64", "balance loss") for axis in balanced)
        if self.pipeline:
            root, where = self.holders[last], "loss and balance loss"
            yield Op("broadcast", self.pipeline, (2,), "torch.float64", peer=root, where=where)

    def _sum_squares(self) -> Iterator[Op]:
        """Squared gradients, over the axes that shard their parameters and then over the stages."""
        dtype = TORCH_NAMES[choose_type(self.types.gradients, True)]
        distinct = {frozenset((*each.sharded, *self._list_slice_axes(each))) for each in self.parameters}
        for axis in self.sizes:
            if count := sum(axis in axes for axes in distinct):
                yield _build_sum(axis, (count,), dtype, "squares of gradients")
        if self.pipeline:
            yield _build_sum(self.pipeline, (), dtype, "squares of gradients")

    def _report_load(self) -> Iterator[Op]:
        if self.program.load_axes is None:
            return
        units = (unit for stage in self.stages.values() for _, unit in named_units(stage))
        counts = [unit.experts.count for unit in units if unit.experts is not None]
        for axis in self.program.load_axes if counts else ():
            yield _build_sum(axis, (sum(counts),), "torch.float32", "tokens of each expert")
        if self.pipeline:
            yield Op("all_reduce", self.pipeline, (), "torch.float32", "max", where="the busiest expert")


def _build_sum(axis: str, shape: tuple[int, ...], dtype: str, where: str) -> Op:
    return Op("all_reduce", axis, shape, dtype, "sum", where=where)


def _list_holders(plan: Plan) -> list[int]:
    """The place in the pipeline of the ranks that hold each stage."""
    placed = {stage: rank for rank in range(_count_roles(plan)) for stage in list_role_stages(plan, rank)}
    return [placed[stage] for stage in sorted(placed)]


def _order_actions(pipeline: Pipeline, holders: Sequence[int], microbatches: int) -> list[list[Action]]:
    """The passes and messages of the rank at each place of the pipeline."""
    ranks, chunks = len(holders) // pipeline.chunks, pipeline.chunks
    name = name_schedule(pipeline)
    orders = [order_passes(name, ranks, chunks, microbatches, rank) for rank in range(ranks)]
    return add_messages(orders, holders)


def _list_member_roles(plan: Plan, group: str, own: int) -> tuple[int, ...]:
    """The role of each member of the group that the first rank of the role `own` is in, in order.

    Empty where `group` is no group over axes of the mesh.
    """
    names, mesh = split_group_name(group), plan.mesh
    if not set(names) <= set(mesh.names):
        return ()
    ranks = mesh.group(find_first_rank(plan, own), names)
    return tuple(mesh.index(rank, plan.list_axes("pipeline")) for rank in ranks)
