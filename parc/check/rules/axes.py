"""Axes and the strategies laid over them."""

from __future__ import annotations

import keyword
from collections.abc import Iterator
from itertools import combinations

from parc.check.edits import insert_before, replace_text
from parc.check.registry import Finding, rule
from parc.diagnostic import Fix, Label, Severity
from parc.named_tuple import NamedTuple
from parc.plan.blocks import Experts, Plan, Spanned
from parc.source import Span
from parc.syntax.fixes import remove_entry


class Use(NamedTuple):
    """One mention of an axis by a strategy."""

    strategy: str
    span: Span


def find_uses(plan: Plan) -> dict[str, list[Use]]:
    """The strategies that use each axis, in the order of the mesh."""
    found: dict[str, list[Use]] = {name: [] for name in plan.mesh.names}

    def add_use(strategy: str, block: Spanned, key: str, axes: tuple[str, ...]) -> None:
        for index, axis in enumerate(axes):
            found[axis].append(Use(strategy, block.at(f"{key}.{index}")))

    for name, strategy in plan.strategies.items():
        add_use(name, strategy, "axes", strategy.axes)
        if isinstance(strategy, Experts):
            add_use("experts' tensor", strategy, "tensor", strategy.tensor)
    return found


# Pairs of strategies, in the order of `find_uses`. Data and experts may share an axis: tokens are exchanged;
# tensor and experts: tokens are split before they are dispatched.
TOGETHER = {("data", "experts"), ("tensor", "experts"), ("tensor", "experts' tensor")}
WHY_NOT = {
    ("data", "tensor"): "ranks of a data axis hold different tokens, those of a tensor axis the same",
    ("data", "experts' tensor"): "the ranks that share an expert must see the same tokens",
    ("experts", "experts' tensor"): "an axis either distributes experts or splits each of them",
}


@rule("P328")
def sharded_over_another_axis(plan: Plan) -> Iterator[Finding]:
    """`shard_over` names an axis that is not one of `data`.

    Ranks share states that they would hold alike, and whose gradients they sum: those along the axes of
    `data`.

    ## Example

        plan wide for first on farm {
          mesh = [dp: 4, pp: 2]
          data     over [dp] { shard = optimizer, shard_over = [dp, pp] }
          pipeline over [pp]
        }

    ## Instead

        plan wide for first on farm {
          mesh = [dp: 4, pp: 2]
          data     over [dp] { shard = optimizer, shard_over = [dp] }
          pipeline over [pp]
        }
    """
    data = plan.data
    for axis in data.shard_over if data else ():
        if data and axis not in data.axes:
            span = data.at(f"shard_over.{axis}")
            yield Finding(
                f"states are sharded over `{axis}`, which is no axis of `data`",
                (Label(span, "no data axis"), Label(data.at("axes"), "these are", primary=False)),
                help=f"remove `{axis}`, or lay `data` over it",
                fix=Fix(f"remove `{axis}`", (remove_entry(span),), safe=False),
            )


@rule("P317")
def odd_axis_name(plan: Plan) -> Iterator[Finding]:
    """An axis has a name that Python cannot hold as it is written.

    The group of an axis is an attribute of the emitted modules: `self.tp`. Its name has ASCII letters, digits
    and `_`, and is no keyword of Python. Python takes some names outside of ASCII for one and the same.

    ## Example

        plan wide for first on farm {
          mesh = [données: 4]
          data over [données]
        }

    ## Instead

        plan wide for first on farm {
          mesh = [donnees: 4]
          data over [donnees]
        }
    """
    for axis in plan.mesh.names:
        if axis.isascii() and not keyword.iskeyword(axis):
            continue
        why = "is a keyword of Python" if axis.isascii() else "is not written in ASCII"
        yield Finding(
            f"the axis `{axis}` {why}, and its name becomes part of a Python program",
            (Label(plan.at(f"mesh.{axis}"), "choose another name"),),
            help="ASCII letters, digits and `_`, such as `dp` or `ep`",
        )


@rule("P302")
def unused_axis(plan: Plan) -> Iterator[Finding]:
    """No strategy uses an axis of the mesh.

    All ranks along it would do the same work. An axis carries the strategies laid over it: `data`, `tensor`,
    `experts` or `pipeline`. An axis of size 1 may stay unused.

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
    for axis, users in find_uses(plan).items():
        size = plan.mesh.axis(axis).size
        if not users and size > 1 and not plan.misread:
            span = plan.at(f"mesh.{axis}")
            yield Finding(
                f"no strategy uses the axis `{axis}`",
                (Label(span, f"{size:,} ranks that would all do the same work"),),
                help=f"lay a strategy over it, such as `data over [{axis}]`, or remove it",
                fix=_remove_axis(plan, axis),
            )


def _remove_axis(plan: Plan, axis: str) -> Fix | None:
    if len(plan.mesh.axes) == 1:
        return None
    return Fix(f"remove the axis `{axis}`", (remove_entry(plan.at(f"mesh.{axis}")),), safe=False)


@rule("P303")
def repeated_axis(plan: Plan) -> Iterator[Finding]:
    """A strategy names an axis twice.

    The sizes of its axes multiply, and each axis counts once.

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
    for axis, users in find_uses(plan).items():
        for strategy in dict.fromkeys(use.strategy for use in users):
            same = [use for use in users if use.strategy == strategy]
            if len(same) > 1:
                message = f"`{strategy}` names the axis `{axis}` {len(same)} times"
                labels = [Label(use.span, "again here") for use in same[1:]]
                labels.append(Label(same[0].span, "first here", primary=False))
                fix = Fix(f"name `{axis}` once", tuple(remove_entry(use.span) for use in same[1:]))
                yield Finding(message, tuple(labels), help="name it once", fix=fix)


@rule("P304")
def conflicting_strategies(plan: Plan) -> Iterator[Finding]:
    """Two strategies that exclude each other use the same axis.

    Experts can share an axis with data or with tensors, or have an axis of their own. All other strategies
    exclude each other: ranks along an axis hold either different tokens or the same ones, and either the
    same layers or different ones.

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
    for axis, users in find_uses(plan).items():
        different = {use.strategy: use for use in users}.values()
        for one, other in combinations(different, 2):
            pair = one.strategy, other.strategy
            if pair not in TOGETHER:
                reason = WHY_NOT.get(pair, "the stages of a pipeline hold different layers")
                yield Finding(
                    f"the axis `{axis}` cannot carry both {one.strategy} and {other.strategy}",
                    (Label(other.span, other.strategy), Label(one.span, one.strategy, primary=False)),
                    (reason,),
                )


@rule("P305")
def experts_of_a_dense_model(plan: Plan) -> Iterator[Finding]:
    """The plan distributes experts, but the model has none.

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
            "the model has no experts to distribute",
            (
                Label(plan.experts.at("axes"), "distributed here"),
                Label(shape.at(key), why, primary=False),
            ),
            fix=Fix("remove `experts`", (remove_entry(plan.experts.span),), safe=False),
        )


@rule("P308", Severity.WARNING)
def replicated_dense_work(plan: Plan) -> Iterator[Finding]:
    """An axis carries only experts, so its ranks repeat all other work.

    The ranks along such an axis have the same tokens: each computes the same attention, norms and head. With
    `data` over the axis too, each rank has its own tokens and exchanges them with the ranks of their
    experts.

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
    for axis, users in find_uses(plan).items():
        size = plan.mesh.axis(axis).size
        strategies = {use.strategy for use in users}
        if size == 1 or plan.misread or strategies not in ({"experts"}, {"experts' tensor"}):
            continue
        splits = users[0].strategy != "experts"
        yield Finding(
            f"{size:,} ranks along `{axis}` repeat all work except that of the experts",
            (
                Label(
                    users[0].span,
                    "carries only a part of each expert" if splits else "carries only experts",
                ),
                Label(plan.at(f"mesh.{axis}"), f"{size:,} ranks with the same tokens", primary=False),
            ),
            help=f"`tensor over [{axis}]` splits the rest too"
            if splits
            else f"`data over [{axis}]` gives each rank its own tokens",
            fix=None if splits else _add_data(plan, axis),
        )


def _add_data(plan: Plan, axis: str) -> Fix | None:
    if plan.data is None:
        assert plan.experts
        edit = insert_before(plan.experts, f"data over [{axis}]")
    elif not plan.data.axes:
        edit = replace_text(plan.data.at("axes"), f"[{axis}]")
    else:
        last = plan.data.at(f"axes.{len(plan.data.axes) - 1}")
        edit = last._replace(start=last.end), f", {axis}"
    return Fix(f"lay data over `{axis}` too", (edit,), safe=False)
