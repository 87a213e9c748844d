"""Initial values that no recipe expresses: those of the constructor itself, run once on the CPU."""

from __future__ import annotations

import json
import warnings
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from math import prod

import torch
from torch import Tensor, nn

from parc.capture.model.recipes import Unrecorded
from parc.capture.model.seeding import seed_constructor
from parc.capture.model.tree import find_tensor_slots
from parc.capture.model.user_model import find_factory, list_arguments
from parc.capture.source_lines import Frames, describe_fault, label_class, label_fault, label_frames
from parc.diagnostic import CompileError, Diagnostic, Label, error
from parc.plan.blocks import Model
from parc.runtime.stored_values import DTYPES

MOST_STORED = 1 << 30  # bytes that a program is given
MOST_BUILT = 8 << 30  # bytes of a model that is built whole, on the machine that compiles
SHOWN = 8  # names that a diagnostic lists
_TYPES = {dtype: name for name, dtype in DTYPES.items()}


def store_values(model: Model, seed: int, module: nn.Module, reasons: Mapping[str, Unrecorded]) -> bytes:
    """The file of the initial values that `reasons` names, empty without any. Raises CompileError.

    `module` is the model without data. The constructor runs on the CPU, its generators begin with `seed`.
    """
    if not reasons:
        return b""
    tensors = {first.name: first.tensor for first, *_ in find_tensor_slots(module).values()}
    stored = sum(_count_bytes(tensors[name]) for name in reasons)
    built = sum(map(_count_bytes, tensors.values()))
    if stored > MOST_STORED:
        limit = f"values of {_format_size(stored)} would be stored, at most {_format_size(MOST_STORED)} are"
        raise CompileError(*_refuse(model, module, reasons, limit))
    if built > MOST_BUILT:
        limit = (
            f"a model of {_format_size(built)} would be built on this machine for its values, "
            f"at most {_format_size(MOST_BUILT)} are"
        )
        raise CompileError(*_refuse(model, module, reasons, limit))
    values = _construct(model, seed)
    if unset := {
        name: reason for name, reason in reasons.items() if not _is_set(values.get(name), tensors[name])
    }:
        limit = "some of its values are not set when the constructor runs on the CPU, or are not finite"
        raise CompileError(*_refuse(model, module, unset, limit))
    return format_file({name: values[name] for name in reasons})


def _construct(model: Model, seed: int) -> dict[str, Tensor]:
    """Parameters and buffers by name, as the constructor makes them on the CPU; NaN where it sets nothing."""
    label = Label(model.at("source"), "built for its initial values")
    deterministic = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    try:
        torch.use_deterministic_algorithms(mode=True, warn_only=True)  # fills what is left empty
        with seed_constructor(seed), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = find_factory(model)(**list_arguments(model))
    except (Exception, SystemExit) as fault:
        message = f"`{model.source}` cannot be built on the CPU: {describe_fault(fault)}"
        raise CompileError(error("P502", message, *label_fault(fault), label)) from fault
    finally:
        torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
    assert isinstance(made, nn.Module)
    return {first.name: first.tensor.detach() for first, *_ in find_tensor_slots(made).values()}


def _is_set(value: Tensor | None, place: Tensor) -> bool:
    """Whether a tensor has values that can be stored. Those of a buffer, as of a mask, may be infinite."""
    if value is None or value.shape != place.shape or value.dtype not in _TYPES:
        return False
    known = value.isfinite() if isinstance(place, nn.Parameter) else ~value.isnan()
    return bool(known.all())


def format_file(tensors: Mapping[str, Tensor]) -> bytes:
    """The tensors in the format of safetensors."""
    header: dict[str, object] = {}
    parts: list[bytes] = []
    size = 0
    for name, tensor in tensors.items():
        data = tensor.contiguous().view(-1).view(torch.uint8).numpy().tobytes()
        offsets = [size, size + len(data)]
        header[name] = {"dtype": _TYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": offsets}
        parts.append(data)
        size += len(data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return b"".join([len(text).to_bytes(8, "little"), text, *parts])


def _count_bytes(tensor: Tensor) -> int:
    return prod(tensor.shape) * tensor.element_size()


def _format_size(count: int) -> str:
    return f"{count / 2**30:,.3g} GiB"


def _refuse(
    model: Model, module: nn.Module, reasons: Mapping[str, Unrecorded], limit: str
) -> Iterator[Diagnostic]:
    """One diagnostic for all tensors of which the same is wrong; `limit`: why they are not stored."""
    by_reason: dict[tuple[str, Frames], list[str]] = defaultdict(list)
    for name, reason in reasons.items():
        by_reason[str(reason), tuple(reason.frames)].append(name)
    for (what, frames), names in by_reason.items():
        labels = label_frames(frames) or _label_owner(module, names[0])
        yield _report(model, names, what, labels, limit)


def _label_owner(built: nn.Module, name: str) -> tuple[Label, ...]:
    """The class of the module that a tensor belongs to; that of the model where torch wrote it."""
    owner = built.get_submodule(name.rpartition(".")[0])
    return label_class(type(owner), "in this class") or label_class(type(built), "in this class")


def _report(
    model: Model, names: Sequence[str], reason: str, labels: Sequence[Label], limit: str
) -> Diagnostic:
    others = f" and {len(names) - 1} more" if len(names) > 1 else ""
    listed = f"{', '.join(f'`{name}`' for name in names[1 : SHOWN + 1])}{', ..' * (len(names) > SHOWN + 1)}"
    notes = (limit, *((f"the others: {listed}",) if others else ()))
    message = f"`{names[0]}`{others}: the initial value {reason}"
    help = "fill it with a function of torch.nn.init, so that each rank draws its own share: docs/models.md"
    label = Label(model.at("source"), "built for this plan")
    return error("P503", message, *labels, label, notes=notes, help=help)
