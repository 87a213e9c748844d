"""The operations of one optimizer step, by roles: what the runtime's `Trainer.step` makes of the events."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from parc.ir.program import Program, Stage
from parc.plan.blocks import Plan
from parc.trace.groups import stages_of
from parc.trace.ops import Issue, Op, Role, Tape
from parc.trace.parameters import buckets, experts, parameters
from parc.trace.passes import passes
from parc.trace.schedule import SCHEDULES, in_turn, vote

BUCKET = 1 << 24  # elements of gradients that the runtime sums in one call


def derive(plan: Plan, program: Program, *, first: bool = False) -> tuple[Role, ...]:
    """A role for each pipeline stage: where a rank stands on any other axis changes none of its operations.

    In the `first` step the stages settle something beforehand.
    """
    steps = (_Step(plan, program, number, first) for number in range(len(program.stages)))
    return tuple(role(plan, number, step.issues()) for number, step in enumerate(steps))


def role(plan: Plan, number: int, issues: tuple[Issue, ...]) -> Role:
    """A stage that issues so."""
    pipeline = plan.pipeline.axes[0] if plan.pipeline else None
    axes = dict.fromkeys(issue.op.axis for issue in issues)
    groups = {axis: stages_of(plan.mesh, pipeline, axis, number) for axis in axes}
    return Role(f"stage {number}" if plan.pipeline else "every rank", issues, groups)


class _Step:
    """One step of one stage."""

    def __init__(self, plan: Plan, program: Program, number: int, first: bool) -> None:
        self.plan, self.program, self.number, self.first = plan, program, number, first
        self.stage: Stage = program.stages[number]
        self.stages = len(program.stages)
        self.sizes = {axis.name: axis.size for axis in plan.mesh.axes}
        self.pipeline = plan.pipeline.axes[0] if plan.pipeline else None
        self.tape = Tape()

    def issues(self) -> tuple[Issue, ...]:
        self._during("before the first microbatch", self._divisor())
        self._microbatches()
        self._during("after the last microbatch", self._gradients())
        self._during("loss of the step", self._report())
        self._during("gradient norm", self._norm())
        self._during("load of the experts", self._load())
        return self.tape.issues()

    def _during(self, when: str, ops: Iterable[Op]) -> None:
        self.tape.when = when
        self.tape.run(op for op in ops if self.sizes[op.axis] > 1)

    def _divisor(self) -> Iterator[Op]:
        if not self.program.mean:
            data = self.plan.data.axes if self.plan.data else ()
            for axis in self.sizes:
                if axis in data:
                    yield _sum(axis, (), "torch.int64", "valid labels")

    def _microbatches(self) -> None:
        pipeline = self.plan.pipeline
        axis = pipeline.axes[0] if pipeline else ""
        run = SCHEDULES[pipeline.schedule] if pipeline else in_turn
        if pipeline and self.first:
            vote(self.tape, axis, self.number, self.stages)
        part = passes(self.stage, self.number, axis, self.sizes)
        run(self.tape, part, self.plan.train.batch.microbatches, self.number, self.stages)

    def _gradients(self) -> Iterator[Op]:
        for axes, dtype, count in buckets(parameters(self.stage), self.sizes, BUCKET):
            yield from (_sum(axis, (count,), dtype, "gradients") for axis in axes)

    def _report(self) -> Iterator[Op]:
        if self.number == self.stages - 1:
            yield from (_sum(axis, (), "torch.float64", "loss") for axis in self.program.loss_axes)
            balanced = self.program.balance_axes if self.program.balanced else ()
            yield from (_sum(axis, (), "torch.float64", "balance loss") for axis in balanced)
        if self.pipeline:
            root = self.stages - 1
            yield Op(
                "broadcast", self.pipeline, (2,), "torch.float64", peer=root, where="loss and balance loss"
            )

    def _norm(self) -> Iterator[Op]:
        """Squares of gradients, by the axes that shard their parameters."""
        held = list(parameters(self.stage))
        sharded = list(dict.fromkeys(tuple(a for a in self.sizes if a in each.sharded) for each in held))
        for axis in self.sizes:
            if count := sum(axis in axes for axes in sharded):
                yield _sum(axis, (count,), held[0].dtype, "squares of gradients")
        if self.pipeline:
            yield _sum(self.pipeline, (), held[0].dtype, "squares of gradients")

    def _load(self) -> Iterator[Op]:
        if self.program.load_axes is None:
            return
        for unit in experts(self.stage):
            assert unit.experts is not None
            for axis in self.program.load_axes:
                yield _sum(axis, (unit.experts.count,), "torch.float32", f"{unit.name}, load")
        if self.pipeline:
            yield Op("all_reduce", self.pipeline, (), "torch.float32", "max", where="the busiest expert")


def _sum(axis: str, shape: tuple[int, ...], dtype: str, where: str) -> Op:
    return Op("all_reduce", axis, shape, dtype, "sum", where=where)
