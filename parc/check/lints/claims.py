"""`expect { .. }`: what the plan claims of itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from parc.check.costs import Costs
from parc.check.registry import Finding, lint
from parc.check.requests import Remedies
from parc.cost.figure import format_quantity
from parc.diagnostic import Label, Severity

if TYPE_CHECKING:
    from parc.check.claims.verdict import Verdict

RECORD = 0.522
OF_RECORD = (
    "the best published bf16 run of a model with experts that is known here has 52.2%:"
    " Mixtral 8x22B on 128 H100s, arXiv:2504.14960"
)


@lint("P306")
def false_claim(costs: Costs) -> Iterator[Finding]:
    """A claim of `expect` is false.

    A claim consists of a subject, a relation and a value. `==` holds if the figure rounds to the digits of
    the value: `parameters == 30e9` claims two digits. A subject is one of these, or a constant of `let`:

    - `devices`
    - `parameters` of the model, `parameters.active` in the matmuls of one token, `parameters.experts`;
      `parameters.device` and `parameters.device.experts` of the fullest device, `parameters.stage_0`
    - `experts.local`: experts of a layer on one device; `experts.active`: the share that a token is routed to
    - `flops` of a step, `flops.device`
    - `memory.peak`, `.parameters`, `.gradients`, `.optimizer`, `.activations`, `.logits`, `.working` of the
      fullest device, in bytes or as a share of its memory; `memory.stage_0.peak` and so on. Logits and
      working memory are not there at the same time: the smaller of the two counts as none
    - `step_time`, `mfu`, `tokens_per_second`, `sequences_per_second`, `bubble`
    - of `data`, `tensor`, `experts` and `pipeline`: `experts.ranks` of one group, `experts.groups`,
      `experts.stride` from one rank of a group to the next, `experts.nodes` that a group touches (or units of
      another level of the cluster), `experts.buffers` that one device passes to these groups in a step,
      `experts.sent` over the network, `experts.time`, `experts.call.buffer` of the largest call,
      `experts.call.time` of the longest

    ## Example

        plan wide for first on farm {
          mesh = [dp: 4]
          data over [dp]
          expect { devices == 8, experts.active == 20% }
        }

    ## Instead

        plan wide for first on farm {
          mesh = [dp: 8]
          data over [dp]
          expect { devices == 8, experts.active == 25% }
        }
    """
    yield from _find_claims(costs, False, False, "is false")


@lint("P307", Severity.INFO)
def claim_not_judged(costs: Costs) -> Iterator[Finding]:
    """A claim of `expect` cannot be judged: the file says too little, or the cost model does not cover the
    plan.

    Times need the figures of the device and of the links. Memory and parameters need the model's `shape`.

    ## Example

        plan wide for first on farm {
          mesh = [dp: 8]
          data over [dp]
          expect { mfu >= 60% }
        }

    ## Instead

        import "parc:h100"
        cluster farm { machine = h100, levels = [node: 8] }
        plan wide for first on farm {
          mesh = [dp: 8]
          data over [dp]
          expect { mfu >= 1% }
        }
    """
    for verdict in _judge(costs):
        if verdict.holds is None:
            message = f"the claim about `{verdict.claim.subject}` is not judged: {verdict.missing}"
            yield Finding(message, (Label(verdict.claim.span, "neither true nor false"),))


@lint("P320", Severity.WARNING)
def doubtful_claim(costs: Costs) -> Iterator[Finding]:
    """A claim of `expect` is predicted to be false, but the prediction may be off by more than that.

    `docs/accuracy.md` compares predictions with measured runs. Measure, or claim less.

    ## Example

        import "parc:h100"
        cluster farm { machine = h100, levels = [node: 8] }
        plan wide for first on farm {
          mesh = [dp: 8]
          data over [dp]
          expect { step_time < 320 ms }
        }

    ## Instead

        plan wide for first on farm {
          mesh = [dp: 8]
          data over [dp]
          expect { step_time < 10 s }
        }
    """
    yield from _find_claims(
        costs, False, True, "is predicted to be false, within the error of the prediction"
    )


@lint("P321", Severity.INFO)
def claim_barely_holds(costs: Costs) -> Iterator[Finding]:
    """A claim of `expect` is predicted to hold, but the prediction may be off by more than the margin.

    `docs/accuracy.md` compares predictions with measured runs.

    ## Example

        import "parc:h100"
        cluster farm { machine = h100, levels = [node: 8] }
        plan wide for first on farm {
          mesh = [dp: 8]
          data over [dp]
          expect { step_time < 370 ms }
        }

    ## Instead

        plan wide for first on farm {
          mesh = [dp: 8]
          data over [dp]
          expect { step_time < 10 s }
        }
    """
    yield from _find_claims(costs, True, True, "is predicted to hold, within the error of the prediction")


def _judge(costs: Costs) -> tuple[Verdict, ...]:
    """Where nothing is claimed, the cost model is not even imported."""
    if not costs.plan.expect:
        return ()
    from parc.check.claims.verdict import judge  # noqa: PLC0415 - start-up time

    return judge(costs)


def _find_claims(costs: Costs, holds: bool, doubtful: bool, outcome: str) -> Iterator[Finding]:
    for verdict in _judge(costs):
        if verdict.holds is holds and verdict.doubtful is doubtful:
            labels = tuple(_label(costs, verdict, outcome))
            advice = None if holds else Remedies(verdict)
            message = f"`{verdict.claim.subject}` is {verdict.value}"
            yield Finding(message, labels, tuple(_explain(costs, verdict)), advice=advice)


def _label(costs: Costs, verdict: Verdict, outcome: str) -> Iterator[Label]:
    claim, figure, value = verdict.claim, verdict.figure, verdict.value
    assert figure is not None
    claimed = claim.at("value").text
    if verdict.claimed != claim.value:
        claimed += f" ({format_quantity(verdict.claimed, figure.unit)})"
    yield Label(claim.span, f"{value} {claim.relation} {claimed} {outcome}")
    if claim.subject == "devices":
        yield Label(costs.plan.at("mesh"), f"{figure.how} = {value}", primary=False)
    elif "let" in claim.spans:
        yield Label(claim.at("let"), f"= {value}", primary=False)


def _explain(costs: Costs, verdict: Verdict) -> Iterator[str]:
    yield from verdict.format_derivation()
    if verdict.bound:
        yield "activations are not included, because they are not known"
    if verdict.mean:
        yield f"on average, because {verdict.mean}"
    if verdict.doubtful:
        yield f"predictions like this one are off by {verdict.error:.0%} on average"
    experts = costs.plan.train.model.shape.experts
    if verdict.claim.subject == "mfu" and experts and verdict.claimed > RECORD:
        yield OF_RECORD
