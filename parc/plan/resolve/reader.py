"""Reads one block: its keys, its sub-blocks, and what is left over."""

from __future__ import annotations

from parc.plan.resolve.keys import KeyReader
from parc.plan.resolve.scope import Scope
from parc.plan.schema.form import Form
from parc.plan.suggest import fix_spelling, suggest_spelling
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
        kinds = {form.kind for form in self.form.blocks}
        for key, assignment in self.assignments.items():
            if key not in keys and not self.form.open:
                help = (
                    f"`{key}` is a block: `{key} {{ .. }}`" if key in kinds else suggest_spelling(key, keys)
                )
                span = assignment.path.span
                fix = fix_spelling(span, key, keys - self.assignments.keys())
                self.report("P102", span, f"{self.title} has no key `{key}`", "unknown key", help, fix)
        for kind, blocks in self.blocks.items():
            if kind not in kinds:
                help = f"`{kind}` is a key: `{kind} = ..`" if kind in keys else suggest_spelling(kind, kinds)
                span = blocks[0].kind.span
                fix = fix_spelling(span, kind, kinds - self.blocks.keys())
                self.report("P103", span, f"{self.title} has no block `{kind}`", "unknown block", help, fix)
        for claim in self.claims:
            self.report("P117", claim.span, "a claim must be in the block `expect` of a plan", "not here")
        return self.sound
