"""Resolves `dataset = files("corpus/*.txt")` and `tokens("data.bin", type = uint16)`."""

from __future__ import annotations

from typing import Literal

from parc.plan import blocks
from parc.plan.resolve.reader import BlockReader
from parc.plan.resolve.values import describe_value
from parc.plan.schema.train import DATASETS, FILES, TOKENS
from parc.syntax import tree

TokenType = Literal["uint8", "uint16", "uint32", "int32"]


def resolve_dataset(train: BlockReader) -> blocks.Dataset | None:
    node = train.get_node("dataset")
    if node is None or isinstance(node, tree.Missing):
        return None
    if not isinstance(node, tree.Call) or node.name.text not in DATASETS:
        message = "`dataset` must be `files(..)` or `tokens(..)`"
        train.report("P106", node.span, message, 'such as `files("corpus/*.txt")`')
        return None
    patterns = tuple(
        text
        for argument in node.arguments
        if not isinstance(argument, tree.Named) and (text := _read_text(train, argument))
    )
    if all(isinstance(argument, tree.Named) for argument in node.arguments):
        train.report(
            "P104",
            node.span,
            f"`{node.name.text}` needs at least one file",
            'missing a text, such as `"data/*"`',
        )
    options = _enter_arguments(train, node)
    default: TokenType = "uint8"
    type = options.read_choice("type", default) if options.form is TOKENS else default
    options.finish()
    return blocks.Dataset(
        kind="tokens" if options.form is TOKENS else "files",
        patterns=patterns,
        type=type,
        span=node.span,
        spans=options.spans,
    )


def _enter_arguments(train: BlockReader, call: tree.Call) -> BlockReader:
    """A reader of the named arguments of a call, as if they were the keys of a block."""
    named = (argument for argument in call.arguments if isinstance(argument, tree.Named))
    settings = tuple(
        tree.Assignment(each.span, tree.Path(each.name.span, (each.name,)), each.value) for each in named
    )
    form = TOKENS if call.name.text == "tokens" else FILES
    body = tree.Body(call.span, settings)
    return BlockReader(train.scope, form, f"`{form.kind}`", call.span, body)


def _read_text(train: BlockReader, node: tree.Expression) -> str | None:
    value = train.scope.evaluate(node)
    if value is None or isinstance(value, str):
        return value
    train.report("P106", node.span, "expected a text in quotes", f"this is {describe_value(value)}")
    return None
