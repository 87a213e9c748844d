"""What of a model differs from call to call, or from construction to construction: no program holds it."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from parc.verify.numbers.reference import Reference


def find_kept_state(model: nn.Module, reference: Reference) -> list[str] | None:
    """The attributes that a call changes, by name; None where the model computes the same when called again.

    There may be none: a global variable, or random numbers that torch does not draw.
    """
    before = dict(_list_state(model))
    first, second = (_list_outputs(model, reference) for _ in range(2))
    if all(map(torch.equal, first, second)):
        return None
    after = dict(_list_state(model))
    return [name for name, value in after.items() if not _is_equal(before.get(name), value)]


def find_counters(model: nn.Module, reference: Reference) -> list[str]:
    """The plain attributes, and lengths of lists, that a second call changes again, by name.

    What the first call sets, such as the length that a table was made for, stays as it is.
    """
    before, after = (_call_and_list(model, reference) for _ in range(2))
    return [name for name, value in after.items() if before.get(name, value) != value]


def _call_and_list(model: nn.Module, reference: Reference) -> dict[str, object]:
    _list_outputs(model, reference)
    return {name: value for name, value in _list_state(model) if isinstance(value, bool | int | float | str)}


def find_unsteady_state(reference: Reference) -> list[str] | None:
    """The numbers and buffers that differ between two models of one seed; None where these compute the same.

    There may be none: another object that holds numbers, or a constructor that takes other branches.
    """
    one, other = reference.construct_model(), reference.construct_model()
    with torch.no_grad():
        for ours, theirs in zip(one.parameters(), other.parameters(), strict=True):
            theirs.copy_(ours)
    if all(map(torch.equal, _list_outputs(one, reference), _list_outputs(other, reference))):
        return None
    its, plain = dict(_list_state(other)), (bool, int, float, str, Tensor)
    state = ((name, value) for name, value in _list_state(one) if isinstance(value, plain))
    return [name for name, value in state if not _is_equal(its.get(name), value)]


def _list_outputs(model: nn.Module, reference: Reference) -> list[Tensor]:
    """What the model returns for the first batch."""
    with torch.no_grad():
        outputs = [out for out, _ in reference.run_microbatches(model, *reference.batches.load(0))]
    return [leaf for leaf in pytree.tree_leaves(outputs) if isinstance(leaf, Tensor)]


def _list_state(model: nn.Module) -> Iterator[tuple[str, object]]:
    """Numbers, lengths of collections, and buffers, by name."""
    for name, buffer in model.named_buffers():
        yield name, buffer.clone()
    for path, module in model.named_modules():
        for name, value in vars(module).items():
            if not name.startswith("_"):
                at = f"{path}.{name}" if path else name
                yield at, len(value) if isinstance(value, list | dict | set) else value


def _is_equal(before: object, after: object) -> bool:
    if isinstance(before, Tensor) and isinstance(after, Tensor):
        return before.shape == after.shape and torch.equal(before, after)
    plain = bool, int, float, str
    return before == after if isinstance(after, plain) and isinstance(before, plain) else before is after
