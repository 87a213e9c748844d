"""Parameters and buffers of a unit."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence

from torch import fx

from parc.capture.experts.bank import Bank
from parc.capture.graph import get_tensor_name, get_user_name, get_value, is_buffer
from parc.ir.program import Buffer, Experts, Parameter
from parc.ir.states import Kind, State
from parc.lower.buffers import Constant, compute_buffers
from parc.plan.mesh import split_group_name
from parc.shard.layout import Layout
from parc.shard.placed import Placed


class TensorTable:
    """Parameters and buffers as the user's constructor made them, with their placements."""

    def __init__(
        self,
        layout: Layout,
        buffers: Mapping[str, fx.Graph],
        banks: Mapping[str, Bank],
        kept: Container[str],
    ) -> None:
        """`kept` are the parameters that stay in fp32, by their names in the user's model."""
        self.layout, self.buffers, self.banks, self.kept = layout, buffers, banks, kept

    def parameters(
        self, placed: Placed, nodes: Sequence[fx.Node], info: Experts | None = None
    ) -> tuple[Parameter, ...]:
        """The parameters among `nodes`; `info` where they are those of experts, which lie on its axis."""
        found = []
        for node in nodes:
            if is_buffer(node):
                continue
            pairs = zip(placed.layout.axes, placed.get_fact(node).states, strict=True)
            states = {axis: state for group, state in pairs for axis in split_group_name(group)}
            sharded = {axis: (state.dim, state.blocks) for axis, state in states.items() if state.sharded}
            if info is not None and info.group is not None:
                sharded |= dict.fromkeys(split_group_name(info.group), (0, 1))
            found.append(self._declare_parameter(placed, node, states, sharded, info))
        return tuple(found)

    def _declare_parameter(
        self,
        placed: Placed,
        node: fx.Node,
        states: Mapping[str, State],
        sharded: Mapping[str, tuple[int, int]],
        info: Experts | None,
    ) -> Parameter:
        name = get_tensor_name(node)
        bank = self.banks[placed.body.path] if info else None
        stack = bank.list_name if bank else None
        return Parameter(
            get_user_name(name),
            tuple(get_value(node).shape),
            str(get_value(node).dtype),
            {axis: sharded[axis] for axis in self.layout.order_axes(sharded)},
            self.layout.order_axes(
                axis for axis, state in states.items() if state.kind is Kind.REPLICATE and axis not in sharded
            ),
            experts=info is not None and stack is None,
            stack=stack,
            keep_fp32=get_user_name(_join(placed.body.path, name)) in self.kept,
        )

    def declare_buffers(self, nodes: Sequence[fx.Node], path: str) -> tuple[Buffer, ...]:
        """The buffers among `nodes`; what several of them read is computed once."""
        found = []
        for node in nodes:
            if is_buffer(node):
                name = get_tensor_name(node)
                graph = self.buffers[get_user_name(_join(path, name))]
                found.append(Constant(get_user_name(name), graph, get_value(node).dtype))
        return compute_buffers(found)


def _join(path: str, name: str) -> str:
    """The path of what a module at `path` calls `name`."""
    return f"{path}.{name}" if path else name
