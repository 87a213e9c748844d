"""The user's model as graphs over global shapes, before any plan is laid over it."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from parc.capture import preconditions as legal
from parc.capture.calls import Calls, layers_of
from parc.capture.expert import capture_expert
from parc.capture.expert_bank import Bank, banks
from parc.capture.export import Capture
from parc.capture.fold_routing import Unfoldable
from parc.capture.graph import Body, lines_of, user_name
from parc.capture.module_signature import signature
from parc.capture.objective import Objective
from parc.capture.preconditions import Illegal
from parc.capture.promotion import promoted
from parc.capture.used_parameters import used_parameters
from parc.capture.user_model import Faulty, Loaded, guilty, line_label, line_of, load
from parc.diagnostic import Label, error
from parc.plan.blocks import Model, Plan

DTYPES = {"fp32": torch.float32, "fp64": torch.float64, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Captured:
    """A model as graphs over global shapes, before any plan is laid over it."""

    loaded: Loaded
    root: Body
    experts: dict[str, Body]
    banks: dict[str, Bank]
    layers: str
    mean: bool
    balanced: bool


def capture(plan: Plan) -> Captured:
    """Import the model, build it without data, and capture it. Raises Faulty."""
    compute = DTYPES[plan.train.precision.compute]
    loaded = load(plan.train.model, compute)
    _check_layers(plan.train.model, loaded)
    with promoted(compute):
        return _capture(plan, loaded)


def _capture(plan: Plan, loaded: Loaded) -> Captured:
    train, model = plan.train, plan.train.model
    objective = Objective(loaded.model, model.tokens, model.labels, train.loss.ignore_index)
    layers = layers_of(objective, model.shape.layers)
    found = banks(objective, layers, model.experts)
    calls = Calls(objective, layers, set(found))
    batch = train.batch.sequences // train.batch.microbatches
    tokens, labels = (
        torch.empty(batch, train.batch.length, dtype=torch.long, device="meta") for _ in range(2)
    )
    _run(model, calls, objective, tokens, labels)
    _check_sizes(model, objective, found)
    _check_parameters(model, objective, calls)
    root = _captured(model, objective, calls, loaded, tokens, labels)
    experts = _experts(model, objective, found, calls, _beginnings(objective, loaded))
    _check_used(model, objective, root, experts, found)
    return Captured(loaded, root, experts, found, layers, objective.mean, objective.balanced)


def _check_layers(model: Model, loaded: Loaded) -> None:
    count = model.shape.layers
    path = layers_of(loaded.model, count)
    have = len(loaded.model.get_submodule(path)) if path else 0  # type: ignore[arg-type]
    if count is not None and have != count:
        label = Label(model.shape.at("layers"), f"{count} here")
        raise Faulty(error("P504", f"`{model.source}` has {have} layers, the plan says {count}", label))


def _check_sizes(model: Model, objective: Objective, found: Mapping[str, Bank]) -> None:
    """What the checks and the table of ranks have believed, against the model."""
    faults = []
    sizes = [("experts", bank.count) for bank in found.values()] + [("vocab", objective.vocabulary)]
    for key, have in dict.fromkeys(sizes):
        stated = getattr(model.shape, key)
        if stated is not None and have is not None and stated != have:
            what = "experts a layer" if key == "experts" else "entries in its vocabulary"
            message = f"`{model.source}` has {have} {what}, the plan says {stated}"
            faults.append(error("P504", message, Label(model.shape.at(key), f"{stated} here")))
    if faults:
        raise Faulty(*faults)


def _check_parameters(model: Model, objective: Objective, calls: Calls) -> None:
    try:
        legal.parameters_train(objective)
        legal.parameters_have_one_home(objective, calls.boundaries)
    except Illegal as fault:
        raise Faulty(error("P509", fault.reason, Label(model.at("source"), "built for this plan"))) from fault


def _check_used(
    model: Model, objective: Objective, root: Body, experts: Mapping[str, Body], found: Mapping[str, Bank]
) -> None:
    try:
        legal.parameters_are_used(objective, set(used_parameters(root, "", experts, found)))
    except Illegal as fault:
        raise Faulty(error("P509", fault.reason, Label(model.at("source"), "built for this plan"))) from fault


def _run(model: Model, calls: Calls, objective: Objective, tokens: Tensor, labels: Tensor) -> None:
    """One forward pass without data, to see which modules are called with what."""
    try:
        with calls.recording():
            objective(tokens, labels)
    except Exception as fault:
        label = Label(model.at("source"), "run for this plan", primary=False)
        raise Faulty(
            error("P505", f"`{model.source}` does not run on its own: {_said(fault)}", *guilty(fault), label)
        ) from fault


def _captured(
    model: Model, objective: Objective, calls: Calls, loaded: Loaded, tokens: Tensor, labels: Tensor
) -> Body:
    beginnings = _beginnings(objective, loaded)
    label = Label(model.at("source"), "captured for this plan", primary=False)
    try:
        return Capture(objective, calls, beginnings).whole(tokens, labels)
    except Illegal as fault:
        raise Faulty(error("P505", fault.reason, *line_of(fault.node), label)) from fault
    except Exception as fault:
        raise Faulty(
            error("P505", f"`{model.source}` cannot be captured: {_said(fault)}", *guilty(fault), label)
        ) from fault


def _beginnings(objective: Objective, loaded: Loaded) -> dict[int, Hashable]:
    """How every tensor begins, by its id: modules that begin differently are not identical."""
    found: dict[int, Hashable] = {}
    for name, parameter in objective.named_parameters():
        found[id(parameter)] = loaded.recipes[user_name(name)]
    for name, buffer in objective.named_buffers():
        found[id(buffer)] = str(loaded.buffers[user_name(name)])
    return found


def _experts(
    model: Model,
    objective: Objective,
    found: Mapping[str, Bank],
    calls: Calls,
    beginnings: dict[int, Hashable],
) -> dict[str, Body]:
    """One expert of every module of experts; modules that are identical share its body."""
    bodies: dict[object, Body] = {}
    experts = {}
    for path, bank in found.items():
        if path in calls.experts:
            key = signature(objective.get_submodule(path), beginnings), calls.experts[path]
            if key not in bodies:
                bodies[key] = _expert(model, objective, path, bank, calls, beginnings)
            experts[path] = bodies[key]
    return experts


def _expert(
    model: Model, objective: Objective, path: str, bank: Bank, calls: Calls, beginnings: dict[int, Hashable]
) -> Body:
    module = objective.get_submodule(path)
    try:
        return capture_expert(module, bank, calls.experts[path], path, beginnings)
    except Unfoldable as fault:
        lines = lines_of(fault.node) if fault.node is not None else []
        where = line_label(lines[-1].file, lines[-1].number, "here") if lines else ()
        label = Label(model.at("experts"), "asked for by this plan", primary=False)
        message = f"the experts `{user_name(path)}` cannot be captured: {fault.reason}"
        raise Faulty(error("P506", message, *where, label)) from fault


def _said(fault: BaseException) -> str:
    return str(fault).strip().split("\n")[0] or type(fault).__name__
