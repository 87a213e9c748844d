"""Reads one block: its keys, its sub-blocks, and what is left over."""

from __future__ import annotations

from parc.plan.resolve.keys import KeyReader
from parc.plan.resolve.scope import Scope
from parc.plan.schema.form import Form
from parc.plan.suggest import Explanation
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
        self.unknown: list[tuple[tree.Assignment | tree.Block, Explanation]] = []
        for statement in body.statements if body else ():
            self.collect(statement)
        self.adopt_unknown()

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

    def adopt_unknown(self) -> None:
        """Explain keys and blocks that the schema does not have.

        Those whose fix gives them another name are read as if they had it, so that all of their faults are
        found at once.
        """
        kinds = {form.kind for form in self.form.blocks if not self.form.find_value(form.kind)}
        blocks = [each for kind, same in self.blocks.items() if kind not in kinds for each in same]
        assignments = [each for name, each in self.assignments.items() if self.form.find_key(name) is None]
        if self.form.open or not (blocks or assignments):
            return
        from parc.plan.resolve.unknown import explain_block, explain_key  # noqa: PLC0415 - start-up time

        for assignment in assignments:
            present = self.assignments.keys() | self.blocks.keys()
            self.adopt(assignment, explain_key(self.form, assignment, present))
        for block in blocks:
            present = self.assignments.keys() | self.blocks.keys()
            self.adopt(block, explain_block(self.form, block, present))

    def adopt(self, statement: tree.Assignment | tree.Block, explanation: Explanation) -> None:
        self.unknown.append((statement, explanation))
        if explanation.meant is None or not (explanation.fix and explanation.fix.safe):
            return
        if isinstance(statement, tree.Assignment):
            del self.assignments[statement.path.text]
        else:
            self.blocks.pop(statement.kind.text, None)
        self.collect(explanation.meant)

    def finish(self) -> bool:
        """Report keys, blocks and claims that the schema does not have; whether the block can be used."""
        for statement, (help, fix, _) in self.unknown:
            if isinstance(statement, tree.Assignment):
                message = f"{self.title} has no key `{statement.path.text}`"
                self.report("P102", statement.path.span, message, "unknown key", help, fix)
            else:
                message = f"{self.title} has no block `{statement.kind.text}`"
                self.report("P103", statement.kind.span, message, "unknown block", help, fix)
        for claim in self.claims:
            self.report("P117", claim.span, "a claim must be in the block `expect` of a plan", "not here")
        return self.sound

    def report_missing(self, key: str) -> None:
        """Report a key or block as missing, unless one that is reported as unknown may be meant as it."""
        from parc.plan.resolve.unknown import may_mean  # noqa: PLC0415 - start-up time

        if not any(may_mean(self.form, each, key) for each, _ in self.unknown):
            super().report_missing(key)
