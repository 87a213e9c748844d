"""The compiler from end to end: read, check, capture and rewrite, emit; then perhaps run."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from parc.check.built import unbuilt
from parc.check.load import Loaded, choose, load
from parc.diagnostic import Diagnostic, error, has_errors
from parc.emit.program import Files, files
from parc.emit.write import is_ours, write
from parc.render.text import render, summary
from parc.shard.compile import compile_plan
from parc.shard.load import Faulty, source_text


def compile_files(loaded: Loaded, name: str | None) -> Files | tuple[Diagnostic, ...]:
    """The files of a plan's program; or why there are none."""
    if has_errors(loaded.diagnostics):
        return loaded.diagnostics
    plan = choose(loaded, name)
    if isinstance(plan, Diagnostic):
        return (plan,)
    limits = unbuilt(plan, loaded.launches)
    if has_errors(limits):
        return limits
    try:
        program = compile_plan(plan)
    except Faulty as faulty:
        return faulty.diagnostics
    sources = {Path(source.path).name: source.text.encode() for source in loaded.sources}
    sources |= source_text(plan.train.model)
    return files(plan, program, sources)


def build(file: Path, plan: str | None, out: Path, overrides: Sequence[str] = ()) -> tuple[Diagnostic, ...]:
    """Compile a plan into `out`, replacing a folder of parc's; everything that there is to say about it."""
    if out.exists() and not is_ours(out):
        return (error("P510", f"`{out}` exists and was not written by parc", help="choose another folder"),)
    loaded = load(file, overrides)
    compiled = compile_files(loaded, plan)
    if not isinstance(compiled, dict):
        return compiled
    try:
        write(compiled, out)
    except OSError as fault:
        return (error("P510", f"`{out}` cannot be written: {fault.strerror}"),)
    return loaded.diagnostics


def run(
    file: Path,
    plan: str | None,
    device: str | None,
    arguments: Sequence[str] = (),
    overrides: Sequence[str] = (),
) -> int:
    """Compile a plan and train here. Returns the program's exit status, or 1 where there is none."""
    with tempfile.TemporaryDirectory(prefix="parc-") as folder:
        out = Path(folder) / "program"
        found = build(file, plan, out, overrides)
        if has_errors(found):
            print(render(found, sys.stdout.isatty()), summary(found), sep="\n")
            return 1
        chosen = ["--device", device] if device else []
        command = [
            sys.executable,
            str(out / "train.py"),
            "--base",
            str(file.parent.absolute()),
            *chosen,
            *arguments,
        ]
        return subprocess.run(command, check=False).returncode
