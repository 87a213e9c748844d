"""Options without effect, strategies without axes, placements that contradict each other."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from parc.check.edits import remove_key
from parc.check.registry import Finding, rule
from parc.diagnostic import Fix, Label, Severity
from parc.named_tuple import NamedTuple
from parc.plan.blocks import BITS, Plan, Spanned
from parc.plan.placement import list_shard_axes
from parc.syntax.fixes import remove_entry


class IdleOption(NamedTuple):
    """An option that does nothing, with the reason."""

    block: Spanned
    key: str
    written: str
    why: str


def _find_idle_types(plan: Plan) -> Iterator[IdleOption]:
    types = plan.train.precision
    narrow = [each for each in (types.compute, types.gradients, types.reduce) if BITS[each] < BITS["fp32"]]
    if types.keep_fp32 and not narrow:
        yield IdleOption(types, "keep_fp32", "`keep_fp32`", f"all is computed in {types.compute} already")


def _find_idle_options(plan: Plan) -> Iterator[IdleOption]:
    data, tensor, pipeline, shape = plan.data, plan.tensor, plan.pipeline, plan.train.model.shape
    product = plan.mesh.product
    if tensor and tensor.sequence and product(tensor.axes) == 1:
        yield IdleOption(tensor, "sequence", "`sequence = true`", "the tensor axes have one rank")
    if data and data.shard != "none" and product(list_shard_axes(plan)) == 1:
        what = "axes of `shard_over`" if data.shard_over else "data axes"
        yield IdleOption(data, "shard", f"`shard = {data.shard}`", f"the {what} have one rank")
    if data and "shard_over" in data.spans and (data.shard == "none" or not data.shard_over):
        why = "nothing is sharded" if data.shard == "none" else "without axes it means all of them"
        yield IdleOption(data, "shard_over", "`shard_over`", why)
    if pipeline and "schedule" in pipeline.spans and product(pipeline.axes) == 1 and pipeline.chunks == 1:
        yield IdleOption(pipeline, "schedule", "`schedule`", "the pipeline has one stage")
    if plan.recompute == "experts" and shape.experts == 0:
        yield IdleOption(plan, "recompute", "`recompute = experts`", "the model has no experts")
    loss, optimizer = plan.train.loss, plan.train.optimizer
    if optimizer.idle_experts == "skip" and shape.experts == 0:
        yield IdleOption(optimizer, "idle_experts", "`idle_experts`", "the model has no experts")
    if loss.balance > 0 and shape.experts == 0:
        yield IdleOption(loss, "balance", "the balance loss", "the model has no experts")
    approximate = plan.train.approximate
    if approximate and approximate.balance == "rank" and not loss.balance:
        yield IdleOption(approximate, "balance", "`balance`", "there is no balance loss: its weight is 0")
    if approximate and approximate.capacity is not None and shape.experts == 0:
        yield IdleOption(approximate, "capacity", "`capacity`", "the model has no experts")
    if shape.experts == 0 and shape.top_k is not None:
        yield IdleOption(shape, "top_k", "`top_k`", "the model has no experts")
    every = shape.dense_layers == 0 and shape.expert_layers in (None, shape.layers)
    if shape.experts and shape.dense_ffn is not None and every:
        yield IdleOption(shape, "dense_ffn", "`dense_ffn`", "no layer is dense: `dense_layers` is 0")


@rule("P311", Severity.WARNING)
def option_without_effect(plan: Plan) -> Iterator[Finding]:
    """An option has no effect, because what it applies to is absent.

    For example, `sequence = true` has no effect on tensor axes of one rank. Either the option is left over,
    or the plan lacks what it was written for.

    ## Example

        plan wide for first on farm {
          mesh = [dp: 4, tp: 1]
          data   over [dp]
          tensor over [tp] { sequence = true }
        }

    ## Instead

        plan wide for first on farm {
          mesh = [dp: 4, tp: 2]
          data   over [dp]
          tensor over [tp] { sequence = true }
        }
    """
    for block, key, written, why in chain(_find_idle_types(plan), _find_idle_options(plan)):
        yield Finding(
            f"{written} has no effect",
            (Label(block.at(key), why),),
            help="remove it",
            fix=Fix(f"remove `{key}`", (remove_key(block, key),)) if key in block.spans else None,
        )


@rule("P315")
def strategy_over_no_axis(plan: Plan) -> Iterator[Finding]:
    """A strategy uses no axis.

    ## Example

        plan wide for first on farm {
          mesh = [dp: 4]
          data   over [dp]
          tensor over []
        }

    ## Instead

        plan wide for first on farm {
          mesh = [dp: 4]
          data   over [dp]
        }
    """
    for name, strategy in plan.strategies.items():
        if not strategy.axes:
            yield Finding(
                f"`{name}` has no axis",
                (Label(strategy.at("axes"), "no axis"),),
                help="name an axis of the mesh, or remove the strategy",
                fix=Fix(f"remove `{name}`", (remove_entry(strategy.span),)),
            )


@rule("P316")
def conflicting_placements(plan: Plan) -> Iterator[Finding]:
    """`tensor` gives two placements to the same parameters.

    A parameter is split by columns, split by rows, or replicated.

    ## Example

        plan wide for first on farm {
          mesh = [tp: 4]
          tensor  over [tp] { column = ["*.wq", "*.wo"], row = ["*.wo"] }
          experts over [tp]
        }

    ## Instead

        plan wide for first on farm {
          mesh = [tp: 4]
          tensor  over [tp] { column = ["*.wq"], row = ["*.wo"] }
          experts over [tp]
        }
    """
    tensor = plan.tensor
    if tensor is None:
        return
    stated: dict[str, str] = {}
    for key, globs in (("column", tensor.column), ("row", tensor.row), ("replicate", tensor.replicate)):
        for glob in dict.fromkeys(globs):
            if glob in stated:
                yield Finding(
                    f'"{glob}" is placed both by `{stated[glob]}` and by `{key}`',
                    (
                        Label(tensor.at(key), "here"),
                        Label(tensor.at(stated[glob]), "and here", primary=False),
                    ),
                )
            stated.setdefault(glob, key)
