"""`dataset = files("corpus/*.txt")` and `tokens("data.bin", type = "uint16")`."""

from __future__ import annotations

from parc.plan import blocks as facts
from parc.plan.resolve.reader import Reader
from parc.plan.resolve.scope import describe
from parc.plan.schema.train import DATASETS, TOKEN_TYPES, TOKENS
from parc.plan.suggest import did_you_mean, respelling
from parc.syntax import tree


def read_dataset(train: Reader) -> facts.Dataset | None:
    node = train.node("dataset")
    if node is None or isinstance(node, tree.Missing):
        return None
    if not isinstance(node, tree.Call) or node.name.text not in DATASETS:
        message = "`dataset` is `files(..)` or `tokens(..)`"
        train.fault("P106", node.span, message, 'such as `files("corpus/*.txt")`')
        return None
    patterns = tuple(
        text
        for argument in node.arguments
        if not isinstance(argument, tree.Named) and (text := _text(train, argument))
    )
    if all(isinstance(argument, tree.Named) for argument in node.arguments):
        train.fault(
            "P104", node.span, f"`{node.name.text}` names no file", 'needs a text, such as `"data/*"`'
        )
    tokens = node.name.text == "tokens"
    dataset = facts.Dataset(kind="tokens" if tokens else "files", patterns=patterns, span=node.span)
    for argument in node.arguments:
        if isinstance(argument, tree.Named):
            dataset = _option(train, dataset, argument)
    return dataset


def _option(train: Reader, dataset: facts.Dataset, argument: tree.Named) -> facts.Dataset:
    options = [key.name for key in TOKENS.keys] if dataset.kind == "tokens" else []
    if argument.name.text not in options:
        message = f"`{dataset.kind}` takes no `{argument.name.text}`"
        name = argument.name
        help, fix = did_you_mean(name.text, options), respelling(name.span, name.text, options)
        train.fault("P102", name.span, message, "unknown", help, fix)
        return dataset
    text = _text(train, argument.value)
    for known in TOKEN_TYPES:
        if text == known:
            return facts.Dataset(
                kind=dataset.kind,
                patterns=dataset.patterns,
                type=known,  # type: ignore[arg-type]  # one of the literals, which a tuple does not keep
                span=dataset.span,
                spans={"type": argument.value.span},
            )
    if text is not None:
        message = f"`{text}` is no type of token"
        help, fix = did_you_mean(text, TOKEN_TYPES), respelling(argument.value.span, text, TOKEN_TYPES)
        train.fault("P107", argument.value.span, message, "unknown type", help, fix)
    return dataset


def _text(train: Reader, node: tree.Expression) -> str | None:
    value = train.scope.value(node)
    if value is None or isinstance(value, str):
        return value
    train.fault("P106", node.span, "expected a text in quotes", f"this is {describe(value)}")
    return None
