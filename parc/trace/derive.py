"""The operations of one optimizer step, by role: what the runtime's `Trainer.step` issues for a program."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from parc.ir.parameters import named_parameters, named_units
from parc.ir.program import Program
from parc.plan.blocks import Plan
from parc.trace.groups import list_member_stages
from parc.trace.ops import IssuedOp, Op, Role, Tape
from parc.trace.parameters import bucket_gradients
from parc.trace.passes import derive_passes
from parc.trace.schedule import SCHEDULES, exchange_shapes, run_sequentially

BUCKET = 1 << 24  # elements of gradients that the runtime sums in one call


def derive(plan: Plan, program: Program, *, first: bool = False) -> tuple[Role, ...]:
    """A role for each pipeline stage: the place of a rank on any other axis changes none of its operations.

    In the `first` step the stages of a pipeline exchange their shapes as well.
    """
    steps = (_StageStep(plan, program, number, first) for number in range(len(program.stages)))
    return tuple(build_role(plan, number, step.issued()) for number, step in enumerate(steps))


def build_role(plan: Plan, number: int, issued: tuple[IssuedOp, ...]) -> Role:
    """The role of stage `number`, whose ranks issue so."""
    pipeline = plan.pipeline.axes[0] if plan.pipeline else None
    axes = dict.fromkeys(each.op.axis for each in issued)
    groups = {axis: list_member_stages(plan.mesh, pipeline, axis, number) for axis in axes}
    return Role(f"stage {number}" if plan.pipeline else "every rank", issued, groups)


class _StageStep:
    """One step of one stage."""

    def __init__(self, plan: Plan, program: Program, number: int, first: bool) -> None:
        self.plan, self.program, self.number, self.first = plan, program, number, first
        self.stage, self.stages = program.stages[number], len(program.stages)
        self.sizes = {axis.name: axis.size for axis in plan.mesh.axes}
        self.pipeline = plan.pipeline.axes[0] if plan.pipeline else None
        self.parameters = [parameter for _, parameter in named_parameters(self.stage)]
        self.tape = Tape()

    def issued(self) -> tuple[IssuedOp, ...]:
        self._run("before the first microbatch", self._count_labels())
        self._run_microbatches()
        self._run("after the last microbatch", self._sum_gradients())
        self._run("loss of the step", self._report_loss())
        self._run("gradient norm", self._sum_squares())
        self._run("load of the experts", self._report_load())
        return self.tape.issued()

    def _run(self, phase: str, ops: Iterable[Op]) -> None:
        self.tape.phase = phase
        self.tape.run(op for op in ops if self.sizes[op.axis] > 1)

    def _count_labels(self) -> Iterator[Op]:
        data = self.plan.data.axes if self.plan.data and not self.program.mean else ()
        yield from (_sum(axis, (), "torch.int64", "valid labels") for axis in self.sizes if axis in data)

    def _run_microbatches(self) -> None:
        pipeline, axis = self.plan.pipeline, self.pipeline or ""
        run = SCHEDULES[pipeline.schedule] if pipeline else run_sequentially
        if pipeline and self.first:
            exchange_shapes(self.tape, axis, self.number, self.stages)
        part = derive_passes(self.stage, self.number, axis, self.sizes)
        run(self.tape, part, self.plan.train.batch.microbatches, self.number, self.stages)

    def _sum_gradients(self) -> Iterator[Op]:
        for axes, dtype, count in bucket_gradients(self.parameters, self.sizes, BUCKET):
            yield from (_sum(axis, (count,), dtype, "gradients") for axis in axes)

    def _report_loss(self) -> Iterator[Op]:
        if self.number == self.stages - 1:
            yield from (_sum(axis, (), "torch.float64", "loss") for axis in self.program.loss_axes)
            balanced = self.program.balance_axes if self.program.balanced else ()
            yield from (_sum(axis, (), "torch.float64", "balance loss") for axis in balanced)
        if self.pipeline:
            last, where = self.stages - 1, "loss and balance loss"
            yield Op("broadcast", self.pipeline, (2,), "torch.float64", peer=last, where=where)

    def _sum_squares(self) -> Iterator[Op]:
        """Squared gradients, over the axes that shard their parameters and then over the stages."""
        dtype = self.parameters[0].dtype
        sharded = {tuple(a for a in self.sizes if a in each.sharded) for each in self.parameters}
        for axis in self.sizes:
            if count := sum(axis in axes for axes in sharded):
                yield _sum(axis, (count,), dtype, "squares of gradients")
        if self.pipeline:
            yield _sum(self.pipeline, (), dtype, "squares of gradients")

    def _report_load(self) -> Iterator[Op]:
        if self.program.load_axes is None:
            return
        counts = [unit.experts.count for _, unit in named_units(self.stage) if unit.experts is not None]
        for axis in self.program.load_axes if counts else ():
            yield _sum(axis, (sum(counts),), "torch.float32", "tokens of each expert")
        if self.pipeline:
            yield Op("all_reduce", self.pipeline, (), "torch.float32", "max", where="the busiest expert")


def _sum(axis: str, shape: tuple[int, ...], dtype: str, where: str) -> Op:
    return Op("all_reduce", axis, shape, dtype, "sum", where=where)
