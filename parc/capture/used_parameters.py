"""Which parameters a captured model reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from parc.capture.custom_ops import EXPERTS
from parc.capture.experts.bank import Bank
from parc.capture.graph import Body, get_tensor_name, is_parameter


def list_used_parameters(
    body: Body, prefix: str, experts: Mapping[str, Body], banks: Mapping[str, Bank]
) -> Iterator[str]:
    """Their names below `prefix`, which ends with a dot; a list of experts yields those of each."""
    yield from (prefix + get_tensor_name(node) for node in body.tensors() if is_parameter(node))
    for name, child in body.children.items():
        yield from list_used_parameters(child, f"{prefix}{name}.", experts, banks)
    for node in body.operations():
        if node.target is EXPERTS:
            path = str(node.args[3])
            below = f"{prefix}{path.removeprefix(body.path + '.') if body.path else path}."
            yield from _list_of_experts(experts[path], banks[path], below)


def _list_of_experts(body: Body, bank: Bank, prefix: str) -> Iterator[str]:
    for node in body.tensors():
        name = get_tensor_name(node)
        if bank.list_name is None:
            yield prefix + name
        else:
            stack = f"{bank.list_name}." if bank.list_name else ""
            rest = name.removeprefix(stack)
            yield from (f"{prefix}{stack}{expert}.{rest}" for expert in range(bank.count))
