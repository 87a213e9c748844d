"""What a rule is, and how one is declared.

A rule is a function that yields a finding for every breach, named for the fault. Its docstring is its page:
what is meant and why it matters, then under `Example` a plan that breaks the rule and under `Instead` one
that does not. Tests check both. A block that an example leaves out is a default one; a block that `Instead`
leaves out is that of the example.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Generic, TypeAlias, TypeVar

from parc.check.requests import Request
from parc.diagnostic import Diagnostic, Fix, Label, Severity
from parc.docstrings import read_docstring
from parc.named_tuple import NamedTuple

if TYPE_CHECKING:
    from parc.check.costs import Costs
    from parc.plan.blocks import Plan

Subject = TypeVar("Subject")


class Finding(NamedTuple):
    """One breach of a rule: all of a diagnostic that is not the rule's own.

    `advice` is what to add when the finding is reported.
    """

    message: str
    labels: tuple[Label, ...]
    notes: tuple[str, ...] = ()
    help: str | None = None
    fix: Fix | None = None
    advice: Request | None = None


class Rule(NamedTuple):
    """What is documented of a code; `always`: no comment allows a finding of it."""

    code: str
    name: str
    severity: Severity
    prose: str
    always: bool = False


class Detected(NamedTuple):
    rule: Rule
    finding: Finding

    def diagnose(self) -> Diagnostic:
        message, labels, notes, help, fix, _ = self.finding
        return Diagnostic(self.rule.code, self.rule.severity, message, labels, notes, help, fix)


Predicate: TypeAlias = Callable[[Subject], Iterator[Finding]]


class Check(NamedTuple, Generic[Subject]):
    rule: Rule
    predicate: Predicate[Subject]

    def detect(self, subject: Subject) -> Iterator[Detected]:
        return (Detected(self.rule, finding) for finding in self.predicate(subject))


class Registry(Generic[Subject]):
    """Rules about one kind of subject, in the order in which they were declared, which is that of running."""

    def __init__(self) -> None:
        self.checks: list[Check[Subject]] = []

    @property
    def rules(self) -> list[Rule]:
        return [check.rule for check in self.checks]

    def declare(
        self, code: str, severity: Severity = Severity.ERROR, always: bool = False
    ) -> Callable[[Predicate[Subject]], Predicate[Subject]]:
        """A decorator for the function that finds breaches."""

        def register(predicate: Predicate[Subject]) -> Predicate[Subject]:
            name = predicate.__name__.replace("_", "-")
            self.checks.append(
                Check(Rule(code, name, severity, read_docstring(predicate), always), predicate)
            )
            return predicate

        return register


RULES: Registry[Plan] = Registry()  # whether a layout is legal, and its parts agree
LINTS: Registry[Costs] = Registry()  # whether a layout could cost less
rule = RULES.declare
lint = LINTS.declare
