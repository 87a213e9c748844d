"""Lark's tree to ours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from parc.source import Source, Span
from parc.syntax import tree
from parc.syntax.lalr import Node
from parc.syntax.scan import NUMBER, place
from parc.syntax.token import Token

Parsed: TypeAlias = Node

ESCAPES = {"n": "\n", "t": "\t", '"': '"', "\\": "\\"}


class Builder:
    """`dropped` are the offsets of the statements that recovery left out."""

    def __init__(self, source: Source, dropped: Sequence[int]) -> None:
        self.source = source
        self.dropped = dropped

    def file(self, parsed: Parsed) -> tree.File:
        return tree.File(self.source, self.statements(parsed), bool(self.dropped))

    def statements(self, parsed: Parsed) -> tuple[tree.Statement, ...]:
        return tuple(self.statement(child) for child in parsed.children)

    def statement(self, parsed: Parsed) -> tree.Statement:
        span, children = self.span(parsed), parsed.children
        match parsed.data:
            case "import":
                return tree.Import(span, self.quoted(self.token(parsed)))
            case "let":
                return tree.Let(span, self.name(children[0]), self.value(children[1]))
            case "assignment":
                return self.assignment(parsed)
            case "claim":
                path, relation, value = children
                return tree.Claim(span, self.path(path), str(relation), self.value(value))
            case _:
                return self.block(parsed)

    def assignment(self, parsed: Parsed) -> tree.Assignment:
        path, value = parsed.children
        return tree.Assignment(self.span(parsed), self.path(path), self.value(value))

    def block(self, parsed: Parsed) -> tree.Block:
        parts = {child.data: child for child in parsed.children}
        label, purpose, place = parts.get("label"), parts.get("for"), parts.get("on")
        return tree.Block(
            self.span(parsed),
            self.name(parts["kind"]),
            self.name(label) if label else None,
            self.name(purpose.children[0]) if purpose else None,
            self.name(place.children[0]) if place else None,
            self.list(parts["over"].children[0]) if "over" in parts else None,
            self.body(parts["body"]) if "body" in parts else None,
        )

    def body(self, parsed: Parsed) -> tree.Body:
        span = self.span(parsed)
        damaged = any(span.start <= offset < span.end for offset in self.dropped)
        return tree.Body(span, self.statements(parsed), damaged)

    def value(self, parsed: Parsed) -> tree.Expression:
        span, children = self.span(parsed), parsed.children
        match parsed.data:
            case "quantity":
                return self.quantity(self.token(parsed))
            case "string":
                return self.quoted(self.token(parsed))
            case "path":
                return self.path(parsed)
            case "list":
                return self.list(parsed)
            case "call":
                arguments = tuple(self.argument(child) for child in children[1:])
                return tree.Call(span, self.name(children[0]), arguments)
            case "negation":
                return tree.Negation(span, self.value(children[1]))
            case "configured":
                return tree.Configured(span, self.name(children[0]), self.body(children[1]))
            case _:  # a sum or a product: operand, operator, operand, ..
                operators = [str(token) for token in children[1::2]]
                operands = [self.value(child) for child in children[2::2]]
                return tree.Chain(span, self.value(children[0]), tuple(zip(operators, operands, strict=True)))

    def argument(self, parsed: Parsed) -> tree.Expression | tree.Named:
        if parsed.data != "named":
            return self.value(parsed)
        name, value = parsed.children
        return tree.Named(self.span(parsed), self.name(name), self.value(value))

    def list(self, parsed: Parsed) -> tree.List:
        return tree.List(self.span(parsed), tuple(self.entry(child) for child in parsed.children))

    def entry(self, parsed: Parsed) -> tree.Expression | tree.Pair:
        if parsed.data != "pair":
            return self.value(parsed)
        name, value = parsed.children
        return tree.Pair(self.span(parsed), self.name(name), self.value(value))

    def path(self, parsed: Parsed) -> tree.Path:
        return tree.Path(self.span(parsed), tuple(self.name(child) for child in parsed.children))

    def name(self, parsed: Parsed) -> tree.Name:
        return tree.Name(self.span(parsed), str(self.token(parsed)))

    def quoted(self, token: Token) -> tree.String | tree.Missing:
        if not token:
            return tree.Missing(place(self.source, token))
        text, pieces, escaped = token[1:-1], [], False
        for character in text:
            if escaped:
                pieces.append(ESCAPES.get(character, "\\" + character))
            elif character != "\\":
                pieces.append(character)
            escaped = character == "\\" and not escaped
        return tree.String(place(self.source, token), "".join(pieces))

    def quantity(self, token: Token) -> tree.Number | tree.Missing:
        span = place(self.source, token)
        if not token:
            return tree.Missing(span)
        number = NUMBER.match(token)
        assert number is not None
        digits, unit = number[0], token[number.end() :].strip()
        value = float(digits) if number[2] or number[3] else int(digits)
        if not unit:
            return tree.Number(span, value, None)
        return tree.Number(span, value, tree.Name(Span(self.source, span.end - len(unit), span.end), unit))

    def token(self, parsed: Parsed) -> Token:
        """The first child, where that is a token."""
        token = parsed.children[0]
        assert isinstance(token, Token)
        return token

    def span(self, parsed: Parsed) -> Span:
        return Span(self.source, parsed.start, parsed.end)
