"""Reads the keys of one block as values of the types that the schema declares.

A faulty key is reported and gets a stand-in, so that reading continues and finds the other faults.
"""

from __future__ import annotations

from typing import TypeVar, cast

from parc.diagnostic import Diagnostic, Fix, Label, Severity, error
from parc.plan.resolve.scope import Scope
from parc.plan.resolve.values import Quantity, Value, Word, describe_value
from parc.plan.schema.form import Form, Key
from parc.plan.suggest import fix_choice, suggest_spelling
from parc.source import Span
from parc.syntax import tree, units
from parc.syntax.fixes import remove_entry

C = TypeVar("C", bound=str)
MAX_COUNT = 2**53
NOTHING = ("None", "null", "nil", "Null", "none", "NULL", "undefined")  # in other languages
FLAGS = {"true": "true", "false": "false", "yes": "true", "no": "false", "on": "true", "off": "false"}


class KeyReader:
    """The keys of one block.

    `title` names the block in messages: "the block `batch`". `head` is where faults of the whole block are
    reported. `damaged`: the parser dropped a statement, so a key that is missing may have been there. `sound`
    becomes False when the block cannot be used because a required key is missing or faulty.
    """

    def __init__(self, scope: Scope, form: Form, title: str, head: Span, damaged: bool) -> None:
        self.scope = scope
        self.form = form
        self.title = title
        self.head = head
        self.damaged = damaged
        self.sound = True
        self.spans: dict[str, Span] = {}
        self.assignments: dict[str, tree.Assignment] = {}

    # Required keys

    def require_count(self, key: str) -> int:
        value = self.read_count(key)
        self.require(key, value)
        return 1 if value is None else value

    def require_text(self, key: str) -> str:
        value = self.read_text(key)
        self.require(key, value)
        return value or ""

    # Optional keys

    def read_count(self, key: str) -> int | None:
        value, least = self.evaluate(key), int(self.get_declaration(key).lower_bound)
        return None if value is None else self.convert_count(value, self.spans[key], f"`{key}`", least)

    def read_count_or(self, key: str, default: int) -> int:
        value = self.read_count(key)
        return default if value is None else value

    def read_quantity(self, key: str, may_be_zero: bool = False) -> float | None:
        """A quantity of the dimension of the key that is more than zero, in SI units."""
        value = self.evaluate(key)
        if value is None:
            return None
        wanted = self.get_declaration(key).dimension
        if not isinstance(value, Quantity):
            self.report_type(key, units.describe_dimension(wanted), value)
            return None
        if value.dimension != wanted:
            found = units.describe_dimension(value.dimension)
            message = f"`{key}` must be {units.describe_dimension(wanted)}, not {found.split(',')[0]}"
            self.report("P109", self.spans[key], message, found)
            return None
        if value.number < 0 or (value.number == 0 and not may_be_zero):
            limit = "at least zero" if may_be_zero else "more than zero"
            self.report("P111", self.spans[key], f"`{key}` must be {limit}", f"this is {value.number:g}")
            return None
        return float(value.number)

    def read_real(self, key: str) -> float | None:
        value, declared = self.evaluate(key), self.get_declaration(key)
        least, most = declared.lower_bound, declared.most
        if value is None:
            return None
        if not isinstance(value, Quantity) or value.dimension != units.NUMBER:
            self.report_type(key, "a plain number", value)
            return None
        if value.number < least or (most is not None and value.number > most):
            limits = f"at least {least:g}" if most is None else f"from {least:g} to {most:g}"
            self.report("P111", self.spans[key], f"`{key}` must be {limits}", f"this is {value.number:g}")
            return None
        return float(value.number)

    def read_real_or(self, key: str, default: float) -> float:
        value = self.read_real(key)
        return default if value is None else value

    def read_flag(self, key: str, default: bool) -> bool:
        value = self.evaluate(key)
        if value is None or isinstance(value, bool):
            return default if value is None else value
        self.report_type(key, "`true` or `false`", value)
        return default

    def read_text(self, key: str) -> str | None:
        value = self.evaluate(key)
        if value is None or isinstance(value, str):
            return value
        self.report_type(key, 'a text, such as `"a"`', value)
        return None

    def read_texts(self, key: str) -> tuple[str, ...]:
        """One text or a list of texts."""
        value = self.evaluate(key)
        if value is None:
            return ()
        texts = value if isinstance(value, tuple) else (value,)
        found = tuple(text for text in texts if isinstance(text, str))
        if len(found) < len(texts):
            self.report_type(key, 'a list of texts, such as `["*.w_in"]`', value)
        return found

    def read_choice(self, key: str, default: C) -> C:
        """One of the choices of the key, which are the literals of the type of `default`."""
        value = self.evaluate_word(key)
        if value is None:
            return default
        options, span = self.get_declaration(key).choices, self.spans[key]
        text = value.text if isinstance(value, Word) else value if isinstance(value, str) else None
        if text in options:
            if isinstance(self.get_node(key), tree.String):
                self.report_quoted_choice(key, text, span)
            return cast("C", text)
        if text is None:
            self.report_type(key, " or ".join(f"`{option}`" for option in options), value)
        else:
            message = f"`{text}` is not a value of `{key}`"
            help, fix = suggest_spelling(text, options), fix_choice(span, text, options)
            from parc.plan.resolve.unknown import explain_choice  # noqa: PLC0415 - start-up time

            if meant := explain_choice(self.form, self.get_declaration(key), text):
                help, fix = f"parc's name is `{meant}`", Fix(f"write `{meant}`", ((span, meant),))
            self.report("P107", span, message, "unknown choice", help, fix)
            if fix and fix.safe:  # it is read as what the fix makes it
                return cast("C", fix.edits[0][1])
        return default

    def read_counts(self, key: str) -> tuple[int, ...] | None:
        """A list of whole numbers; `spans` gets the span of each entry that is written as `key.index`."""
        value, least = self.evaluate(key), int(self.get_declaration(key).lower_bound)
        if value is None:
            return None
        if not isinstance(value, tuple):
            self.report_type(key, "a list of whole numbers, such as `[4, 4]`", value)
            return None
        spans = self.get_item_spans(key, len(value))
        if spans and spans[0] is not self.spans[key]:
            self.spans |= {f"{key}.{index}": span for index, span in enumerate(spans)}
        found = [
            self.convert_count(item, span, f"an entry of `{key}`", least)
            for item, span in zip(value, spans, strict=True)
        ]
        return None if None in found else tuple(count for count in found if count is not None)

    def read_names(self, key: str, node: tree.Expression | None) -> tuple[str, ...]:
        """A list of bare words, `[ep, tp]`; `spans` gets the span of each as `key.word` and `key.index`."""
        if node is None:
            return ()
        if not isinstance(node, tree.List):
            self.report("P106", node.span, f"`{key}` must be a list of axes, such as `[tp]`", "not a list")
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
                self.report("P106", item.span, "expected the name of an axis", "not a name")
                self.sound = False
        return tuple(found)

    def read_kinds(self, key: str) -> tuple[str, ...]:
        """A list of choices and of texts; `spans` gets the span of each as `key.index`."""
        node, choices = self.get_node(key), self.get_declaration(key).choices
        if node is None:
            return ()
        self.spans[key] = node.span
        found: list[str] = []
        for item in node.items if isinstance(node, tree.List) else (node,):
            text = self.read_kind(key, item, choices)
            if text is not None:
                self.spans[f"{key}.{len(found)}"] = item.span
                found.append(text)
        return tuple(found)

    def read_kind(self, key: str, item: tree.Expression | tree.Pair, choices: tuple[str, ...]) -> str | None:
        """An entry of a list of choices and texts."""
        if isinstance(item, tree.Path) and item.text not in self.scope.lets:
            if item.text in choices:
                return item.text
            listed = ", ".join(f"`{choice}`" for choice in choices)
            help, fix = f"available: {listed}, and globs in quotes", fix_choice(item.span, item.text, choices)
            self.report("P107", item.span, f"`{item.text}` is not a value of `{key}`", "unknown", help, fix)
            return None
        value = None if isinstance(item, tree.Pair) else self.scope.evaluate(item)
        if isinstance(value, str):
            if value in choices and isinstance(item, tree.String):
                self.report_quoted_choice(key, value, item.span)
            return value
        if value is not None or isinstance(item, tree.Pair):
            message = f"`{key}` must be a list such as `{self.get_declaration(key).example}`"
            self.report("P106", item.span, message, "neither a word nor a text")
        return None

    def read_sizes(self, key: str) -> tuple[tuple[str, int], ...]:
        """`[ep: 8, tp: 4]`; `spans` gets the span of each entry as `key.word`."""
        node = self.get_node(key)
        self.require(key, node)
        if node is None:
            return ()
        example = self.get_declaration(key).example
        if not isinstance(node, tree.List) or not node.items:
            message = f"`{key}` must be a list of names and sizes, such as `{example}`"
            self.report("P106", node.span, message, "not such a list")
            self.sound = False
            return ()
        found: dict[str, int] = {}
        for item in node.items:
            if isinstance(item, tree.Pair):
                self.read_size(key, item, found)
                continue
            message = f"an entry of `{key}` has a name and a size, such as `{example}`"
            self.report("P106", item.span, message, "not a pair")
            self.sound = False
            if isinstance(item, tree.Path):  # a name without a size: other faults of that name do not follow
                self.spans.setdefault(f"{key}.{item.text}", item.span)
                found.setdefault(item.text, 1)
        return tuple(found.items())

    def read_size(self, key: str, pair: tree.Pair, found: dict[str, int]) -> None:
        """Add one entry of `read_sizes` to `found`."""
        name, value = pair.name.text, self.scope.evaluate(pair.value)
        if name in found:
            self.report_duplicate(name, self.spans[f"{key}.{name}"], pair.span)
        self.spans.setdefault(f"{key}.{name}", pair.span)
        size = None
        if isinstance(value, Word):
            value = self.scope.report_word(value, pair.value)
        if value is not None:
            size = self.convert_count(value, pair.value.span, f"the size of `{name}`", 1)
        self.sound &= size is not None
        found.setdefault(name, size or 1)

    # Untyped values

    def evaluate(self, key: str) -> Value | None:
        node = self.get_node(key)
        if node is None:
            return None
        if isinstance(node, tree.Number) and node.unit and self.is_unquoted(key, node, node.unit):
            return self.report_unquoted(node)
        value = self.scope.evaluate(node)
        if not isinstance(value, Word):
            return value
        return self.report_word(key, value, node)

    def is_unquoted(self, key: str, node: tree.Number, unit: tree.Name) -> bool:
        """Whether it is no quantity but a text that begins with a digit: `2b`."""
        text = self.form.open or self.get_declaration(key).kind in ("text", "texts")
        return text and unit.text not in units.UNITS and node.span.text[-len(unit.text) - 1].isdigit()

    def report_unquoted(self, node: tree.Number) -> str:
        text = f'"{node.span.text}"'
        help, fix = (
            f"a word that begins with a digit must be in quotes: `{text}`",
            Fix("add quotes", ((node.span, text),)),
        )
        self.report("P108", node.span, f"`{node.span.text}` is no quantity", "not in quotes", help, fix)
        return node.span.text

    def report_word(self, key: str, value: Word, node: tree.Expression) -> Value | None:
        """Report a bare word where a value is wanted; the value that the fix gives it."""
        declared = None if self.form.open else self.get_declaration(key)
        if value.text in NOTHING:
            help, fix = f"a key without a value is left out; parc has no `{value.text}`", None
            if declared and not declared.needed:
                fix = Fix("remove the key", (remove_entry(self.assignments.pop(key).span),))
            self.report("P101", node.span, f"`{value.text}` is not a value", "not of the language", help, fix)
            return None
        flag = FLAGS.get(value.text.lower())
        if flag and (declared is None or declared.kind == "flag"):
            help, fix = f"did you mean `{flag}`?", Fix(f"write `{flag}`", ((node.span, flag),))
            self.report("P101", node.span, f"`{value.text}` is not a value", "not of the language", help, fix)
            return flag == "true"
        return self.scope.report_word(value, node, ("true", "false"))

    def evaluate_word(self, key: str) -> Value | None:
        """As `evaluate`, but a bare word that is not the name of a constant is a value."""
        node = self.get_node(key)
        if isinstance(node, tree.Path) and node.text not in self.scope.lets:
            return Word(node.text)
        return None if node is None else self.scope.evaluate(node)

    def convert_count(self, value: Value, span: Span, subject: str, least: int) -> int | None:
        """A value as a whole number; `subject` names it in messages."""
        if isinstance(value, bool) or not isinstance(value, Quantity) or value.dimension != units.NUMBER:
            self.report("P106", span, f"{subject} must be a whole number", f"this is {describe_value(value)}")
            return None
        number = int(value.number)
        if number != value.number:
            self.report("P106", span, f"{subject} must be a whole number", f"this is {value.number:g}")
            return None
        if not least <= number <= MAX_COUNT:
            limit = f"at least {least:,}" if number < least else f"at most {MAX_COUNT:,}"
            self.report("P111", span, f"{subject} must be {limit}", f"this is {number:,}")
            return None
        return number

    def get_declaration(self, key: str) -> Key:
        """The key in the schema, which has every key that a reader asks for."""
        declared = self.form.find_key(key)
        assert declared, f"{self.form.kind}.{key} is not in the schema"
        return declared

    def get_node(self, key: str) -> tree.Expression | None:
        assert self.form.open or self.form.find_key(key), f"{self.form.kind}.{key} is not in the schema"
        assignment = self.assignments.get(key)
        return assignment.value if assignment else None

    def get_item_spans(self, key: str, count: int) -> list[Span]:
        """The span of each entry of a list; that of the key if the list is not a literal."""
        node = self.get_node(key)
        if isinstance(node, tree.List) and len(node.items) == count:
            return [item.span for item in node.items]
        return [self.spans[key]] * count

    # Reports

    def require(self, key: str, value: object) -> None:
        """Report the key as missing if `value` is None and no other fault explains it."""
        if value is not None:
            return
        self.sound = False
        if key not in self.assignments and not self.damaged:
            self.report_missing(key)

    def report_missing(self, key: str) -> None:
        self.report("P104", self.head, f"{self.title} needs `{key}`", f"`{key}` is missing")

    def report_quoted_choice(self, key: str, choice: str, span: Span) -> None:
        message = f"the value of `{key}` is one of a few words, which are written without quotes"
        fix = Fix(f"write `{choice}`", ((span, choice),))
        label = Label(span, "a word in quotes")
        self.scope.faults.append(Diagnostic("P124", Severity.WARNING, message, (label,), fix=fix))

    def report_type(self, key: str, wanted: str, value: Value) -> None:
        self.report("P106", self.spans[key], f"`{key}` must be {wanted}", f"this is {describe_value(value)}")

    def report_duplicate(self, name: str, first: Span, again: Span) -> None:
        labels = (Label(again, "again here"), Label(first, "first here", primary=False))
        self.scope.faults.append(error("P105", f"`{name}` is given twice", *labels))

    def report(
        self, code: str, span: Span, message: str, label: str, help: str | None = None, fix: Fix | None = None
    ) -> None:
        self.scope.faults.append(error(code, message, Label(span, label), help=help, fix=fix))
