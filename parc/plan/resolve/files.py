"""All blocks of a file and of what it imports, by kind and name, to resolved plans."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from parc.diagnostic import Diagnostic, Fix, Label, error
from parc.plan import blocks as facts
from parc.plan.resolve import cluster as farm
from parc.plan.resolve import plan as where
from parc.plan.resolve import train as what
from parc.plan.resolve.memo import Lookup, Memo
from parc.plan.resolve.reader import Reader
from parc.plan.resolve.scope import Scope
from parc.plan.schema import TOP
from parc.plan.suggest import did_you_mean, respelling
from parc.source import Span
from parc.syntax import tree

T = TypeVar("T")


class Resolver:
    """`files`: the plan file first, then what it imports."""

    def __init__(
        self, files: Sequence[tree.File], faults: list[Diagnostic], memo: Memo | None = None
    ) -> None:
        self.faults = faults
        self.memo = memo or Memo()
        self.damaged = any(file.damaged for file in files)
        self.blocks: dict[str, dict[str, tree.Block]] = {kind: {} for kind in TOP}
        self.launch_blocks: list[tree.Block] = []
        self.lets: dict[str, tree.Let] = {}
        self.scope = Scope(self.lets, faults, self.memo)
        self.found: dict[str, dict[str, Any]] = {}  # of each kind what its blocks became
        self.own = files[0]
        for file in files:
            for statement in file.statements:
                self.sort(statement)
        for let in self.lets.values():  # also one that nobody uses
            self.scope.value(tree.Path(let.name.span, (let.name,)))
        self.machines = self.all("machine", farm.machine)
        self.all("cluster", self.cluster)
        self.all("model", what.model)
        self.all("train", self.train)
        resolved = self.all("plan", self.plan)
        self.plans = tuple(
            plan
            for block in self.own.statements
            if isinstance(block, tree.Block) and block.label and (plan := resolved.get(block.label.text))
            if plan.span == block.span
        )
        self.launches = tuple(launch for block in self.launch_blocks if (launch := self.launch(block)))
        self.memo.turn()

    def sort(self, statement: tree.Statement) -> None:
        match statement:
            case tree.Let():
                first = self.lets.setdefault(statement.name.text, statement)
                if first is not statement:
                    self.twice(statement.name, first.name)
            case tree.Block():
                self.sort_block(statement)
            case tree.Assignment() | tree.Claim():
                message = f"`{statement.path.text}` stands outside of every block"
                label, help, fix = Label(statement.path.span, "not in a block"), None, None
                if len(statement.path.names) == 1 and isinstance(statement, tree.Assignment):
                    help = f"a constant is written `let {statement.path.text} = ..`"
                    start = statement.span._replace(end=statement.span.start)
                    if start.source.text[: start.start].rstrip(" \t")[-1:] in ("", "\n", ","):
                        fix = Fix("make it a constant", ((start, "let "),), safe=False)
                self.faults.append(error("P117", message, label, help=help, fix=fix))

    def sort_block(self, block: tree.Block) -> None:
        kind = block.kind.text
        if kind not in TOP:
            self.unknown(block.kind, "P103", f"there is no block `{kind}`", TOP)
            return
        if not self.head(block):
            return
        if kind == "launch":
            self.launch_blocks.append(block)
            return
        assert block.label is not None
        first = self.blocks[kind].setdefault(block.label.text, block)
        if first is not block and first.label:
            self.twice(block.label, first.label)

    def head(self, block: tree.Block) -> bool:
        """Whether the block's head has the parts that it must have."""
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
                self.head_fault(block.kind, f"a `{kind}` block needs {word}", "missing after this")
                sound = False
            elif part is not None and not wanted:
                self.head_fault(part, f"a `{kind}` block takes no {word}", "not here")
        if block.over is not None:
            self.head_fault(block.over, f"a `{kind}` block takes no `over`", "not here")
        return sound

    def head_fault(self, node: tree.Node, message: str, label: str) -> None:
        self.faults.append(error("P117", message, Label(node.span, label)))

    def all(self, kind: str, read: Callable[[str, Reader], T | None]) -> dict[str, T | None]:
        found = {name: self.one(kind, name, block, read) for name, block in self.blocks[kind].items()}
        self.found[kind] = found
        return found

    def one(
        self, kind: str, name: str, block: tree.Block, read: Callable[[str, Reader], T | None]
    ) -> T | None:
        """What a block becomes, or became when it last was read."""
        if known := self.memo.recall(block, self.answer):
            self.faults += known.faults
            became: T | None = known.result
            return became
        self.memo.asked = {("names", ""): tuple(self.lets)}  # messages list them
        told = len(self.faults)
        what = f"the {kind} `{name}`"
        became = read(name, Reader(self.scope, TOP[kind], what, block.span, block.body, _head(block)))
        self.memo.keep(block, became, self.faults[told:])
        return became

    def answer(self, lookup: Lookup) -> object:
        """What a block is told that looks this up."""
        kind, name = lookup
        if kind == "names":
            return tuple(self.lets)
        if kind == "let":
            return self.lets.get(name), self.scope.values.get(name)
        found = self.found[kind]
        if name not in found:
            return self.damaged, *found
        return found[name]

    def train(self, name: str, block: Reader) -> facts.Train | None:
        return what.train(name, block, self.model_of)

    def cluster(self, name: str, block: Reader) -> facts.Cluster | None:
        return farm.cluster(name, block, lambda cluster: self.named(cluster, "machine"))

    def model_of(self, train: Reader) -> facts.Model | None:
        train.need("model", train.node("model"))
        model: facts.Model | None = self.named(train, "model")
        return model

    def named(self, block: Reader, key: str) -> Any:
        """The block that `key` names."""
        node = block.node(key)
        if isinstance(node, tree.Path):
            return self.find(key, tree.Name(node.span, node.text))
        if node is not None and not isinstance(node, tree.Missing):
            block.fault("P106", node.span, f"`{key}` is the name of a `{key}` block", "not a name")
        return None

    def plan(self, name: str, block: Reader) -> facts.Plan | None:
        head = self.blocks["plan"][name]
        assert head.purpose is not None
        assert head.place is not None
        train = self.find("train", head.purpose)
        cluster = self.find("cluster", head.place)
        block.spans |= {"train": head.purpose.span, "cluster": head.place.span}
        if head.label:
            block.spans["name"] = head.label.span
        return where.plan(name, block, train, cluster)

    def launch(self, block: tree.Block) -> facts.Launch | None:
        assert block.label is not None
        assert block.purpose is not None
        if block.purpose.text not in self.found["plan"]:
            self.find("plan", block.purpose)
            return None
        reader = Reader(self.scope, TOP["launch"], "the block `launch`", block.span, block.body)
        return where.launch(block.label.text, block.purpose.text, reader)

    def find(self, kind: str, name: tree.Name) -> Any:
        """What the block of that name became; None, and told, where there is none."""
        found = self.found[kind]
        self.memo.answer(kind, name.text, self.answer((kind, name.text)))
        if name.text not in found and not self.damaged:
            self.unknown(name, "P101", f"there is no {kind} `{name.text}`", found)
        return found.get(name.text)

    def unknown(self, name: tree.Name, code: str, message: str, options: dict[str, T]) -> None:
        label = Label(name.span, "unknown")
        help, fix = did_you_mean(name.text, options), respelling(name.span, name.text, options)
        self.faults.append(error(code, message, label, help=help, fix=fix))

    def twice(self, again: tree.Name, first: tree.Name) -> None:
        labels = (Label(again.span, "again here"), Label(first.span, "first here", primary=False))
        self.faults.append(error("P105", f"`{again.text}` is given twice", *labels))


def _head(block: tree.Block) -> Span:
    return block.kind.span.to(block.label.span) if block.label else block.kind.span
