"""Error recovery: feeds tokens to the parser and continues after a fault.

A fault is repaired by inserting, deleting or replacing one token, if the next tokens then parse. Otherwise
the faulty statement is dropped: the stack of the parser is reset to its start, and tokens are skipped to its
end.
"""

from __future__ import annotations

from parc.diagnostic import Diagnostic, Fix, Label, error
from parc.source import Source, Span
from parc.syntax.fixes import build_arguments_fix, build_closing_fix, build_repair_fix
from parc.syntax.lalr import Node, Parser
from parc.syntax.scan import CLOSERS, MAX_FAULTS, OPENERS, create_virtual_token, get_span
from parc.syntax.token import Token
from parc.syntax.token_names import SYMBOLS, describe_expected, describe_token

INSERTABLE = ("EQUAL", "COLON", "_COMMA", "QUANTITY", "RSQB", "RPAR")  # tokens that are often forgotten
WORDS = ("FOR", "ON", "OVER")  # tried only where they cannot be names
LOOKAHEAD = 8  # tokens on which a repair is tried
MIN_ACCEPTED = 3  # a repair is accepted if at least this many of them parse


class Recovery:
    """Parses the tokens of one text; faults are added to `faults`."""

    def __init__(self, source: Source, tokens: list[Token], start: str, faults: list[Diagnostic]) -> None:
        self.source = source
        self.tokens = tokens
        self.faults = faults
        self.dropped: list[int] = []  # offsets of dropped statements
        self.parser = Parser(start)
        self.states = self.parser.table.states
        self.end = self.parser.table.end
        self.stack = self.parser.states
        self.heights = [1]  # of the stack at the start of the current statement, for each open body
        self.openers: list[Token] = []  # all open brackets

    def parse(self) -> Node:
        index = 0
        while True:
            token = self.tokens[index]
            if not self.parser.feed(token):
                index = self.recover(index)
                continue
            if self.parser.result:
                return self.parser.result
            self.track(token)
            index += 1

    def parse_strictly(self) -> Node | None:
        """Parse one statement without recovery; None, with a report, at the first fault."""
        for token in self.tokens:
            if not self.parser.feed(token):
                self.report_unexpected(token)
                return None
        return self.parser.result

    def track(self, token: Token) -> None:
        """Update brackets and starts of statements after `token` was consumed."""
        if token.type in OPENERS:
            self.openers.append(token)
        elif token.type in CLOSERS:
            self.openers.pop()
        height = len(self.stack)
        if token.type == "LBRACE":
            self.heights.append(height)
        elif token.type == "RBRACE":
            self.heights.pop()
        elif token.type in ("_NL", "_COMMA") and not self.is_inside_brackets():
            self.heights[-1] = height

    def is_inside_brackets(self) -> bool:
        return bool(self.openers) and self.openers[-1].type != "LBRACE"

    def recover(self, index: int) -> int:
        """Report the fault at the token `index`, and recover; the index at which to continue."""
        token = self.tokens[index]
        if len(self.faults) > MAX_FAULTS and token.type != "$END":  # not a plan file: stop here
            del self.tokens[index:-1]
            self.dropped.append(get_span(self.source, token).start)
            self.rewind()
            return index
        if token.type == "$END" and self.openers:
            self.close_brackets(index, self.openers)
            return index
        if (
            self.is_inside_brackets()
            and self.tokens[index - 1].type == "_NL"
            and self.begins_statement(index)
        ):
            bodies = [at for at, opener in enumerate(self.openers, 1) if opener.type == "LBRACE"]
            self.close_brackets(
                index, self.openers[max(bodies, default=0) :], create_virtual_token("_NL", token)
            )
            return index
        if token.type == "RBRACE" and len(self.heights) == 1:
            fix = Fix("remove it", ((get_span(self.source, token), ""),), safe=False)
            self.report(token, "this `}` has no matching `{`", "no body is open here", fix)
            alone = index == 0 or self.tokens[index - 1].type in ("_NL", "_COMMA")
            return index + 1 + (alone and self.tokens[index + 1].type == "_NL")
        called = token.type == "LBRACE" and self.tokens[index - 1].type == "RPAR"
        if called and (after := self.skip_settings(index)):
            return after
        repaired = self.repair(index)
        if repaired is not None:
            return repaired
        self.report_unexpected(token)
        return self.drop_statement(index)

    def report_unexpected(self, token: Token) -> None:
        expected = describe_expected(self.list_expected())
        self.report(token, f"expected {expected}, found {describe_token(token)}", "not expected here")

    def report(self, token: Token, message: str, label: str, fix: Fix | None = None) -> None:
        span = get_span(self.source, token)
        if token.type in ("_NL", "_COMMA"):  # these tokens include blank lines after them
            span = Span(self.source, span.start, span.start + (token.type == "_COMMA"))
        self.faults.append(error("P001", message, Label(span, label), fix=fix))

    def repair(self, index: int) -> int | None:
        """Apply the first edit that makes the next tokens parse; None if there is none."""
        token = self.tokens[index]
        expected = self.list_expected()
        kinds = [kind for kind in (*INSERTABLE, *(() if "NAME" in expected else WORDS)) if kind in expected]
        edits: list[tuple[list[Token], int]]  # new tokens, and the number of tokens they replace
        edits = [([create_virtual_token(kind, token)], 0) for kind in kinds]
        if token.type != "$END":
            edits += [([create_virtual_token(kind, token)], 1) for kind in kinds]
            edits += [([], 1)]
        if expected == {"LSQB"}:
            edits.append(
                ([create_virtual_token("LSQB", token), token, create_virtual_token("RSQB", token)], 1)
            )
        if "LBRACE" in expected:
            edits.append(([create_virtual_token("LBRACE", token)], 0))
        edit = next((edit for edit in edits if self.find_reach(index, *edit) >= index + MIN_ACCEPTED), None)
        if edit is None:
            return None
        instead, count = edit
        fix = build_repair_fix(self.source, self.tokens, index, instead, count)
        self.tokens[index : index + count] = instead
        found = describe_token(token)
        if len(instead) > 1:
            self.report(token, f"axes must be in brackets: `[{token}]`", "not in brackets", fix)
        elif not instead:
            self.report(
                token, f"{found} is not expected here", f"expected {describe_expected(expected)}", fix
            )
        elif count:
            symbol = SYMBOLS[instead[0].type]
            self.report(token, f"expected {symbol}, found {found}", "instead of this", fix)
        else:
            symbol = SYMBOLS[instead[0].type]
            self.report(token, f"expected {symbol} before {found}", f"{symbol} is missing here", fix)
        return index

    def skip_settings(self, index: int) -> int | None:
        """Skip `{ type = uint16 }` after a call, with a report; None if the brace is not closed."""
        depth = 0
        for end in range(index, len(self.tokens)):
            depth += (self.tokens[end].type == "LBRACE") - (self.tokens[end].type == "RBRACE")
            if depth == 0:
                break
        else:
            return None
        span = Span(self.source, self.tokens[index - 1].start_pos, self.tokens[end].end_pos)
        fix = build_arguments_fix(self.source, self.tokens, index, end)
        label = Label(span, "`{ .. }` after a call")
        message = 'options of a call are arguments: `tokens("data.bin", type = uint16)`'
        self.faults.append(error("P001", message, label, fix=fix))
        self.dropped.append(span.end - 1)
        return end + 1

    def find_reach(self, index: int, instead: list[Token], count: int) -> int:
        """The index up to which tokens parse if `count` of them from `index` on are replaced by `instead`."""
        stack = list(self.stack)
        if not all(self.advance(stack, token.type) for token in instead):
            return index
        for after in range(index + count, min(index + count + LOOKAHEAD, len(self.tokens))):
            kind = self.tokens[after].type
            if not self.advance(stack, kind):
                return after
            if kind in ("_NL", "$END"):
                break  # the statement is complete
        return index + LOOKAHEAD

    def list_expected(self) -> set[str]:
        """The kinds of token that may follow."""
        kinds = self.states[self.stack[-1]]
        return {kind for kind in kinds if not kind.islower() and self.advance(list(self.stack), kind)}

    def advance(self, stack: list[int], kind: str) -> bool:
        """Advance a stack of parser states over a token without building nodes. False: it is not expected."""
        while (action := self.states[stack[-1]].get(kind)) is not None:
            if action >= 0:
                stack.append(action)
                return True
            name, size, _ = self.parser.table.reductions[~action]
            if size:
                del stack[-size:]
            stack.append(self.states[stack[-1]][name])
            if kind == "$END" and stack[-1] == self.end:
                return True
        return False

    def drop_statement(self, index: int) -> int:
        """Drop the current statement; the index of the first token after it."""
        self.dropped.append(get_span(self.source, self.tokens[index]).start)
        self.rewind()
        inner: list[str] = []  # brackets opened since the fault
        for at in range(index, len(self.tokens)):
            kind = self.tokens[at].type
            if kind in OPENERS:
                inner.append(OPENERS[kind])
            elif kind in inner:
                while inner.pop() != kind:
                    pass
            elif kind == "_NL" and (not inner or ("RBRACE" not in inner and self.begins_statement(at + 1))):
                return at + 1
            elif (
                (kind == "_COMMA" and not inner)
                or kind == "$END"
                or (kind == "RBRACE" and len(self.heights) > 1)
            ):
                return at + (kind == "_COMMA")
        raise AssertionError("the last token is $END")

    def is_swallowed(self, openers: list[Token], end: Span) -> bool:
        """Whether an unclosed string, which was reported, contains the signs that close the brackets."""
        start = get_span(self.source, openers[-1]).start
        texts = [fault.span for fault in self.faults if fault.code == "P003" and fault.span]
        inside = [text.text for text in texts if start < text.start < end.start]
        signs = [SYMBOLS[OPENERS[opener.type]].strip("`") for opener in openers]
        return any(all(sign in text for sign in signs) for text in inside)

    def rewind(self) -> None:
        """Reset the parser to the start of the current statement."""
        height = self.heights[-1]
        del self.stack[height:]
        del self.parser.values[height - 1 :]
        while self.is_inside_brackets():
            self.openers.pop()

    def begins_statement(self, index: int) -> bool:
        """Whether the tokens from `index` on look like the start of a statement."""
        kinds = [token.type for token in self.tokens[index : index + 2]]
        return kinds[0] in ("RBRACE", "$END", "LET", "IMPORT") or (
            kinds[0] == "NAME" and kinds[1] in ("NAME", "EQUAL", "LBRACE", "OVER")
        )

    def close_brackets(self, index: int, openers: list[Token], *after: Token) -> None:
        """Insert tokens that close `openers`, and `after`, before the token `index`, with a report."""
        end = get_span(self.source, self.tokens[index])
        labels = [Label(get_span(self.source, opener), "opened here, not closed") for opener in openers]
        before = Span(self.source, end.start, end.start)
        labels.append(Label(before, "expected to be closed before this", primary=False))
        fix = build_closing_fix(self.source, self.tokens, index, openers)
        if not self.is_swallowed(openers, end):
            self.faults.append(error("P004", f"{SYMBOLS[openers[-1].type]} is not closed", *labels, fix=fix))
        closers = [
            create_virtual_token(OPENERS[opener.type], self.tokens[index]) for opener in reversed(openers)
        ]
        if self.find_reach(index, [*closers, *after], 0) == index:  # the statement is still incomplete
            self.dropped.append(max(end.start - 1, 0))
            self.rewind()
            closers = [closer for closer in closers if closer.type == "RBRACE"]
        self.tokens[index:index] = [*closers, *after] if closers else []
