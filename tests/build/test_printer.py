"""What is printed reads as the tree that it was printed from: all parentheses that bind are there."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from parc.emit.pretty import print_expression, print_statement
from parc.emit.trees import assign
from parc.ir.expression import Expression, attribute, call, expr, item, literal, name, substitute

OPERATORS = ("+", "-", "*", "/", "//", "%", "@", "**", "&", "|", "^", "==", "!=", "<", "<=", ">", ">=")
OTHERS = (
    *("-a", "~a", "a.T", "a.sum(b, dim=-1)", "f(a, b)", "a[b]", "a[1:b]", "a[..., b]", "a[:, b]", "(a, b)"),
    "a.b.c(b).d()",
)


def grown(inner: st.SearchStrategy[ast.expr]) -> st.SearchStrategy[ast.expr]:
    templates = st.sampled_from([*(f"a {operator} b" for operator in OPERATORS), *OTHERS])
    return st.builds(lambda template, a, b: expr(template, a=a, b=b), templates, inner, inner)


LEAVES = st.one_of(
    st.sampled_from(["x", "weights", "a_variable_with_a_long_name"]).map(name),
    st.sampled_from([0, 1, -1, 2.5, -1e-6, "text", None, True, (1,), (2, -3), float("-inf")]).map(literal),
    st.sampled_from(["weight", "layers.0.w", "attention.q.bias"]).map(attribute),
)
TREES = st.recursive(LEAVES, grown, max_leaves=12)


def same(text: str, tree: ast.expr) -> bool:
    printed, expected = (ast.parse(each, mode="eval") for each in (text, ast.unparse(tree)))
    return ast.dump(printed) == ast.dump(expected)


@settings(deadline=None, derandomize=True, max_examples=300)
@given(TREES)
def test_an_expression_reads_as_it_was_built(tree: ast.expr) -> None:
    assert same(print_expression(tree), tree)


@settings(deadline=None, derandomize=True, max_examples=300)
@given(TREES, st.integers(0, 25))
def test_so_it_does_broken_over_lines(tree: ast.expr, steps: int) -> None:
    lines = print_statement(assign(name("result"), tree), 4 * steps)
    (statement,) = ast.parse("if True:\n" * bool(steps) + "\n".join(lines)).body[:1]
    found = statement.body[0] if isinstance(statement, ast.If) else statement
    assert isinstance(found, ast.Assign)
    assert same(ast.unparse(found.value), tree)


def test_operands_keep_their_grouping() -> None:
    a, b = expr("x + y"), expr("z - w")
    cases = {
        "a * b": "(x + y) * (z - w)",
        "a - b": "x + y - (z - w)",
        "a @ b.T": "(x + y) @ (z - w).T",
        "a == b": "x + y == z - w",
        "-a ** b": "-((x + y) ** (z - w))",
        "a.sum()": "(x + y).sum()",
    }
    for template, text in cases.items():
        assert print_expression(expr(template, a=a, b=b)) == text


def test_placeholders_are_names_and_nothing_else() -> None:
    tree = expr("x.x(x=x)", x=name("y"))
    assert print_expression(tree) == "y.x(x=y)"
    assert print_expression(expr("x.x(x=x)")) == "x.x(x=x)"  # the template itself is as it was
    assert substitute(tree, {"z": name("w")}) is tree


def test_expressions_are_equal_where_they_read_the_same() -> None:
    assert Expression(expr("f(x)", x=literal((1,)))) == Expression(call("f", literal((1,))))
    assert Expression(item(name("x"), literal(0))) != Expression(item(name("x"), literal(1)))


def test_numbers_and_texts_are_written_as_by_hand() -> None:
    values = {"1e-6": 1e-6, "1e16": 1e16, "-2": -2, 'float("inf")': float("inf"), '"it\'s"': "it's"}
    assert [print_expression(literal(value)) for value in values.values()] == list(values)
    assert print_expression(literal({"tp": (0, 3)})) == '{"tp": (0, 3)}'


def test_long_statements_are_broken_as_ruff_breaks_them(tmp_path: Path) -> None:
    chain = "x.square().mean(dim=-1, keepdim=True)"
    for _ in range(4):
        chain = f"({chain} + {chain}).rsqrt().transpose(1, 2)" if len(chain) < 300 else chain
    statements = [
        f"result = {chain}",
        f"first, second = function_of_two({chain}, keyword={chain})",
        f"result = {' * '.join(['some_variable'] * 12)} + {chain}",
        f"layers = [Layer({chain}) for _ in range(12)] + [Other({chain}) for _ in range(7)] + [Last(mesh)]",
        f"self.table = module(weight=parameter(mesh, {tuple(range(40))}, {{'tp': 0}}), bias=None)",
        f"layers = nn.ModuleDict({{str(i): layer for i, layer in enumerate([{', '.join(['Norm()'] * 9)}])}})",
        f"layers = nn.ModuleDict({{{', '.join(f'{i}: Layer(mesh)' for i in range(12))}}})",
    ]
    inputs = [f"input_number_{i}: Tensor" for i in range(9)]
    statements += [
        f"def forward({', '.join(inputs[:count])}) -> tuple[Tensor, Tensor, Tensor]:\n    return x"
        for count in (3, 4, 9)
    ]
    file = tmp_path / "file.py"
    lines = [line for text in statements for line in print_statement(ast.parse(text).body[0])]
    file.write_text("\n".join(lines).replace("\ndef ", "\n\n\ndef ") + "\n")
    ruff = Path(sys.executable).parent / "ruff"
    command = [str(ruff), "format", "--isolated", "--line-length", "110", "--no-cache", "--diff", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
