"""The user's model as graphs over global shapes, before any plan is laid over it."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from parc.capture import preconditions as legal
from parc.capture.experts.bank import Bank, find_banks
from parc.capture.experts.capture import capture_expert
from parc.capture.experts.trace import UnsupportedExperts
from parc.capture.export import export_model
from parc.capture.forward import Forward, record_forward
from parc.capture.graph import Body, lines_of, user_name
from parc.capture.module_signature import Signatures
from parc.capture.module_tree import Place, find_layers, find_places
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
    with promoted(compute):
        return _capture(plan, loaded)


def _capture(plan: Plan, loaded: Loaded) -> Captured:
    train, model = plan.train, plan.train.model
    objective = Objective(loaded.model, model.tokens, model.labels, train.loss.ignore_index)
    layers = find_layers(objective, model.shape.layers)
    _check_layers(model, objective, layers)
    banks = find_banks(objective, layers, model.experts)
    batch = train.batch.sequences // train.batch.microbatches
    tokens, labels = (
        torch.empty(batch, train.batch.length, dtype=torch.long, device="meta") for _ in range(2)
    )
    places = find_places(objective)
    signatures = Signatures(_beginnings(places, loaded))
    forward = _run(model, objective, layers, banks, signatures, tokens, labels)
    _check_sizes(model, objective, banks)
    _check_parameters(model, forward, places)
    root = _export(model, forward, places, signatures)
    experts = _experts(model, forward, banks, signatures)
    _check_used(model, places, root, experts, banks)
    return Captured(loaded, root, experts, banks, layers, objective.mean, objective.balanced)


def _check_layers(model: Model, objective: Objective, layers: str) -> None:
    count = model.shape.layers
    have = len(objective.get_submodule(layers)) if layers else 0  # type: ignore[arg-type]
    if count is not None and have != count:
        label = Label(model.shape.at("layers"), f"{count} here")
        raise Faulty(error("P504", f"`{model.source}` has {have} layers, the plan says {count}", label))


def _check_sizes(model: Model, objective: Objective, banks: Mapping[str, Bank]) -> None:
    """What the checks and the table of ranks have believed, against the model."""
    faults = []
    sizes = [("experts", bank.count) for bank in banks.values()] + [("vocab", objective.vocabulary)]
    for key, have in dict.fromkeys(sizes):
        stated = getattr(model.shape, key)
        if stated is not None and have is not None and stated != have:
            what = "experts a layer" if key == "experts" else "entries in its vocabulary"
            message = f"`{model.source}` has {have} {what}, the plan says {stated}"
            faults.append(error("P504", message, Label(model.shape.at(key), f"{stated} here")))
    if faults:
        raise Faulty(*faults)


def _check_parameters(model: Model, forward: Forward, places: Mapping[int, Sequence[Place]]) -> None:
    try:
        legal.parameters_train(places)
        legal.parameters_have_one_home(forward, places)
    except Illegal as fault:
        raise Faulty(error("P509", fault.reason, Label(model.at("source"), "built for this plan"))) from fault


def _check_used(
    model: Model,
    places: Mapping[int, Sequence[Place]],
    root: Body,
    experts: Mapping[str, Body],
    found: Mapping[str, Bank],
) -> None:
    try:
        legal.parameters_are_used(places, set(used_parameters(root, "", experts, found)))
    except Illegal as fault:
        raise Faulty(error("P509", fault.reason, Label(model.at("source"), "built for this plan"))) from fault


def _run(
    model: Model,
    objective: Objective,
    layers: str,
    banks: Mapping[str, Bank],
    signatures: Signatures,
    *inputs: Tensor,
) -> Forward:
    """One forward pass without data, to see which modules are called with what."""
    try:
        return record_forward(objective, layers, banks.keys(), signatures, *inputs)
    except Exception as fault:
        label = Label(model.at("source"), "run for this plan", primary=False)
        raise Faulty(
            error("P505", f"`{model.source}` does not run on its own: {_said(fault)}", *guilty(fault), label)
        ) from fault


def _export(
    model: Model, forward: Forward, places: Mapping[int, Sequence[Place]], signatures: Signatures
) -> Body:
    label = Label(model.at("source"), "captured for this plan", primary=False)
    try:
        return export_model(forward, places, signatures)
    except Illegal as fault:
        raise Faulty(error("P505", fault.reason, *line_of(fault.node), label)) from fault
    except Exception as fault:
        raise Faulty(
            error("P505", f"`{model.source}` cannot be captured: {_said(fault)}", *guilty(fault), label)
        ) from fault


def _beginnings(places: Mapping[int, Sequence[Place]], loaded: Loaded) -> dict[int, Hashable]:
    """How every tensor begins, by its id: modules that begin differently are not identical."""
    return {
        key: str(loaded.buffers[user_name(first.name)])
        if first.is_buffer
        else loaded.recipes[user_name(first.name)]
        for key, (first, *_) in places.items()
    }


def _experts(
    model: Model, forward: Forward, banks: Mapping[str, Bank], signatures: Signatures
) -> dict[str, Body]:
    """One expert of every module of experts that is called; modules that are alike share its body."""
    bodies: dict[object, Body] = {}
    experts = {}
    for path, call in forward.experts.items():
        key = signatures.number(forward.boundaries[path]), call
        if key not in bodies:
            bodies[key] = _expert(model, path, forward, banks[path], signatures)
        experts[path] = bodies[key]
    return experts


def _expert(model: Model, path: str, forward: Forward, bank: Bank, signatures: Signatures) -> Body:
    try:
        return capture_expert(forward.boundaries[path], bank, forward.experts[path], path, signatures)
    except UnsupportedExperts as fault:
        lines = lines_of(fault.node) if fault.node is not None else []
        where = line_label(lines[-1].file, lines[-1].number, "here") if lines else ()
        label = Label(model.at("experts"), "asked for by this plan", primary=False)
        message = f"the experts `{user_name(path)}` cannot be captured: {fault.reason}"
        raise Faulty(error("P506", message, *where, label)) from fault


def _said(fault: BaseException) -> str:
    return str(fault).strip().split("\n")[0] or type(fault).__name__
