"""The pages of what `parc verify` tells before it begins (P620 to P639). The examples are command lines."""

from __future__ import annotations

from parc.check.registry import Registry

PROVING = Registry()

PROVING.explain(
    "P620",
    "no-such-rung",
    """The proof has the rungs `matching`, `numbers`, `fp32`, `bf16` and `mutants`, and no others.

    ## Example

        parc verify plan.parc --rungs matching,truth

    ## Instead

        parc verify plan.parc --rungs matching
    """,
)
PROVING.explain(
    "P621",
    "no-time-to-wait",
    """A step that may take no time always hangs: `--timeout` is a number of seconds above 0, a day's at most.

    ## Example

        parc verify plan.parc --timeout 0

    ## Instead

        parc verify plan.parc --timeout 600 --rungs matching
    """,
)
PROVING.explain(
    "P622",
    "not-a-program",
    """The folder to be proved was not written by `parc build`: it has no `plan.lock.json`.

    ## Example

        parc verify plan.parc --folder . --rungs matching

    ## Instead

        parc verify plan.parc --folder program --rungs matching
    """,
)
PROVING.explain(
    "P623",
    "program-of-another-plan",
    """The folder to be proved was made from another plan, or from this one before it or parc changed.

    Against a program that was never written, every line of it would look edited. Build the folder anew, and
    edit that.

    ## Example

        parc verify plan.parc --set moe_run.seed=4 --folder program

    ## Instead

        parc verify plan.parc --folder program --rungs matching
    """,
)
