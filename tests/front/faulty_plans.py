"""Faulty plans without end: correct ones, changed as a hurried user would, and by accident."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from random import Random

from benchmarks.texts import mutated, of_words
from parc.plan.schema import foreign

ROOT = Path(__file__).parents[2]
PLANS = [
    file.read_text(encoding="utf-8")
    for folder in ("examples", "tests/plans/pass")
    for file in sorted((ROOT / folder).glob("*.parc"))
    if file.stat().st_size < 4000
]
TOKEN = re.compile(r'\s+|[^\W\d]\w*|\d[\w.]*|"[^"]*"|#[^\n]*|.')
UNITS = [" Gbps", " GBps", "k", " gb", " TFlops", " sec", "M", " KB", " Gib", " x"]
VALUES = [
    "None",
    "True",
    "'a'",
    '"a"',
    "1,000",
    "[1, 2]",
    "0",
    "-1",
    "3.5",
    "1e30",
    "nothing",
    "null",
    "4k",
    "",
]


def misspell(choose: Random, word: str) -> str:
    at = choose.randrange(len(word))
    letter = choose.choice("aesx_")
    return choose.choice(
        [
            word[:at] + word[at + 1 :],
            word[:at] + letter + word[at:],
            word[:at] + letter + word[at + 1 :],
            word.upper(),
        ]
    )


def rename(choose: Random, word: str) -> str:
    """A name that other frameworks give a key."""
    names = [
        name
        for name, places in foreign.KEYS.items()
        if any(place.path.rpartition(".")[2] == word for place in places)
    ]
    return choose.choice(names) if names else choose.choice(sorted(foreign.KEYS))


def change_value(choose: Random, word: str) -> str:
    return choose.choice([*VALUES, word + choose.choice(UNITS)])


def change_sign(choose: Random, sign: str) -> str:
    return choose.choice(["", sign * 2, ":", "=", ";", ",", "{", "}", "[", "]", "//", "(", ")", "\n", "."])


CHANGES: dict[str, Callable[[Random, str], str]] = {
    r"[^\W\d]\w*": misspell,
    r"[^\W\d]\w+": rename,
    r"\d[\w.]*": change_value,
    r'"[^"]*"': change_value,
    r"[^\w\s#\"]": change_sign,
}


def make_faulty(seed: int) -> str:
    """A plan with one to three faults; one in eight is no plan at all."""
    choose = Random(seed)
    if seed % 16 == 0:
        return of_words(choose)
    if seed % 16 == 1:
        return mutated(choose)
    tokens = TOKEN.findall(choose.choice(PLANS))
    for _ in range(choose.randint(1, 3)):
        pattern, change = choose.choice(list(CHANGES.items()))
        able = [at for at, token in enumerate(tokens) if re.fullmatch(pattern, token)]
        if able:
            at = choose.choice(able)
            tokens[at] = change(choose, tokens[at])
    return "".join(tokens)
