"""`expect { .. }`: what the plan claims of itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from parc.check.registry import Finding, rule
from parc.diagnostic import Label, Severity
from parc.plan.blocks import Plan

if TYPE_CHECKING:
    from parc.check.claims.verdict import Verdict

RECORD = 0.522
OF_RECORD = (
    "the best published bf16 run of a model with experts that is known here has 52.2%:"
    " Mixtral 8x22B on 128 H100s, arXiv:2504.14960"
)


@rule("P306")
def false_claim(plan: Plan) -> Iterator[Finding]:
    """A claim of `expect` does not hold.

    A claim is a subject, a relation and a value. `==` holds if the figure rounds to the digits that the claim
    is written with: `parameters == 30e9` claims two of them. A subject is one of these, or a constant of
    `let`, for arithmetic of your own:

    - `devices`
    - `parameters` of the model, `parameters.active` in one token's matmuls, `parameters.experts`;
      `parameters.device` and `parameters.device.experts` of the fullest device, `parameters.stage_0`
    - `experts.local`: experts of one layer on one device; `experts.active`: the share that a token meets
    - `flops` of a step, `flops.device`
    - `memory.peak`, `.parameters`, `.gradients`, `.optimizer`, `.activations`, `.logits` of the fullest
      device, in bytes or as a share of its memory; `memory.stage_0.peak` and so on
    - `step_time`, `mfu`, `tokens_per_second`, `sequences_per_second`, `bubble`
    - of `data`, `tensor`, `experts` and `pipeline`: `experts.ranks` of one group, `experts.groups`,
      `experts.stride` from one rank of a group to the next, `experts.nodes` that a group touches (or units of
      another level of the cluster), `experts.buffers` that one device gives to these groups in a step,
      `experts.sent` of them over the network, `experts.time`, `experts.call.buffer` of the largest call,
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
    for verdict in _verdicts(plan):
        if verdict.holds is False and not verdict.doubtful:
            yield _finding(plan, verdict, "is false")


@rule("P307", Severity.INFO)
def claim_not_judged(plan: Plan) -> Iterator[Finding]:
    """A claim of `expect` cannot be judged: the file says too little, or the cost model does not cover it.

    It is neither confirmed nor refuted. Times need the figures of the device and of the links between
    devices; memory and parameters need the model's `shape`.

    ## Example

        plan wide for first on farm {
          mesh = [dp: 8]
          data over [dp]
          expect { mfu >= 60% }
        }

    ## Instead

        cluster farm {
          levels = [node: 8]
          device { compute = 989 TFLOPS, memory = 80 GB, memory_bandwidth = 3.35 TB/s }
          link node { bandwidth = 450 GB/s, latency = 3 us }
        }
        plan wide for first on farm {
          mesh = [dp: 8]
          data over [dp]
          expect { mfu >= 1% }
        }
    """
    for verdict in _verdicts(plan):
        if verdict.holds is None:
            message = f"the claim about `{verdict.claim.subject}` is not judged: {verdict.missing}"
            yield Finding(message, (Label(verdict.claim.span, "neither true nor false"),))


@rule("P320", Severity.WARNING)
def doubtful_claim(plan: Plan) -> Iterator[Finding]:
    """A claim of `expect` does not hold by an estimate, but the estimate may be off by more than it fails.

    `docs/accuracy.md` says how far predictions are from measured runs. Measure, or claim less.

    ## Example

        cluster farm {
          levels = [node: 8]
          device { compute = 989 TFLOPS, memory = 80 GB, memory_bandwidth = 3.35 TB/s }
          link node { bandwidth = 450 GB/s, latency = 3 us }
        }
        plan wide for first on farm {
          mesh = [dp: 8]
          data over [dp]
          expect { step_time < 320 ms }
        }

    ## Instead

        cluster farm {
          levels = [node: 8]
          device { compute = 989 TFLOPS, memory = 80 GB, memory_bandwidth = 3.35 TB/s }
          link node { bandwidth = 450 GB/s, latency = 3 us }
        }
        plan wide for first on farm {
          mesh = [dp: 8]
          data over [dp]
          expect { step_time < 10 s }
        }
    """
    for verdict in _verdicts(plan):
        if verdict.holds is False and verdict.doubtful:
            yield _finding(plan, verdict, "is false as predicted, and near")


@rule("P321", Severity.INFO)
def claim_barely_holds(plan: Plan) -> Iterator[Finding]:
    """A claim of `expect` holds by an estimate, but by less than the estimate may be off.

    `docs/accuracy.md` says how far predictions are from measured runs.

    ## Example

        cluster farm {
          levels = [node: 8]
          device { compute = 989 TFLOPS, memory = 80 GB, memory_bandwidth = 3.35 TB/s }
          link node { bandwidth = 450 GB/s, latency = 3 us }
        }
        plan wide for first on farm {
          mesh = [dp: 8]
          data over [dp]
          expect { step_time < 350 ms }
        }

    ## Instead

        cluster farm {
          levels = [node: 8]
          device { compute = 989 TFLOPS, memory = 80 GB, memory_bandwidth = 3.35 TB/s }
          link node { bandwidth = 450 GB/s, latency = 3 us }
        }
        plan wide for first on farm {
          mesh = [dp: 8]
          data over [dp]
          expect { step_time < 10 s }
        }
    """
    for verdict in _verdicts(plan):
        if verdict.holds is True and verdict.doubtful:
            yield _finding(plan, verdict, "holds as predicted, but barely")


def _verdicts(plan: Plan) -> tuple[Verdict, ...]:
    """Where nothing is claimed, the cost model is not even imported."""
    if not plan.expect:
        return ()
    from parc.check.claims.verdict import judge

    return judge(plan)


def _finding(plan: Plan, verdict: Verdict, outcome: str) -> Finding:
    from parc.check.advice.claim_remedies import remedies
    from parc.cost.figure import format_quantity

    claim, figure = verdict.claim, verdict.figure
    assert figure is not None
    value = verdict.told
    claimed = claim.at("value").text
    if verdict.claimed != claim.value:
        claimed += f" ({format_quantity(verdict.claimed, figure.unit)})"
    labels = [Label(claim.span, f"{value} {claim.relation} {claimed} {outcome}")]
    if claim.subject == "devices":
        labels.append(Label(plan.at("mesh"), f"{figure.how} = {value}", primary=False))
    elif "let" in claim.spans:
        labels.append(Label(claim.at("let"), f"= {value}", primary=False))
    notes = list(verdict.derivation())
    if verdict.bound:
        notes.append("activations come on top, which are not known")
    if verdict.mean:
        notes.append(f"in the mean, as {verdict.mean}")
    if verdict.doubtful:
        notes.append(f"predictions like this one are {verdict.error:.0%} off in the mean")
    if claim.subject == "mfu" and plan.train.model.shape.experts and verdict.claimed > RECORD:
        notes.append(OF_RECORD)
    found = remedies(plan, verdict) if verdict.holds is False else ()
    return Finding(f"`{claim.subject}` is {value}", tuple(labels), tuple(notes), "; ".join(found) or None)
