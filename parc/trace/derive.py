"""The operations of one optimizer step, by role: what the runtime's `Trainer.step` issues for a program."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product

from parc.ir.parameters import count_local_elements, named_parameters, named_units
from parc.ir.program import Parameter, Program
from parc.plan.blocks import Plan
from parc.plan.mesh import Mesh
from parc.trace.ops import IssuedOp, Op, Role, Tape
from parc.trace.passes import derive_passes
from parc.trace.schedule import SCHEDULES, exchange_shapes, run_sequentially

BUCKET = 1 << 24  # elements of gradients that the runtime sums in one call


def derive_roles(plan: Plan, program: Program, steps: Sequence[int] = (1,)) -> tuple[Role, ...]:
    """A role for each pipeline stage: the place of a rank on any other axis changes none of its operations.

    Steps after step 0 are alike. In step 0 the stages of a pipeline exchange their shapes as well.
    """
    stages = (_Stage(plan, program, number) for number in range(len(program.stages)))
    return tuple(build_role(plan, number, stage.derive(steps)) for number, stage in enumerate(stages))


def build_role(plan: Plan, number: int, issued: tuple[IssuedOp, ...]) -> Role:
    """The role of stage `number`, whose ranks issue so."""
    pipeline = plan.pipeline.axes[0] if plan.pipeline else None
    axes = dict.fromkeys(each.op.axis for each in issued)
    groups = {axis: _list_member_stages(plan.mesh, pipeline, axis, number) for axis in axes}
    return Role(f"stage {number}" if plan.pipeline else "every rank", issued, groups)


class _Stage:
    """The steps of one stage."""

    def __init__(self, plan: Plan, program: Program, number: int) -> None:
        self.plan, self.program, self.number = plan, program, number
        self.stage, self.stages = program.stages[number], len(program.stages)
        self.sizes = {axis.name: axis.size for axis in plan.mesh.axes}
        self.pipeline = plan.pipeline.axes[0] if plan.pipeline else None
        self.parameters = [parameter for _, parameter in named_parameters(self.stage)]
        self.tape = Tape()

    def derive(self, steps: Iterable[int]) -> tuple[IssuedOp, ...]:
        for step in steps:
            self._run("before the first microbatch", self._count_labels())
            self._run_microbatches(first=step == 0)
            self._run("after the last microbatch", self._sum_gradients())
            self._run("loss of the step", self._report_loss())
            self._run("gradient norm", self._sum_squares())
            self._run("load of the experts", self._report_load())
        return self.tape.list_issued()

    def _run(self, phase: str, ops: Iterable[Op]) -> None:
        self.tape.phase = phase
        self.tape.run(op for op in ops if self.sizes[op.axis] > 1)

    def _count_labels(self) -> Iterator[Op]:
        data = () if self.program.mean else self.plan.list_axes("data")
        axes = (axis for axis in self.sizes if axis in data)
        yield from (_build_sum(axis, (), "torch.int64", "valid labels") for axis in axes)

    def _run_microbatches(self, first: bool) -> None:
        pipeline, axis = self.plan.pipeline, self.pipeline or ""
        run = SCHEDULES[pipeline.schedule] if pipeline else run_sequentially
        if pipeline and first:
            exchange_shapes(self.tape, axis, self.number, self.stages)
        part = derive_passes(self.stage, self.number, axis, self.sizes)
        run(self.tape, part, self.plan.train.batch.microbatches, self.number, self.stages)

    def _sum_gradients(self) -> Iterator[Op]:
        for axes, dtype, count in _bucket_gradients(self.parameters, self.sizes, BUCKET):
            yield from (_build_sum(axis, (count,), dtype, "gradients") for axis in axes)

    def _report_loss(self) -> Iterator[Op]:
        if self.number == self.stages - 1:
            yield from (_build_sum(axis, (), "torch.float64", "loss") for axis in self.program.loss_axes)
            balanced = self.program.balance_axes if self.program.balanced else ()
            yield from (_build_sum(axis, (), "torch.float64", "balance loss") for axis in balanced)
        if self.pipeline:
            last, where = self.stages - 1, "loss and balance loss"
            yield Op("broadcast", self.pipeline, (2,), "torch.float64", peer=last, where=where)

    def _sum_squares(self) -> Iterator[Op]:
        """Squared gradients, over the axes that shard their parameters and then over the stages."""
        dtype = self.parameters[0].dtype
        sharded = {tuple(a for a in self.sizes if a in each.sharded) for each in self.parameters}
        for axis in self.sizes:
            if count := sum(axis in axes for axes in sharded):
                yield _build_sum(axis, (count,), dtype, "squares of gradients")
        if self.pipeline:
            yield _build_sum(self.pipeline, (), dtype, "squares of gradients")

    def _report_load(self) -> Iterator[Op]:
        if self.program.load_axes is None:
            return
        counts = [unit.experts.count for _, unit in named_units(self.stage) if unit.experts is not None]
        for axis in self.program.load_axes if counts else ():
            yield _build_sum(axis, (sum(counts),), "torch.float32", "tokens of each expert")
        if self.pipeline:
            yield Op("all_reduce", self.pipeline, (), "torch.float32", "max", where="the busiest expert")


def _build_sum(axis: str, shape: tuple[int, ...], dtype: str, where: str) -> Op:
    return Op("all_reduce", axis, shape, dtype, "sum", where=where)


def _bucket_gradients(
    parameters: Iterable[Parameter], sizes: Mapping[str, int], most: int
) -> Iterator[tuple[tuple[str, ...], str, int]]:
    """(axes, dtype, elements) of each sum of gradients: those over the same axes together, up to `most`."""
    pending: dict[tuple[tuple[str, ...], str], list[int]] = defaultdict(list)
    for parameter in parameters:
        if axes := tuple(axis for axis in sorted(parameter.reduce) if sizes[axis] > 1):
            pending[axes, parameter.dtype].append(count_local_elements(parameter, sizes))
    for (axes, dtype), counts in pending.items():
        held = 0
        for count in counts:
            if held and held + count > most:
                yield axes, dtype, held
                held = 0
            held += count
        yield axes, dtype, held


def _list_member_stages(mesh: Mesh, pipeline: str | None, axis: str, stage: int) -> tuple[int, ...]:
    """The stage of each member of the group over `axis` that a rank of `stage` is in, in order.

    Empty where `axis` does not name axes of the mesh.
    """
    names = axis.split("+")
    if not set(names) <= set(mesh.names):
        return ()
    sizes = [mesh.axis(name).size for name in names]
    places = product(*map(range, sizes))
    return tuple(place[names.index(pipeline)] if pipeline in names else stage for place in places)
