"""From a file, or a text, to its plans and their diagnostics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os.path import realpath
from pathlib import Path

from parc.check.allow import MARK
from parc.check.costs import Costs
from parc.check.engine import check_plan, select_reliable
from parc.check.incremental import History
from parc.check.lints import PRICED
from parc.check.model_code import find_outside_code
from parc.diagnostic import Diagnostic, Label, Severity, error, has_errors
from parc.named_tuple import NamedTuple
from parc.plan.blocks import Launch, Plan
from parc.plan.imports import NO_TEXTS, Imports, read_source
from parc.plan.resolve.resolver import MAX_FAULTS, Resolver
from parc.plan.suggest import find_nearest
from parc.source import Source
from parc.syntax.parse import parse


class Loaded(NamedTuple):
    """`plans` are those of the file itself that could be resolved; they are reliable if there is no error."""

    plans: tuple[Plan, ...]
    launches: tuple[Launch, ...]
    diagnostics: tuple[Diagnostic, ...]
    sources: tuple[Source, ...]  # the file first, then what it imports
    costs: tuple[Costs, ...] = ()  # of the plans, in their order
    allowed: tuple[Diagnostic, ...] = ()  # by comments: not reported, and as true as the others
    outside: bool = False  # imports and models may lie outside of the project

    @property
    def ok(self) -> bool:
        """Whether the plans can be built: with an error they cannot, unless it is allowed and priced."""
        certain = (each for each in self.allowed if each.code not in PRICED)
        return not has_errors((*self.diagnostics, *certain))


def load(path: Path, overrides: Sequence[str] = (), outside: bool = False) -> Loaded:
    """Read, resolve and check a plan file. A user's fault is a diagnostic, never an exception."""
    source = read_source(path)
    if isinstance(source, Diagnostic):
        return Loaded((), (), (source,), ())
    return load_text(source, overrides, outside=outside)


def load_text(
    source: Source,
    overrides: Sequence[str] = (),
    texts: Mapping[str, str] = NO_TEXTS,
    outside: bool = False,
    history: History | None = None,
    tries_fixes: bool = True,
) -> Loaded:
    """The same for a text; what it imports is looked for beside `source.path`.

    `texts`, by their real paths, are read instead of files. `outside`: imports and models may leave the
    project. `history` is the same object at every reading of the file: what it has of the last one is not
    done again. Without it, fixes that are not right are left out, which are found by trying each.
    """
    loaded = _load_text(source, overrides, texts, outside, history)
    fixes = any(each.fix for each in loaded.diagnostics if each.severity is not Severity.INFO)
    if history or overrides or not tries_fixes or not fixes:
        return loaded
    from parc.check.fix_trials import keep_right_fixes  # noqa: PLC0415 - start-up time

    def check(changed: Mapping[str, str]) -> tuple[Diagnostic, ...]:
        root = Source(source.path, changed[realpath(source.path)])
        return _load_text(root, (), {**texts, **changed}, outside, None).diagnostics

    read = {realpath(each.path): each.text for each in loaded.sources}
    return loaded._replace(diagnostics=tuple(keep_right_fixes(read, loaded.diagnostics, check)))


def _load_text(
    source: Source,
    overrides: Sequence[str],
    texts: Mapping[str, str],
    outside: bool,
    history: History | None,
) -> Loaded:
    faults: list[Diagnostic] = []
    if history:
        history.begin()
    imports = Imports(source, faults, texts, outside, history.parse if history else parse)
    files = imports.files
    if overrides:
        from parc.plan.overrides import apply_overrides  # noqa: PLC0415 - start-up time: few files need it

        files = apply_overrides(files, overrides, faults)
    if not (files[0].statements or faults):
        place = Label(source.make_span(0, 0), "no statement")
        help = "`parc init` writes a first plan"
        faults.append(Diagnostic("P125", Severity.WARNING, "the file is empty", (place,), help=help))
    resolver = Resolver(files, faults, history.blocks if history else None, imports.incomplete)
    _limit_faults(faults)
    sources = tuple(file.source for file in files)
    understood = not has_errors(faults)
    checked = (
        history.check_plans(resolver.plans) if history else [check_plan(each) for each in resolver.plans]
    )
    found = [diagnostic for each in checked for diagnostic in each.diagnostics]
    if not outside:
        found += find_outside_code(resolver.plans, Path(source.path))
    if history:
        faults, found = ([history.relocate(each) for each in some] for some in (faults, found))
        history.end()
    faults += select_reliable(found, list(faults))
    allowed: list[Diagnostic] = []
    if any(MARK in each.text for each in sources):
        from parc.check.allow.judge import apply_allowances  # noqa: PLC0415 - start-up time

        thorough = understood and bool(resolver.plans) and not overrides
        locate = history.locate if history else lambda span: span
        faults, allowed = apply_allowances(files, faults, thorough, locate)
    costs = tuple(each.costs for each in checked)
    reported = tuple(_sort_by_place(faults, sources))
    return Loaded(resolver.plans, resolver.launches, reported, sources, costs, tuple(allowed), outside)


def _limit_faults(faults: list[Diagnostic]) -> None:
    """Replace all faults after the first `MAX_FAULTS` by one."""
    if len(faults) > MAX_FAULTS:
        message = f"there are more than {MAX_FAULTS} faults: the others are not reported"
        span = faults[MAX_FAULTS].span
        faults[MAX_FAULTS:] = [error("P005", message, *([Label(span, "the next one")] if span else []))]


def _sort_by_place(faults: list[Diagnostic], sources: tuple[Source, ...]) -> list[Diagnostic]:
    """By file and by place in it."""

    def find_place(fault: Diagnostic) -> tuple[int, int]:
        if fault.span is None or fault.span.source not in sources:
            return -1, 0
        return sources.index(fault.span.source), fault.span.start

    return sorted(faults, key=find_place)


def choose(loaded: Loaded, name: str | None) -> Plan | Diagnostic:
    """The plan of that name, or the only one, as it is built; otherwise a diagnostic that lists them."""
    chosen = [plan for plan in loaded.plans if plan.name == name]
    if chosen or (name is None and len(loaded.plans) == 1):
        from parc.cost.job.from_plan import decide_to_resend  # noqa: PLC0415 - start-up time

        return decide_to_resend((chosen or loaded.plans)[0])
    if not loaded.plans:
        return error("P118", "the file has no plan")
    message = "the file has several plans: name one" if name is None else f"the file has no plan `{name}`"
    labels = [Label(plan.at("name"), primary=False) for plan in loaded.plans]
    names = [plan.name for plan in loaded.plans]
    help = "its plans are " + ", ".join(f"`{each}`" for each in names)
    if name is not None and (meant := find_nearest(name, names)):
        help = f"did you mean `{meant}`?"
    return error("P118", message, *labels, help=help)
