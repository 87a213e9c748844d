"""What a rule is, and how one is declared.

A rule is a function from a resolved plan to findings, named for the fault. Its docstring is its page: what is
meant and why it hurts, then under `Example` a plan that breaks it and under `Instead` one that does not. Both
run as tests, which complete them with the blocks that they leave out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeAlias

from parc.diagnostic import Diagnostic, Fix, Label, Severity
from parc.plan.blocks import Plan


class Finding(NamedTuple):
    """One breach of a rule: all of a diagnostic that is not the rule's own."""

    message: str
    labels: tuple[Label, ...]
    notes: tuple[str, ...] = ()
    help: str | None = None
    fix: Fix | None = None


Predicate: TypeAlias = Callable[[Plan], Iterator[Finding]]


class Rule(NamedTuple):
    code: str
    name: str
    severity: Severity
    prose: str
    predicate: Predicate | None = None  # None: told while the file is read, before there is a plan
    always: bool = False  # no comment keeps it from being told

    def run(self, plan: Plan) -> Iterator[Diagnostic]:
        if self.predicate:
            for message, labels, notes, help, fix in self.predicate(plan):
                yield Diagnostic(self.code, self.severity, message, labels, notes, help, fix)


class Registry:
    """Rules in the order in which they were declared, which is the order in which they run."""

    def __init__(self) -> None:
        self.rules: list[Rule] = []

    def rule(
        self, code: str, severity: Severity = Severity.ERROR, always: bool = False
    ) -> Callable[[Predicate], Predicate]:
        def declare(predicate: Predicate) -> Predicate:
            name = predicate.__name__.replace("_", "-")
            self.rules.append(Rule(code, name, severity, predicate.__doc__ or "", predicate, always))
            return predicate

        return declare

    def explain(self, code: str, name: str, prose: str, severity: Severity = Severity.ERROR) -> None:
        """The page of a fault that is told elsewhere, mostly while the file is read."""
        self.rules.append(Rule(code, name, severity, prose))


CHECKS = Registry()  # of `parc check`
rule = CHECKS.rule
