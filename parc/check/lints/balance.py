"""How evenly work lies on the stages of a pipeline, and how long they wait for one another."""

from __future__ import annotations

from collections.abc import Iterator

from parc.check.costs import Costs
from parc.check.registry import Finding, lint
from parc.check.requests import Layouts
from parc.check.rules.pipeline import MOST_SHOWN
from parc.cost.figure import format_quantity
from parc.diagnostic import Label, Severity

BETTER = 0.95  # of a step's time: what another layout must save to be worth a warning
MOST_STAGES = 8  # whose times are shown
LONG = 0.25  # share of the pipeline's time that a device waits


@lint("P326", Severity.WARNING)
def unbalanced_stages(costs: Costs) -> Iterator[Finding]:
    """One stage takes longer than the others, and another split of the layers is faster.

    Every microbatch waits for the slowest stage. The number of layers is not all that counts: the last stage
    also computes the head and the loss, and the first layers may be dense. A split of the same layers is
    reported if it is predicted to be at least 5% faster and fits in memory.

    ## Example

        import "parc:h100"
        cluster farm { machine = h100, levels = [node: 4] }
        train first {
          model = moe
          batch { sequences = 32, length = 1024, microbatches = 32 }
        }
        plan wide for first on farm {
          mesh = [pp: 4]
          pipeline over [pp] { layers = [2, 2, 6, 6] }
        }

    ## Instead

        plan wide for first on farm {
          mesh = [pp: 4]
          pipeline over [pp]
        }
    """
    pipeline = costs.plan.pipeline
    if pipeline is None or len(pipeline.layers) > MOST_SHOWN or 0 in pipeline.layers:
        return
    costs.require_even()
    work = list_work(costs)
    if sum(work) / len(work) <= BETTER * max(work):
        forward = [each.seconds for each in costs.step.forward]
        slow = forward.index(max(forward))
        yield Finding(
            f"stage {slow} takes longest, and the others wait for it",
            (Label(pipeline.at("layers"), f"{pipeline.layers[slow]} layers in stage {slow}"),),
            (
                f"forward pass of a microbatch by stage: {format_seconds(forward)}",
                f"predicted step: {format_quantity(costs.step.seconds, 's')}",
            ),
            advice=Layouts.BALANCED,
        )


def list_work(costs: Costs) -> list[float]:
    """Seconds of the forward and backward pass of one microbatch, by stage."""
    step = costs.step
    return [one.seconds + other.seconds for one, other in zip(step.forward, step.backward, strict=True)]


def format_seconds(stages: list[float]) -> str:
    shown = [format_quantity(each, "s") for each in stages[:MOST_STAGES]]
    return ", ".join([*shown, ".."] if len(stages) > MOST_STAGES else shown)


@lint("P327", Severity.WARNING)
def long_bubble(costs: Costs) -> Iterator[Finding]:
    """Devices wait for more than a quarter of the pipeline's time, and a finer batch is faster.

    A pipeline fills and drains once in each step. With m microbatches on p ranks of v chunks each, a device
    waits for (p - 1) / (v m + p - 1) of the time. More microbatches or more chunks reduce the wait. They are
    reported if they are predicted to be at least 5% faster.

    ## Example

        import "parc:h100"
        cluster farm { machine = h100, levels = [node: 8] }
        train first {
          model = moe
          batch { sequences = 64, length = 4096, microbatches = 4 }
          precision { compute = bf16 }
        }
        plan wide for first on farm {
          mesh = [dp: 2, pp: 4]
          data     over [dp]
          experts  over [dp]
          pipeline over [pp]
        }

    ## Instead

        train first {
          model = moe
          batch { sequences = 64, length = 4096, microbatches = 16 }
          precision { compute = bf16 }
        }
    """
    pipeline, batch = costs.plan.pipeline, costs.plan.train.batch
    if pipeline is None:
        return
    costs.require_even()
    now = costs.step.seconds
    from parc.check.claims.counts import derive_bubble  # noqa: PLC0415 - start-up time

    share = derive_bubble(costs)
    if share.value > LONG:
        yield Finding(
            f"devices wait {share.value:.0%} of the pipeline's time",
            (
                Label(batch.at("microbatches"), f"{batch.microbatches:,} microbatches"),
                Label(pipeline.span, f"{len(pipeline.layers):,} stages", primary=False),
            ),
            (share.how, f"predicted step: {format_quantity(now, 's')}"),
            advice=Layouts.FINER,
        )
