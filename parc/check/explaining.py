"""The pages of what `parc explain` and `parc diff` tell (P640 to P659). The examples are command lines."""

from __future__ import annotations

from parc.check.registry import Registry

EXPLAINING = Registry()

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
