"""Tokens whose routing is uneven, and how uneven it is: experts with much to do, and some with nothing."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from parc.capture.capture import DTYPES, Captured
from parc.capture.graph import user_name
from parc.capture.objective import names_of_inputs
from parc.capture.promotion import promoted
from parc.plan.blocks import Plan
from parc.verify.numbers.reference import model_of
from parc.verify.sample.compile import Trial
from parc.verify.sample.tokens import SKEW, Tokens, batches

SKEWS = range(SKEW, 4 * SKEW)  # tried until an expert gets no token, with two draws each
OTHER = 1000  # added to a seed for its second draw
ANY = 32  # ids, where nothing says how many there are

Counts = Mapping[str, list[Tensor]]  # tokens of each expert, by module and microbatch


def skewed(trial: Trial, seed: int) -> tuple[Tokens, str]:
    """Tokens for a trial, and a line that says how its first step routes them."""
    plan, captured = trial.plan, trial.captured
    ids = vocabulary(plan, captured)
    tokens = Tokens(ids, seed)
    if not captured.banks:
        return tokens, "the model has no experts"
    model = model_of(plan, captured.loaded.recipes)
    counts = _counts(plan, model, captured, tokens)
    for skew, draw in product(SKEWS, (seed, seed + OTHER)):
        if any(not bool(each.all()) for found in counts.values() for each in found):
            break
        tokens = Tokens(ids, draw, skew)
        counts = _counts(plan, model, captured, tokens)
    return tokens, _said(counts)


def vocabulary(plan: Plan, captured: Captured) -> int:
    """As the plan states it; else the size of the smallest table that is asked for the tokens themselves.

    One of positions is not, and may be smaller: ids below its size would never reach the later shards of the
    others.
    """
    if plan.train.model.shape.vocab:
        return plan.train.model.shape.vocab
    model = model_of(plan, captured.loaded.recipes)
    tables = [each for each in model.modules() if isinstance(each, nn.Embedding)]
    least = min((table.num_embeddings for table in tables), default=ANY)
    asked: list[tuple[int, Tensor]] = []

    def note(table: nn.Module, given: tuple[Tensor, ...]) -> None:
        assert isinstance(table, nn.Embedding)
        asked.append((table.num_embeddings, given[0]))

    for table in tables:
        table.register_forward_pre_hook(note)
    given = _first_step(plan, model, Tokens(least))
    whole = [size for size, ids in asked if any(torch.equal(ids, one) for one in given)]
    return min(whole, default=least)


def _counts(plan: Plan, model: nn.Module, captured: Captured, tokens: Tokens) -> Counts:
    """Of the first step, as the model routes it on one device."""
    found: dict[str, list[Tensor]] = {user_name(path): [] for path in captured.banks}
    hooks = [
        model.get_submodule(user_name(path)).register_forward_pre_hook(
            partial(_note, found[user_name(path)], bank.count), with_kwargs=True
        )
        for path, bank in captured.banks.items()
    ]
    _first_step(plan, model, tokens)
    for hook in hooks:
        hook.remove()
    return found


def _first_step(plan: Plan, model: nn.Module, tokens: Tokens) -> Tensor:
    """The forward passes of the first step; what they were given: (microbatches, sequences, length)."""
    facts = plan.train.model
    takes_tokens, takes_labels = names_of_inputs(model, facts.tokens, facts.labels)
    given, labels = batches(plan.train, tokens).step(0)
    with torch.no_grad(), promoted(DTYPES[plan.train.precision.compute]):
        for one, its in zip(given, labels, strict=True):
            model(**{takes_tokens: one}, **({takes_labels: its} if takes_labels else {}))
    return given


def _note(found: list[Tensor], experts: int, _module: nn.Module, args: Any, kwargs: Any) -> None:
    """The choices are what is of whole numbers among a module's arguments."""
    tensors = (leaf for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, Tensor))
    found += [each.flatten().bincount(minlength=experts) for each in tensors if not each.is_floating_point()]


def _said(counts: Counts) -> str:
    every = [each for found in counts.values() for each in found]
    if not every:
        return "how the experts are chosen cannot be seen from outside"
    line = f"routing: {min(map(_least, every))} to {max(int(each.max()) for each in every)} tokens an expert"
    for path, found in counts.items():
        for microbatch, each in enumerate(found):
            if not bool(each.all()):
                expert = int(each.argmin())
                return f"{line}; expert {expert} of `{path}` gets none in microbatch {microbatch}"
    return f"{line}; none is without tokens in any microbatch: that case is not met"


def _least(counts: Tensor) -> int:
    return int(counts.min())
