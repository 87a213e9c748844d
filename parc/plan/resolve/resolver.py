"""Resolves the blocks of a file and of its imports, by kind and name, up to its plans."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from parc.diagnostic import Diagnostic, Fix, Label, error
from parc.plan import blocks
from parc.plan.resolve.cluster import resolve_cluster, resolve_machine
from parc.plan.resolve.launch import resolve_launch
from parc.plan.resolve.memo import Lookup, Memo
from parc.plan.resolve.model import resolve_model
from parc.plan.resolve.plan import resolve_plan
from parc.plan.resolve.reader import BlockReader
from parc.plan.resolve.scope import Scope
from parc.plan.resolve.train import resolve_train
from parc.plan.schema import TOP
from parc.plan.suggest import fix_spelling, suggest_spelling
from parc.source import Span
from parc.syntax import tree

MAX_FAULTS = 500  # that are reported
T = TypeVar("T")


class Resolver:
    """The plans and launches of a file, resolved when it is created; faults are added to `faults`.

    `files` is the plan file, followed by its imports. With a `memo`, unchanged blocks are not resolved again.
    `incomplete`: an import is missing, so that a name which is not found may be one of it.
    """

    def __init__(
        self,
        files: Sequence[tree.File],
        faults: list[Diagnostic],
        memo: Memo | None = None,
        incomplete: bool = False,
    ) -> None:
        self.faults = faults
        self.memo = memo or Memo()
        self.damaged = incomplete or any(file.damaged for file in files)
        self.blocks: dict[str, dict[str, tree.Block]] = {kind: {} for kind in TOP}
        self.launch_blocks: list[tree.Block] = []
        self.lets: dict[str, tree.Let] = {}
        self.scope = Scope(self.lets, faults, self.memo)
        self.resolved: dict[str, dict[str, Any]] = {}  # by kind, then by name
        self.root = files[0]
        for file in files:
            for statement in file.statements:
                self.collect(statement)
        for let in self.lets.values():  # unused ones included, for their faults
            self.scope.evaluate(tree.Path(let.name.span, (let.name,)))
        self.machines = self.resolve_all("machine", resolve_machine)
        self.resolve_all("cluster", self.resolve_cluster)
        self.resolve_all("model", resolve_model)
        self.resolve_all("train", self.resolve_train)
        resolved = self.resolve_all("plan", self.resolve_plan)
        self.plans = tuple(
            plan
            for block in self.root.statements
            if isinstance(block, tree.Block) and block.label and (plan := resolved.get(block.label.text))
            if plan.span == block.span
        )
        self.launches = tuple(
            launch for block in self.launch_blocks if (launch := self.resolve_launch(block))
        )
        self.memo.finish()

    def collect(self, statement: tree.Statement) -> None:
        """Register a top-level statement under its name."""
        match statement:
            case tree.Let():
                first = self.lets.setdefault(statement.name.text, statement)
                if first is not statement:
                    self.report_duplicate(statement.name, first.name)
            case tree.Block():
                self.collect_block(statement)
            case tree.Assignment() | tree.Claim() if len(self.faults) <= MAX_FAULTS:
                message = f"`{statement.path.text}` is outside of every block"
                label, help, fix = Label(statement.path.span, "not in a block"), None, None
                if len(statement.path.names) == 1 and isinstance(statement, tree.Assignment):
                    help = f"a constant is written `let {statement.path.text} = ..`"
                    start = statement.span._replace(end=statement.span.start)
                    name, value = statement.path.text, statement.value
                    able = isinstance(value, tree.Number | tree.String | tree.Chain) and name != "import"
                    if (
                        able
                        and name not in self.lets
                        and start.source.text[: start.start].rstrip(" \t")[-1:] in ("", "\n", ",")
                    ):
                        fix = Fix("make it a constant", ((start, "let "),), safe=False)
                self.faults.append(error("P117", message, label, help=help, fix=fix))

    def collect_block(self, block: tree.Block) -> None:
        kind = block.kind.text
        if kind not in TOP:
            meant = self.report_unknown(block.kind, "P103", f"there is no block `{kind}`", TOP)
            if meant is None:
                self.damaged = True  # it may have the name of another kind of block
                return
            block, kind = block._replace(kind=block.kind._replace(text=meant)), meant
        if not self.check_head(block):
            return
        if kind == "launch":
            self.launch_blocks.append(block)
            return
        assert block.label is not None
        first = self.blocks[kind].setdefault(block.label.text, block)
        if first is not block and first.label:
            self.report_duplicate(block.label, first.label)

    def check_head(self, block: tree.Block) -> bool:
        """Whether the head of the block has its required parts. Faults are reported."""
        kind = block.kind.text
        parts = (
            ("label", block.label, "a name"),
            ("for", block.purpose, "`for`"),
            ("on", block.place, "`on`"),
        )
        sound = True
        for name, part, word in parts:
            wanted = name in TOP[kind].head
            if wanted and part is None:
                self.report_head(block.kind, f"a `{kind}` block needs {word}", "missing after this")
                sound = False
            elif part is not None and not wanted:
                self.report_head(part, f"a `{kind}` block takes no {word}", "not here")
        if block.over is not None:
            self.report_head(block.over, f"a `{kind}` block takes no `over`", "not here")
        return sound

    def report_head(self, node: tree.Node, message: str, label: str) -> None:
        self.faults.append(error("P117", message, Label(node.span, label)))

    def resolve_all(self, kind: str, read: Callable[[str, BlockReader], T | None]) -> dict[str, T | None]:
        found = {
            name: self.resolve_block(kind, name, block, read) for name, block in self.blocks[kind].items()
        }
        self.resolved[kind] = found
        return found

    def resolve_block(
        self, kind: str, name: str, block: tree.Block, read: Callable[[str, BlockReader], T | None]
    ) -> T | None:
        """The resolved block, from the memo if it is unchanged."""
        if known := self.memo.recall(block, self.look_up):
            self.faults += known.faults
            recalled: T | None = known.result
            return recalled
        self.memo.answers = {("names", ""): tuple(self.lets)}  # messages may list them
        count = len(self.faults)
        title = f"the {kind} `{name}`"
        reader = BlockReader(self.scope, TOP[kind], title, block.span, block.body, _get_head(block))
        result = read(name, reader)
        self.memo.store(block, result, self.faults[count:])
        return result

    def look_up(self, lookup: Lookup) -> object:
        """The current answer to a lookup."""
        kind, name = lookup
        if kind == "names":
            return tuple(self.lets)
        if kind == "let":
            return self.lets.get(name), self.scope.values.get(name)
        found = self.resolved[kind]
        if name not in found:
            return self.damaged, *found
        return found[name]

    def resolve_train(self, name: str, block: BlockReader) -> blocks.Train | None:
        return resolve_train(name, block, self.find_model)

    def resolve_cluster(self, name: str, block: BlockReader) -> blocks.Cluster | None:
        return resolve_cluster(name, block, lambda cluster: self.find_named(cluster, "machine"))

    def find_model(self, train: BlockReader) -> blocks.Model | None:
        train.require("model", train.get_node("model"))
        model: blocks.Model | None = self.find_named(train, "model")
        return model

    def find_named(self, block: BlockReader, key: str) -> Any:
        """The resolved block that `key` refers to, of the kind `key`."""
        node = block.get_node(key)
        if isinstance(node, tree.Path):
            return self.find(key, tree.Name(node.span, node.text))
        if node is not None and not isinstance(node, tree.Missing):
            block.report("P106", node.span, f"`{key}` must be the name of a `{key}` block", "not a name")
        return None

    def resolve_plan(self, name: str, block: BlockReader) -> blocks.Plan | None:
        head = self.blocks["plan"][name]
        assert head.purpose is not None
        assert head.place is not None
        train = self.find("train", head.purpose)
        cluster = self.find("cluster", head.place)
        block.spans |= {"train": head.purpose.span, "cluster": head.place.span}
        if head.label:
            block.spans["name"] = head.label.span
        return resolve_plan(name, block, train, cluster)

    def resolve_launch(self, block: tree.Block) -> blocks.Launch | None:
        assert block.label is not None
        assert block.purpose is not None
        if block.purpose.text not in self.resolved["plan"]:
            self.find("plan", block.purpose)
            return None
        reader = BlockReader(self.scope, TOP["launch"], "the block `launch`", block.span, block.body)
        return resolve_launch(block.label.text, block.purpose.text, reader)

    def find(self, kind: str, name: tree.Name) -> Any:
        """The resolved block of that name; None, with a report, if there is none."""
        found = self.resolved[kind]
        if kind == "machine" and name.text not in found and name.text.lower() in found:
            name = name._replace(text=name.text.lower())  # the hardware library's names are known in any case
        self.memo.record(kind, name.text, self.look_up((kind, name.text)))
        if name.text not in found and not self.damaged:
            meant = self.report_unknown(name, "P101", f"there is no {kind} `{name.text}`", found)
            if meant:
                self.memo.record(kind, meant, self.look_up((kind, meant)))
                return found[meant]
        return found.get(name.text)

    def report_unknown(self, name: tree.Name, code: str, message: str, options: dict[str, T]) -> str | None:
        """Report an unknown name; the one that its fix writes."""
        label = Label(name.span, "unknown")
        help, fix = suggest_spelling(name.text, options), fix_spelling(name.span, name.text, options)
        self.faults.append(error(code, message, label, help=help, fix=fix))
        return fix.edits[0][1] if fix and fix.safe else None

    def report_duplicate(self, again: tree.Name, first: tree.Name) -> None:
        labels = (Label(again.span, "again here"), Label(first.span, "first here", primary=False))
        self.faults.append(error("P105", f"`{again.text}` is given twice", *labels))


def _get_head(block: tree.Block) -> Span:
    return block.kind.span.extend_to(block.label.span) if block.label else block.kind.span
