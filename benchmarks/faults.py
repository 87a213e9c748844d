"""Faults injected into capture, propagation, lowering and emission: whether each build with one is refused.

A fault is one change of what a pass of the compiler makes, at a tiny size. It is found if a pass after it
refuses the program, or if the validation that ends every build reports an error. Faults that compute the same
on any data are left out by the predicates of their kinds, never by what comes of them.
"""

from __future__ import annotations

import argparse
import os
import random
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from unittest.mock import patch

import fault_kinds.captured
import fault_kinds.emitted
import fault_kinds.lowered
import fault_kinds.propagated  # noqa: F401 - kinds register themselves
import torch
from fault_kinds.registry import KINDS, Baseline, Fault, list_faults
from table import Figure, show

from parc.check.load import choose, load
from parc.diagnostic import CompileError, Diagnostic, has_errors
from parc.emit.program import emit
from parc.lower.program import lower
from parc.plan.blocks import Plan
from parc.shard import place_body, rules
from parc.shard import propagate as propagation
from parc.shard.placed import Fact, Placed
from parc.shard.propagate import propagate
from parc.shard.rules import Decision, Site
from parc.verify.sample.choose import choose_sample
from parc.verify.sample.sample import Sample
from parc.verify.validation import validate as validation

ROOT = Path(__file__).parents[1]
PLANS = (  # a file, and one of its plans
    ("examples/seed.parc", "wide"),
    ("examples/classic.parc", "everything"),
    ("tests/plans/run/data.parc", "moe"),
    ("tests/plans/run/tensor.parc", "moe"),
    ("tests/plans/run/tensor-sequence.parc", "moe"),
    ("tests/plans/run/experts-split-sequence.parc", "moe"),
    ("tests/plans/run/experts-inside-data.parc", "classic"),
    ("tests/plans/run/everything-other-order.parc", "moe"),
    ("tests/plans/run/1f1b-uneven.parc", "moe"),
    ("tests/plans/run/dense.parc", "tensors"),
    ("tests/plans/build/latent-attention.parc", "sequence"),
    ("tests/plans/build/detached.parc", None),
    ("tests/plans/build/label-smoothing.parc", None),
    ("tests/plans/build/two-buffers.parc", None),
    ("tests/plans/build/crossing-int.parc", None),
)
SAME = "no effect"  # the pass after it does not read what was changed: there is no fault
SITES = 2  # of a kind in a plan
TIMEOUT = 120.0  # seconds of one fault


@dataclass(frozen=True)
class Outcome:
    """What came of a fault, and what was reported."""

    plan: str
    fault: Fault
    how: str  # "refused", "crash", "validation", "silent", or SAME
    shown: str

    @property
    def found(self) -> bool:
        return self.how not in ("silent", SAME)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plans", nargs="*", help="parts of the names of files, to run some of them")
    parser.add_argument("--kinds", nargs="*", help="parts of the names of kinds")
    parser.add_argument("--sites", type=int, default=SITES, help="of a kind in a plan, at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--verbose", action="store_true", help="show every fault")
    options = parser.parse_args()
    start = time.perf_counter()
    outcomes: list[Outcome] = []
    for file, name in PLANS:
        if options.plans and not any(part in file for part in options.plans):
            continue
        baseline = compile_baseline(read_plan(file, name))
        chosen = choose_faults(baseline, options.sites, f"{options.seed} {file}", options.kinds)
        for outcome in run_faults(baseline, chosen, f"{file}:{baseline.plan.name}", options.jobs):
            if outcome.how == SAME:
                continue
            outcomes.append(outcome)
            if options.verbose or not outcome.found:
                print(f"{outcome.how}: {outcome.plan}: {outcome.fault}: {outcome.shown}", flush=True)
    print("\n".join(format_table(outcomes)))
    silent = [each for each in outcomes if not each.found]
    crashes = [each for each in outcomes if each.how == "crash"]
    figures = [
        Figure("kinds", len({each.fault.kind for each in outcomes}), None),
        Figure("faults", len(outcomes), None),
        Figure("that end a pass with an exception", len(crashes), None),
        Figure("that pass in silence", len(silent), 0),
    ]
    show(f"faults of the compiler, in {(time.perf_counter() - start) / 60:.0f} minutes", figures)
    return bool(silent)


def read_plan(file: str, name: str | None) -> Plan:
    plan = choose(load(ROOT / file, ()), name)
    assert not isinstance(plan, Diagnostic), plan
    return plan


def compile_baseline(plan: Plan) -> Baseline:
    """What each pass makes of a plan's sample without a fault."""
    torch.set_num_threads(1)
    sample = choose_sample(plan, "fp64", validation.RANKS)
    decisions: list[tuple[Site, Decision]] = []
    decide = rules.decide

    def record(site: Site) -> Decision:
        decision = decide(site)
        decisions.append((site, decision))
        return decision

    begun: list[int] = []  # rounds, by the number of the first decision

    class Placer(place_body.BodyPlacer):
        def place(self, inputs: tuple[Fact, ...]) -> Placed:
            if self.body is sample.captured.root:
                begun.append(len(decisions))
            return super().place(inputs)

    with patch.object(place_body, "decide", record), patch.object(propagation, "BodyPlacer", Placer):
        placed = propagate(sample.plan, sample.captured)
    program = lower(sample.plan, sample.captured, placed)
    return Baseline(sample.plan, sample.captured, placed, decisions, begun[-1], program, sample.files)


def choose_faults(
    baseline: Baseline, sites: int, seed: str, kinds: Iterable[str] | None = None
) -> list[Fault]:
    """Faults of every kind, at random."""
    generator = random.Random(seed)
    found: list[Fault] = []
    for kind in KINDS:
        faults = list_faults(baseline, kind)
        chosen = generator.sample(faults, min(sites, len(faults)))
        if not kinds or any(part in kind for part in kinds):
            found += chosen
    return found


def run_faults(baseline: Baseline, faults: Sequence[Fault], plan: str, jobs: int) -> Iterator[Outcome]:
    """Each fault in a process of its own, which has the baseline of its parent."""
    with ThreadPoolExecutor(jobs) as pool:
        for fault, (how, shown) in zip(faults, pool.map(partial(_run_apart, baseline), faults), strict=True):
            yield Outcome(plan, fault, how, shown)


def _run_apart(baseline: Baseline, fault: Fault) -> tuple[str, str]:
    context = get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send_outcome, args=(baseline, fault, sender), daemon=True)
    process.start()
    sender.close()
    try:
        if not receiver.poll(TIMEOUT):
            return "silent", f"no end after {TIMEOUT:.0f} s"
        how, shown = receiver.recv()
        return str(how), str(shown)
    except EOFError:
        return "crash", "the process ended"
    finally:
        process.kill()
        process.join()


def _send_outcome(baseline: Baseline, fault: Fault, sender: Connection) -> None:
    sender.send(try_fault(baseline, fault))


def try_fault(baseline: Baseline, fault: Fault) -> tuple[str, str]:
    """How a fault is found, and what is reported. Changes the baseline."""
    try:
        sample = compile_with(baseline, fault)
    except CompileError as refused:
        return "refused", _show(refused.diagnostics)
    except Exception as crash:  # noqa: BLE001 - of a pass that gets what it was not made for
        return "crash", f"{type(crash).__name__}: {crash}"
    if all(sample.files.get(name) == code for name, code in baseline.files.items() if name.endswith(".py")):
        return SAME, "the program is the same to the last byte"
    with patch.object(validation, "choose_sample", lambda *_: sample):
        _, diagnostics = validation.validate(baseline.plan, sample.files)
    return "validation" if has_errors(diagnostics) else "silent", _show(diagnostics)


def compile_with(baseline: Baseline, fault: Fault) -> Sample:
    """The sample that is compiled with a fault in one of the passes."""
    plan, captured, placed = baseline.plan, baseline.captured, baseline.placed
    program, files = baseline.program, baseline.files
    if fault.made_by == "capture":
        captured = fault.inject(captured)
    if fault.made_by in ("capture", "propagate"):
        decide = fault.inject(rules.decide) if fault.made_by == "propagate" else rules.decide
        with patch.object(place_body, "decide", decide):
            placed = propagate(plan, captured)
    if fault.made_by in ("capture", "propagate"):
        program = lower(plan, captured, placed)
    if fault.made_by == "lower":
        program = fault.inject(program)
    files = fault.inject(files) if fault.made_by == "emit" else emit(plan, program, {})
    return Sample(plan, captured, program, files)


def _show(diagnostics: Sequence[Diagnostic]) -> str:
    return "; ".join(f"{each.code} {each.message}" for each in diagnostics[:2])[:200]


def format_table(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """A line a kind: by which pass, how many, and how they were found."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for each in outcomes:
        counts[each.fault.kind][each.how] += 1
    columns = ("refused", "crash", "validation", "silent")
    yield f"{'fault':<52}{'made by':<11}" + "".join(f"{each:>11}" for each in columns)
    for kind, (made_by, _) in KINDS.items():
        if kind in counts:
            yield f"{kind:<52}{made_by:<11}" + "".join(f"{counts[kind][each] or '':>11}" for each in columns)


if __name__ == "__main__":
    raise SystemExit(main())
