"""Feeds tokens to the parser and goes on after a fault.

A fault is mended, where that lets the next tokens parse, by one token more, one less or one instead.
Otherwise the faulty statement is dropped: the parser's stack goes back to where it began, and the tokens
forward to its end.
"""

from __future__ import annotations

from parc.diagnostic import Diagnostic, Fix, Label, error
from parc.source import Source, Span
from parc.syntax import cure, words
from parc.syntax.lalr import Node, Parser
from parc.syntax.scan import CLOSERS, MAX_FAULTS, OPENERS, place, stand_in
from parc.syntax.token import Token

SIGNS = ("EQUAL", "COLON", "_COMMA", "QUANTITY", "RSQB", "RPAR")  # what may have been forgotten
WORDS = ("FOR", "ON", "OVER")  # also where they would not just be names
LOOKAHEAD = 8  # tokens that a mending is tried on
ENOUGH = 3  # of them parse: the mending is believed


class Recovery:
    def __init__(self, source: Source, tokens: list[Token], start: str, faults: list[Diagnostic]) -> None:
        self.source = source
        self.tokens = tokens
        self.faults = faults
        self.dropped: list[int] = []  # offsets of the statements that were left out
        self.parser = Parser(start)
        self.states = self.parser.table.states
        self.end = self.parser.table.end
        self.stack = self.parser.states
        self.heights = [1]  # of the parser's stack where the statement at hand began, for each open body
        self.openers: list[Token] = []  # every bracket that is open

    def parse(self) -> Node:
        index = 0
        while True:
            token = self.tokens[index]
            if not self.parser.feed(token):
                index = self.recover(index)
                continue
            if self.parser.whole:
                return self.parser.whole
            self.follow(token)
            index += 1

    def parse_strictly(self) -> Node | None:
        """For a text of one statement: None, and told, at the first fault."""
        for token in self.tokens:
            if not self.parser.feed(token):
                self.tell_unexpected(token)
                return None
        return self.parser.whole

    def follow(self, token: Token) -> None:
        """Keep track of brackets and of where statements begin, after `token` has been fed."""
        if token.type in OPENERS:
            self.openers.append(token)
        elif token.type in CLOSERS:
            self.openers.pop()
        height = len(self.stack)
        if token.type == "LBRACE":
            self.heights.append(height)
        elif token.type == "RBRACE":
            self.heights.pop()
        elif token.type in ("_NL", "_COMMA") and not self.inside_brackets():
            self.heights[-1] = height

    def inside_brackets(self) -> bool:
        return bool(self.openers) and self.openers[-1].type != "LBRACE"

    def recover(self, index: int) -> int:
        """Tell the fault at the token `index`; the index to go on from."""
        token = self.tokens[index]
        if len(self.faults) > MAX_FAULTS and token.type != "$END":  # no plan file: read no further
            del self.tokens[index:-1]
            self.dropped.append(place(self.source, token).start)
            self.rewind()
            return index
        if token.type == "$END" and self.openers:
            self.close(index, self.openers)
            return index
        if self.inside_brackets() and self.tokens[index - 1].type == "_NL" and self.begins_a_statement(index):
            bodies = [at for at, opener in enumerate(self.openers, 1) if opener.type == "LBRACE"]
            self.close(index, self.openers[max(bodies, default=0) :], stand_in("_NL", token))
            return index
        if token.type == "RBRACE" and len(self.heights) == 1:
            fix = Fix("leave it out", ((place(self.source, token), ""),), safe=False)
            self.tell(token, "this `}` closes nothing", "no body is open here", fix)
            alone = index == 0 or self.tokens[index - 1].type in ("_NL", "_COMMA")
            return index + 1 + (alone and self.tokens[index + 1].type == "_NL")
        mended = self.mend(index)
        if mended is not None:
            return mended
        self.tell_unexpected(token)
        return self.drop(index)

    def tell_unexpected(self, token: Token) -> None:
        wanted = words.expected(self.wanted())
        self.tell(token, f"expected {wanted}, found {words.found(token)}", "not expected here")

    def tell(self, token: Token, message: str, label: str, fix: Fix | None = None) -> None:
        span = place(self.source, token)
        if token.type in ("_NL", "_COMMA"):  # these swallow the blank lines after them
            span = Span(self.source, span.start, span.start + (token.type == "_COMMA"))
        self.faults.append(error("P001", message, Label(span, label), fix=fix))

    def mend(self, index: int) -> int | None:
        """Mend the tokens by the first edit that lets the next ones parse."""
        token = self.tokens[index]
        wanted = self.wanted()
        kinds = [kind for kind in (*SIGNS, *(() if "NAME" in wanted else WORDS)) if kind in wanted]
        edits: list[tuple[list[Token], int]]  # what comes instead of how many tokens
        edits = [([stand_in(kind, token)], 0) for kind in kinds]
        if token.type != "$END":
            edits += [([stand_in(kind, token)], 1) for kind in kinds]
            edits += [([], 1)]
        if wanted == {"LSQB"}:
            edits.append(([stand_in("LSQB", token), token, stand_in("RSQB", token)], 1))
        if "LBRACE" in wanted:
            edits.append(([stand_in("LBRACE", token)], 0))
        edit = next((edit for edit in edits if self.reach(index, *edit) >= index + ENOUGH), None)
        if edit is None:
            return None
        instead, count = edit
        fix = cure.of_mending(self.source, self.tokens, index, instead, count)
        self.tokens[index : index + count] = instead
        found = words.found(token)
        if len(instead) > 1:
            self.tell(token, f"axes are given in brackets: `[{token}]`", "not in brackets", fix)
        elif not instead:
            self.tell(token, f"{found} is not expected here", f"expected {words.expected(wanted)}", fix)
        elif count:
            wish = words.SYMBOLS[instead[0].type]
            self.tell(token, f"expected {wish}, found {found}", "instead of this", fix)
        else:
            missing = words.SYMBOLS[instead[0].type]
            self.tell(token, f"expected {missing} before {found}", f"{missing} is missing here", fix)
        return index

    def reach(self, index: int, instead: list[Token], count: int) -> int:
        """The index up to which the tokens parse when `count` of them from `index` on are replaced."""
        stack = list(self.stack)
        if not all(self.advance(stack, token.type) for token in instead):
            return index
        for after in range(index + count, min(index + count + LOOKAHEAD, len(self.tokens))):
            kind = self.tokens[after].type
            if not self.advance(stack, kind):
                return after
            if kind in ("_NL", "$END"):
                break  # the statement is whole
        return index + LOOKAHEAD

    def wanted(self) -> set[str]:
        """The kinds of token that may come next."""
        kinds = self.states[self.stack[-1]]
        return {kind for kind in kinds if not kind.islower() and self.advance(list(self.stack), kind)}

    def advance(self, stack: list[int], kind: str) -> bool:
        """Move a stack of parser states over a token, and build nothing; False: it is not expected."""
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

    def drop(self, index: int) -> int:
        """Leave the statement at hand out: the index of the first token after it."""
        self.dropped.append(place(self.source, self.tokens[index]).start)
        self.rewind()
        inner: list[str] = []  # brackets open between the fault and here
        for at in range(index, len(self.tokens)):
            kind = self.tokens[at].type
            if kind in OPENERS:
                inner.append(OPENERS[kind])
            elif kind in inner:
                while inner.pop() != kind:
                    pass
            elif kind == "_NL" and (not inner or ("RBRACE" not in inner and self.begins_a_statement(at + 1))):
                return at + 1
            elif (
                (kind == "_COMMA" and not inner)
                or kind == "$END"
                or (kind == "RBRACE" and len(self.heights) > 1)
            ):
                return at + (kind == "_COMMA")
        raise AssertionError("the last token is $END")

    def swallowed(self, openers: list[Token], end: Span) -> bool:
        """Whether a text without its end, which has been told, has taken in what closes the brackets."""
        start = place(self.source, openers[-1]).start
        texts = [fault.span for fault in self.faults if fault.code == "P003" and fault.span]
        inside = [text.text for text in texts if start < text.start < end.start]
        signs = [words.SYMBOLS[OPENERS[opener.type]].strip("`") for opener in openers]
        return any(all(sign in text for sign in signs) for text in inside)

    def rewind(self) -> None:
        """Forget what was read of the statement at hand."""
        height = self.heights[-1]
        del self.stack[height:]
        del self.parser.values[height - 1 :]
        while self.inside_brackets():
            self.openers.pop()

    def begins_a_statement(self, index: int) -> bool:
        kinds = [token.type for token in self.tokens[index : index + 2]]
        return kinds[0] in ("RBRACE", "$END", "LET", "IMPORT") or (
            kinds[0] == "NAME" and kinds[1] in ("NAME", "EQUAL", "LBRACE", "OVER")
        )

    def close(self, index: int, openers: list[Token], *after: Token) -> None:
        """Close the innermost open brackets before the token `index`, and tell; `after` follows them."""
        end = place(self.source, self.tokens[index])
        labels = [Label(place(self.source, opener), "opened here, never closed") for opener in openers]
        before = Span(self.source, end.start, end.start)
        labels.append(Label(before, "expected to be closed before here", primary=False))
        fix = cure.of_closing(self.source, self.tokens, index, openers)
        if not self.swallowed(openers, end):
            self.faults.append(
                error("P004", f"{words.SYMBOLS[openers[-1].type]} is never closed", *labels, fix=fix)
            )
        closers = [stand_in(OPENERS[opener.type], self.tokens[index]) for opener in reversed(openers)]
        if self.reach(index, [*closers, *after], 0) == index:  # the statement is not whole even so
            self.dropped.append(max(end.start - 1, 0))
            self.rewind()
            closers = [closer for closer in closers if closer.type == "RBRACE"]
        self.tokens[index:index] = [*closers, *after] if closers else []
