"""What a model must be to be captured: each condition by itself, told before anything is rewritten."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import torch
from torch import fx, nn

from parc.capture.graph import argument, name_of, user_name

_RANDOM = (
    "bernoulli",
    "dropout",
    "multinomial",
    "normal",
    "poisson",
    "rand",
    "randint",
    "randn",
    "randperm",
    "uniform",
)


class Illegal(Exception):
    """A model, or one of its operations, that no layout can keep."""

    def __init__(self, reason: str, node: fx.Node | None = None) -> None:
        super().__init__(reason)
        self.reason, self.node = reason, node


def parameters_train(model: nn.Module) -> None:
    """Every parameter takes part in training."""
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            raise Illegal(f"`{user_name(name)}` is frozen: every parameter is trained, so far")


def parameters_have_one_home(model: nn.Module, boundaries: Collection[str]) -> None:
    """A parameter is shared inside one captured module, or not at all: each module has its own."""
    homes: dict[nn.Parameter, tuple[str, str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        home = max((path for path in boundaries if name.startswith(path + ".")), key=len, default="")
        first, other = homes.setdefault(parameter, (name, home))
        if other != home:
            raise Illegal(
                f"`{user_name(first)}` is also `{user_name(name)}`: modules cannot share parameters, so far"
            )


def operations_are_plain(graph: fx.Graph) -> None:
    """No operation holds a graph of its own, and none draws random numbers."""
    for node in graph.nodes:
        if node.op == "get_attr":
            what = "/".join(name_of(user) for user in node.users)
            raise Illegal(
                f"`{what}` holds a graph of its own: forward may not use torch.no_grad() or control flow",
                next(iter(_operations(node)), node),
            )
        if buffer := _changed_buffer(node):
            raise Illegal(f"forward changes the buffer `{buffer}`: every rank would keep another one", node)
        if node.op == "call_function" and _is_random(node):
            raise Illegal(
                f"`{name_of(node)}` is random: ranks would draw other numbers than one device does", node
            )


def _operations(node: fx.Node) -> Iterator[fx.Node]:
    yield from (user for user in node.users if user.op == "call_function")


def _changed_buffer(node: fx.Node) -> str | None:
    """The name of a buffer that an operation writes to, perhaps through a view."""
    if not isinstance(node.target, torch._ops.OpOverload) or not node.target._schema.is_mutable:
        return None
    changed = node.args[0]
    while isinstance(changed, fx.Node) and changed.op == "call_function":
        changed = changed.args[0]
    is_buffer = isinstance(changed, fx.Node) and changed.meta.get("buffer")
    return str(changed.meta["tensor"]) if isinstance(changed, fx.Node) and is_buffer else None


def _is_random(node: fx.Node) -> bool:
    if not isinstance(node.target, torch._ops.OpOverload):
        return False
    name = node.target._schema.name.split("::")[1].strip("_")
    if name == "dropout":
        return bool(argument(node, "p") and argument(node, "train"))
    if name == "scaled_dot_product_attention":
        return bool(argument(node, "dropout_p"))
    return (
        any(name.startswith(word) or name.endswith("dropout") for word in _RANDOM) and "normalize" not in name
    )


def stages_share_nothing(uses: dict[str, list[int]]) -> None:
    """`uses` says by which stages each parameter is used: one of them alone can hold it."""
    for name, stages in uses.items():
        if len(stages) > 1:
            listed = " and ".join(str(stage) for stage in stages)
            raise Illegal(
                f"`{user_name(name)}` is used by stages {listed}: tied parameters stay in one stage, so far"
            )


def layers_follow(called: list[int]) -> None:
    """Layers are called once each, in the order of their list: stages and loops are made of that."""
    if called != list(range(len(called))):
        listed = ", ".join(map(str, called[:12])) + (", .." if len(called) > 12 else "")
        raise Illegal(
            f"the layers are called as {listed}: each must be called once, in the order of their list"
        )


def parameters_are_used(model: nn.Module, used: Collection[str]) -> None:
    """A parameter that forward never reads would be missing from the program."""
    for name, _ in model.named_parameters():
        if name not in used:
            raise Illegal(f"`{user_name(name)}` is never used in forward")
