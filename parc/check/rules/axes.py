"""Axes and the strategies laid over them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import NamedTuple

from parc.check.edits import before, replaced, without
from parc.check.registry import Finding, rule
from parc.diagnostic import Fix, Label, Severity
from parc.plan.blocks import Plan, Spanned
from parc.source import Span


class Use(NamedTuple):
    """One mention of an axis by a strategy."""

    strategy: str
    span: Span


def uses(plan: Plan) -> dict[str, list[Use]]:
    """Who uses each axis, in the order of the mesh."""
    found: dict[str, list[Use]] = {name: [] for name in plan.mesh.names}

    def use(strategy: str, block: Spanned, key: str, axes: tuple[str, ...]) -> None:
        for index, axis in enumerate(axes):
            found[axis].append(Use(strategy, block.at(f"{key}.{index}")))

    if plan.data:
        use("data", plan.data, "axes", plan.data.axes)
    if plan.tensor:
        use("tensor", plan.tensor, "axes", plan.tensor.axes)
    if plan.experts:
        use("experts", plan.experts, "axes", plan.experts.axes)
        use("experts' tensor", plan.experts, "tensor", plan.experts.tensor)
    if plan.pipeline:
        use("pipeline", plan.pipeline, "axes", plan.pipeline.axes)
    return found


# What one axis may carry at once. Data and experts: tokens are exchanged. Tensor and experts: tokens are
# split before they are dispatched.
TOGETHER = {
    frozenset(pair) for pair in (("data", "experts"), ("tensor", "experts"), ("tensor", "experts' tensor"))
}
WHY_NOT = {
    frozenset(
        ("data", "tensor")
    ): "ranks of a data axis hold different tokens, those of a tensor axis the same",
    frozenset(("data", "experts' tensor")): "the ranks that share an expert must see the same tokens",
    frozenset(("experts", "experts' tensor")): "an axis tells experts apart or splits each of them",
}


@rule("P302")
def axis_unused(plan: Plan) -> Iterator[Finding]:
    """An axis of the mesh carries nothing.

    All ranks along it would do the same work. An axis carries what is laid over it: `data`, `tensor`,
    `experts` or `pipeline`. An axis of size 1 may be left without.

    ## Example

        plan wide for first on farm {
          mesh = [dp: 4, tp: 2]
          data over [dp]
        }

    ## Instead

        plan wide for first on farm {
          mesh = [dp: 4, tp: 2]
          data    over [dp]
          tensor  over [tp]
          experts over [tp]
        }
    """
    for axis, users in uses(plan).items():
        size = plan.mesh.axis(axis).size
        if not users and size > 1 and not plan.misread:
            span = plan.at(f"mesh.{axis}")
            yield Finding(
                f"nothing is laid over the axis `{axis}`",
                (Label(span, f"{size:,} ranks that would all do the same work"),),
                help=f"lay a strategy over it, such as `data over [{axis}]`, or leave the axis out",
                fix=_left_out(plan, axis),
            )


def _left_out(plan: Plan, axis: str) -> Fix | None:
    if len(plan.mesh.axes) == 1:
        return None
    return Fix(f"leave the axis `{axis}` out", (without(plan.at(f"mesh.{axis}")),), safe=False)


@rule("P303")
def axis_used_twice(plan: Plan) -> Iterator[Finding]:
    """A strategy names an axis twice.

    The axes of a strategy multiply, and an axis is there once.

    ## Example

        plan wide for first on farm {
          mesh = [dp: 4]
          data over [dp, dp]
        }

    ## Instead

        plan wide for first on farm {
          mesh = [dp: 4]
          data over [dp]
        }
    """
    for axis, users in uses(plan).items():
        for strategy in dict.fromkeys(use.strategy for use in users):
            same = [use for use in users if use.strategy == strategy]
            if len(same) > 1:
                message = f"`{strategy}` names the axis `{axis}` {len(same)} times"
                labels = [Label(use.span, "again here") for use in same[1:]]
                labels.append(Label(same[0].span, "first here", primary=False))
                fix = Fix(f"name `{axis}` once", tuple(without(use.span) for use in same[1:]))
                yield Finding(message, tuple(labels), help="once is enough", fix=fix)


@rule("P304")
def axis_used_by_strategies_that_exclude_one_another(plan: Plan) -> Iterator[Finding]:
    """One axis carries two strategies that cannot share it.

    Experts go over an axis that carries data, over one that carries tensors, or over one of their own. All
    other strategies exclude one another: the ranks along an axis hold either different tokens or the same,
    either the same layers or others.

    ## Example

        plan wide for first on farm {
          mesh = [dp: 4]
          data   over [dp]
          tensor over [dp]
        }

    ## Instead

        plan wide for first on farm {
          mesh = [dp: 2, tp: 2]
          data    over [dp]
          tensor  over [tp]
          experts over [tp]
        }
    """
    for axis, users in uses(plan).items():
        different = {use.strategy: use for use in users}.values()
        for one, other in combinations(different, 2):
            pair = frozenset((one.strategy, other.strategy))
            if pair not in TOGETHER:
                reason = WHY_NOT.get(
                    pair, "the stages of a pipeline hold different layers, and do different work"
                )
                yield Finding(
                    f"the axis `{axis}` cannot carry both {one.strategy} and {other.strategy}",
                    (Label(other.span, other.strategy), Label(one.span, one.strategy, primary=False)),
                    (reason,),
                )


@rule("P305")
def experts_of_a_dense_model(plan: Plan) -> Iterator[Finding]:
    """The plan lays experts over an axis, but the model has none.

    ## Example

        model moe {
          source = "moe.py:MoETransformer"
          shape { layers = 16, experts = 0 }
        }
        plan wide for first on farm {
          mesh = [ep: 4]
          experts over [ep]
        }

    ## Instead

        model moe {
          source = "moe.py:MoETransformer"
          shape { layers = 16, experts = 0 }
        }
        plan wide for first on farm {
          mesh = [dp: 4]
          data over [dp]
        }
    """
    shape = plan.train.model.shape
    if plan.experts is None:
        return
    all_dense = shape.experts and shape.layers and shape.dense_layers == shape.layers
    if shape.experts == 0 or all_dense:
        key, why = ("experts", "there are none") if shape.experts == 0 else ("dense_layers", "all are dense")
        yield Finding(
            "the model has no experts to lay over an axis",
            (
                Label(plan.experts.at("axes"), "experts go here"),
                Label(shape.at(key), why, primary=False),
            ),
            fix=Fix("leave `experts` out", (without(plan.experts.span),), safe=False),
        )


@rule("P308", Severity.WARNING)
def dense_work_repeated(plan: Plan) -> Iterator[Finding]:
    """An axis carries experts and nothing else, so that all else is computed on each of its ranks anew.

    The ranks along such an axis have the same tokens: attention, norms and head do the same work on each.
    With `data` over the axis as well, each rank has tokens of its own, and exchanges them for its experts'.

    ## Example

        plan wide for first on farm {
          mesh = [ep: 4]
          experts over [ep]
        }

    ## Instead

        plan wide for first on farm {
          mesh = [ep: 4]
          data    over [ep]
          experts over [ep]
        }
    """
    for axis, users in uses(plan).items():
        size = plan.mesh.axis(axis).size
        strategies = {use.strategy for use in users}
        if size == 1 or plan.misread or strategies not in ({"experts"}, {"experts' tensor"}):
            continue
        splits = users[0].strategy != "experts"
        yield Finding(
            f"{size:,} ranks along `{axis}` repeat all work but that of experts",
            (
                Label(
                    users[0].span,
                    "carries a part of each expert alone" if splits else "carries experts alone",
                ),
                Label(plan.at(f"mesh.{axis}"), f"{size:,} ranks with the same tokens", primary=False),
            ),
            help=f"`tensor over [{axis}]` splits the rest too"
            if splits
            else f"`data over [{axis}]` deals the tokens out",
            fix=None if splits else _with_data(plan, axis),
        )


def _with_data(plan: Plan, axis: str) -> Fix | None:
    if plan.data is None:
        assert plan.experts
        edit = before(plan.experts, f"data over [{axis}]")
    elif not plan.data.axes:
        edit = replaced(plan.data.at("axes"), f"[{axis}]")
    else:
        last = plan.data.at(f"axes.{len(plan.data.axes) - 1}")
        edit = last._replace(start=last.end), f", {axis}"
    return Fix(f"lay data over `{axis}` too", (edit,), safe=False)
