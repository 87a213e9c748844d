"""Faults of `keep_fp32`: what cannot stay in fp32 beside a model that computes in another type."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager

from parc.capture.model.kept_modules import PartlyKept, find_not_called
from parc.capture.model.user_model import UserModel
from parc.capture.source_lines import label_class
from parc.diagnostic import CompileError, Label, error
from parc.plan.blocks import Plan
from parc.plan.schema.train import KEPT_KINDS
from parc.plan.suggest import suggest_spelling


@contextmanager
def report_partly_kept(plan: Plan) -> Iterator[None]:
    """Raises CompileError for a module of whose parameters some are kept."""
    try:
        yield
    except PartlyKept as fault:
        label = Label(plan.train.precision.at("keep_fp32"), "asked for here")
        cure = "keep both, or give what is kept a module of its own: casts are made where a module is called"
        raise CompileError(
            error("P521", str(fault), label, *label_class(fault.owner, "in this class"), help=cure)
        ) from fault


def check_selection(plan: Plan, selects_nothing: Iterable[int], names: Collection[str]) -> None:
    """Raises CompileError for entries of `keep_fp32` that are none of the parameters `names`.

    `selects_nothing` are the places of these entries. The model of a sample may lack what the plan names.
    """
    precision, model = plan.train.precision, plan.train.model
    faults = []
    for place in selects_nothing:
        entry = precision.keep_fp32[place]
        label = Label(precision.at(f"keep_fp32.{place}"), "names nothing")
        what, cure = f"no parameter of the kind `{entry}`", "leave it out"
        if entry not in KEPT_KINDS:
            what = f'no parameter like "{entry}"'
            others = 'a glob matches whole names of the model\'s parameters, such as "head.*"'
            cure = suggest_spelling(entry, names) or others
        faults.append(error("P521", f"`{model.source}` has {what}", label, help=cure))
    if faults:
        raise CompileError(*faults)


def check_kept(
    plan: Plan, user: UserModel, kept: Iterable[str], experts: Iterable[str], called: Iterable[str]
) -> None:
    """Raises CompileError where parameters of experts are kept, or those of a module that is not called.

    `experts` and `called` are paths of modules in the user's model. A module whose inputs are cast notes its
    own calls.
    """
    label = Label(plan.train.precision.at("keep_fp32"), "asked for here")
    banks = tuple(f"{path}." for path in experts)
    if found := next((name for name in kept if name.startswith(banks)), None):
        message = f"`{found}` is one of the parameters of experts, which are in the type of `compute`"
        raise CompileError(error("P521", message, label, help="leave experts out of `keep_fp32`"))
    ran = [path for path in user.kept_modules if id(user.module.get_submodule(path)) in user.called]
    if idle := find_not_called(user.kept_modules, [*ran, *called]):
        message = f"`{idle}` is to compute in fp32, and is not called: `forward` reads its parameters itself"
        place = label_class(type(user.module.get_submodule(idle)), "this module")
        raise CompileError(
            error("P521", message, label, *place, help="call the module, which casts its inputs")
        )
