"""Checks, shows, formats, explains and serves generated texts: no case may fail, take a second or 512 MB.

    python benchmarks/fuzz.py               # cases 0 up to 200,000, in two processes
    python benchmarks/fuzz.py 5000 --first 200000
    python benchmarks/fuzz.py --show 17     # the text of case 17
    python benchmarks/fuzz.py --every 20    # only every 20th case is explained, and opened in the server

Exits 1 where a case broke the promise; its number brings it back.
"""

from __future__ import annotations

import argparse
import io
import resource
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from random import Random
from traceback import format_tb
from typing import NamedTuple

from served import serve
from table import Figure, show
from texts import GENERATORS, generate, made_by

from parc.check.load import load_text
from parc.diagnostic import Diagnostic
from parc.render import github, json, overview, sarif, text
from parc.render.terminal import Pen
from parc.report.overview import build_overview
from parc.source import Source
from parc.syntax.format import format_source
from parc.syntax.parse import parse

CASES = 200_000
SLOWEST = 1.0  # s of processor time for one case
SLOWEST_SERVED = 3.0  # s to ask for everything twice, at most a quarter each for what tries values
PATHS = [Path(name) for name in ("/plans/plan.parc", "/plans/a\n::error::b`.parc", "/模/\udcff.parc")]
LARGEST = 512 * 2**20  # bytes that a process may hold
STUCK = 20.0  # s of processor time, after which a case is given up
CHUNK = 500  # cases that a process is given at once


class Result(NamedTuple):
    broken: list[tuple[int, str]]  # number of the case, and how it broke its promise
    kinds: Counter[str]  # cases by their generator
    faulty: int  # cases of which anything was told
    formatted: int
    slowest: tuple[float, int]  # s, case
    peak: int  # bytes


def survives(said: str) -> tuple[bool, bool]:
    """Check, show and format a text: whether it has faults, and whether it could be formatted.

    Raises AssertionError where a diagnostic points outside of its text, or formatting is not at once at rest.
    """
    source = Source("plan.parc", said)
    found = load_text(source).diagnostics
    for diagnostic in found:
        _points_inside(diagnostic)
    _is_shown(text.render(found, color=False, width=80))
    _is_shown(text.render_concise(found))
    assert text.render_concise(found).count("\n") == len(found), "a diagnostic has several lines"
    assert github.render(found).count("\n") == len(found), "a command has several lines"
    json.render(found)
    sarif.render(found)
    if any(each.code.startswith("P0") for each in found) and parse(source)[1]:
        return True, False
    once = format_source(source)
    assert format_source(Source("plan.parc", once)) == once, "formatting twice changes more than once"
    return bool(found), True


def _points_inside(diagnostic: Diagnostic) -> None:
    for label in diagnostic.labels:
        start, end = label.span.start, label.span.end
        assert 0 <= start <= end <= len(label.span.source.text), f"{diagnostic.code} points outside"


def _is_shown(shown: str) -> None:
    """Whether a terminal, and a log that reads commands, can show it."""
    assert all(line.isprintable() for line in shown.split("\n")), "a sign that controls a terminal"
    assert not any(line.lstrip().startswith("::error") for line in shown.split("\n")), "a forged line"
    io.TextIOWrapper(io.BytesIO(), "ascii", "backslashreplace").write(shown)


def explains_and_serves(said: str, case: int) -> None:
    """Explain the plans of a text, and ask the server for everything."""
    path = PATHS[case % len(PATHS)]
    loaded = load_text(Source(str(path), said))
    for plan in loaded.plans[:2] if loaded.ok else ():  # a plan with errors is not explained
        _is_shown(overview.render(build_overview(plan), Pen(), verbose=True))
    serve(said, path, Random(case))


def _stuck(signum: int, frame: object) -> None:
    raise TimeoutError(f"not done after {STUCK} s")


def run(first: int, count: int, every: int) -> Result:
    """The cases from `first` on."""
    resource.setrlimit(resource.RLIMIT_AS, (2 * LARGEST, resource.getrlimit(resource.RLIMIT_AS)[1]))
    signal.signal(signal.SIGPROF, _stuck)
    broken: list[tuple[int, str]] = []
    kinds: Counter[str] = Counter()
    faulty = laid_out = 0
    slowest = (0.0, first)
    for case in range(first, first + count):
        kinds[made_by(case).__name__] += 1
        said = generate(case)
        signal.setitimer(signal.ITIMER_PROF, STUCK)
        try:
            seconds, (has_faults, was_formatted) = _timed(said)
            if case % every == 0:
                begun = time.process_time()
                explains_and_serves(said, case)
                served = time.process_time() - begun
                assert served < SLOWEST_SERVED, f"is served in {served:.2f} s"
        except (Exception, RecursionError) as fault:  # noqa: BLE001  # any at all is what is looked for
            where = "".join(format_tb(fault.__traceback__)[-1:]).strip().split("\n")[0]
            broken.append((case, f"{type(fault).__name__}: {fault}: {where}"))
            continue
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        faulty += has_faults
        laid_out += was_formatted
        slowest = max(slowest, (seconds, case))
        if seconds > SLOWEST:
            broken.append((case, f"takes {seconds:.2f} s"))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return Result(broken, kinds, faulty, laid_out, slowest, peak)


def _timed(said: str) -> tuple[float, tuple[bool, bool]]:
    """Seconds of processor time; a slow case is tried again, for other processes can slow it as well."""
    best, tries = float("inf"), 0
    while True:
        begun = time.process_time()
        told = survives(said)
        best, tries = min(best, time.process_time() - begun), tries + 1
        if best <= SLOWEST or tries == 3:
            return best, told


def results(first: int, count: int, every: int, processes: int) -> Iterator[Result]:
    starts = range(first, first + count, CHUNK)
    sizes = [min(CHUNK, first + count - start) for start in starts]
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        yield from pool.map(partial(run, every=every), starts, sizes)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("count", nargs="?", type=int, default=CASES)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--show", type=int, metavar="CASE")
    options = parser.parse_args()
    if options.show is not None:
        print(generate(options.show))
        return 0
    done = []
    for result in results(options.first, options.count, options.every, options.processes):
        done.append(result)
        if len(done) % 20 == 0:
            print(
                f"{len(done) * CHUNK:,} cases, {sum(len(each.broken) for each in done)} broken",
                file=sys.stderr,
            )
        for case, how in result.broken:
            print(f"case {case}: {how}", flush=True)
    broken = sum(len(each.broken) for each in done)
    kinds = sum((each.kinds for each in done), Counter())
    seconds, case = max(each.slowest for each in done)
    figures = [
        Figure("broken promises", broken, 0),
        Figure(f"slowest, case {case}", seconds, SLOWEST, "s"),
        Figure("memory of a process, peak", max(each.peak for each in done) / 2**20, LARGEST / 2**20, "MiB"),
        Figure("with faults", sum(each.faulty for each in done), None),
        Figure("formatted", sum(each.formatted for each in done), None),
        *(Figure(make.__name__, kinds[make.__name__], None) for make in GENERATORS),
    ]
    show(f"{options.count:,} generated texts", figures)
    return int(any(each.limit is not None and each.measured > each.limit for each in figures))


if __name__ == "__main__":
    sys.exit(main())
