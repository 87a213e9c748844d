"""Text to tree: the forms of the language, and going on after a fault."""

from __future__ import annotations

import pytest

from parc.diagnostic import Diagnostic
from parc.source import Source
from parc.syntax import tree
from parc.syntax.parse import parse, parse_override
from tests.front.plans import SEED


def parse_text(text: str) -> tree.File:
    file, faults = parse(Source("plan.parc", text))
    assert faults == ()
    return file


def list_faults(text: str) -> list[tuple[str, int, int, str]]:
    """(code, line, column, message) of each fault."""
    return [summarize_fault(fault) for fault in parse(Source("plan.parc", text))[1]]


def summarize_fault(fault: Diagnostic) -> tuple[str, int, int, str]:
    assert fault.span is not None
    return fault.code, fault.span.line, fault.span.column, fault.message


def parse_value(text: str) -> tree.Expression:
    (statement,) = parse_text(f"let x = {text}").statements
    assert isinstance(statement, tree.Let)
    return statement.value


def list_kinds(file: tree.File) -> list[str]:
    return [type(statement).__name__ for statement in file.statements]


# What is legal


def test_the_seed_plan() -> None:
    file = parse_text(SEED)
    assert list_kinds(file) == ["Block"] * 5
    plan = file.statements[3]
    assert isinstance(plan, tree.Block)
    assert plan.label
    assert plan.purpose
    assert plan.place
    assert (plan.kind.text, plan.label.text, plan.purpose.text, plan.place.text) == (
        "plan",
        "wide",
        "first",
        "farm",
    )
    assert plan.body
    strategies = [each for each in plan.body.statements if isinstance(each, tree.Block) and each.over]
    assert [each.kind.text for each in strategies] == ["data", "tensor", "experts", "pipeline"]


def test_every_node_keeps_its_span() -> None:
    text = "plan wide for first on farm { mesh = [ep: 8, tp: 4]\n expect { memory.peak <= 90 % } }"
    file = parse_text(text)
    (plan,) = file.statements
    assert isinstance(plan, tree.Block)
    assert plan.body
    mesh, expect = plan.body.statements
    assert plan.span.text == text
    assert mesh.span.text == "mesh = [ep: 8, tp: 4]"
    assert isinstance(mesh, tree.Assignment)
    assert isinstance(mesh.value, tree.List)
    assert [item.span.text for item in mesh.value.items] == ["ep: 8", "tp: 4"]
    assert isinstance(expect, tree.Block)
    assert expect.body
    (claim,) = expect.body.statements
    assert isinstance(claim, tree.Claim)
    assert (claim.path.text, claim.relation, claim.value.span.text) == ("memory.peak", "<=", "90 %")
    assert (claim.span.line, claim.span.column) == (2, 11)


@pytest.mark.parametrize("separator", ["\n", ", ", ",\n", "  # why\n", ",  # why\n\n  \n", "\n\n\n"])
def test_statements_end_at_a_line_or_a_comma(separator: str) -> None:
    file = parse_text(f"let a = 1{separator}let b = 2")
    assert list_kinds(file) == ["Let", "Let"]


@pytest.mark.parametrize("text", ["", "\n", "# only a comment", "\n\n  # one\n\n# two\n", "   "])
def test_an_empty_file(text: str) -> None:
    assert parse_text(text).statements == ()


def test_lists_and_calls_go_over_lines() -> None:
    items = parse_value("[\n  ep: 8,  # outermost\n  tp: 4,\n]")
    assert isinstance(items, tree.List)
    assert len(items.items) == 2
    call = parse_value('tokens(\n "a.bin",\n type = uint16\n)')
    assert isinstance(call, tree.Call)
    assert isinstance(call.arguments[1], tree.Named)


def test_no_word_is_reserved() -> None:
    file = parse_text(
        "train for for on { import = 1, let = 2, over = on, data over [over] }".replace(
            "train for", "train a"
        )
    )
    (block,) = file.statements
    assert isinstance(block, tree.Block)
    assert block.body
    assert [each.span.text for each in block.body.statements] == [
        "import = 1",
        "let = 2",
        "over = on",
        "data over [over]",
    ]


@pytest.mark.parametrize(
    ("text", "number", "unit"),
    [
        ("141 GiB", 141, "GiB"),
        ("1.8 TB/s", 1.8, "TB/s"),
        ("1.8TB/s", 1.8, "TB/s"),
        ("90%", 90, "%"),
        ("3e-4", 3e-4, None),
        ("1_000_000", 1000000, None),
        ("2 h", 2, "h"),
    ],
)
def test_a_number_and_its_unit_are_one(text: str, number: float, unit: str | None) -> None:
    node = parse_value(text)
    assert isinstance(node, tree.Number)
    assert (node.value, node.unit.text if node.unit else None) == (number, unit)
    assert type(node.value) is type(number)


def test_a_unit_may_still_be_a_name() -> None:
    block = parse_text("plan s for h on min { mesh = [s: 2, h: 2], data over [s] }").statements[0]
    assert isinstance(block, tree.Block)
    assert block.label
    assert block.label.text == "s"


def test_operators_bind_as_in_arithmetic() -> None:
    node = parse_value("1 + 2 * 3 - -x")
    assert isinstance(node, tree.Chain)
    assert [operator for operator, _ in node.rest] == ["+", "-"]
    assert isinstance(node.rest[0][1], tree.Chain)
    assert isinstance(node.rest[1][1], tree.Negation)
    grouped = parse_value("(1 + 2) * 3")
    assert isinstance(grouped, tree.Chain)
    assert isinstance(grouped.first, tree.Chain)


@pytest.mark.parametrize(
    ("text", "said"),
    [('"a b"', "a b"), (r'"\"\\\n\t"', '"\\\n\t'), (r'"\d"', r"\d"), ('""', ""), ('"# no"', "# no")],
)
def test_texts(text: str, said: str) -> None:
    node = parse_value(text)
    assert isinstance(node, tree.String)
    assert node.value == said


def test_an_override() -> None:
    assignment, found = parse_override(Source("--set", "first.batch.microbatches=64"))
    assert found == ()
    assert assignment
    assert assignment.path.text == "first.batch.microbatches"
    assert parse_override(Source("--set", "first.batch="))[1][0].code == "P001"
    assert parse_override(Source("--set", "a = 1, b = 2"))[1][0].code == "P001"


# What is not


def test_several_faults_give_several_diagnostics() -> None:
    text = """\
plan wide fr first on farm {
  mesh = [ep: 8, pp 4, tp: 4]
  data over ep
  seed =
  lr: 3
  steps 5
}
let x = )
let y = 2
"""
    assert list_faults(text) == [
        ("P001", 1, 11, "expected `for`, found `fr`"),
        ("P001", 2, 21, "expected `:` before `4`"),
        ("P001", 3, 13, "axes must be in brackets: `[ep]`"),
        ("P001", 4, 9, "expected a value before the end of the line"),
        ("P001", 5, 5, "expected `=`, found `:`"),
        ("P001", 6, 9, "expected `=` before `5`"),
        ("P001", 8, 9, "expected a value, found `)`"),
    ]


def test_what_is_right_is_kept() -> None:
    file, _ = parse(Source("plan.parc", "let a = 1\nlet b = = 3 [\nlet c = 2\n"))
    assert [each.name.text for each in file.statements if isinstance(each, tree.Let)] == ["a", "c"]
    assert file.damaged


def test_a_body_knows_that_something_was_dropped_from_it() -> None:
    file, _ = parse(Source("plan.parc", "batch { a = 1 2 3\n b = 2 }\nloss { c = 3 }"))
    batch, loss = file.statements
    assert isinstance(batch, tree.Block)
    assert isinstance(loss, tree.Block)
    assert batch.body
    assert loss.body
    assert (batch.body.damaged, loss.body.damaged) == (True, False)


@pytest.mark.parametrize(
    ("text", "statements"),
    [
        ("train a {\n seed = 1\n\ntrain b {\n seed = 2\n}\n", 2),  # ends where the next block begins
        ("train a {\n seed = [1, 2\n steps = 3\n}\nlet x = 1", 2),  # a list where the next statement does
        ("let x = 1\ntrain a {\n seed = (1 +", 2),
        ("train a {", 1),
    ],
)
def test_an_unclosed_bracket_is_reported_once(text: str, statements: int) -> None:
    file, found = parse(Source("plan.parc", text))
    assert [fault.code for fault in found] == ["P004"]
    assert len(file.statements) == statements


def test_a_stray_brace_does_not_end_the_file() -> None:
    text = "let a = 1\n}\nlet b = 2"
    assert list_faults(text) == [("P001", 2, 1, "this `}` has no matching `{`")]
    assert list_kinds(parse(Source("plan.parc", text))[0]) == ["Let", "Let"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('let a = "x\nlet b = 2', ("P003", 1, 9, "this string is not closed")),
        ("let a = 1;\nlet b = 2", ("P002", 1, 10, "`;` is not part of the language")),
        ("let a = 1 ! \nlet b = 2", ("P002", 1, 11, "`!` is not part of the language")),
        ("let a = 1 \0\x07\nlet b = 2", ("P002", 1, 11, "`\0\x07` is not part of the language")),
        (f"let a = {'9' * 65}\nlet b = 2", ("P007", 1, 9, "this number is too large")),
        ("let a = 1e999\nlet b = 2", ("P007", 1, 9, "this number is too large")),
        (f"let a = {'[' * 33}1{']' * 33}", ("P006", 1, 41, "brackets are nested more than 32 deep")),
    ],
)
def test_odd_texts(text: str, told: tuple[str, int, int, str]) -> None:
    assert list_faults(text) == [told]


def test_a_value_that_is_missing_is_not_reported_twice() -> None:
    file, found = parse(Source("plan.parc", 'let a = "x'))
    assert len(found) == 1
    (let,) = file.statements
    assert isinstance(let, tree.Let)
    assert isinstance(let.value, tree.Missing)


def test_too_large_a_file_is_not_read() -> None:
    assert [code for code, *_ in list_faults("#" * 300_000)] == ["P005"]
    assert [code for code, *_ in list_faults("a=1\n" * 20_000)] == ["P005"]


def test_a_text_full_of_faults_is_given_up() -> None:
    assert len(list_faults("= 1\n" * 5_000)) < 60


def test_a_fault_in_brackets_does_not_reach_beyond_its_statement() -> None:
    text = "batch {\n a = [1, = = 3]\n b = 5\n c = 1 2 3\n d = 1\n}\nlet x = 2\n"
    file, found = parse(Source("plan.parc", text))
    assert [summarize_fault(fault)[:2] for fault in found] == [("P001", 2), ("P001", 4)]
    batch = file.statements[0]
    assert isinstance(batch, tree.Block)
    assert batch.body
    assert [each.span.text for each in batch.body.statements] == ["b = 5", "d = 1"]
