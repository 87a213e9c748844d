"""A small project, a plan beside its model, of which each test breaks one line."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from parc import driver
from parc.diagnostic import Diagnostic, Label

NET = (Path(__file__).parents[1] / "models" / "net.py").read_text()
PLAN = """\
cluster here { levels = [node: DEVICES] }
model net {
  source = "net.py:Net"
  arguments { layers = 2 }
  shape { layers = 2, hidden = 16, heads = 4, kv_heads = 2, ffn = 12, experts = 4, top_k = 1, vocab = 32 }
}
train first {
  model = net, seed = 3, steps = 4
  batch { sequences = 8, length = 8, microbatches = 2 }
  optimizer = adamw { lr = 1e-2 }
  dataset = tokens("text.txt", type = uint8)
}
plan wide for first on here {
  LAYOUT
}
"""
ALONE = "mesh = [dp: 1], data over [dp]"
DATA = "mesh = [dp: 2], data over [dp]"
TENSOR = "mesh = [tp: 2], tensor over [tp]"
EXPERTS = "mesh = [ep: 2], data over [ep], experts over [ep]"
ALL = """mesh = [ep: 2, pp: 2], data over [ep], experts over [ep]
  pipeline over [pp] { schedule = gpipe }"""


@dataclass
class Project:
    """A folder with `net.py`, `plan.parc` and `text.txt`; each line that a test changes must be there."""

    folder: Path
    layout: str = ALONE
    devices: int = 1
    net: str = NET
    plan: str = PLAN
    changed: list[str] = field(default_factory=list)

    def model(self, line: str, instead: str) -> Project:
        """With a line of the model replaced."""
        assert self.net.count(line) == 1, f"{self.net.count(line)} times: {line}"
        self.net = self.net.replace(line, instead)
        return self

    def says(self, line: str, instead: str) -> Project:
        """With a part of the plan replaced."""
        assert self.plan.count(line) == 1, f"{self.plan.count(line)} times: {line}"
        self.plan = self.plan.replace(line, instead)
        return self

    def write(self) -> Path:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "net.py").write_text(self.net)
        (self.folder / "text.txt").write_bytes(bytes(i * i % 31 for i in range(4000)))
        file = self.folder / "plan.parc"
        file.write_text(self.plan.replace("DEVICES", str(self.devices)).replace("LAYOUT", self.layout))
        return file

    @property
    def out(self) -> Path:
        return self.folder / "out"

    def build(self, *overrides: str, plan: str | None = None) -> tuple[Diagnostic, ...]:
        """Without the comparison with the model, which has tests of its own."""
        return driver.build(self.write(), plan, self.out, overrides, check=False).diagnostics

    def faults(self, *overrides: str) -> list[Told]:
        """What building tells, when it must refuse: nothing may have been written."""
        found = self.build(*overrides)
        assert found, "it was built"
        assert sorted(path.name for path in self.folder.iterdir() if path.name != "__pycache__") == [
            "net.py",
            "plan.parc",
            "text.txt",
        ]
        return [Told(each) for each in found]


@dataclass(frozen=True)
class Told:
    """A diagnostic as a reader sees it."""

    it: Diagnostic

    @property
    def code(self) -> str:
        return self.it.code

    @property
    def words(self) -> str:
        return " ".join([self.it.message, *self.it.notes, self.it.help or ""])

    @property
    def line(self) -> str:
        """The line of the first guilty place."""
        assert self.it.span is not None, f"nothing is pointed at: {self.it}"
        return line_of(self.it.labels[0])

    @property
    def file(self) -> str:
        assert self.it.span is not None
        return Path(self.it.labels[0].span.source.path).name

    @property
    def lines(self) -> list[str]:
        return [line_of(label) for label in self.it.labels]


def line_of(label: Label) -> str:
    return label.span.source.get_line(label.span.line).strip()
