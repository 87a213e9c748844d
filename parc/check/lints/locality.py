"""Groups that leave a node, where another layout would keep them in."""

from __future__ import annotations

from collections.abc import Iterator

from parc.check.costs import Costs
from parc.check.registry import Finding, lint
from parc.check.requests import Layouts
from parc.diagnostic import Label, Severity
from parc.plan.blocks import Plan
from parc.plan.subjects import STRATEGIES


@lint("P324", Severity.WARNING)
def slow_order_of_axes(costs: Costs) -> Iterator[Finding]:
    """Groups communicate across nodes where another layout is faster.

    The last axis of `mesh` runs over neighbouring devices, the first over the most distant ones. Put what
    communicates most last: tensor groups, which wait for one another several times in each layer, then
    experts. The order does not change what is computed. An order is reported if it is predicted to be at
    least 5% faster, or if it keeps tensor groups within a node and is not slower.

    If no order keeps the experts within a node, another layout may: split their axis in two, of which the
    inner one carries the experts and both carry data, so that each node holds all experts; or distribute the
    experts over the tensor axis. Such a layout is reported if it fits in memory, breaks no rule, and is at
    least 5% faster.

    ## Example

        import "parc:h100"
        cluster farm { machine = h100, levels = [fabric: 4, node: 8] }
        model moe {
          source = "moe.py:Dense"
          shape { layers = 16, hidden = 4096, heads = 32, ffn = 16384, vocab = 32000 }
        }
        train first {
          model = moe
          batch { sequences = 32, length = 4096, microbatches = 4 }
          precision { compute = bf16 }
        }
        plan wide for first on farm {
          mesh = [tp: 8, dp: 4]
          data   over [dp]
          tensor over [tp]
        }

    ## Instead

        plan wide for first on farm {
          mesh = [dp: 4, tp: 8]
          data   over [dp]
          tensor over [tp]
        }
    """
    yield from _check_reach(costs, Layouts.FASTER)


@lint("P325", Severity.INFO)
def collectives_across_nodes(costs: Costs) -> Iterator[Finding]:
    """Another layout shortens the collectives, but hardly the predicted step.

    The step is limited by something else, usually by the host that launches the kernels. With less overhead
    on the host, the difference would show.

    ## Example

        cluster farm {
          levels = [fabric: 8, node: 16]
          device { compute = 400 TFLOPS, memory = 64 GB, memory_bandwidth = 1.8 TB/s }
          link node   { bandwidth = 900 GB/s, latency = 3 us }
          link fabric { bandwidth = 50 GB/s, latency = 8 us }
        }
        train first {
          model = moe
          batch { sequences = 256, length = 1024, microbatches = 32 }
        }
        plan wide for first on farm {
          mesh = [ep: 8, pp: 4, tp: 4]
          data     over [ep]
          tensor   over [tp]
          experts  over [ep] { tensor = [tp] }
          pipeline over [pp]
        }

    ## Instead

        plan wide for first on farm {
          mesh = [pp: 4, tp: 4, ep: 8]
          data     over [ep]
          tensor   over [tp]
          experts  over [ep] { tensor = [tp] }
          pipeline over [pp]
        }
    """
    yield from _check_reach(costs, Layouts.CLOSER)


def _check_reach(costs: Costs, advice: Layouts) -> Iterator[Finding]:
    plan, far = costs.plan, list_far(costs.plan)
    if far:
        if advice is Layouts.CLOSER or "tensor" not in far:
            costs.require_timed()
        unit, named = plan.cluster.levels[-1], " and ".join(f"`{name}`" for name in far)
        labels = (Label(getattr(plan, name).span, f"spans several {unit.name}s") for name in far)
        yield Finding(f"groups of {named} span several {unit.name}s", tuple(labels), advice=advice)


def list_far(plan: Plan) -> tuple[str, ...]:
    """Strategies whose groups leave a unit of the innermost level."""
    return tuple(name for name in STRATEGIES if leaves_unit(plan, name))


def leaves_unit(plan: Plan, strategy: str) -> bool:
    levels = [level.size for level in plan.cluster.levels]
    return plan.mesh.count_units(plan.list_axes(strategy), levels)[-1] > 1
