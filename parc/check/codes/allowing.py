"""The pages of what is told of comments that allow findings."""

from __future__ import annotations

from parc.check.registry import Registry
from parc.diagnostic import Severity

ALLOWING = Registry()

ALLOWING.explain(
    "P119",
    "not-understood-comment",
    """A comment that begins with `parc:` says nothing that parc understands.

    Two forms are understood, each with one code or several:

        # parc: allow P202, P226 -- the reason
        # parc: allow-file P202 -- the reason

    The first allows findings that mark a place in a row: a statement, an entry or an argument that takes
    several lines, or all that stand on one line. On a line of its own it speaks of the row after it, behind a
    row of that row, and behind an opening bracket of what the bracket is part of. The second, wherever it
    stands, speaks of its file. What is allowed is not told by `parc check`; an error that does not come of
    the cost model is still refused by `parc build`.

    ## Example

        cluster farm { levels = [node: 8] }  # parc: ignore P202 -- four are spare

    ## Instead

        cluster farm { levels = [node: 8] }  # parc: allow P202 -- four are spare
    """,
)
ALLOWING.explain(
    "P120",
    "allowed-without-a-reason",
    """A comment allows findings and does not say why. The reason goes behind `--`.

    ## Example

        cluster farm { levels = [node: 8] }  # parc: allow P202

    ## Instead

        cluster farm { levels = [node: 8] }  # parc: allow P202 -- four are spare
    """,
)
ALLOWING.explain(
    "P121",
    "unknown-code",
    """A comment allows what no rule finds.

    ## Example

        cluster farm { levels = [node: 8] }  # parc: allow P2022, P202 -- four are spare

    ## Instead

        cluster farm { levels = [node: 8] }  # parc: allow P202 -- four are spare
    """,
)
ALLOWING.explain(
    "P122",
    "never-allowed",
    """A comment allows what cannot be allowed.

    With a fault of the syntax, or of names, types and units, a plan has no meaning that could be allowed.
    What changes the computation is always told. And what `parc build` cannot build, no comment builds.

    ## Example

        let width = 64 GBs  # parc: allow P108 -- it will be a unit soon

    ## Instead

        let width = 64 GB
    """,
)
ALLOWING.explain(
    "P123",
    "allowed-and-not-found",
    """A comment allows a finding that is not there, or no more. It would hide the next one.

    Only told where all that `parc check` looks for was looked for: not of imported files, nor while the plan
    has faults that keep it from being understood.

    ## Example

        cluster farm { levels = [node: 4] }  # parc: allow P202 -- four are spare

    ## Instead

        cluster farm { levels = [node: 4] }
    """,
    Severity.WARNING,
)
