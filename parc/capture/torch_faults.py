"""What torch's messages mean in the user's terms, and the cure.

parc runs a model without data, on torch's meta device. Its faults come as messages about that device, about
symbols, and about kernels that are missing there.
"""

from __future__ import annotations

import re

from parc.capture.source_lines import describe_fault, read_message
from parc.named_tuple import NamedTuple

CONTRACT = "docs/models.md has what parc needs of a model, and `parc rule P505`"


class Reading(NamedTuple):
    """A fault in the user's terms; `cure` is what to write instead."""

    what: str
    cure: str


VALUES = Reading(
    "reads values of a tensor, which decide on shapes or on what is run",
    "a loop over experts reads their numbers, tokens and weights alone, and calls modules of one list, or "
    "is that of a module of experts (docs/models.md); elsewhere use `torch.where` with three arguments",
)
_READINGS = (
    (r"forward must return (.*)", Reading("must return {0}", "docs/models.md has an example of each")),
    (
        r"(aten::\w+)[^\n]*no fake impl",
        Reading(
            "calls `{0}`, the shape of whose result depends on values",
            "use an operation whose result has a known shape, such as `torch.where` with three arguments",
        ),
    ),
    (
        r"CUDA|HIP|NVIDIA|Invalid device",
        Reading(
            "uses a GPU, which is not there", "leave devices out: each rank moves its part to its own GPU"
        ),
    ),
    (
        (
            r"meta tensor|tensor to numpy|register_meta function|data.dependent|nonzero|no data"
            r"|local_scalar_dense|is_nonzero"
            r"|GuardOnData|unbacked|Could not guard"
        ),
        VALUES,
    ),
    (
        r"is not on the expected device meta|found at least two devices|same device",
        Reading(
            "computes with a tensor on another device than that of the inputs",
            "give it theirs: `torch.zeros(n, device=x.device)`; register one of numpy or of Python values in "
            "the constructor: `self.register_buffer(name, tensor)`",
        ),
    ),
    (
        r"missing \d+ required (?:positional|keyword-only) arguments?: (.*)",
        Reading("needs the argument {0}, which a batch does not have", "give it a default, such as `None`"),
    ),
    (
        r"unexpected keyword argument '(\w+)'|takes \d+ positional arguments? but",
        Reading(
            "does not take the tokens of a batch",
            "write `forward(self, tokens)` or `forward(self, tokens, labels)`; other names are stated by "
            "`inputs {{ .. }}` of the model",
        ),
    ),
)


def read_fault(fault: BaseException) -> Reading:
    """What an exception of a model that is run without data means; its first line if that is unknown."""
    text = read_message(fault)
    for pattern, reading in _READINGS:
        if found := re.search(pattern, text):
            groups = tuple(group or "" for group in found.groups())
            return Reading(reading.what.format(*groups), reading.cure.format(*groups))
    kind = type(fault).__name__
    return Reading(
        f"raises {kind}: {describe_fault(fault)}", f"it is called with tokens (sequences, length); {CONTRACT}"
    )
