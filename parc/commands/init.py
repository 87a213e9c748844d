"""`parc init`: writes a first plan, from the `config.json` of a model or from answers of the user."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from parc.commands.arguments import MODEL_QUESTIONS
from parc.commands.status import FAULTS, OK, USAGE
from parc.search.config.keys import Unreadable
from parc.search.config.read import Config, ShapeEntries, read_config
from parc.search.first_plan import Setup, Unfit, write_first_plan

MAX_CONFIG_BYTES = 1 << 20
SHORTEST = 512  # tokens of a sequence that is shortened to fit
STANDARD = Path("-")  # standard input of `--config`, standard output of `-o`


def run(options: Namespace) -> int:
    """Write the plan. An existing file is never overwritten."""
    to_output = options.out == STANDARD
    if not to_output and options.out.exists():
        return _refuse(f"`{options.out}` exists: choose another file with -o", USAGE)
    given = {question.key: getattr(options, question.key) for question in MODEL_QUESTIONS}
    if given["experts"] == 0 and given["top_k"]:
        return _refuse("`--top-k` and `--experts 0`: a dense model routes no tokens", USAGE)
    if options.config and (both := [key for key, value in given.items() if value is not None]):
        flags = ", ".join(f"`--{key.replace('_', '-')}`" for key in both)
        return _refuse(f"{flags} and `--config`: the configuration has the sizes of the model", USAGE)
    try:
        known = _read_config(options.config) if options.config else Config(_ask_model(given), length=1024)
        devices = _ask("devices", options.devices, 8, asking=not options.config)
        setup = Setup(
            shape=known.shape,
            machine=options.machine,
            devices=devices,
            sequences=_require_positive("sequences", options.sequences or 4 * devices),
            length=_require_positive("length", options.length or known.length),
            source=options.source,
            balance=known.balance or (0.01 if known.shape.get("experts") else 0.0),
            notes=known.notes,
        )
        text = write_first_plan(setup) if options.length else _write_longest(setup)
    except (Unfit, Unreadable) as reason:
        return _refuse(str(reason), FAULTS)
    if to_output:
        print(text, end="")
        return OK
    try:
        with options.out.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as fault:
        return _refuse(f"cannot write `{options.out}`: {fault.strerror or fault}", USAGE)
    print(f"wrote {options.out}: set `source` to your model, then run `parc check {options.out}`")
    return OK


def _write_longest(setup: Setup) -> str:
    """The plan for sequences as long as fit, by halves.

    Raises:
        Unfit: there is none, even for short ones.
    """
    try:
        return write_first_plan(setup)
    except Unfit as reason:
        length = setup.length // 2
        while length >= SHORTEST:
            note = f"sequences have {length} tokens: with {2 * length} no layout is sound and fits"
            try:
                return write_first_plan(replace(setup, length=length, notes=(*setup.notes, note)))
            except Unfit:
                length //= 2
        raise reason from None


def _read_config(source: Path) -> Config:
    """Of a file, of the `config.json` in a folder, or of standard input."""
    file = source / "config.json" if source.is_dir() else source
    name = "standard input" if source == STANDARD else f"`{file}`"
    try:
        if source == STANDARD:
            data = sys.stdin.buffer.read(MAX_CONFIG_BYTES + 1)
        else:
            with file.open("rb") as opened:
                data = opened.read(MAX_CONFIG_BYTES + 1)
        if len(data) > MAX_CONFIG_BYTES:
            raise Unreadable(f"it has more than {MAX_CONFIG_BYTES:,} bytes")
        return read_config(data.decode())
    except OSError as fault:
        raise Unreadable(f"cannot read {name}: {fault.strerror or fault}") from None
    except (Unreadable, UnicodeDecodeError) as fault:
        raise Unreadable(f"{name} is not a model configuration: {fault}") from None


def _ask_model(given: Mapping[str, int | None]) -> ShapeEntries:
    """The shape of the model: what is given, or if nothing is, what the user answers."""
    asking = not any(given.values())
    shape: dict[str, int] = {}
    for each in MODEL_QUESTIONS:
        default = shape["heads"] if each.key == "kv_heads" else each.default
        shape[each.key] = _ask(each.text, given[each.key], default, asking, least=0)
    if not shape["experts"]:
        del shape["experts"], shape["top_k"]
    for key, number in shape.items():
        _require_positive(key, number)
    return {**shape, "gated": True}


def _ask(text: str, given: int | None, default: int, asking: bool, least: int = 1) -> int:
    """The number that is given, or that the user answers on a terminal, or the default."""
    if given is None and asking and sys.stdin.isatty():
        given = _prompt(text, default)
    number = default if given is None else given
    return number if number == 0 == least else _require_positive(text, number)


def _prompt(text: str, default: int) -> int:
    while True:
        answer = input(f"{text} [{default}]: ").strip()
        if not answer:
            return default
        if answer.isdecimal():
            return int(answer)
        print("please enter a whole number")


def _require_positive(text: str, number: int) -> int:
    if not 0 < number < 2**30:
        raise Unfit(f"{text}: {number} is not between 1 and 2^30")
    return number


def _refuse(message: str, code: int) -> int:
    print(f"parc: {message}", file=sys.stderr)
    return code
