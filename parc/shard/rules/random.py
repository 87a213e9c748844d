"""Random numbers: every rank would draw its own, and no layout the same ones."""

from __future__ import annotations

from parc.capture.graph import argument, name_of
from parc.shard.rules import Conflict, Decision, Site, keep_alike, read_first, rule

_DRAWS = (
    "alpha_dropout bernoulli feature_alpha_dropout feature_dropout multinomial native_dropout normal rand"
    " rand_like randint randint_like randn randn_like randperm rrelu rrelu_with_noise poisson exponential"
    " uniform"
)


@rule(*(f"aten::{name}" for name in _DRAWS.split()))
def draw(site: Site) -> Decision:
    """Has no rule."""
    reason = f"`{name_of(site.node)}` is random, and would differ from rank to rank"
    raise Conflict(reason, range(len(site.operands)))


@rule("aten::dropout")
def drop(site: Site) -> Decision:
    """With probability 0 it does nothing."""
    if argument(site.node, "p") and argument(site.node, "train"):
        raise Conflict("`dropout` is random, and would differ from rank to rank", [0])
    return keep_alike(site, read_first(site))
