"""Comments that allow findings: what they speak of, what is wrong with them, how formatting keeps them."""

from __future__ import annotations

import re
from os.path import realpath
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.texts import grammatical
from parc import cli
from parc.check.allow.comments import COMMENT, parse_allowances
from parc.check.allow.cover import find_covered, list_groups
from parc.check.fixing import fix_texts
from parc.check.incremental import History
from parc.check.load import load_text
from parc.source import Source
from parc.syntax.format import format_source
from parc.syntax.parse import parse
from tests.front.plans import BLOCKS, complete, list_findings, load

# P202: 4 of 8 devices are idle. It marks `[dp: 4]` and `[node: 8]`.
IDLE = "cluster farm { levels = [node: 8] }"
PLAN = "plan wide for first on farm {\n  mesh = [dp: 4]\n  data over [dp]\n}"
ALLOW = "# parc: allow P202 -- four are spare"


def idle(*lines: str) -> list[str]:
    """The codes that are told of a plan with those lines and IDLE or PLAN, where they lack."""
    text = "\n".join(lines)
    text += "" if "levels" in text else f"\n{IDLE}"
    return [code for code, _ in list_findings(complete(text))]


def test_without_a_comment_it_is_reported() -> None:
    assert idle() == ["P202"]


@pytest.mark.parametrize(
    "text",
    [
        f"cluster farm {{ levels = [node: 8] }}  {ALLOW}",
        f"{ALLOW}\ncluster farm {{ levels = [node: 8] }}",
        f"# of the farm\n{ALLOW}\n# and more\n\ncluster farm {{ levels = [node: 8] }}",
        f"cluster farm {{  {ALLOW}\n  levels = [node: 8]\n}}",
        f"cluster farm {{\n  levels = [node: 8]\n}}  {ALLOW}",
        f"cluster farm {{\n  levels = [  {ALLOW}\n    node: 8,\n  ]\n}}",
        f"cluster farm {{\n  levels = [node: 8]  {ALLOW}\n}}",
        f"plan wide for first on farm {{\n  {ALLOW}\n  mesh = [dp: 4], data over [dp]\n}}",
        f"plan wide for first on farm {{\n  mesh = [dp: 4], data over [dp]  {ALLOW}\n}}",
        "cluster farm { levels = [node: 8] }  # parc: allow P208, P202 -- four are spare".replace(
            "P208, ", ""
        ),
        "cluster farm { levels = [node: 8] }  #parc:allow P202 --x",
        f"{PLAN}\n# parc: allow-file P202 -- four are spare",
        "# parc: allow-file P202 -- four are spare",
    ],
)
def test_what_is_allowed_is_not_reported(text: str) -> None:
    assert idle(text) == []


@pytest.mark.parametrize(
    "text",
    [
        f"{ALLOW}\nlet a = 1\n{IDLE}",
        f"{IDLE}\n{ALLOW}",
        f"cluster farm {{ levels = [node: 8] }}\nlet a = 1  {ALLOW}",
        f"cluster farm {{\n  levels = [node: 8]\n  {ALLOW}\n}}",
        f"cluster farm {{\n  levels = [\n    node: 8,\n    {ALLOW}\n  ]\n}}",
        f"plan wide for first on farm {{\n  mesh = [dp: 4]\n  data over [dp]  {ALLOW}\n}}",
    ],
)
def test_a_comment_speaks_of_no_other_row(text: str) -> None:
    """So it allows nothing, which is told as well."""
    assert sorted(idle(text)) == ["P123", "P202"]


def test_other_findings_of_the_row_are_reported() -> None:
    assert idle("cluster farm { levels = [node: 3] }  # parc: allow P202 -- none is") == ["P123", "P201"]


def test_what_looks_like_one_in_a_text_is_none() -> None:
    assert idle('let a = "# parc: allow P202 -- x"') == ["P202"]
    assert idle("# about parc: allow P202 -- x") == ["P202"]


@pytest.mark.parametrize(
    ("comment", "code", "place"),
    [
        ("# parc: alow P202 -- x", "P119", "alow"),
        ("# parc:", "P119", ""),
        ("# parc: allow -- x", "P119", "# parc: allow -- x"),
        ("# parc: allow P202", "P120", "# parc: allow P202"),
        ("# parc: allow P202 --  ", "P120", "# parc: allow P202 --"),
        ("# parc: allow P2022 -- x", "P121", "P2022"),
        ("# parc: allow p202 -- x", "P121", "p202"),
        ("# parc: allow P001 -- x", "P122", "P001"),
        ("# parc: allow P101 -- x", "P122", "P101"),
        ("# parc: allow P123 -- x", "P122", "P123"),
        ("# parc: allow P402 -- x", "P122", "P402"),
        ("# parc: allow P510 -- x", "P122", "P510"),
        ("# parc: allow-file P313 -- x", "P122", "P313"),
    ],
)
def test_what_is_wrong_with_it(comment: str, code: str, place: str) -> None:
    assert list_findings(complete(f"let a = 1  {comment}\nlet b = 1")) == [(code, place)]


def test_what_changes_the_computation_is_reported_always() -> None:
    train = BLOCKS["train"].strip().replace("model = moe", "model = moe, approximate { capacity = 2 }")
    assert sorted(code for code, _ in list_findings(complete(f"{train}  # parc: allow P312 -- we know"))) == [
        "P122",
        "P312",
    ]


def test_an_axis_that_does_not_exist_is_no_finding_of_a_rule() -> None:
    (fault,) = load(complete("let a = 1  # parc: allow P301 -- x\n")).diagnostics
    assert fault.code == "P122"
    assert (
        fault.labels[0].text
        == "errors of syntax and of names cannot be allowed: nothing else can be checked before"
    )


def test_it_must_say_why() -> None:
    (fault,) = load(complete("let a = 1  # parc: allow P202\n")).diagnostics
    assert fault.message == "this allows findings without a reason"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("let a = 1  # parc: allow P202 -- x\n", "let a = 1\n"),
        ("# one\n  # parc: allow P202 -- x\nlet a = 1\n", "# one\nlet a = 1\n"),
        ("let a = 1  # parc: allow P202, P208 -- x\n", "let a = 1\n"),
        ("# parc: allow-file P208, P202,P226 -- x\n" + IDLE, "# parc: allow-file P202 -- x\n" + IDLE),
        ("# parc: allow-file P202, P202 -- x\n" + IDLE, "# parc: allow-file P202 -- x\n" + IDLE),
        ("# parc: allow-file P208 P202 -- x\n" + IDLE, "# parc: allow-file P202 -- x\n" + IDLE),
    ],
)
def test_what_allows_nothing_is_taken_out(before: str, after: str) -> None:
    path = realpath("plan.parc")
    rest = complete(before)[len(before) :]
    result = fix_texts({path: before + rest}, lambda texts: load_text(Source(path, texts[path])).diagnostics)
    assert result.texts[path] == after + rest
    assert result.diagnostics == ()


def test_a_comment_at_the_end_of_the_text_is_taken_out() -> None:
    path = realpath("plan.parc")
    text = complete("")
    result = fix_texts(
        {path: text + "\n# parc: allow P202 -- x"},
        lambda texts: load_text(Source(path, texts[path])).diagnostics,
    )
    assert result.texts[path] == text + "\n"


@pytest.mark.parametrize("fault", ["let a = 1 / 0", "let a = ", "let a = 2 GBs"])
def test_where_not_everything_could_be_found_nothing_is_called_unused(fault: str) -> None:
    assert "P123" not in idle(f"{fault}\nlet b = 1  {ALLOW}")


def test_of_a_file_without_a_plan_and_of_settings_nothing_is_called_unused() -> None:
    assert list_findings(f"let b = 1  {ALLOW}") == []
    assert list_findings(complete(f"let b = 1  {ALLOW}"), "first.seed=1") == []


def test_a_comment_of_an_imported_file_speaks_of_that_file(tmp_path: Path) -> None:
    farm = tmp_path / "farm.parc"
    text = complete(f'import "farm.parc"\n{PLAN}').replace("cluster farm { levels = [node: 4] }", "")
    source = Source(str(tmp_path / "plan.parc"), text)
    farm.write_text(f"{IDLE}\n")
    assert [each.code for each in load_text(source).diagnostics] == ["P202"]
    farm.write_text(f"{IDLE}  {ALLOW}\n")
    assert load_text(source).diagnostics == ()
    farm.write_text(f"# parc: allow P226 -- for others\n{IDLE}  # parc: allow P202\n")
    assert [each.code for each in load_text(source).diagnostics] == ["P202", "P120"]


def test_an_allowed_error_is_still_an_error_to_build(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    file = tmp_path / "plan.parc"
    file.write_text(complete("cluster farm { levels = [node: 3] }  # parc: allow P201 -- one will be bought"))
    assert cli.main(["check", str(file)]) == 0
    assert cli.main(["build", str(file), "-o", str(tmp_path / "out")]) == 1
    assert "error[P201]" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


def test_an_allowed_estimate_or_claim_does_not_keep_from_building() -> None:
    claim = PLAN.replace("}", "  expect { devices == 5 }  # parc: allow P306 -- one will be bought\n}")
    loaded = load(complete(claim))
    assert loaded.diagnostics == ()
    assert [each.code for each in loaded.allowed] == ["P306"]
    assert loaded.ok
    short = complete("cluster farm { levels = [node: 3] }  # parc: allow P201 -- one will be bought")
    assert (load(short).diagnostics, load(short).ok) == ((), False)


def test_thousands_of_them_are_a_fault_and_take_no_time() -> None:
    lines = "".join(f"let a{n} = 1  # parc: allow P202 -- x\n" for n in range(4000))
    codes = [code for code, _ in list_findings(lines)]
    assert codes == ["P005"]


# Formatting


def spoken_of(text: str) -> list[tuple[str, str | None]]:
    """Each such comment and the words that it speaks of."""
    source = Source("plan.parc", text)
    file, faults = parse(source)
    assert faults == ()
    found = []
    for each in parse_allowances(source, []):
        over = find_covered(each.span, list_groups(file))
        found.append((each.span.text, over and "".join(words(over.text))))
    return found


def words(text: str) -> list[str]:
    """What a stretch says: without comments, layout, and the commas that layout adds or takes."""
    signs = re.findall(r'"(?:[^"\\\n]|\\[^\n])*"|#[^\n]*|[^\s,]', text)
    return [sign for sign in signs if not sign.startswith("#")]


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.integers(0, 2**32))
def test_formatting_never_changes_what_a_comment_speaks_of(seed: int) -> None:
    choose = Random(seed)
    text = grammatical(choose)
    comments = [each for each in COMMENT.finditer(text) if each["comment"]]
    for each in reversed(comments):
        if choose.random() < 0.7:
            text = text[: each.start()] + f"# parc: allow P202 -- {each.start()}" + text[each.end() :]
    after = format_source(Source("plan.parc", text))
    assert spoken_of(after) == spoken_of(text)


def test_a_row_that_a_comment_speaks_of_is_not_folded() -> None:
    long = ", ".join(f"key_{n} = {n}" for n in range(20))
    text = f"train a {{\n  {long}  # parc: allow P202 -- x\n}}\n"
    assert format_source(Source("plan.parc", text)) == text
    assert format_source(Source("plan.parc", text.replace("parc:", "other"))) != text
    two = "let a = 1, let b = 2  # parc: allow P202 -- x\n"
    assert format_source(Source("plan.parc", two)) == two


def test_an_editor_that_reads_again_only_what_changed_is_reported_the_same() -> None:
    again = History()
    text = complete(f"cluster farm {{ levels = [node: 8] }}  {ALLOW}")
    for now in (
        text,
        f"let b = 1\n{text}",
        f"let b = 1\n{text}\nlet c = 2",
        text.replace("P202", "P208"),
        text,
    ):
        source = Source("plan.parc", now)
        expected = [(each.code, each.span and each.span[1:]) for each in load(now).diagnostics]
        found = load_text(source, history=again).diagnostics
        assert [(each.code, each.span and each.span[1:]) for each in found] == expected
        assert len(found) == (2 if "P208" in now else 0)
