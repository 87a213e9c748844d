"""What a model must be to be captured: each condition by itself, checked before anything is rewritten."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import fx

from parc.capture.forward import Forward
from parc.capture.graph import get_argument, get_name, get_tensor_name, get_user_name, is_buffer
from parc.capture.model.tree import TensorSlots

_RANDOM = (
    "bernoulli",
    "dropout",
    "multinomial",
    "normal",
    "poisson",
    "rand",
    "uniform",
)  # prefixes


OWN = "give each module a parameter of its own; what is shared stays in one module, which both use"


class Illegal(Exception):
    """A model, or one of its operations, that no layout can keep; `cure` is what to write instead."""

    def __init__(self, reason: str, node: fx.Node | None = None, cure: str | None = None) -> None:
        super().__init__(reason)
        self.reason, self.node, self.cure = reason, node, cure


def check_parameters_train(places: TensorSlots) -> None:
    """Every parameter takes part in training."""
    for first, *_ in places.values():
        if not first.is_buffer and not first.tensor.requires_grad:
            raise Illegal(
                f"`{get_user_name(first.name)}` is frozen: every parameter is trained, so far",
                cure="leave `requires_grad = False` out, or make it a buffer that is computed from numbers",
            )


def check_parameters_have_one_home(forward: Forward, places: TensorSlots) -> None:
    """A parameter is shared inside one captured module, or not at all: each module has its own."""
    for first, *others in places.values():
        for other in others:
            if not other.is_buffer and forward.find_home(other.name) != forward.find_home(first.name):
                names = f"`{get_user_name(first.name)}` is also `{get_user_name(other.name)}`"
                raise Illegal(f"{names}: modules cannot share parameters yet", cure=OWN)
    for reader, read in forward.reads.items():
        for first, *_ in (places[key] for key in read if key in places):
            home = forward.find_home(first.name)
            is_called = home in forward.calls or home in forward.experts
            if not first.is_buffer and first.is_below(reader) and home != reader and is_called:
                names = f"`{get_user_name(home)}` and `{get_user_name(reader) or 'the model'}`"
                raise Illegal(
                    f"`{get_user_name(first.name)}` is read by {names}: modules cannot share parameters yet",
                    cure=OWN,
                )


def check_operations(graph: fx.Graph) -> None:
    """No operation holds a graph of its own, and none draws random numbers."""
    for node in graph.nodes:
        if node.op == "get_attr":
            raise _refuse_inner_graph(node)
        if buffer := _find_changed_buffer(node):
            reason = f"forward changes the buffer `{buffer}`: every rank would keep another one"
            raise Illegal(
                reason, node, "leave it as it is in `forward`: state beside the parameters is not built"
            )
        if node.op == "call_function" and _is_random(node):
            reason = f"`{get_name(node)}` is random: ranks would draw other numbers than one device does"
            raise Illegal(
                reason, node, "leave it out, or set its rate to 0: random numbers are not built yet"
            )


def _refuse_inner_graph(node: fx.Node) -> Illegal:
    """The refusal of an operation that holds a graph of its own: a mode, or control flow by values."""
    what = " ".join(get_name(user) for user in node.users)
    inner = getattr(node.graph.owning_module, str(node.target), None)
    inside = inner.graph.nodes if isinstance(inner, fx.GraphModule) else ()
    place = next((each for each in inside if each.meta.get("stack_trace")), next(iter(node.users), node))
    if "set_grad" in what:
        reason = "forward switches gradients off for a part of its code, which would be lost"
        return Illegal(reason, place, "detach the tensors instead: `x.detach()`")
    if "autocast" in what:
        reason = "forward has a part under autocast, which would be lost"
        return Illegal(reason, place, "leave it out: the plan's `precision` states the types")
    reason = "forward has control flow by the values of tensors"
    return Illegal(reason, place, "use `torch.where` with three arguments")


def _find_changed_buffer(node: fx.Node) -> str | None:
    """The name of a buffer that an operation writes to, perhaps through a view."""
    if not isinstance(node.target, torch._ops.OpOverload) or not node.target._schema.is_mutable:
        return None
    changed = node.args[0]
    while isinstance(changed, fx.Node) and changed.op == "call_function":
        changed = changed.args[0]
    return get_tensor_name(changed) if isinstance(changed, fx.Node) and is_buffer(changed) else None


def _is_random(node: fx.Node) -> bool:
    if not isinstance(node.target, torch._ops.OpOverload):
        return False
    name = node.target._schema.name.split("::")[1].strip("_")
    if name == "dropout":
        return bool(get_argument(node, "p") and get_argument(node, "train"))
    if name == "scaled_dot_product_attention":
        return bool(get_argument(node, "dropout_p"))
    return (
        any(name.startswith(word) or name.endswith("dropout") for word in _RANDOM) and "normalize" not in name
    )


def check_stages_share_nothing(uses: dict[str, list[int]]) -> None:
    """`uses` says by which stages each parameter is used: one of them alone can hold it."""
    for name, stages in uses.items():
        if len(stages) > 1:
            listed = " and ".join(str(stage) for stage in stages)
            raise Illegal(
                f"`{get_user_name(name)}` is used by stages {listed}: tied parameters must stay in one",
                cure="give the second module a parameter of its own, or lay no `pipeline` over the plan",
            )


def check_layers_follow(called: list[int]) -> None:
    """Layers are called once each, in the order of their list: stages and loops are made of that."""
    if called != list(range(len(called))):
        listed = ", ".join(map(str, called[:12])) + (", .." if len(called) > 12 else "")
        raise Illegal(
            f"the layers are called as {listed}: each must be called once, in the order of their list",
            cure=(
                "put them into the list in the order of their calls"
                if len(set(called)) == len(called)
                else "give each call a layer of its own, with parameters of its own"
            ),
        )


def check_parameters_are_used(places: TensorSlots, used: Collection[str]) -> None:
    """A parameter that forward never reads would be missing from the program."""
    for first, *_ in places.values():
        if not first.is_buffer and first.name not in used:
            raise Illegal(
                f"`{get_user_name(first.name)}` is never used in `forward`",
                cure="leave it out of the constructor: the program would lack it",
            )
