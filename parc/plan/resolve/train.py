"""Resolves `train` blocks."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from parc.plan import blocks
from parc.plan.resolve.dataset import resolve_dataset
from parc.plan.resolve.reader import BlockReader
from parc.plan.schema.train import ADAMW, OPTIMIZERS
from parc.syntax import tree

FindModel: TypeAlias = "Callable[[BlockReader], blocks.Model | None]"


def resolve_train(name: str, block: BlockReader, find_model: FindModel) -> blocks.Train | None:
    """A training run; `find_model` returns the model that the block refers to."""
    model = find_model(block)
    seed, steps = block.read_count_or("seed", 0), block.read_count_or("steps", 1000)
    inner = block.read_block("batch")
    if inner is None and not block.damaged:
        block.report_missing("batch")
    batch = _resolve_batch(inner) if inner else None
    loss = block.read_block("loss")
    approximate, precision = block.read_block("approximate"), block.read_block("precision")
    optimizer, dataset = _resolve_optimizer(block), resolve_dataset(block)
    losses = _resolve_loss(loss) if loss else blocks.Loss(span=block.span)
    approximated = _resolve_approximate(approximate) if approximate else None
    precisions = _resolve_precision(precision) if precision else blocks.Precision(span=block.span)
    if not block.finish() or model is None or batch is None:
        return None
    return blocks.Train(
        name=name,
        model=model,
        batch=batch,
        loss=losses,
        optimizer=optimizer,
        precision=precisions,
        dataset=dataset,
        approximate=approximated,
        seed=seed,
        steps=steps,
        span=block.span,
        spans=block.spans,
    )


def _resolve_batch(block: BlockReader) -> blocks.Batch | None:
    batch = blocks.Batch(
        sequences=block.require_count("sequences"),
        length=block.require_count("length"),
        microbatches=block.read_count_or("microbatches", 1),
        span=block.span,
        spans=block.spans,
    )
    return batch if block.finish() else None


def _resolve_loss(block: BlockReader) -> blocks.Loss:
    loss = blocks.Loss(
        balance=block.read_real_or("balance", 0.0),
        ignore_index=_read_label(block, "ignore_index", -100),
        shift=block.read_choice("shift", "data"),
        span=block.span,
        spans=block.spans,
    )
    block.finish()
    return loss


def _read_label(block: BlockReader, key: str, default: int) -> int:
    """A label: a whole number that an int64 holds."""
    number = block.read_real_or(key, default)
    if -(2**63) <= number < 2**63 and number == int(number):
        return int(number)
    block.report(
        "P111",
        block.spans[key],
        f"`{key}` must be a whole number from -2^63 up to 2^63",
        f"this is {number:g}",
    )
    return default


def _resolve_approximate(block: BlockReader) -> blocks.Approximate:
    approximate = blocks.Approximate(
        capacity=block.read_real("capacity"),
        balance=block.read_choice("balance", "microbatch"),
        span=block.span,
        spans=block.spans,
    )
    block.finish()
    return approximate


def _resolve_optimizer(train: BlockReader) -> blocks.Optimizer:
    node = train.get_node("optimizer")
    body: tree.Body | None = None
    match node:
        case tree.Configured():
            name, body, span = node.name.text, node.body, node.span
        case tree.Path():
            name, span = node.text, node.span
        case None | tree.Missing():
            return blocks.Optimizer(span=train.span)
        case _:
            train.report(
                "P106",
                node.span,
                "`optimizer` must be a name and its settings",
                "such as `adamw { lr = 3e-4 }`",
            )
            return blocks.Optimizer(span=train.span)
    if name not in OPTIMIZERS:
        named = node.name.span if isinstance(node, tree.Configured) else span
        train.report("P107", named, f"there is no optimizer `{name}`", "unknown", "available: `adamw`")
        return blocks.Optimizer(span=span)
    block = BlockReader(train.scope, ADAMW, "`adamw`", span, body)
    optimizer = blocks.Optimizer(
        lr=block.read_real_or("lr", 3e-4),
        beta1=block.read_real_or("beta1", 0.9),
        beta2=block.read_real_or("beta2", 0.95),
        eps=block.read_real_or("eps", 1e-8),
        weight_decay=block.read_real_or("weight_decay", 0.1),
        clip=_read_clip(block),
        warmup=block.read_count_or("warmup", 0),
        decay=block.read_choice("decay", "constant"),
        min_lr=block.read_real_or("min_lr", 0.0),
        idle_experts=block.read_choice("idle_experts", "update"),
        span=block.span,
        spans=block.spans,
    )
    block.finish()
    return optimizer


def _read_clip(block: BlockReader) -> float | None:
    clip = block.read_real("clip")
    if clip != 0:
        return clip
    block.report(
        "P111", block.spans["clip"], "`clip` must be above 0", "this is 0", "no clipping: leave it out"
    )
    return None


def _resolve_precision(block: BlockReader) -> blocks.Precision:
    master: blocks.NumberType = block.read_choice("master", "fp32")
    gradients: blocks.NumberType = block.read_choice("gradients", master)
    precision = blocks.Precision(
        compute=block.read_choice("compute", "fp32"),
        master=master,
        gradients=gradients,
        reduce=block.read_choice("reduce", gradients),
        moments=block.read_choice("moments", master),
        keep_fp32=block.read_kinds("keep_fp32"),
        span=block.span,
        spans=block.spans,
    )
    block.finish()
    return precision
