"""`parc init`: a first plan, from a model's `config.json` or from what the user answers."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

from parc.commands.questions import MODEL
from parc.search.config import Config, Unreadable, read_config
from parc.search.first_plan import Setup, Unfit, write_first_plan

OK, FAULTS, USAGE = 0, 1, 2
LARGEST_CONFIG = 1 << 20  # bytes


def init(given: argparse.Namespace) -> int:
    """Writes the plan; nothing that exists is written over."""
    if given.out.exists():
        return _refuse(f"`{given.out}` exists: name another file with -o", USAGE)
    said = {question.key: getattr(given, question.key) for question in MODEL}
    try:
        known = _read(given.config) if given.config else Config(_model(said), length=1024)
        devices = _answer("devices", given.devices, 8, asked=not given.config)
        text = write_first_plan(
            Setup(
                shape=known.shape,
                machine=given.machine,
                devices=devices,
                sequences=_positive("sequences", given.sequences or 4 * devices),
                length=_positive("length", given.length or known.length),
                source=given.source,
                balance=known.balance or (0.01 if known.shape.get("experts") else 0.0),
                notes=known.notes,
            )
        )
    except (Unfit, Unreadable) as reason:
        return _refuse(str(reason), FAULTS)
    try:
        with given.out.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as fault:
        return _refuse(f"cannot write `{given.out}`: {fault.strerror or fault}", USAGE)
    print(f"wrote {given.out}: put your model into `source`, then `parc check {given.out}`")
    return OK


def _read(file: Path) -> Config:
    try:
        with file.open("rb") as opened:
            data = opened.read(LARGEST_CONFIG + 1)
        if len(data) > LARGEST_CONFIG:
            raise Unreadable(f"it has more than {LARGEST_CONFIG:,} bytes")
        return read_config(data.decode())
    except OSError as fault:
        raise Unreadable(f"cannot read `{file}`: {fault.strerror or fault}") from None
    except (Unreadable, UnicodeDecodeError) as fault:
        raise Unreadable(f"`{file}` is no configuration of a model: {fault}") from None


def _model(said: Mapping[str, int | None]) -> dict[str, int | bool]:
    """What was said; where nothing was, and somebody is there, what they answer."""
    asked = not any(said.values())
    found = {each.key: _answer(each.words, said[each.key], each.usual, asked, least=0) for each in MODEL}
    if not found["experts"]:
        del found["experts"], found["top_k"]
    for key, number in found.items():
        _positive(key, number)
    return {**found, "gated": True}


def _answer(words: str, said: int | None, usual: int, asked: bool, least: int = 1) -> int:
    if said is None and asked and sys.stdin.isatty():
        said = _asked(words, usual)
    number = usual if said is None else said
    return number if number == 0 == least else _positive(words, number)


def _asked(words: str, usual: int) -> int:
    while True:
        answer = input(f"{words} [{usual}]: ").strip()
        if not answer:
            return usual
        if answer.isdecimal():
            return int(answer)
        print("a whole number, please")


def _positive(words: str, number: int) -> int:
    if not 0 < number < 2**30:
        raise Unfit(f"{words}: {number} is no number from 1 to 2^30")
    return number


def _refuse(message: str, code: int) -> int:
    print(f"parc: {message}", file=sys.stderr)
    return code
