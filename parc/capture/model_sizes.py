"""The sizes of a captured model, to hold the `shape` of a plan against."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from torch import Tensor, nn

from parc.capture.custom_ops import CALL, EXPERTS
from parc.capture.experts.bank import Bank
from parc.capture.graph import Body, get_name, list_operands
from parc.capture.model.signatures import Signatures

NOUNS = {
    "layers": "layers",
    "experts": "experts a layer",
    "vocab": "entries in its vocabulary",
    "hidden": "entries in the hidden state of a token",
    "heads": "heads",
    "kv_heads": "heads of keys and values",
    "head_dim": "entries in a head",
    "ffn": "as the width of an expert",
    "top_k": "experts a token",
}
"""What a size counts, by the key of `shape`."""


def list_sizes(
    root: Body, layers: str, banks: Mapping[str, Bank], model: nn.Module, signatures: Signatures
) -> dict[str, set[int]]:
    """The sizes that the operations and the weights of experts show, by the keys of `shape`.

    Several of one key are those of different layers. `layers` is the path of the list of layers.
    """
    found: dict[str, set[int]] = defaultdict(set)
    for body in _list_bodies(root):
        for node in body.operations():
            values = [operand.meta["val"] for operand in list_operands(node)]
            operands = [each.shape for each in values if isinstance(each, Tensor)]
            if get_name(node) == "aten::scaled_dot_product_attention" and len(operands[0]) == 4:
                found["heads"].add(operands[0][1])
                found["head_dim"].add(operands[0][3])
                if operands[1][1] != operands[0][1]:  # else keys may be repeated for each query
                    found["kv_heads"].add(operands[1][1])
            elif node.target is EXPERTS:
                found["hidden"].add(operands[0][-1])
                found["top_k"].add(operands[1][-1])
            elif node.target is CALL and str(node.args[1]).startswith(f"{layers}."):
                found["hidden"] |= {operand[-1] for operand in operands if len(operand) == 3}
    alike = {signatures.number(model.get_submodule(path)): path for path in banks}
    for path in alike.values():
        found["experts"].add(banks[path].count)
        found["ffn"] |= _list_widths(model.get_submodule(path), banks[path], found["hidden"])
    return found


def _list_bodies(root: Body) -> list[Body]:
    """Each body once."""
    found, left = list[Body](), [root]
    while left:
        body = left.pop()
        if body not in found:
            found.append(body)
            left += body.children.values()
    return found


def _list_widths(experts: nn.Module, bank: Bank, hidden: set[int]) -> set[int]:
    """The widths that the weights of experts may have: those of gate and up may lie in one weight."""
    dims = 3 if bank.list_name is None else 2
    weights = [tuple(each.shape[dims - 2 :]) for each in experts.parameters() if each.ndim == dims]
    sizes = {size for weight in weights for size in weight}
    widths = sizes - hidden or sizes
    return widths | {width // 2 for width in widths if width % 2 == 0}
