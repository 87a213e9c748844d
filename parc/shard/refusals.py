"""What propagation refuses, as diagnostics: the operation, its source line, the axis, and what to do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import fx

from parc.capture.graph import get_user_name
from parc.capture.source_lines import label_operation
from parc.diagnostic import Diagnostic, Label, error
from parc.plan.blocks import Plan
from parc.plan.mesh import split_group_name
from parc.shard.parameter_placements import Refused
from parc.shard.placed import Uncut


def report_refusals(plan: Plan, refused: Iterable[Refused], uncut: Iterable[Uncut]) -> list[Diagnostic]:
    """A diagnostic for every fault; parameters that only route tokens stay whole by right."""
    found = [_report_refused(plan, each) for each in refused]
    by_node: dict[fx.Node, list[Uncut]] = {}
    for each in uncut:
        if not each.routes:
            by_node.setdefault(each.node, []).append(each)
    return found + [_report_uncut(plan, group) for group in by_node.values()]


def report_uneven_experts(plan: Plan, counts: Iterable[int]) -> list[Diagnostic]:
    """A diagnostic for every number of experts a layer that the ranks of their axes cannot share evenly."""
    if plan.experts is None:
        return []
    ways = plan.mesh.product(plan.experts.axes)
    over = ", ".join(f"`{axis}`" for axis in plan.experts.axes)
    found = []
    for count in sorted({count for count in counts if count % ways}):
        fitting = ", ".join(str(size) for size in range(1, count + 1) if count % size == 0)
        message = f"{count} experts a layer cannot be shared evenly by the {ways} ranks along {over}"
        label = Label(plan.experts.at("axes"), f"{ways} ranks")
        found.append(error("P507", message, label, help=f"{count} experts divide over {fitting} ranks"))
    return found


def _report_refused(plan: Plan, refused: Refused) -> Diagnostic:
    where = get_user_name(refused.body.path) or "the model"
    message = f"`{where}` cannot be laid over `{refused.axis}`: {refused.reason}"
    axes = split_group_name(refused.axis)
    strategies = plan.strategies.items()
    over = " and ".join(f"`{name}`" for name, each in strategies if not set(axes).isdisjoint(each.axes))
    over = over or "`tensor` of `experts`"
    cure = refused.cure or f"compute it along another dim than the one that {over} splits"
    help = f"{cure}, or leave {over} out"
    return error("P507", message, *label_operation(refused.node), _label_axis(plan, refused.axis), help=help)


def _report_uncut(plan: Plan, group: Sequence[Uncut]) -> Diagnostic:
    names = [get_user_name(each.parameter) for each in group]
    first = group[0]
    listed = ", ".join(f"`{name}`" for name in names)
    globs = ", ".join(dict.fromkeys(f'"{_make_glob(name)}"' for name in names))
    whole = f"state `replicate = [{globs}]` in `tensor`" if plan.tensor else "leave it out of `experts`"
    return error(
        "P508",
        f"{listed} cannot be cut over `{first.axis}`: {first.reason}",
        *label_operation(first.node),
        _label_axis(plan, first.axis),
        help=f"to keep it whole on every rank of `{first.axis}`, {whole}",
    )


def _make_glob(name: str) -> str:
    return ".".join("*" if part.isdigit() else part for part in name.split("."))


def _label_axis(plan: Plan, group: str) -> Label:
    """Where the plan lays something over the axis, or over all axes of the group."""
    axes, asked = set(split_group_name(group)), f"`{group}` is asked for here"
    for strategy in (plan.tensor, plan.experts, plan.data):
        if strategy is not None and axes.issubset(strategy.axes):
            return Label(strategy.at("axes"), asked, primary=False)
    if plan.experts is not None and axes.issubset(plan.experts.tensor):
        return Label(plan.experts.at("tensor"), asked, primary=False)
    return Label(plan.at("mesh"), f"`{group}` is declared here", primary=False)
