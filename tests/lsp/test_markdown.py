"""No text of a user ends the code that shows it in a hover."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parc.lsp.document.workspace import Workspace
from parc.lsp.hover.hover import describe_word
from parc.lsp.markdown import format_code, format_code_block

BREAKS = ["\r", "\v", "\f", "\x1c", "\x85", "\u2028", "\u2029", "\0", "\u202e"]


def check_block(text: str) -> None:
    """A code block of one line, for a reader that ends lines wherever `str.splitlines` does."""
    first, *inside, last = text.splitlines()
    assert re.fullmatch("`{3,}text", first)
    assert last == first.removesuffix("text")
    assert len(inside) == 1
    assert last not in inside[0]


@given(st.text(alphabet=st.sampled_from("`ab \t" + "".join(BREAKS))))
def test_code_contains_all_of_its_text(text: str) -> None:
    code = format_code(text)
    fence = re.match("`+", code)
    assert fence
    assert code.endswith(fence[0])
    assert fence[0] not in code[len(fence[0]) : -len(fence[0])]
    assert code.isprintable()
    check_block("\n".join(format_code_block([text.replace("\n", "")])))


@pytest.mark.parametrize("sign", [*BREAKS, "`", "```", "\r```\r# heading"])
def test_an_imported_file_does_not_break_out_of_a_hover(tmp_path: Path, sign: str) -> None:
    """A lone CR is no end of a line for parc, and is one for editors."""
    (tmp_path / "b.parc").write_text(f'let half = 4 # "{sign}```\n', encoding="utf-8", newline="")
    text = 'import "b.parc"\nlet x = half\n'
    workspace, path = Workspace(), tmp_path / "a.parc"
    workspace.set_text(path, text, 1)
    analysis = workspace.analyse(path)
    assert analysis
    found = describe_word(analysis, text.index("half") + 1)
    assert found
    title, _, rest = found[0].partition("\n\n")
    assert title == "**let** `half` in `b.parc`"
    check_block(rest.partition("\n\n")[0])


def test_a_name_of_a_file_with_a_backtick_stays_code(tmp_path: Path) -> None:
    name = "b`](x)\n# `.parc"
    try:
        (tmp_path / name).write_text("let half = 4\n", encoding="utf-8")
    except OSError:
        pytest.skip("no file here has such a name")
    text = 'import "b`](x)\\n# `.parc"\nlet x = half\n'
    workspace, path = Workspace(), tmp_path / "a.parc"
    workspace.set_text(path, text, 1)
    analysis = workspace.analyse(path)
    assert analysis
    found = describe_word(analysis, text.index("half") + 1)
    assert found
    assert found[0].startswith("**let** `half` in ``b`](x)\\n# `.parc``\n\n")
