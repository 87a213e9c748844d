"""Resolves `dataset = files("corpus/*.txt")` and `tokens("data.bin", type = "uint16")`."""

from __future__ import annotations

from parc.plan import blocks
from parc.plan.resolve.reader import BlockReader
from parc.plan.resolve.values import describe_value
from parc.plan.schema.train import DATASETS, TOKEN_TYPES, TOKENS
from parc.plan.suggest import fix_spelling, suggest_spelling
from parc.syntax import tree


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
    tokens = node.name.text == "tokens"
    dataset = blocks.Dataset(kind="tokens" if tokens else "files", patterns=patterns, span=node.span)
    for argument in node.arguments:
        if isinstance(argument, tree.Named):
            dataset = _apply_option(train, dataset, argument)
    return dataset


def _apply_option(train: BlockReader, dataset: blocks.Dataset, argument: tree.Named) -> blocks.Dataset:
    options = [key.name for key in TOKENS.keys] if dataset.kind == "tokens" else []
    if argument.name.text not in options:
        message = f"`{dataset.kind}` has no argument `{argument.name.text}`"
        name = argument.name
        help, fix = suggest_spelling(name.text, options), fix_spelling(name.span, name.text, options)
        train.report("P102", name.span, message, "unknown", help, fix)
        return dataset
    text = _read_text(train, argument.value)
    for known in TOKEN_TYPES:
        if text == known:
            return blocks.Dataset(
                kind=dataset.kind,
                patterns=dataset.patterns,
                type=known,  # type: ignore[arg-type]  # one of the literals, which a tuple does not keep
                span=dataset.span,
                spans={"type": argument.value.span},
            )
    if text is not None:
        message = f"`{text}` is not a token type"
        help, fix = suggest_spelling(text, TOKEN_TYPES), fix_spelling(argument.value.span, text, TOKEN_TYPES)
        train.report("P107", argument.value.span, message, "unknown type", help, fix)
    return dataset


def _read_text(train: BlockReader, node: tree.Expression) -> str | None:
    value = train.scope.evaluate(node)
    if value is None or isinstance(value, str):
        return value
    train.report("P106", node.span, "expected a text in quotes", f"this is {describe_value(value)}")
    return None
