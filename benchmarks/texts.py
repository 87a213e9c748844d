"""Texts that the front end must bear, made by random generators: the same seed gives the same text."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import TypeVar

T = TypeVar("T")

EXAMPLES = [
    file.read_text(encoding="utf-8")
    for file in sorted((Path(__file__).parents[1] / "examples").glob("*.parc"))
]
SMALL = """\
cluster here { levels = [node: 4] }
model moe {
  source = "moe.py:M"
  shape { layers = 4, hidden = 64, heads = 4, ffn = 128, experts = 4, top_k = 2, vocab = 256 }
}
train t {
  model = moe, batch { sequences = 8, length = 64, microbatches = 2 }
  optimizer = adamw { lr = 1e-3 }
}
plan p for t on here {
  mesh = [ep: 2, tp: 2]  # four ranks
  data over [ep], tensor over [tp], experts over [ep] { tensor = [tp] }
  expect { memory.peak < 90%, experts.nodes == 1 }
}
"""
BASES = [*EXAMPLES, *[SMALL] * 2 * len(EXAMPLES)]  # faults of a small text take less time to report
WORDS = sorted({word for text in EXAMPLES for word in re.findall(r"\w+|[^\w\s]", text)})
KINDS = [
    "cluster",
    "model",
    "train",
    "plan",
    "launch",
    "batch",
    "shape",
    "expect",
    "data",
    "tensor",
    "experts",
]
NAMES = ["a", "b", "wide", "moe", "s", "h", "GB", "true", "let", "import", "for", "on", "over", "x" * 60]
KEYS = ["layers", "mesh", "levels", "seed", "memory.peak", "steps", "model", "schedule", *NAMES]
AMOUNTS = [
    "0",
    "1",
    "2",
    "3",
    "8",
    "1_000",
    "2.5",
    "3e-4",
    "64 GB",
    "1.8TB/s",
    "90 %",
    "2h",
    "1f1b",
    "9" * 40,
]
STRINGS = ['"a"', '"moe.py:M"', '"# no"', '"\\"\\\\"', '""', '"模型 {"', f'"{"y" * 80}"']
TO_PARC = [
    "#",
    "# parc: allow P202 -- x",
    "#parc:allow P311,P1 --",
    "# parc: allow-file P208 P225 -- y",
    "# parc:",
]
CODE = ["1", "\n", " ", "}", "{", "[", ",", "#", '"', "\t", "é", "\0", "=", "*", "-", "a", "\u2028", "\r"]


class Writer:
    """A text that follows the grammar, laid out in any way that the grammar allows."""

    def __init__(self, choose: Random) -> None:
        self.choose = choose

    def file(self) -> str:
        return self.gap() + self.statements(0, self.choose.randrange(5))

    def statements(self, depth: int, count: int) -> str:
        said = [self.statement(depth) + self.end() for _ in range(count)]
        return "".join(said) if self.choose.random() < 0.5 else "".join(said) + self.gap()

    def statement(self, depth: int) -> str:
        shape = self.choose.randrange(10 if depth < 4 else 6)
        if shape == 0:
            return f"let{self.space(1)}{self.name()}{self.space()}={self.space()}{self.value(depth)}"
        if shape == 1:
            return (
                f"{self.one(KEYS)}{self.space()}{self.one(['==', '<=', '<', '>', '!='])} {self.value(depth)}"
            )
        if shape == 2:
            return f"{self.one(KINDS)}{self.space(1)}over{self.space()}{self.list(depth + 1)}"
        if shape < 6:
            return f"{self.one(KEYS)}{self.space()}={self.space()}{self.value(depth)}"
        if shape == 6 and depth == 0:
            return f"import{self.space()}{self.one(STRINGS)}"
        head = self.one(KINDS)
        head += f" {self.one(NAMES[:7])}" if self.choose.random() < 0.5 else ""
        head += f" for {self.name()}" if self.choose.random() < 0.3 else ""
        head += f" on {self.name()}" if self.choose.random() < 0.3 else ""
        head += f" over {self.list(depth + 1)}" if self.choose.random() < 0.3 else ""
        return head + self.space() + self.body(depth + 1)

    def body(self, depth: int) -> str:
        return "{" + self.gap() + self.statements(depth, self.choose.randrange(6)) + "}"

    def value(self, depth: int) -> str:
        if depth < 4 and self.choose.random() < 0.1:
            return f"{self.one(KINDS)}{self.space()}{self.body(depth + 1)}"
        return self.sum(depth)

    def sum(self, depth: int) -> str:
        terms = [self.factor(depth) for _ in range(self.one([1, 1, 1, 1, 2, 3]))]
        return (
            "".join(f"{term}{self.space()}{self.one('+-*/')}{self.space(1)}" for term in terms[1:]) + terms[0]
        )

    def factor(self, depth: int) -> str:
        return self.one(["", "", "", "-", "- "]) + self.atom(depth)

    def atom(self, depth: int) -> str:
        shape = self.choose.randrange(7 if depth < 5 else 4)
        if shape < 4:
            return self.one([AMOUNTS, STRINGS, KEYS, NAMES][shape])
        if shape == 4:
            return f"({self.gap()}{self.sum(depth + 1)}{self.gap()})"
        if shape == 5:
            return f"{self.name()}{self.space()}({self.entries(depth + 1, '=')})"
        return self.list(depth)

    def list(self, depth: int) -> str:
        return f"[{self.entries(depth + 1, ':')}]"

    def entries(self, depth: int, sign: str) -> str:
        count = self.one([0, 1, 1, 2, 9]) if depth < 3 else self.one([0, 1, 2])
        named = self.choose.random() < 0.4
        head = f"{self.name()}{self.space()}{sign}{self.space()}" if named else ""
        said = [head + self.sum(depth) for _ in range(count)]
        last = self.one(["", ",", ",\n", "\n", " # c\n"]) if said else ""
        return self.gap() + "".join(f"{each}{self.comma()}" for each in said[1:]) + "".join(said[:1]) + last

    def name(self) -> str:
        return self.one(NAMES)

    def one(self, options: Sequence[T]) -> T:
        return self.choose.choice(options)

    def space(self, least: int = 0) -> str:
        return " " * (least + self.choose.choice([0, 1, 1, 1, 3]))

    def gap(self) -> str:
        """Where a line may end, and need not."""
        return self.one(["", "", " ", "\n", "\n\n\n", "\n# note\n", " # behind\n \n  # own\n\n"])

    def end(self) -> str:
        return self.one(
            [
                "\n",
                "\n",
                "\n\n",
                "\n\n\n",
                ", ",
                ",\n",
                " # why\n",
                ",#a\n\n# b\n",
                f"  {self.one(TO_PARC)}\n",
            ]
        )

    def comma(self) -> str:
        return self.one([",", ", ", ", ", ",\n", ", # one\n", ",\n\n# two\n", " ,  "])


def grammatical(choose: Random) -> str:
    return Writer(choose).file()


def laid_out_anew(choose: Random) -> str:
    """An example with other blanks and lines, and with comments."""
    writer = Writer(choose)
    words = re.findall(r'"[^"]*"|#[^\n]*|\n|[,{}]|[^\s,{}]+| +', choose.choice(BASES))
    instead = {
        " ": lambda: writer.space(1),
        "\n": lambda: writer.one(["\n", "\n", "\n\n\n", " # c\n", "\n# d\n"]),
    }
    instead[","] = writer.comma
    instead["{"] = lambda: "{" + writer.gap()
    return "".join(instead[word[:1]]() if word[:1] in instead else word for word in words)


def mutated(choose: Random) -> str:
    """An example, whole or in part, with a few characters or words changed, left out, or said twice."""
    text = choose.choice(BASES)
    if choose.random() < 0.5:
        start = choose.randrange(len(text))
        text = text[start : start + choose.randrange(400)]
    for _ in range(choose.randint(1, 6)):
        at, length = choose.randrange(len(text) + 1), choose.choice([0, 1, 1, 3, 20])
        instead = choose.choice(["", choose.choice(WORDS), text[at : at + length] * 2, choose.choice(CODE)])
        text = text[:at] + instead + text[at + length :]
    return text


def other_numbers(choose: Random) -> str:
    """An example with other sizes: mostly faulty, always understood."""
    sizes = ["0", "1", "2", "3", "5", "7", "127", "1048576", "1073741824", "9007199254740992", "1" + "0" * 40]
    return re.sub(
        r"\b[0-9]+\b",
        lambda number: choose.choice(sizes) if choose.random() < 0.3 else number[0],
        choose.choice(BASES),
    )


ODD_NAMES = [
    *("\ufb01", "fi", "x\u00b2", "\u00aa", "\u00e9", "e\u0301", "\u2163", "模", "\u00df", "\u017f", "\u212a"),
    *("__class__", "self", "None", "class", "true", "_", "x" * 300, "\u00b5s", "GB", "a-b", "a.b", "\u02b9"),
    *("a\u200d", "\u202ea", "\ufeffa", "a\u2028b", "\U0001d54a"),
]
ODD_STRINGS = [
    *("\\n::error::a", "`", "```", "\r", "\x85", "\u2028", "\x1b[2J", "../../x", "a:b:c", "\ud800", "%0A"),
    *("</script>", "$(x)", "模.py:\u03a9", "\\", '\\"', "{}", "%s", "\0"),
]


def odd_names(choose: Random) -> str:
    """An example in which words, and the texts in quotes, are replaced everywhere by odd ones."""
    text = choose.choice(BASES)
    for word in choose.sample(sorted(set(re.findall(r"[^\W\d]\w*", text))), choose.randint(1, 5)):
        odd = choose.choice(ODD_NAMES)
        text = re.sub(rf"\b{re.escape(word)}\b", odd.replace("\\", r"\\"), text)
    if choose.random() < 0.5:
        text = re.sub(r'"[^"\n]*"', lambda found: f'"{choose.choice([found[0][1:-1], *ODD_STRINGS])}"', text)
    return text


def of_words(choose: Random) -> str:
    return " ".join(choose.choice([*WORDS, "\n"]) for _ in range(choose.randrange(80)))


def of_bytes(choose: Random) -> str:
    """Any bytes, or those of a plan with some of them changed, as far as they are a text."""
    if choose.random() < 0.5:
        data = bytearray(choose.randbytes(choose.randrange(200)))
    else:
        data = bytearray(choose.choice(BASES).encode())
        for _ in range(choose.randint(1, 8)):
            data[choose.randrange(len(data))] = choose.randrange(256)
    return data.decode("utf-8", errors="replace")


def repeated(choose: Random) -> str:
    """A bomb: one short piece, thousands of times."""
    piece = "".join(choose.choice([*CODE, *WORDS]) for _ in range(choose.randint(1, 4)))
    return choose.choice(["", "let x = ", "a { ", "let x = ["]) + piece * choose.randrange(2000)


# How many of a thousand cases each makes.
GENERATORS: dict[Callable[[Random], str], int] = {
    of_bytes: 200,
    of_words: 200,
    grammatical: 250,
    laid_out_anew: 40,
    odd_names: 100,
    mutated: 169,
    other_numbers: 40,
    repeated: 1,
}


def made_by(seed: int) -> Callable[[Random], str]:
    """The generator of the case of that number."""
    (make,) = Random(f"kind {seed}").choices(list(GENERATORS), list(GENERATORS.values()))
    return make


def generate(seed: int) -> str:
    """The case of that number."""
    return made_by(seed)(Random(seed))
