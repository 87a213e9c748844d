"""The lints: what a plan costs, and whether it could cost less. Importing a module declares its lints."""

from parc.check.lints import balance, claims, locality, memory
from parc.check.registry import LINTS as LINTS
from parc.diagnostic import Severity

PRICED = frozenset(each.code for each in LINTS.rules if each.severity is Severity.ERROR)
"""Errors that rest on the cost model: a false claim, too little memory."""
