"""Initial values that are no draws of the program, in a file beside it; its format is that of safetensors."""

from __future__ import annotations

import json
import math
from functools import cache
from pathlib import Path
from typing import Any

import torch

FILE = Path(__file__).resolve().parents[1] / "initial_values.safetensors"
DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "C64": torch.complex64,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


@cache
def open_stored_values() -> StoredValues:
    """Those of this program."""
    return StoredValues(FILE)


class StoredValues:
    """The tensors of a file, by the names of the user's model. Of each only what is asked for is read."""

    def __init__(self, file: Path) -> None:
        self.file = file
        with file.open("rb") as opened:
            size = int.from_bytes(opened.read(8), "little")
            self.entries: dict[str, Any] = json.loads(opened.read(size))
        self.start = 8 + size

    def read(self, name: str, expert: int | None = None) -> torch.Tensor:
        """A tensor; with `expert`, that row of its dim 0."""
        entry = self.entries[name]
        dtype, shape = DTYPES[entry["dtype"]], entry["shape"]
        first = entry["data_offsets"][0]
        if expert is not None:
            shape = shape[1:]
            first += expert * math.prod(shape) * dtype.itemsize
        with self.file.open("rb") as opened:
            opened.seek(self.start + first)
            data = bytearray(opened.read(math.prod(shape) * dtype.itemsize))
        return torch.frombuffer(data, dtype=dtype).view(shape)
