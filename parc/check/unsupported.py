"""What the language allows and `parc build` does not build yet. For building, not for `parc check`.

As in a rule, the docstring is the page: its example checks clean and is refused by building.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from parc.check.registry import Finding, Registry
from parc.diagnostic import Diagnostic, Label, Severity
from parc.plan.blocks import Launch, Plan
from parc.source import Span

LIMITS = Registry()
limit = LIMITS.rule


def unbuilt(plan: Plan, launches: Iterable[Launch] = ()) -> tuple[Diagnostic, ...]:
    """Why the plan cannot be built; warnings are what it will be built without."""
    found = [diagnostic for each in LIMITS.rules for diagnostic in each.run(plan)]
    for launch in launches:
        if launch.plan == plan.name and launch.kind != "torchrun":
            message = f"launch files for `{launch.kind}` are not written yet"
            label = Label(launch.span, "left out: start the program with `launch/torchrun.sh`")
            found.append(Diagnostic("P408", Severity.WARNING, message, (label,)))
    return tuple(found)


def _not_yet(what: str, span: Span, instead: str) -> Finding:
    return Finding(f"{what} is understood, but not built yet", (Label(span, "not built yet"),), help=instead)


@limit("P401")
def data_sharding(plan: Plan) -> Iterator[Finding]:
    """Sharding optimizer state or parameters over the data axes.

    ## Example

        plan wide for first on farm {
          mesh = [dp: 4]
          data over [dp] { shard = optimizer }
        }

    ## Instead

        plan wide for first on farm {
          mesh = [dp: 4]
          data over [dp]
        }
    """
    if plan.data and plan.data.shard != "none":
        yield _not_yet(f"`shard = {plan.data.shard}`", plan.data.at("shard"), "`shard = none`")


@limit("P402")
def folded_axes(plan: Plan) -> Iterator[Finding]:
    """Laying tensors, experts or a pipeline over several axes at once. Data goes over any number.

    ## Example

        plan wide for first on farm {
          mesh = [a: 2, b: 2]
          data    over [a, b]
          experts over [a, b]
        }

    ## Instead

        plan wide for first on farm {
          mesh = [ep: 4]
          data    over [ep]
          experts over [ep]
        }
    """
    for name, strategy in (("tensor", plan.tensor), ("experts", plan.experts), ("pipeline", plan.pipeline)):
        if strategy and len(strategy.axes) != 1:
            found = "no axis" if not strategy.axes else "several axes"
            yield _not_yet(f"`{name}` over {found}", strategy.at("axes"), f"lay `{name}` over one axis")


@limit("P403")
def experts_split_by_other_axes(plan: Plan) -> Iterator[Finding]:
    """Splitting each expert over axes that are not those of `tensor`.

    ## Example

        plan wide for first on farm {
          mesh = [ep: 2, et: 2]
          data    over [ep]
          experts over [ep] { tensor = [et] }
        }

    ## Instead

        plan wide for first on farm {
          mesh = [ep: 2, tp: 2]
          data    over [ep]
          tensor  over [tp]
          experts over [ep] { tensor = [tp] }
        }
    """
    tensor = plan.tensor.axes if plan.tensor else ()
    if plan.experts and plan.experts.tensor and plan.experts.tensor != tensor:
        instead = "leave it out" if not tensor else f"`tensor = [{', '.join(tensor)}]`, the axis of `tensor`"
        yield _not_yet("splitting experts over an axis without `tensor`", plan.experts.at("tensor"), instead)


@limit("P404")
def schedule(plan: Plan) -> Iterator[Finding]:
    """Schedules other than `gpipe` and `1f1b`.

    ## Example

        plan wide for first on farm {
          mesh = [pp: 4]
          pipeline over [pp] { schedule = "zero_bubble" }
        }

    ## Instead

        plan wide for first on farm {
          mesh = [pp: 4]
          pipeline over [pp] { schedule = "1f1b" }
        }
    """
    if plan.pipeline and plan.pipeline.schedule not in ("gpipe", "1f1b"):
        what = f"the schedule `{plan.pipeline.schedule}`"
        yield _not_yet(what, plan.pipeline.at("schedule"), '`schedule = "1f1b"` or `"gpipe"`')


@limit("P405")
def chunks(plan: Plan) -> Iterator[Finding]:
    """Several chunks of layers a rank.

    ## Example

        plan wide for first on farm {
          mesh = [pp: 4]
          pipeline over [pp] { schedule = "1f1b", chunks = 2 }
        }

    ## Instead

        plan wide for first on farm {
          mesh = [pp: 4]
          pipeline over [pp] { schedule = "1f1b" }
        }
    """
    if plan.pipeline and plan.pipeline.chunks > 1:
        yield _not_yet(f"`chunks = {plan.pipeline.chunks}`", plan.pipeline.at("chunks"), "`chunks = 1`")


@limit("P406")
def recompute(plan: Plan) -> Iterator[Finding]:
    """Computing activations again in the backward pass.

    ## Example

        plan wide for first on farm {
          mesh = [dp: 4]
          data over [dp]
          recompute = layer
        }

    ## Instead

        plan wide for first on farm {
          mesh = [dp: 4]
          data over [dp]
          recompute = none
        }
    """
    if plan.recompute != "none":
        yield _not_yet(f"`recompute = {plan.recompute}`", plan.at("recompute"), "`recompute = none`")


@limit("P407")
def precision(plan: Plan) -> Iterator[Finding]:
    """Mixed precision: computing in one type and updating in another.

    ## Example

        train first {
          model = moe
          batch     { sequences = 32, length = 1024, microbatches = 4 }
          precision { compute = bf16, master = fp32 }
        }

    ## Instead

        train first {
          model = moe
          batch     { sequences = 32, length = 1024, microbatches = 4 }
          precision { compute = fp32, master = fp32 }
        }
    """
    both = plan.train.precision
    if both.compute != both.master:
        span = both.at("compute" if "compute" in both.spans else "master")
        what = f"computing in {both.compute} with {both.master} masters"
        yield _not_yet(what, span, "`compute` and `master` both fp32, or both fp64")


@limit("P409")
def approximations(plan: Plan) -> Iterator[Finding]:
    """What differs from a single device: capacities of experts, a balance loss of each rank alone.

    ## Example

        train first {
          model = moe
          batch { sequences = 32, length = 1024, microbatches = 4 }
          approximate { capacity = 1.25 }
        }

    ## Instead

        train first {
          model = moe
          batch { sequences = 32, length = 1024, microbatches = 4 }
        }
    """
    approximate = plan.train.approximate
    if approximate and approximate.capacity is not None:
        yield _not_yet("`capacity`", approximate.at("capacity"), "leave it out: no token is dropped then")
    if approximate and approximate.balance == "rank":
        yield _not_yet("`balance = rank`", approximate.at("balance"), "`balance = microbatch`")


LIMITS.explain(
    "P408",
    "launch-kind",
    """Launch files for anything but `torchrun`.

    The program is built, with `launch/torchrun.sh`, and starts on any machines that can run a command each.

    ## Example

        launch slurm for wide { partition = "gpu" }

    ## Instead

        launch torchrun for wide { }
    """,
    Severity.WARNING,
)
