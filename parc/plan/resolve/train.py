"""`model` and `train` blocks."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from parc.plan import blocks as facts
from parc.plan.resolve.dataset import read_dataset
from parc.plan.resolve.reader import Reader
from parc.plan.resolve.scope import Quantity, Value, Word
from parc.plan.schema.train import ADAMW, OPTIMIZERS
from parc.syntax import tree

FindModel: TypeAlias = "Callable[[Reader], facts.Model | None]"


def model(name: str, block: Reader) -> facts.Model | None:
    source = block.text("source")
    if source and not (source.count(":") == 1 and all(source.split(":"))):
        message = "`source` names a file or a package and what to call in it"
        block.fault("P106", block.spans["source"], message, 'such as `"moe.py:MoETransformer"`')
    given, shaped, named = block.block("arguments"), block.block("shape"), block.block("inputs")
    arguments = _arguments(given) if given else {}
    shape = _shape(shaped) if shaped else facts.Shape(span=block.span)
    tokens, labels = (named.maybe_text("tokens"), named.maybe_text("labels")) if named else (None, None)
    if named:
        named.finish()
    experts = block.maybe_text("experts")
    if not block.finish():
        return None
    return facts.Model(
        name=name,
        source=source,
        arguments=arguments,
        shape=shape,
        tokens=tokens,
        labels=labels,
        experts=experts,
        span=block.span,
        spans=block.spans | ({"arguments": given.span} if given else {}),
    )


def _arguments(block: Reader) -> dict[str, facts.Argument]:
    arguments = {}
    for key in block.assignments:
        value = block.value(key)
        if value is not None:
            arguments[key] = _argument(value)
    block.finish()
    return arguments


def _argument(value: Value) -> facts.Argument:
    match value:
        case Quantity():
            return value.number
        case tuple():
            return tuple(_argument(item) for item in value)
        case Word():
            return value.text
        case _:
            return value


def _shape(block: Reader) -> facts.Shape:
    shape = facts.Shape(
        layers=block.maybe_count("layers"),
        hidden=block.maybe_count("hidden"),
        heads=block.maybe_count("heads"),
        kv_heads=block.maybe_count("kv_heads"),
        head_dim=block.maybe_count("head_dim"),
        ffn=block.maybe_count("ffn"),
        dense_ffn=block.maybe_count("dense_ffn"),
        shared_ffn=block.maybe_count("shared_ffn", least=0),
        dense_layers=block.count_or("dense_layers", 0, least=0),
        gated=block.flag("gated", False),
        experts=block.maybe_count("experts", least=0),
        top_k=block.maybe_count("top_k"),
        vocab=block.maybe_count("vocab"),
        span=block.span,
        spans=block.spans,
    )
    block.finish()
    return shape


def train(name: str, block: Reader, find_model: FindModel) -> facts.Train | None:
    model = find_model(block)
    seed, steps = block.count_or("seed", 0, least=0), block.count_or("steps", 1000)
    inner = block.block("batch")
    if inner is None and not block.damaged:
        block.missing("batch")
    batch = _batch(inner) if inner else None
    loss = block.block("loss")
    approximate, precision = block.block("approximate"), block.block("precision")
    optimizer, dataset = _optimizer(block), read_dataset(block)
    losses = _loss(loss) if loss else facts.Loss(span=block.span)
    approximated = _approximate(approximate) if approximate else None
    precisions = _precision(precision) if precision else facts.Precision(span=block.span)
    if not block.finish() or model is None or batch is None:
        return None
    return facts.Train(
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


def _batch(block: Reader) -> facts.Batch | None:
    batch = facts.Batch(
        sequences=block.count("sequences"),
        length=block.count("length"),
        microbatches=block.count_or("microbatches", 1),
        span=block.span,
        spans=block.spans,
    )
    return batch if block.finish() else None


def _loss(block: Reader) -> facts.Loss:
    loss = facts.Loss(
        balance=block.real("balance", 0.0),
        ignore_index=int(block.real("ignore_index", -100, least=-(2**63))),
        shift=block.choice("shift", "data"),
        span=block.span,
        spans=block.spans,
    )
    block.finish()
    return loss


def _approximate(block: Reader) -> facts.Approximate:
    approximate = facts.Approximate(
        capacity=block.maybe_real("capacity", least=0.01),
        balance=block.choice("balance", "microbatch"),
        span=block.span,
        spans=block.spans,
    )
    block.finish()
    return approximate


def _optimizer(train: Reader) -> facts.Optimizer:
    node = train.node("optimizer")
    body: tree.Body | None = None
    match node:
        case tree.Configured():
            name, body, span = node.name.text, node.body, node.span
        case tree.Path():
            name, span = node.text, node.span
        case None | tree.Missing():
            return facts.Optimizer(span=train.span)
        case _:
            train.fault(
                "P106", node.span, "`optimizer` is a name and its settings", "such as `adamw { lr = 3e-4 }`"
            )
            return facts.Optimizer(span=train.span)
    if name not in OPTIMIZERS:
        named = node.name.span if isinstance(node, tree.Configured) else span
        train.fault("P107", named, f"there is no optimizer `{name}`", "unknown", "known here: `adamw`")
        return facts.Optimizer(span=span)
    block = Reader(train.scope, ADAMW, "`adamw`", span, body)
    optimizer = facts.Optimizer(
        lr=block.real("lr", 3e-4),
        beta1=block.real("beta1", 0.9, most=1.0),
        beta2=block.real("beta2", 0.95, most=1.0),
        eps=block.real("eps", 1e-8),
        weight_decay=block.real("weight_decay", 0.1),
        clip=block.maybe_real("clip"),
        warmup=block.count_or("warmup", 0, least=0),
        decay=block.choice("decay", "constant"),
        min_lr=block.real("min_lr", 0.0),
        span=block.span,
        spans=block.spans,
    )
    block.finish()
    return optimizer


def _precision(block: Reader) -> facts.Precision:
    precision = facts.Precision(
        compute=block.choice("compute", "fp32"),
        master=block.choice("master", "fp32"),
        span=block.span,
        spans=block.spans,
    )
    block.finish()
    return precision
