"""The data of a proof: ids whose routing is uneven. Some experts get many, and one, if possible, none."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from parc.capture.capture import Captured
from parc.capture.graph import get_user_name
from parc.plan.blocks import Plan
from parc.plan.placement import count_balance_groups
from parc.verify.numbers.capacity import count_rows
from parc.verify.numbers.reference import Reference
from parc.verify.sample.sample import Sample

SKEW = 3  # a uniform number to this power: half of the ids lie in the first eighth of the vocabulary
SKEWS = range(SKEW, 4 * SKEW)  # tried until an expert gets no token, with two draws each
IGNORED = 3  # one of so many sequences ends with a label that is ignored
SECOND_DRAW = 1000  # added to the seed
DEFAULT_VOCABULARY = 32  # where nothing states its size

Counts = Mapping[str, list[Tensor]]  # tokens of each expert, by module and microbatch


class Tokens:
    """Random ids below `vocabulary`, the same for the same `seed`. The more `skew`, the fewer large ids.

    What is read ends with `ignored`, where that is given, every `IGNORED`th time: the last id of a sequence
    is a label alone, and no token.
    """

    def __init__(
        self,
        vocabulary: int,
        seed: int = 0,
        skew: float = SKEW,
        length: int = 1 << 17,
        ignored: int | None = None,
    ) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.ids = (torch.rand(length, generator=generator) ** skew * vocabulary).long()
        self.vocabulary, self.ignored = vocabulary, ignored

    def __len__(self) -> int:
        return len(self.ids)

    def read(self, start: int, length: int) -> Tensor:
        """Ids [start, start + length)."""
        ids = self.ids[start : start + length]
        if self.ignored is None or start // (length - 1) % IGNORED:
            return ids
        return torch.cat([ids[:-1], ids.new_tensor([self.ignored])])


def choose_tokens(sample: Sample, seed: int) -> tuple[Tokens, str]:
    """Tokens for a sample, and a line on how its first step routes them."""
    captured = sample.captured
    vocabulary = find_vocabulary(sample.plan, captured)
    loss = sample.plan.train.loss
    ignored = loss.ignore_index if loss.shift == "data" and not captured.mean else None
    tokens = Tokens(vocabulary, seed, ignored=ignored)
    if not captured.banks:
        return tokens, "the model has no experts"
    reference = Reference(sample.plan, captured, tokens)
    model = reference.build_model()
    shows = _shows_idle_step if sample.plan.train.optimizer.idle_experts == "skip" else _shows_idle_microbatch
    for each in _vary_tokens(tokens, seed):
        tokens = each
        if shows(replace(reference, dataset=tokens), model):
            break
    counts = _count_routed(replace(reference, dataset=tokens), model)
    return tokens, _describe(counts) + _describe_dropped(counts, sample.plan)


def find_idle_step(reference: Reference, model: nn.Module, tokens: Tokens) -> Tokens | None:
    """Tokens of which some expert gets none in the whole first step, and some in the second one."""
    return next(
        (
            each
            for each in _vary_tokens(tokens, 0)
            if _shows_idle_step(replace(reference, dataset=each), model)
        ),
        None,
    )


def _shows_idle_step(reference: Reference, model: nn.Module) -> bool:
    """Whether an expert gets no token in the whole first step, and some in the second one."""
    first, second = (_count_routed(reference, model, step) for step in range(2))
    pairs = (
        (torch.stack(first[path]).sum(0), torch.stack(second[path]).sum(0)) for path in first if first[path]
    )
    return any(bool(((before == 0) & (after > 0)).any()) for before, after in pairs)


def _shows_idle_microbatch(reference: Reference, model: nn.Module) -> bool:
    """Whether an expert gets no token in some microbatch of the first step."""
    return any(not bool(each.all()) for found in _count_routed(reference, model).values() for each in found)


def _vary_tokens(tokens: Tokens, seed: int) -> Iterator[Tokens]:
    """The tokens, then others that are less and less even."""
    yield tokens
    for skew, draw in product(SKEWS, (seed, seed + SECOND_DRAW)):
        yield Tokens(tokens.vocabulary, draw, skew, ignored=tokens.ignored)


def find_vocabulary(plan: Plan, captured: Captured) -> int:
    """The size that the plan states; else that of the smallest embedding that looks up the tokens themselves.

    An embedding of positions does not, and may be smaller: ids below its size would never reach the later
    shards of the vocabulary.
    """
    if plan.train.model.shape.vocab:
        return plan.train.model.shape.vocab
    reference = Reference(plan, captured, Tokens(DEFAULT_VOCABULARY))
    model = reference.build_model()
    tables = [module for module in model.modules() if isinstance(module, nn.Embedding)]
    smallest = min((table.num_embeddings for table in tables), default=DEFAULT_VOCABULARY)
    lookups: list[tuple[int, Tensor]] = []
    for table in tables:
        table.register_forward_pre_hook(lambda table, args: lookups.append((table.num_embeddings, args[0])))
    inputs = _run_step(replace(reference, dataset=Tokens(smallest)), model)
    of_tokens = [size for size, ids in lookups if any(torch.equal(ids, one) for one in inputs)]
    return min(of_tokens, default=smallest)


def _count_routed(reference: Reference, model: nn.Module, step: int = 0) -> Counts:
    """Tokens of each expert in a step, as the model on one device routes them with its initial values."""
    with count_tokens(model, reference.captured) as counts:
        _run_step(reference, model, step)
    return counts


@contextmanager
def count_tokens(model: nn.Module, captured: Captured) -> Iterator[dict[str, list[Tensor]]]:
    """The tokens of each expert of the user's model, in every call that is made meanwhile."""
    found: dict[str, list[Tensor]] = {}
    hooks = []
    for path, bank in captured.banks.items():
        counts = found.setdefault(get_user_name(path), [])
        module = model.get_submodule(get_user_name(path))
        if bank.list_name == "":
            owner = model.get_submodule(get_user_name(path).rpartition(".")[0])
            begin = partial(_begin_count, counts, bank.count)
            hooks.append(owner.register_forward_pre_hook(begin))
            for number, expert in enumerate(module.children()):
                count = partial(_count_rows, counts, number)
                hooks.append(expert.register_forward_pre_hook(count, with_kwargs=True))
            continue
        hook = partial(_count_choices, counts, bank.count)
        hooks.append(module.register_forward_pre_hook(hook, with_kwargs=True))
    try:
        yield found
    finally:
        for each in hooks:
            each.remove()


def _count_choices(counts: list[Tensor], experts: int, _module: nn.Module, args: Any, kwargs: Any) -> None:
    """The integer tensors among the arguments of experts are the choices."""
    tensors = (leaf for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, Tensor))
    counts += [each.flatten().bincount(minlength=experts) for each in tensors if not each.is_floating_point()]


def _begin_count(counts: list[Tensor], experts: int, _module: nn.Module, _args: Any) -> None:
    """A block runs, which calls its experts one by one."""
    counts.append(torch.zeros(experts, dtype=torch.long))


def _count_rows(counts: list[Tensor], expert: int, _module: nn.Module, args: Any, kwargs: Any) -> None:
    """An expert is called with rows (.., H), and perhaps more after them."""
    rows = next(leaf for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, Tensor))
    counts[-1][expert] += rows.numel() // rows.shape[-1]


def _run_step(reference: Reference, model: nn.Module, step: int = 0) -> Tensor:
    """The forward passes of a step; its tokens: (microbatches, sequences, length)."""
    tokens, labels = reference.batches.load(step)
    with torch.no_grad():
        deque(reference.run_microbatches(model, tokens, labels), maxlen=0)
    return tokens


def _describe_dropped(counts: Counts, plan: Plan) -> str:
    """How many pairs of a token and an expert exceed the capacity, where there is one."""
    approximate = plan.train.approximate
    if approximate is None or approximate.capacity is None:
        return ""
    every = [each for found in counts.values() for each in found]
    groups = count_balance_groups(plan)  # of which each is run by itself
    microbatches = (every[start : start + groups] for start in range(0, len(every), groups))
    pairs = kept = 0
    for each in (torch.stack(found).sum(0) for found in microbatches):
        pairs += (here := int(each.sum()))
        kept += int(each.clamp(max=count_rows(here, len(each), approximate.capacity)).sum())
    return f"; {pairs - kept:,} of {pairs:,} pairs are dropped"


def _describe(counts: Counts) -> str:
    every = [each for found in counts.values() for each in found]
    if not every:
        return "the routing cannot be observed from outside"
    least, most = min(int(each.min()) for each in every), max(int(each.max()) for each in every)
    line = f"routing: {least} to {most} tokens an expert"
    for path, found in counts.items():
        for microbatch, each in enumerate(found):
            if not bool(each.all()):
                return f"{line}; expert {int(each.argmin())} of `{path}` gets none in microbatch {microbatch}"
    return f"{line}; none is without tokens in any microbatch: that case is not tested"
