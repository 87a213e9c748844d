"""The pages of what `parc explain` and `parc diff` tell (P640 to P659). The examples are command lines."""

from __future__ import annotations

from parc.check.registry import Registry

EXPLAINING = Registry()

EXPLAINING.explain(
    "P640",
    "no-time",
    """A trace is of the simulated step, and the plan says too little to simulate it.

    It needs the figures of the device and of the links, a `shape`, and a schedule of not too many passes.

    ## Example

        parc explain untimed.parc --trace step.json

    ## Instead

        parc explain seed.parc --trace step.json
    """,
)
EXPLAINING.explain(
    "P641",
    "no-such-rank",
    """The plan has fewer ranks than the number that `--rank` asks for: they are counted from 0.

    ## Example

        parc explain seed.parc --rank 128

    ## Instead

        parc explain seed.parc --rank 127
    """,
)
EXPLAINING.explain(
    "P642",
    "not-written",
    """A file that a command shall write cannot be written there.

    ## Example

        parc explain seed.parc --html nowhere/page.html

    ## Instead

        parc explain seed.parc --html page.html
    """,
)
