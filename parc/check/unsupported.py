"""What the language allows and `parc build` does not build yet. For building, not for `parc check`.

As in a rule, the docstring is the page: its example checks clean and is refused by building.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from parc.check.registry import Finding, Registry
from parc.diagnostic import Diagnostic, Label, Severity
from parc.plan.blocks import Launch, Plan
from parc.source import Span

LIMITS: Registry[Plan] = Registry()
limit = LIMITS.declare


def find_unsupported(plan: Plan, launches: Iterable[Launch] = ()) -> tuple[Diagnostic, ...]:
    """Why the plan cannot be built; warnings are what it is built without."""
    found = [detected.diagnose() for check in LIMITS.checks for detected in check.detect(plan)]
    for launch in launches:
        if launch.plan == plan.name and launch.kind != "torchrun":
            message = f"launch files for `{launch.kind}` are not supported yet"
            label = Label(launch.span, "start the program with `launch/torchrun.sh`")
            found.append(Diagnostic("P408", Severity.WARNING, message, (label,)))
    return tuple(found)


def _refuse(what: str, span: Span, instead: str) -> Finding:
    return Finding(
        f"{what} is not supported by `parc build` yet", (Label(span, "not supported yet"),), help=instead
    )


@limit("P402")
def partly_split_tensors(plan: Plan) -> Iterator[Finding]:
    """Experts use some of the axes of `tensor` and leave others out, so that several ranks would compute the
    same experts on the same tokens.

    What the ranks of `tensor` compute is added up over all of its axes at once, which would count such terms
    several times. With `sequence = true` each rank has tokens of its own, and experts may be distributed over
    any of the axes.

    ## Example

        plan wide for first on farm {
          mesh = [a: 2, b: 2]
          tensor  over [a, b]
          experts over [a]
        }

    ## Instead

        plan wide for first on farm {
          mesh = [a: 2, b: 2]
          tensor  over [a, b]
          experts over [a] { tensor = [b] }
        }
    """
    experts, tensor = plan.experts, plan.tensor
    if experts is None or tensor is None:
        return
    axes = {axis for axis in tensor.axes if plan.mesh.axis(axis).size > 1}
    used, split = axes.intersection((*experts.axes, *experts.tensor)), axes.intersection(experts.tensor)
    left = [axis for axis in tensor.axes if axis in axes - used]
    if used and left and (split or not tensor.sequence):
        named = " and ".join(f"`{axis}`" for axis in left)
        listed = ", ".join((*experts.tensor, *left))
        yield _refuse(
            f"`experts` over a part of the axes of `tensor`, without {named},",
            experts.at("tensor" if split else "axes"),
            f"`tensor = [{listed}]` of `experts` splits each expert over {named} too",
        )
