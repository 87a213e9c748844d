"""Experts that several ranks compute alike."""

from __future__ import annotations

from collections.abc import Iterator

from parc.check.edits import Edit, insert_before, set_key
from parc.check.registry import Finding, rule
from parc.cost.figure import format_quantity
from parc.diagnostic import Fix, Label, Severity
from parc.named_tuple import NamedTuple
from parc.plan.blocks import Plan, Tensor


class Cure(NamedTuple):
    """One change that gives the ranks different work, as it stands in a plan, and what it does."""

    text: str
    does: str
    edit: Edit


@rule("P314", Severity.WARNING)
def replicated_experts(plan: Plan) -> Iterator[Finding]:
    """`tensor` does not split the experts, so all ranks of its axis compute the same experts on the same
    tokens.

    Tensor ranks hold the same tokens, and `tensor` alone does not split experts. Split each expert over the
    axis too, distribute the experts over it, or use `sequence = true`, with which each rank has its own
    tokens between attention and experts.

    ## Example

        plan wide for first on farm {
          mesh = [ep: 4, tp: 2]
          data    over [ep]
          tensor  over [tp]
          experts over [ep]
        }

    ## Instead

        plan wide for first on farm {
          mesh = [ep: 4, tp: 2]
          data    over [ep]
          tensor  over [tp]
          experts over [ep] { tensor = [tp] }
        }
    """
    tensor, experts = plan.tensor, plan.experts
    if tensor is None or tensor.sequence or plan.misread or not _has_expert_layers(plan):
        return
    elsewhere = {*plan.list_axes("data"), *plan.list_axes("experts"), *(experts.tensor if experts else ())}
    axes = tuple(
        axis for axis in dict.fromkeys(tensor.axes) if axis not in elsewhere and plan.mesh.axis(axis).size > 1
    )
    if not axes:
        return
    ranks, named = plan.mesh.product(axes), " and ".join(f"`{axis}`" for axis in axes)
    labels = [Label(tensor.at(f"axes.{tensor.axes.index(axis)}"), "does not split experts") for axis in axes]
    if experts:
        labels.append(Label(experts.at("axes"), "does not use the axis", primary=False))
    labels += [Label(plan.at(f"mesh.{axis}"), "ranks with the same tokens", primary=False) for axis in axes]
    cures = list(_list_cures(plan, tensor, axes))
    yield Finding(
        f"{ranks:,} ranks along {named} compute the same experts on the same tokens",
        tuple(labels),
        _describe_repeated(plan, ranks),
        "; or ".join(f"`{cure.text}` {cure.does}" for cure in cures) or None,
        Fix(f"write `{cures[0].text}`", (cures[0].edit,), safe=False) if cures else None,
    )


def _has_expert_layers(plan: Plan) -> bool:
    """Whether some layer has experts, as far as the file says."""
    shape = plan.train.model.shape
    if shape.layers and shape.dense_layers >= shape.layers:
        return False
    return bool(shape.experts) if shape.experts is not None else plan.experts is not None


def _describe_repeated(plan: Plan, ranks: int) -> tuple[str, ...]:
    """The FLOPs of a step that all ranks but one of each group repeat, where the shape says enough."""
    shape, batch = plan.train.model.shape, plan.train.batch
    if not (shape.layers and shape.hidden and shape.ffn and shape.top_k) or plan.train.approximate:
        return ()
    layers = shape.expert_layers or shape.layers - shape.dense_layers
    matrices = 3 if shape.gated else 2
    tokens, flops = batch.sequences * batch.length, 8 if plan.recompute in ("experts", "layer") else 6
    once = tokens * shape.top_k * layers * flops * matrices * shape.hidden * shape.ffn
    work = f"{tokens:,} tokens x {shape.top_k} of top_k x {layers} layers x {flops} FLOP"
    work += f" x {matrices} x {shape.hidden:,} x {shape.ffn:,} = {format_quantity(once, 'FLOP')}"
    repeated = f"({ranks:,} - 1) x {format_quantity(once, 'FLOP')}"
    repeated += f" = {format_quantity((ranks - 1) * once, 'FLOP')}"
    return f"experts in a step, forward and backward: {work}", f"repeated: {repeated}"


def _list_cures(plan: Plan, tensor: Tensor, axes: tuple[str, ...]) -> Iterator[Cure]:
    """Those whose numbers divide, the one that changes least first."""
    experts, shape, product = plan.experts, plan.train.model.shape, plan.mesh.product
    if experts and (shape.ffn or 0) % product((*experts.tensor, *axes)) == 0:
        listed, does = f"[{', '.join((*experts.tensor, *axes))}]", "of `experts` splits each expert"
        yield Cure(f"tensor = {listed}", does, set_key(experts, "tensor", listed))
    if experts is None and (shape.experts or 0) % product(axes) == 0:
        text = f"experts over [{', '.join(axes)}]"
        yield Cure(text, "distributes them", insert_before(tensor, text))
    if plan.train.batch.length % product(tensor.axes) == 0:
        does = "of `tensor` gives each rank its own tokens"
        yield Cure("sequence = true", does, set_key(tensor, "sequence", "true"))
