"""Resolves `model` blocks."""

from __future__ import annotations

from parc.plan import blocks
from parc.plan.resolve.reader import BlockReader
from parc.plan.resolve.values import Quantity, Value, Word

LATENT_SIZES = 5
LATENT_EXAMPLE = "[1536, 512, 128, 64, 128]"


def resolve_model(name: str, block: BlockReader) -> blocks.Model | None:
    source = block.require_text("source")
    if source and not (source.count(":") == 1 and all(source.split(":"))):
        message = "`source` must be a file or a package, a colon, and the name of a factory in it"
        block.report("P106", block.spans["source"], message, 'such as `"moe.py:MoETransformer"`')
    given, shaped, named = (
        block.read_block("arguments"),
        block.read_block("shape"),
        block.read_block("inputs"),
    )
    arguments = _resolve_arguments(given) if given else {}
    shape = _resolve_shape(shaped) if shaped else blocks.Shape(misread=block.damaged, span=block.span)
    tokens, labels = (named.read_text("tokens"), named.read_text("labels")) if named else (None, None)
    if named:
        named.finish()
    experts = block.read_text("experts")
    if not block.finish():
        return None
    return blocks.Model(
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


def _resolve_arguments(block: BlockReader) -> dict[str, blocks.Argument]:
    arguments = {}
    for key in block.assignments:
        value = block.evaluate(key)
        if value is not None:
            arguments[key] = _convert_argument(value)
    block.finish()
    return arguments


def _convert_argument(value: Value) -> blocks.Argument:
    match value:
        case Quantity():
            return value.number
        case tuple():
            return tuple(_convert_argument(item) for item in value)
        case Word():
            return value.text
        case _:
            return value


def _resolve_shape(block: BlockReader) -> blocks.Shape:
    shape = blocks.Shape(
        layers=block.read_count("layers"),
        hidden=block.read_count("hidden"),
        heads=block.read_count("heads"),
        kv_heads=block.read_count("kv_heads"),
        head_dim=block.read_count("head_dim"),
        ffn=block.read_count("ffn"),
        dense_ffn=block.read_count("dense_ffn"),
        shared_ffn=block.read_count("shared_ffn"),
        dense_layers=block.read_count_or("dense_layers", 0),
        gated=block.read_flag("gated", False),
        experts=block.read_count("experts"),
        top_k=block.read_count("top_k"),
        vocab=block.read_count("vocab"),
        tied=block.read_flag("tied", False),
        expert_layers=block.read_count("expert_layers"),
        attention_layers=block.read_count("attention_layers"),
        latent=_read_latent(block),
        other=block.read_count("other"),
        misread=block.damaged or any(block.form.find_key(key) is None for key in block.assignments),
        span=block.span,
        spans=block.spans,
    )
    block.finish()
    return shape


def _read_latent(block: BlockReader) -> tuple[int, ...]:
    """The five sizes of latent attention; none, where it is not given or faulty."""
    sizes = block.read_counts("latent")
    if sizes is None:
        return ()
    if len(sizes) == LATENT_SIZES and sizes[1] and sizes[2] + sizes[3] and sizes[4]:
        return sizes
    message = f"`latent` must have {LATENT_SIZES} sizes; the ranks and sizes of keys and values are above 0"
    block.report("P106", block.spans["latent"], message, f"such as `{LATENT_EXAMPLE}`")
    return ()
