"""What diagnostics are drawn on: a terminal with its colours and its width, or plain text."""

from __future__ import annotations

from parc.diagnostic import Label
from parc.named_tuple import NamedTuple
from parc.render.style import BLUE, RESET, count_columns, escape_controls

MIN_ROOM = 24  # columns of text, however narrow the terminal is


class Canvas(NamedTuple):
    """`width` is the number of columns; None: unlimited."""

    color: bool
    width: int | None

    def paint(self, style: str, text: str) -> str:
        return f"{style}{text}{RESET}" if self.color and text else text

    def paint_label(self, label: Label, style: str, text: str) -> str:
        """Text of a label: in `style` if the label is primary."""
        return self.paint(style if label.primary else BLUE, escape_controls(text))

    def fold(self, text: str, indent: int) -> list[str]:
        """The lines of a text, folded where the terminal ends."""
        if self.width is None or indent + len(text) <= self.width:
            return [text]
        from textwrap import wrap  # noqa: PLC0415 - start-up time

        return wrap(text, max(self.width - indent, MIN_ROOM), break_on_hyphens=False) or [""]

    def fits_beside(self, column: int, label: Label, room: int) -> bool:
        """Whether the text of the label fits behind a marker that ends at `column`."""
        return self.width is None or column + 2 + count_columns(label.text) <= room
