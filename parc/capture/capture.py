"""The user's model as graphs over global shapes, before any plan is laid over it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Container, Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import fx, nn

from parc.capture import preconditions
from parc.capture.calls import NotExperts
from parc.capture.experts.bank import Bank, find_banks
from parc.capture.experts.capture import capture_expert
from parc.capture.experts.idle import has_gradient_when_idle
from parc.capture.experts.trace import UnsupportedExperts
from parc.capture.export import export_model
from parc.capture.forward import Forward, make_experts_run, record_forward
from parc.capture.graph import Body, find_sources, get_user_name
from parc.capture.hidden_code import HiddenCode, find_hooks, observe_forward
from parc.capture.inline.block import LoopInBlock, find_expert_lists
from parc.capture.inline.split import Inseparable
from parc.capture.kept_faults import check_kept, report_partly_kept
from parc.capture.kept_parameters import select_by_kind, select_by_name
from parc.capture.left_results import CURE, ChangedArgument, Left, find_left_tensors, list_left_tensors
from parc.capture.model.initial_values import STORED
from parc.capture.model.objective import Objective
from parc.capture.model.promotion import promote_casts
from parc.capture.model.recipes import Recipe, Unrecorded
from parc.capture.model.signatures import Signatures
from parc.capture.model.stored_values import store_values
from parc.capture.model.tree import TensorSlots, find_layers, find_tensor_slots
from parc.capture.model.user_model import UserModel, load_model
from parc.capture.model_sizes import NOUNS, list_sizes
from parc.capture.preconditions import Illegal
from parc.capture.sizes import BatchSize
from parc.capture.source_lines import (
    Line,
    describe_fault,
    label_class,
    label_fault,
    label_line,
    label_operation,
)
from parc.capture.symbols import FixedSizes, find_symbols
from parc.capture.token_tables import count_known_ids
from parc.capture.torch_faults import CONTRACT, VALUES, read_fault
from parc.capture.used_parameters import list_used_parameters
from parc.collector import pause_collector
from parc.diagnostic import CompileError, Diagnostic, Label, error
from parc.plan.blocks import TORCH_NAMES, Model, Plan
from parc.plan.schema.train import KEPT_KINDS

SHOWN = 2  # attributes that a message lists
EXPERTS = (
    "every expert takes the rows of its tokens and nothing else, and treats each row alike: "
    "docs/models.md has an example"
)
OF_ITS_OWN = "put them into a module whose `forward` takes tokens, indices and weights"
DTYPES: dict[str, torch.dtype] = {
    name: getattr(torch, full.removeprefix("torch.")) for name, full in TORCH_NAMES.items()
}


@dataclass(frozen=True)
class Captured:
    """A model as graphs over global shapes, before any plan is laid over it."""

    root: Body
    experts: dict[str, Body]  # the body of one expert, by the path of the module of experts
    banks: dict[str, Bank]
    layers: str  # the path of the list of layers
    layer_count: int
    fixed: tuple[FixedSizes, ...]  # what of the batch the graphs are bound to
    shapes: dict[str, torch.Size]  # of parameters, by their names in the user's model
    recipes: dict[str, Recipe]  # how they begin, likewise
    stored: bytes  # the file of the initial values that no recipe expresses; empty without any
    buffers: dict[str, fx.Graph]  # what computes buffers, likewise
    stored_buffers: bool  # whether some of them are stored
    mean: bool  # whether the model returns a loss itself
    balanced: bool  # whether it returns a balance loss too
    known_ids: int | None  # ids from 0 that its tables of tokens and its logits have room for
    promoted: tuple[Line, ...]  # where it casts to less than it computes in here, which is float64
    kept_modules: tuple[str, ...] = ()  # that compute in fp32 by `keep_fp32`, by their paths there
    kept: frozenset[str] = frozenset()  # the parameters of these modules, by name
    selects_nothing: tuple[int, ...] = ()  # places of the entries of `keep_fp32` that no parameter is


@dataclass(frozen=True)
class _Structure:
    """What is known of a model before it runs."""

    objective: Objective
    layers: str
    layer_count: int
    banks: dict[str, Bank]
    places: TensorSlots
    stored: dict[str, Unrecorded]  # the parameters that are stored, and why
    signatures: Signatures
    left: Left  # what modules hold tensors in, before they run


@pause_collector()
def capture(plan: Plan) -> Captured:
    """Import the model, build it without data, and capture it. Raises CompileError."""
    model, compute = plan.train.model, DTYPES[plan.train.precision.compute]
    kept, idle = _select_kept(plan, compute)
    with report_partly_kept(plan):
        user = load_model(model, compute, plan.train.seed, kept)
    with promote_casts(compute) as promoted, _refuse_hidden_code(model, user):
        structure, forward = _run_model(plan, user)
        _check_sizes(model, structure)
        _check_parameters(model, structure, forward)
        check_kept(plan, user, kept, map(get_user_name, structure.banks), map(get_user_name, forward.calls))
        root = _export(model, structure, forward)
        _check_shape(model, structure, root)
        _check_results(model, structure, root)
        _check_experts(plan, forward)
        experts = _capture_experts(model, structure, forward)
        _check_idle_experts(plan, structure, forward)
        fixed = _find_symbols(structure, root, _read_batch(plan))
    _check_used(model, structure, root, experts)
    objective = structure.objective
    recipes = user.recipes | dict.fromkeys(structure.stored, STORED)
    reasons = structure.stored | user.unrecorded_buffers
    stored = store_values(model, plan.train.seed, user.module, reasons)
    parameters = (first for first, *_ in structure.places.values() if not first.is_buffer)
    known = [rows for rows in (count_known_ids(root), objective.vocabulary) if rows is not None]
    return Captured(
        root,
        experts,
        structure.banks,
        structure.layers,
        structure.layer_count,
        fixed,
        {get_user_name(each.name): each.tensor.shape for each in parameters},
        recipes,
        stored,
        user.buffers,
        bool(user.unrecorded_buffers),
        objective.mean,
        objective.balanced,
        min(known, default=None),
        tuple(sorted(promoted)),
        user.kept_modules,
        frozenset(kept),
        idle,
    )


def _select_kept(plan: Plan, compute: torch.dtype) -> tuple[list[str], tuple[int, ...]]:
    """The parameters that `keep_fp32` names, and the places of its entries that name none.

    What is a norm or a router is read off a capture without any that are kept.
    """
    entries, model = plan.train.precision.keep_fp32, plan.train.model
    if not entries:
        return [], ()
    user = load_model(model, compute, plan.train.seed)
    names = [name for name, _ in user.module.named_parameters()]
    selected = {entry: set(select_by_name(names, entry)) for entry in entries}
    if kinds := [entry for entry in entries if entry in KEPT_KINDS]:
        with promote_casts(compute), _refuse_hidden_code(model, user):
            structure, forward = _run_model(plan, user)
            _check_parameters(model, structure, forward)
            root = _export(model, structure, forward)
        selected |= {kind: set(select_by_kind(root, kind)) for kind in kinds}
    kept = set[str]().union(*selected.values())
    idle = tuple(place for place, entry in enumerate(entries) if not selected[entry])
    return [name for name in names if name in kept], idle


def _find_stored(user: UserModel, banks: Mapping[str, Bank]) -> dict[str, Unrecorded]:
    """The parameters that are stored, and why: those of experts are drawn expert by expert, and all alike."""
    found, owners = dict(user.unrecorded), {get_user_name(path): bank for path, bank in banks.items()}
    alike: dict[tuple[str, str], list[str]] = defaultdict(list)  # what the program stacks in one parameter
    for name, recipe in user.recipes.items():
        parts = name.split(".")
        for depth in range(1, len(parts)):
            path = ".".join(parts[:depth])
            if (bank := owners.get(path)) is None:
                continue
            alike[path, bank.locate_expert(".".join(parts[depth:]))[1]].append(name)
            if bank.list_name is None and any(call in ("row_zero", "orthogonal_") for call, *_ in recipe):
                found[name] = Unrecorded("is not that of each expert alone")
    for names in alike.values():
        if len({user.recipes[name] for name in names}) > 1:
            found |= {name: Unrecorded("is not that of the other experts") for name in names}
    return found


@contextmanager
def _refuse_hidden_code(model: Model, user: UserModel) -> Iterator[None]:
    """Raises CompileError for what the model does beside the graph of `forward`, also where that fails."""
    found = list(find_hooks(user.module))
    try:
        if not found:
            with observe_forward(found):
                yield
    except CompileError:
        if not found:
            raise
    if found:
        raise CompileError(*(_report_hidden(model, each) for each in found))


def _report_hidden(model: Model, code: HiddenCode) -> Diagnostic:
    message = f"{code.what} is not part of the graph of `forward`, and would be lost"
    line = label_line(*code.line, "here") if code.line else ()
    label = Label(model.at("source"), "captured for this plan", primary=False)
    return error("P515", message, *line, label, help=code.cure)


def _run_model(plan: Plan, user: UserModel) -> tuple[_Structure, Forward]:
    """The structure of a model and its forward pass, which shows what of it is called as experts are."""
    model, others, loops = plan.train.model, set[type](), set[type]()
    while True:
        structure = _find_structure(user, plan, others, loops)
        try:
            return structure, _record_forward(model, structure, _read_batch(plan), loops)
        except (
            NotExperts
        ) as fault:  # weights or modules that look like experts: every token meets all of them
            others.add(type(structure.objective.get_submodule(fault.path)))
        except LoopInBlock as fault:  # which is tried again, with the loop taken for a module of experts
            loops.add(type(structure.objective.get_submodule(fault.path)))


def _find_structure(
    user: UserModel, plan: Plan, others: Container[type], loops: Collection[type]
) -> _Structure:
    """`others` are the classes of modules that have the structure of experts without being experts, `loops`
    those of blocks that have a loop over their experts.
    """
    model = plan.train.model
    objective = Objective(user.module, model.tokens, model.labels, plan.train.loss.ignore_index)
    layers = find_layers(objective, model.shape.layers)
    count = len(objective.get_submodule(layers)._modules) if layers else 0
    lists = find_expert_lists(objective, loops)
    banks, places = find_banks(objective, layers, model.experts, others, lists), find_tensor_slots(objective)
    stored = _find_stored(user, banks)
    signatures = Signatures(_key_initial_values(user, places, banks, stored))
    left = list_left_tensors(user.module)
    return _Structure(objective, layers, count, banks, places, stored, signatures, left)


def _key_initial_values(
    user: UserModel, places: TensorSlots, banks: Mapping[str, Bank], stored: Container[str]
) -> dict[int, Hashable]:
    """What modules that are alike have in common of initial values, by the ids of tensors.

    Those of buffers, and of the experts of a list. Other parameters may begin differently, such as those
    whose deviation is scaled with depth.
    """
    lists = tuple(f"{path}." for path, bank in banks.items() if bank.list_name is not None)
    found: dict[int, Hashable] = {}
    for key, (first, *_) in places.items():
        name = get_user_name(first.name)
        if first.is_buffer:
            found[key] = str(user.buffers[name])
        elif first.name.startswith(lists):
            found[key] = STORED if name in stored else user.recipes[name]
    return found


def _read_batch(plan: Plan) -> BatchSize:
    batch = plan.train.batch
    return BatchSize(batch.sequences // batch.microbatches, batch.length)


def _run_forward(structure: _Structure, batch: BatchSize) -> Forward:
    """One forward pass without data, to see which modules are called with what."""
    inputs = (torch.empty(batch.sequences, batch.length, dtype=torch.long, device="meta") for _ in range(2))
    banks = structure.banks.keys()
    return record_forward(structure.objective, structure.layers, banks, structure.signatures, *inputs)


def _record_forward(model: Model, structure: _Structure, batch: BatchSize, loops: Container[type]) -> Forward:
    """Raises LoopInBlock for a block of a class that is not among `loops`, which have been tried."""
    try:
        return _run_forward(structure, batch)
    except Exception as caught:
        fault: BaseException = caught
        if isinstance(fault, LoopInBlock):
            if type(structure.objective.get_submodule(fault.path)) not in loops:
                raise
            fault = fault.__cause__ or fault
        if isinstance(fault, NotExperts) and model.experts is None:
            raise
        label = Label(model.at("source"), "run for this plan", primary=False)
        what, cure = read_fault(fault)
        place = label_fault(fault)
        if isinstance(fault, Inseparable):
            what, cure = f"{VALUES.what}; as a loop over experts {fault.reason}", VALUES.cure
            place = label_operation(fault.node)
        if isinstance(fault, ChangedArgument):
            what, cure = f"hands a list down: {fault}", CURE
            place = label_class(fault.kind, "in this class")
        else:
            what, cure = _explain_left(structure, what, cure)
        place = place or label_class(type(structure.objective.model), "in this class")
        raise CompileError(error("P505", f"`forward` {what}", *place, label, help=cure)) from fault


def _find_symbols(structure: _Structure, root: Body, batch: BatchSize) -> tuple[FixedSizes, ...]:
    def capture_at(other: BatchSize) -> Body:
        return export_model(_run_forward(structure, other), structure.places, structure.signatures)

    return find_symbols(root, batch, capture_at)


def _check_sizes(model: Model, structure: _Structure) -> None:
    """The numbers of layers and of entries in the vocabulary, on which the capture itself relies."""
    vocabulary = structure.objective.vocabulary
    known = set() if vocabulary is None else {vocabulary}
    _refuse_other_sizes(model, {"layers": {structure.layer_count}, "vocab": known})


def _check_shape(model: Model, structure: _Structure, root: Body) -> None:
    """What the checks and the table of ranks have believed, against the model."""
    sizes = list_sizes(root, structure.layers, structure.banks, structure.objective, structure.signatures)
    _refuse_other_sizes(model, sizes)


def _refuse_other_sizes(model: Model, sizes: Mapping[str, set[int]]) -> None:
    """Raises CompileError where a key of `shape` has a value that the model has not."""
    faults = []
    for key, have in sizes.items():
        stated = getattr(model.shape, key)
        if stated is not None and have and stated not in have:
            listed = " or ".join(f"{size:,}" for size in sorted(have))
            message = f"`{model.source}` has {listed} {NOUNS[key]}, the plan says {stated:,}"
            faults.append(error("P504", message, Label(model.shape.at(key), f"{stated:,} here")))
    if faults:
        raise CompileError(*faults)


def _check_results(model: Model, structure: _Structure, root: Body) -> None:
    """Refuses a scalar beside logits that depends on the labels: it is a loss, and no balance loss."""
    objective = structure.objective
    if objective.mean or not objective.balanced or objective.labels is None:
        return
    labels, scalar = root.inputs()[1], root.results()[1]
    if labels in find_sources(scalar):
        message = "`forward` returns logits and a loss that is made of labels: which is trained on?"
        label = Label(model.at("source"), "captured for this plan", primary=False)
        cure = "return the loss alone, or the loss and a balance loss"
        raise CompileError(error("P505", message, *label_operation(scalar), label, help=cure))


def _check_experts(plan: Plan, forward: Forward) -> None:
    """`experts over` has experts to distribute."""
    if plan.experts is not None and not forward.experts:
        message = f"`{plan.train.model.source}` has no module of experts that `experts over` could distribute"
        label = Label(plan.experts.span, "asked for by this plan")
        raise CompileError(error("P506", message, label, help=OF_ITS_OWN))
    approximate = plan.train.approximate
    if approximate and approximate.capacity is not None and forward.splits:
        path, *_ = forward.splits
        message = (
            f"the experts `{get_user_name(path)}` are called in a loop of a block, which has no capacity"
        )
        label = Label(approximate.at("capacity"), "asked for by this plan")
        raise CompileError(error("P506", message, label, help=OF_ITS_OWN))


def _check_idle_experts(plan: Plan, structure: _Structure, forward: Forward) -> None:
    """`idle_experts = skip` is what AdamW does with the gradients of the model itself."""
    if plan.train.optimizer.idle_experts == "update":
        return
    label = Label(plan.train.optimizer.at("idle_experts"), "asked for here")
    cure = "`idle_experts = update`, as when the key is left out"
    if not forward.experts:
        message = f"`{plan.train.model.source}` has no module of experts that `idle_experts = skip` is about"
        raise CompileError(error("P519", message, label, help="leave the key out"))
    alike = {
        _key_experts(structure, forward, path): path for path in reversed(forward.experts)
    }  # the first of each kind
    for path in alike.values():
        module = forward.boundaries[path]
        with make_experts_run(forward, path):
            idle = has_gradient_when_idle(module, structure.banks[path], forward.experts[path])
        if idle:
            message = (
                f"an expert of `{get_user_name(path)}` that gets no token has a gradient of zero, so that "
                "AdamW updates it on one device"
            )
            raise CompileError(
                error("P519", message, label, *label_class(type(module), "the experts"), help=cure)
            )


def _check_parameters(model: Model, structure: _Structure, forward: Forward) -> None:
    with _report_illegal_parameters(model, structure.objective.model):
        preconditions.check_parameters_train(structure.places)
        preconditions.check_parameters_have_one_home(forward, structure.places)


def _check_used(model: Model, structure: _Structure, root: Body, experts: Mapping[str, Body]) -> None:
    with _report_illegal_parameters(model, structure.objective.model):
        used = set(list_used_parameters(root, "", experts, structure.banks))
        preconditions.check_parameters_are_used(structure.places, used)


@contextmanager
def _report_illegal_parameters(model: Model, module: nn.Module) -> Iterator[None]:
    try:
        yield
    except Illegal as fault:
        place = label_class(type(module), "in this class")
        label = Label(model.at("source"), "built for this plan", primary=not place)
        raise CompileError(error("P509", fault.reason, *place, label, help=fault.cure)) from fault


def _export(model: Model, structure: _Structure, forward: Forward) -> Body:
    label = Label(model.at("source"), "captured for this plan", primary=False)
    try:
        return export_model(forward, structure.places, structure.signatures)
    except Illegal as fault:
        line = label_operation(fault.node)
        raise CompileError(error("P505", fault.reason, *line, label, help=fault.cure)) from fault
    except Exception as fault:
        if isinstance(fault, ValueError):
            message, cure = f"`{model.source}` cannot be captured: {describe_fault(fault)}", CONTRACT
        else:
            what, cure = read_fault(fault)
            message = f"`forward` {what}"
        message, cure = _explain_left(structure, message, cure)
        raise CompileError(error("P505", message, *label_fault(fault), label, help=cure)) from fault


def _explain_left(structure: _Structure, message: str, cure: str) -> tuple[str, str]:
    """A message and its cure; other ones where modules have left tensors in attributes."""
    left = find_left_tensors(structure.objective.model, structure.left)
    if not left:
        return message, cure
    listed = " and ".join(f"`{name}`" for name in left[:SHOWN]) + ", .." * (len(left) > SHOWN)
    return f"{message}; a module leaves tensors in {listed}, which no caller gets", CURE


def _capture_experts(model: Model, structure: _Structure, forward: Forward) -> dict[str, Body]:
    """One expert of every module of experts that is called; modules that are alike share its body."""
    bodies: dict[object, Body] = {}
    experts = {}
    for path in forward.experts:
        key = _key_experts(structure, forward, path)
        if key not in bodies:
            bodies[key] = _capture_expert(model, path, forward, structure)
        experts[path] = bodies[key]
    return experts


def _key_experts(structure: _Structure, forward: Forward, path: str) -> Hashable:
    """Equal for modules of experts that are alike, and are called alike."""
    owner = path.rpartition(".")[0] if path in forward.splits else path
    return structure.signatures.number(forward.boundaries[owner]), forward.experts[path]


def _capture_expert(model: Model, path: str, forward: Forward, structure: _Structure) -> Body:
    module, call = forward.boundaries[path], forward.experts[path]
    try:
        with make_experts_run(forward, path):
            return capture_expert(module, structure.banks[path], call, path, structure.signatures)
    except UnsupportedExperts as fault:
        message = f"the experts `{get_user_name(path)}` cannot be captured: {fault.reason}"
        label = Label(model.at("experts"), "asked for by this plan", primary=False)
        place = label_operation(fault.node) or label_class(type(module), "in this class")
        raise CompileError(error("P506", message, *place, label, help=EXPERTS)) from fault
