"""Reads one block: its keys, its sub-blocks, and what is left over."""

from __future__ import annotations

from collections.abc import Iterable

from parc.plan.resolve.keys import KeyReader
from parc.plan.resolve.scope import Scope
from parc.plan.schema.form import Form
from parc.source import Span
from parc.syntax import tree


class BlockReader(KeyReader):
    """One block. `head` is where it is named, if that is not its whole span."""

    def __init__(
        self,
        scope: Scope,
        form: Form,
        title: str,
        span: Span,
        body: tree.Body | None,
        head: Span | None = None,
    ) -> None:
        super().__init__(scope, form, title, head or span, body is not None and body.damaged)
        self.span = span
        self.blocks: dict[str, list[tree.Block]] = {}
        self.claims: list[tree.Claim] = []
        for statement in body.statements if body else ():
            self.collect(statement)

    def collect(self, statement: tree.Statement) -> None:
        """Sort a statement of the body by its kind."""
        match statement:
            case tree.Assignment():
                key = statement.path.text
                if key in self.assignments:
                    self.report_duplicate(key, self.assignments[key].path.span, statement.path.span)
                else:
                    self.assignments[key] = statement
                    self.spans[key] = statement.value.span
            case tree.Claim():
                self.claims.append(statement)
            case tree.Block():
                self.blocks.setdefault(statement.kind.text, []).append(statement)
            case _:
                word = "import" if isinstance(statement, tree.Import) else "let"
                self.report("P117", statement.span, f"`{word}` must be outside of every block", "in a block")

    def read_block(self, kind: str) -> BlockReader | None:
        """The only sub-block of this kind, if there is one: `batch { .. }`."""
        blocks = self.get_blocks(kind)
        for again in blocks[1:]:
            self.report_duplicate(kind, blocks[0].kind.span, again.kind.span)
        return self.enter(blocks[0]) if blocks else None

    def get_blocks(self, kind: str) -> list[tree.Block]:
        assert self.form.find_block(kind), f"the block {self.form.kind}.{kind} is not in the schema"
        return self.blocks.get(kind, [])

    def enter(self, block: tree.Block) -> BlockReader:
        """A reader of a sub-block. Faults of its head are reported."""
        form, kind = self.form.find_block(block.kind.text), block.kind
        assert form is not None
        reader = BlockReader(self.scope, form, f"the block `{kind.text}`", block.span, block.body, kind.span)
        for name, part, word in (
            ("label", block.label, "a name"),
            ("for", block.purpose, "`for`"),
            ("on", block.place, "`on`"),
            ("over", block.over, "`over`"),
        ):
            if part is not None and name not in form.head:
                message = f"the block `{kind.text}` takes no {word.removeprefix('a ')}"
                self.report("P117", part.span, message, "not here")
            elif part is None and name in form.head:
                message = f"the block `{kind.text}` needs {word}"
                self.report("P117", kind.span, message, "missing after this")
                reader.sound = False
        return reader

    def finish(self) -> bool:
        """Report keys, blocks and claims that the schema does not have; whether the block can be used."""
        keys = {key.name for key in self.form.keys}
        kinds = {form.kind for form in self.form.blocks if not self.form.find_value(form.kind)}
        strange = (
            [] if self.form.open else [each for name, each in self.assignments.items() if name not in keys]
        )
        blocks = [each for kind, (each, *_) in self.blocks.items() if kind not in kinds]
        if strange or blocks:
            self.report_unknown(strange, blocks)
        for claim in self.claims:
            self.report("P117", claim.span, "a claim must be in the block `expect` of a plan", "not here")
        return self.sound

    def report_unknown(self, assignments: Iterable[tree.Assignment], blocks: Iterable[tree.Block]) -> None:
        from parc.plan.resolve.unknown import explain_block, explain_key  # noqa: PLC0415 - start-up time

        present = self.blocks.keys() | self.assignments.keys()
        for each in assignments:
            message = f"{self.title} has no key `{each.path.text}`"
            help, fix = explain_key(self.form, each, present)
            self.report("P102", each.path.span, message, "unknown key", help, fix)
        for block in blocks:
            message = f"{self.title} has no block `{block.kind.text}`"
            help, fix = explain_block(self.form, block, present)
            self.report("P103", block.kind.span, message, "unknown block", help, fix)

    def report_missing(self, key: str) -> None:
        """Report a key or block as missing, unless one that is reported as unknown may be meant as it."""
        from parc.plan.resolve.unknown import may_mean  # noqa: PLC0415 - start-up time

        others: list[tree.Assignment | tree.Block] = [*self.assignments.values()]
        others += [block for same in self.blocks.values() for block in same]
        if not any(may_mean(self.form, each, key) for each in others):
            super().report_missing(key)
