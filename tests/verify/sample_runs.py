"""Programs of samples in folders, edited if asked for."""

from __future__ import annotations

from pathlib import Path

from parc.emit.write import write
from parc.verify.numbers.compare import Deviation, compare_program, save_reference
from parc.verify.sample.sample import Sample, SampleRun
from parc.verify.sample.tokens import Tokens

from .plans import VOCABULARY

Edit = tuple[str, str, str]  # a file, a text in it, and the text that replaces its first occurrence


def prepare(
    sample: Sample, folder: Path, *edits: Edit, timeout: float = 60.0, device: str = "cpu"
) -> SampleRun:
    """Writes the program of a sample into `folder`, and edits it."""
    write(sample.files, folder)
    for name, old, new in edits:
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new, 1))
    return SampleRun(sample, folder, Tokens(VOCABULARY), timeout, device)


def find_worst(sample: Sample, folder: Path) -> Deviation:
    """The largest deviation of a program in `folder`; see `find_worst_in`."""
    return find_worst_in(prepare(sample, folder, timeout=600.0))


def find_worst_in(run: SampleRun) -> Deviation:
    """The largest deviation of a program from the model on one device, in three steps. It may use its bound.

    The bound is 1e-9 of the largest entry: sums are taken in other orders, some 1e3 roundings of 1e-16 each,
    amplified where a gradient is almost zero (a key's bias has none but rounding) and by AdamW, whose first
    steps divide a gradient by its own size.
    """
    reference = run.folder.with_name("reference.pt")
    save_reference(run.reference, 3, reference)
    return compare_program(run, reference)[0]
