"""Builds the syntax tree from the parse tree."""

from __future__ import annotations

from collections.abc import Sequence

from parc.source import Source, Span
from parc.syntax import tree
from parc.syntax.lalr import Node
from parc.syntax.scan import NUMBER, get_span
from parc.syntax.token import Token

ESCAPES = {"n": "\n", "t": "\t", '"': '"', "\\": "\\"}


class Builder:
    """Builds the nodes of one source; `dropped` has the offsets of statements that recovery left out."""

    def __init__(self, source: Source, dropped: Sequence[int]) -> None:
        self.source = source
        self.dropped = dropped

    def build_file(self, node: Node) -> tree.File:
        return tree.File(self.source, self.build_statements(node), bool(self.dropped))

    def build_statements(self, node: Node) -> tuple[tree.Statement, ...]:
        return tuple(self.build_statement(child) for child in node.children)

    def build_statement(self, node: Node) -> tree.Statement:
        span, children = self.get_span(node), node.children
        match node.rule:
            case "import":
                return tree.Import(span, self.build_string(self.get_token(node)))
            case "let":
                return tree.Let(span, self.build_name(children[0]), self.build_value(children[1]))
            case "assignment":
                return self.build_assignment(node)
            case "claim":
                path, relation, value = children
                return tree.Claim(span, self.build_path(path), str(relation), self.build_value(value))
            case _:
                return self.build_block(node)

    def build_assignment(self, node: Node) -> tree.Assignment:
        path, value = node.children
        return tree.Assignment(self.get_span(node), self.build_path(path), self.build_value(value))

    def build_block(self, node: Node) -> tree.Block:
        parts = {child.rule: child for child in node.children}
        label, purpose, place = parts.get("label"), parts.get("for"), parts.get("on")
        return tree.Block(
            self.get_span(node),
            self.build_name(parts["kind"]),
            self.build_name(label) if label else None,
            self.build_name(purpose.children[0]) if purpose else None,
            self.build_name(place.children[0]) if place else None,
            self.build_list(parts["over"].children[0]) if "over" in parts else None,
            self.build_body(parts["body"]) if "body" in parts else None,
        )

    def build_body(self, node: Node) -> tree.Body:
        span = self.get_span(node)
        damaged = any(span.start <= offset < span.end for offset in self.dropped)
        return tree.Body(span, self.build_statements(node), damaged)

    def build_value(self, node: Node) -> tree.Expression:
        span, children = self.get_span(node), node.children
        match node.rule:
            case "quantity":
                return self.build_number(self.get_token(node))
            case "string":
                return self.build_string(self.get_token(node))
            case "path":
                return self.build_path(node)
            case "list":
                return self.build_list(node)
            case "call":
                arguments = tuple(self.build_argument(child) for child in children[1:])
                return tree.Call(span, self.build_name(children[0]), arguments)
            case "negation":
                return tree.Negation(span, self.build_value(children[1]))
            case "configured":
                return tree.Configured(span, self.build_name(children[0]), self.build_body(children[1]))
            case _:  # a sum or a product: operand, operator, operand, ..
                operators = [str(token) for token in children[1::2]]
                operands = [self.build_value(child) for child in children[2::2]]
                return tree.Chain(
                    span, self.build_value(children[0]), tuple(zip(operators, operands, strict=True))
                )

    def build_argument(self, node: Node) -> tree.Expression | tree.Named:
        if node.rule != "named":
            return self.build_value(node)
        name, value = node.children
        return tree.Named(self.get_span(node), self.build_name(name), self.build_value(value))

    def build_list(self, node: Node) -> tree.List:
        return tree.List(self.get_span(node), tuple(self.build_entry(child) for child in node.children))

    def build_entry(self, node: Node) -> tree.Expression | tree.Pair:
        if node.rule != "pair":
            return self.build_value(node)
        name, value = node.children
        return tree.Pair(self.get_span(node), self.build_name(name), self.build_value(value))

    def build_path(self, node: Node) -> tree.Path:
        return tree.Path(self.get_span(node), tuple(self.build_name(child) for child in node.children))

    def build_name(self, node: Node) -> tree.Name:
        return tree.Name(self.get_span(node), str(self.get_token(node)))

    def build_string(self, token: Token) -> tree.String | tree.Missing:
        if not token:
            return tree.Missing(get_span(self.source, token))
        text, pieces, escaped = token[1:-1], [], False
        if "\\" not in text:
            return tree.String(get_span(self.source, token), text)
        for character in text:
            if escaped:
                pieces.append(ESCAPES.get(character, "\\" + character))
            elif character != "\\":
                pieces.append(character)
            escaped = character == "\\" and not escaped
        return tree.String(get_span(self.source, token), "".join(pieces))

    def build_number(self, token: Token) -> tree.Number | tree.Missing:
        span = get_span(self.source, token)
        if not token:
            return tree.Missing(span)
        number = NUMBER.match(token)
        assert number is not None
        digits, unit = number[0], token[number.end() :].strip()
        value = float(digits) if number[2] or number[3] else int(digits)
        if not unit:
            return tree.Number(span, value, None)
        return tree.Number(span, value, tree.Name(Span(self.source, span.end - len(unit), span.end), unit))

    def get_token(self, node: Node) -> Token:
        """The only child of a node, which is a token."""
        token = node.children[0]
        assert isinstance(token, Token)
        return token

    def get_span(self, node: Node) -> Span:
        return Span(self.source, node.start, node.end)
