"""`expect { .. }`: what the plan claims of itself."""

from __future__ import annotations

import operator
from collections.abc import Iterator

from parc.check.registry import Finding, rule
from parc.diagnostic import Label, Severity
from parc.plan.facts import Plan

RELATIONS = {
    "==": operator.eq,
    "!=": operator.ne,
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}


@rule("P306")
def false_claim(plan: Plan) -> Iterator[Finding]:
    """A claim of `expect` does not hold.

    ## Example

        plan wide for first on farm {
          mesh = [dp: 4]
          data over [dp]
          expect { devices == 8 }
        }

    ## Instead

        plan wide for first on farm {
          mesh = [dp: 8]
          data over [dp]
          expect { devices == 8 }
        }
    """
    for claim in plan.expect:
        if claim.subject == "devices" and not RELATIONS[claim.relation](plan.mesh.size, claim.value):
            sizes = " x ".join(str(axis.size) for axis in plan.mesh.axes)
            yield Finding(
                f"the plan uses {plan.mesh.size:,} devices",
                (
                    Label(claim.span, f"{plan.mesh.size:,} {claim.relation} {claim.value:,} is false"),
                    Label(plan.at("mesh"), f"{sizes} = {plan.mesh.size:,}", primary=False),
                ),
            )


@rule("P307", Severity.INFO)
def claim_not_judged(plan: Plan) -> Iterator[Finding]:
    """A claim of `expect` is understood, but nothing derives its figure yet.

    It is neither confirmed nor refuted: memory, step time and utilisation need the cost model.

    ## Example

        plan wide for first on farm {
          mesh = [dp: 8]
          data over [dp]
          expect { mfu >= 60% }
        }

    ## Instead

        plan wide for first on farm {
          mesh = [dp: 8]
          data over [dp]
          expect { devices == 8 }
        }
    """
    for claim in plan.expect:
        if claim.subject != "devices":
            message = f"the claim about `{claim.subject}` is not judged yet"
            yield Finding(message, (Label(claim.span, "neither true nor false"),))
