"""Reads one block key by key, and tells what is missing, of another type, or left over.

A key that is faulty gives a stand-in, so that reading goes on and finds the other faults; `sound` is then
False where the block cannot be believed without the key.
"""

from __future__ import annotations

from typing import TypeVar, cast

from parc.diagnostic import Fix, Label, error
from parc.plan.resolve.scope import Quantity, Scope, Value, Word, describe
from parc.plan.schema.form import Form
from parc.plan.suggest import did_you_mean, respelling
from parc.source import Span
from parc.syntax import tree, units

C = TypeVar("C", bound=str)
LARGEST_COUNT = 2**53


class Reader:
    def __init__(
        self,
        scope: Scope,
        form: Form,
        what: str,
        span: Span,
        body: tree.Body | None,
        head: Span | None = None,
    ) -> None:
        self.scope = scope
        self.form = form
        self.what = what  # "the block `batch`"
        self.span = span
        self.head = head or span  # where the block is named
        self.damaged = body is not None and body.damaged
        self.sound = True
        self.spans: dict[str, Span] = {}
        self.assignments: dict[str, tree.Assignment] = {}
        self.blocks: dict[str, list[tree.Block]] = {}
        self.claims: list[tree.Claim] = []
        for statement in body.statements if body else ():
            self.sort(statement)

    def sort(self, statement: tree.Statement) -> None:
        match statement:
            case tree.Assignment():
                key = statement.path.text
                if key in self.assignments:
                    self.twice(key, self.assignments[key].path.span, statement.path.span)
                else:
                    self.assignments[key] = statement
                    self.spans[key] = statement.value.span
            case tree.Claim():
                self.claims.append(statement)
            case tree.Block():
                self.blocks.setdefault(statement.kind.text, []).append(statement)
            case _:
                word = "import" if isinstance(statement, tree.Import) else "let"
                self.fault(
                    "P117", statement.span, f"`{word}` stands outside of every block", "not in a block"
                )

    # Keys that a block must have

    def count(self, key: str, least: int = 1) -> int:
        value = self.maybe_count(key, least)
        self.need(key, value)
        return 1 if value is None else value

    def text(self, key: str) -> str:
        value = self.maybe_text(key)
        self.need(key, value)
        return value or ""

    # Keys that it may have

    def maybe_count(self, key: str, least: int = 1) -> int | None:
        value = self.value(key)
        return None if value is None else self.as_count(value, self.spans[key], f"`{key}`", least)

    def count_or(self, key: str, default: int, least: int = 1) -> int:
        value = self.maybe_count(key, least)
        return default if value is None else value

    def maybe_quantity(self, key: str) -> float | None:
        """A positive amount of the key's dimension, in SI."""
        value = self.value(key)
        if value is None:
            return None
        declared = self.form.key(key)
        assert declared is not None
        dimension = declared.dimension
        if not isinstance(value, Quantity):
            self.wrong(key, units.words(dimension), value)
            return None
        if value.dimension != dimension:
            found = units.words(value.dimension)
            self.fault(
                "P109",
                self.spans[key],
                f"`{key}` is {units.words(dimension)}, not {found.split(',')[0]}",
                found,
            )
            return None
        if value.number <= 0:
            self.fault("P111", self.spans[key], f"`{key}` is more than zero", f"this is {value.number:g}")
            return None
        return float(value.number)

    def maybe_real(self, key: str, least: float = 0.0, most: float | None = None) -> float | None:
        value = self.value(key)
        if value is None:
            return None
        if not isinstance(value, Quantity) or value.dimension != units.NUMBER:
            self.wrong(key, "a plain number", value)
            return None
        if value.number < least or (most is not None and value.number > most):
            limits = f"at least {least:g}" if most is None else f"from {least:g} to {most:g}"
            self.fault("P111", self.spans[key], f"`{key}` is {limits}", f"this is {value.number:g}")
            return None
        return float(value.number)

    def real(self, key: str, default: float, least: float = 0.0, most: float | None = None) -> float:
        value = self.maybe_real(key, least, most)
        return default if value is None else value

    def flag(self, key: str, default: bool) -> bool:
        value = self.value(key)
        if value is None or isinstance(value, bool):
            return default if value is None else value
        self.wrong(key, "`true` or `false`", value)
        return default

    def maybe_text(self, key: str) -> str | None:
        value = self.value(key)
        if value is None or isinstance(value, str):
            return value
        self.wrong(key, 'a text, such as `"a"`', value)
        return None

    def texts(self, key: str) -> tuple[str, ...]:
        """One text or a list of them."""
        value = self.value(key)
        if value is None:
            return ()
        texts = value if isinstance(value, tuple) else (value,)
        found = tuple(text for text in texts if isinstance(text, str))
        if len(found) < len(texts):
            self.wrong(key, 'a list of texts, such as `["*.w_in"]`', value)
        return found

    def choice(self, key: str, default: C) -> C:
        """One of the key's choices, which are those of the fact's type."""
        value = self.word(key)
        if value is None:
            return default
        declared = self.form.key(key)
        assert declared is not None
        options = declared.choices
        text = value.text if isinstance(value, Word) else value if isinstance(value, str) else None
        if text in options:
            return cast("C", text)
        if text is None:
            self.wrong(key, " or ".join(f"`{option}`" for option in options), value)
        else:
            message = f"`{text}` is nothing that `{key}` can be"
            help, fix = did_you_mean(text, options), respelling(self.spans[key], text, options)
            self.fault("P107", self.spans[key], message, "unknown choice", help, fix)
        return default

    # What these are made of

    def value(self, key: str) -> Value | None:
        node = self.node(key)
        if node is None:
            return None
        value = self.scope.value(node)
        if isinstance(value, Word):
            options = [*self.scope.lets, "true", "false"]
            message = f"there is no constant `{value.text}`"
            help = did_you_mean(value.text, options) if self.scope.lets else None
            self.fault(
                "P101",
                node.span,
                message,
                "not defined by any `let`",
                help or f'a text stands in quotes: `"{value.text}"`',
                respelling(node.span, value.text, options),
            )
            return None
        return value

    def word(self, key: str) -> Value | None:
        """A value which may be a bare word, which then goes before a constant of that name."""
        node = self.node(key)
        if isinstance(node, tree.Path) and node.text not in self.scope.lets:
            return Word(node.text)
        return None if node is None else self.scope.value(node)

    def node(self, key: str) -> tree.Expression | None:
        assert self.form.open or self.form.key(key), f"{self.form.kind}.{key} is not in the schema"
        assignment = self.assignments.get(key)
        return assignment.value if assignment else None

    def as_count(self, value: Value, span: Span, what: str, least: int) -> int | None:
        if isinstance(value, bool) or not isinstance(value, Quantity) or value.dimension != units.NUMBER:
            self.fault("P106", span, f"{what} is a whole number", f"this is {describe(value)}")
            return None
        number = int(value.number)
        if number != value.number:
            self.fault("P106", span, f"{what} is a whole number", f"this is {value.number:g}")
            return None
        if not least <= number <= LARGEST_COUNT:
            limit = f"at least {least:,}" if number < least else f"at most {LARGEST_COUNT:,}"
            self.fault("P111", span, f"{what} is {limit}", f"this is {number:,}")
            return None
        return number

    def counts(self, key: str, least: int = 1) -> tuple[int, ...] | None:
        """A list of whole numbers; where each is written down, its span is kept as `key.index`."""
        value = self.value(key)
        if value is None:
            return None
        if not isinstance(value, tuple):
            self.wrong(key, "a list of whole numbers, such as `[4, 4]`", value)
            return None
        spans = self.item_spans(key, len(value))
        if spans and spans[0] is not self.spans[key]:
            self.spans |= {f"{key}.{index}": span for index, span in enumerate(spans)}
        found = [
            self.as_count(item, span, f"an entry of `{key}`", least)
            for item, span in zip(value, spans, strict=True)
        ]
        return None if None in found else tuple(count for count in found if count is not None)

    def item_spans(self, key: str, count: int) -> list[Span]:
        node = self.node(key)
        if isinstance(node, tree.List) and len(node.items) == count:
            return [item.span for item in node.items]
        return [self.spans[key]] * count

    def names(self, key: str, node: tree.Expression | None) -> tuple[str, ...]:
        """A list of bare words, `[ep, tp]`; the span of each is kept as `key.word`, and as `key.index`."""
        if node is None:
            return ()
        if not isinstance(node, tree.List):
            self.fault("P106", node.span, f"`{key}` is a list of axes, such as `[tp]`", "not a list")
            self.sound = False
            return ()
        self.spans[key] = node.span
        found: list[str] = []
        for item in node.items:
            if isinstance(item, tree.Path):
                self.spans[f"{key}.{len(found)}"] = item.span
                self.spans.setdefault(f"{key}.{item.text}", item.span)
                found.append(item.text)
            else:
                self.fault("P106", item.span, "expected the name of an axis", "not a name")
                self.sound = False
        return tuple(found)

    def sizes(self, key: str, example: str) -> tuple[tuple[str, int], ...]:
        """`[ep: 8, tp: 4]`; the span of each entry is kept as `key.word`."""
        node = self.node(key)
        self.need(key, node)
        if node is None:
            return ()
        if not isinstance(node, tree.List) or not node.items:
            self.fault(
                "P106",
                node.span,
                f"`{key}` is a list of names and sizes, such as `{example}`",
                "not such a list",
            )
            self.sound = False
            return ()
        found: dict[str, int] = {}
        for item in node.items:
            if not isinstance(item, tree.Pair):
                self.fault(
                    "P106",
                    item.span,
                    f"an entry of `{key}` has a name and a size, such as `{example}`",
                    "not a pair",
                )
                self.sound = False
                if isinstance(item, tree.Path):  # its size is missing, but there is one of that name
                    self.spans.setdefault(f"{key}.{item.text}", item.span)
                    found.setdefault(item.text, 1)
                continue
            name, value = item.name.text, self.scope.value(item.value)
            if name in found:
                self.twice(name, self.spans[f"{key}.{name}"], item.span)
            self.spans.setdefault(f"{key}.{name}", item.span)
            size = None
            if isinstance(value, Word):
                self.scope.not_a_number(value, item.value, value, item.value)
            elif value is not None:
                size = self.as_count(value, item.value.span, f"the size of `{name}`", 1)
            self.sound &= size is not None
            found.setdefault(name, size or 1)
        return tuple(found.items())

    def block(self, kind: str) -> Reader | None:
        """The one sub-block of this kind, if there is one: `batch { .. }`."""
        blocks = self.all_blocks(kind)
        for again in blocks[1:]:
            self.twice(kind, blocks[0].kind.span, again.kind.span)
        return self.enter(blocks[0]) if blocks else None

    def all_blocks(self, kind: str) -> list[tree.Block]:
        assert self.form.block(kind), f"the block {self.form.kind}.{kind} is not in the schema"
        return self.blocks.get(kind, [])

    def enter(self, block: tree.Block) -> Reader:
        """A reader of a sub-block, after a look at its head."""
        form, kind = self.form.block(block.kind.text), block.kind
        assert form is not None
        reader = Reader(self.scope, form, f"the block `{kind.text}`", block.span, block.body, kind.span)
        for name, part, word in (
            ("label", block.label, "a name"),
            ("for", block.purpose, "`for`"),
            ("on", block.place, "`on`"),
            ("over", block.over, "`over`"),
        ):
            allowed = name in form.head
            if part is not None and not allowed:
                self.fault(
                    "P117",
                    part.span,
                    f"the block `{block.kind.text}` takes no {word.removeprefix('a ')}",
                    "not here",
                )
            elif part is None and allowed:
                self.fault(
                    "P117",
                    block.kind.span,
                    f"the block `{block.kind.text}` needs {word}",
                    "missing after this",
                )
                reader.sound = False
        return reader

    def need(self, key: str, value: object) -> None:
        """A key that the block cannot do without."""
        if value is not None:
            return
        self.sound = False
        if key not in self.assignments and not self.damaged:
            self.missing(key)

    def missing(self, key: str) -> None:
        self.fault("P104", self.head, f"{self.what} needs `{key}`", f"`{key}` is missing")

    def wrong(self, key: str, wanted: str, value: Value) -> None:
        self.fault("P106", self.spans[key], f"`{key}` is {wanted}", f"this is {describe(value)}")

    def twice(self, name: str, first: Span, again: Span) -> None:
        labels = (Label(again, "again here"), Label(first, "first here", primary=False))
        self.scope.faults.append(error("P105", f"`{name}` is given twice", *labels))

    def fault(
        self,
        code: str,
        span: Span,
        message: str,
        label: str,
        help: str | None = None,
        fix: Fix | None = None,
    ) -> None:
        self.scope.faults.append(error(code, message, Label(span, label), help=help, fix=fix))

    def finish(self) -> bool:
        """Tell what nobody asked for; whether the block can be believed."""
        keys = {key.name for key in self.form.keys}
        kinds = {form.kind for form in self.form.blocks}
        for key, assignment in self.assignments.items():
            if key not in keys and not self.form.open:
                message = f"{self.what} has no key `{key}`"
                help = f"`{key}` is a block: `{key} {{ .. }}`" if key in kinds else did_you_mean(key, keys)
                fix = respelling(assignment.path.span, key, keys - self.assignments.keys())
                self.fault("P102", assignment.path.span, message, "unknown key", help, fix)
        for kind, blocks in self.blocks.items():
            if kind not in kinds:
                message = f"{self.what} has no block `{kind}`"
                help = f"`{kind}` is a key: `{kind} = ..`" if kind in keys else did_you_mean(kind, kinds)
                fix = respelling(blocks[0].kind.span, kind, kinds - self.blocks.keys())
                self.fault("P103", blocks[0].kind.span, message, "unknown block", help, fix)
        for claim in self.claims:
            self.fault("P117", claim.span, "a claim stands in the block `expect` of a plan", "not here")
        return self.sound
