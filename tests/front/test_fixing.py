"""Fixes: each mends its fault, all together come to rest, and nothing is written but what was named."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from os.path import realpath
from pathlib import Path
from random import Random

import pytest

from benchmarks.texts import EXAMPLES, mutated, of_words
from parc.check.fixing import Fixed, Texts, apply_fixes, fix_texts, select_fixes
from parc.check.load import load_text
from parc.diagnostic import Diagnostic, Fix, Label, Severity, error
from parc.plan.suggest import fix_spelling
from parc.source import Source
from tests.front.plans import complete

FILE = realpath("plan.parc")


def look(texts: Texts) -> tuple[Diagnostic, ...]:
    return load_text(Source(FILE, texts[FILE]), tries_fixes=False).diagnostics


def mended(text: str, unsafe: bool = False) -> str:
    return fix_texts({FILE: text}, look, unsafe).texts[FILE]


def only_fix(text: str) -> Fix:
    (fix,) = [each.fix for each in look({FILE: text}) if each.fix]
    return fix


# What is written instead


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("let a 1\n", "let a = 1\n"),
        ("let a : 1\n", "let a = 1\n"),
        ("let a = 1;\n", "let a = 1\n"),
        ("let a = 1; let b = 2\n", "let a = 1, let b = 2\n"),
        ("let a = 1;  # why\n", "let a = 1  # why\n"),
        ("let a = [1, 2\nlet b = 1\n", None),
        ("let a = [x 1]\n", "let a = [x: 1]\n"),
        ("let a = [x = 1]\n", "let a = [x : 1]\n"),
        ("cluster farm levels = [node: 4] }\n", "cluster farm { levels = [node: 4] }\n"),
        ("cluster farm { levels = [node: 4 }\n", "cluster farm { levels = [node: 4] }\n"),
        ("cluster farm { levels = [node: 4) }\n", "cluster farm { levels = [node: 4] }\n"),
        ("let a = (1 + 2\nlet b = 1\n", None),
        ("clusterr farm { levels = [node: 4] }\n", "cluster farm { levels = [node: 4] }\n"),
        ("cluster farm { levles = [node: 4] }\n", "cluster farm { levels = [node: 4] }\n"),
        ('cluster farm { "levels" = [node: 4] }\n', None),
        ("let width = 4\nlet b = witdh * 2\n", "let width = 4\nlet b = width * 2\n"),
        ("let a = 400 Gbps\n", "let a = 50 GB/s\n"),
        ("let a = 3.2 Tbit/s\n", "let a = 0.4 TB/s\n"),
        ("let a = 400 GBPS\n", None),
        ("let a = 5 sec\n", "let a = 5 s\n"),
        ("let a = 4k\n", None),
        ("let a = 'x'\n", 'let a = "x"\n'),
        ("let a = 1,000\nlet b = [1,024, 2]\n", "let a = 1_000\nlet b = [1_024, 2]\n"),
        ("// why\n/* a\n * b */\nlet a = 1 // c\n", "# why\n# a\n # b \nlet a = 1 # c\n"),
        (
            'train t { dataset = tokens("a.bin") { type = uint16 } }\n',
            'train t { dataset = tokens("a.bin", type = uint16) }\n',
        ),
        ("import h100\n", 'import "parc:h100"\n'),
        ('import "H100"\n', 'import "parc:h100"\n'),
    ],
)
def test_what_safe_fixes_write(before: str, after: str | None) -> None:
    """None: what was meant is not sure enough."""
    assert mended(before) == (before if after is None else after)


@pytest.mark.parametrize("quote", ["'", '"'])
def test_a_choice_in_quotes_is_mended_at_once(quote: str) -> None:
    def text(choice: str) -> str:
        body = f"mesh = [pp: 2]\n pipeline over [pp] {{ schedule = {choice} }}"
        return complete(f"plan p for first on farm {{\n {body}\n}}\n")

    assert mended(text(f"{quote}1f1b{quote}")) == text("1f1b")


@pytest.mark.parametrize(
    ("claims", "listed"),
    [
        ("devices == 2 and devices != 3", "devices == 2, devices != 3"),
        ("devices > 1 and devices < 3 and devices != 3", "devices > 1, devices < 3, devices != 3"),
        ("devices == n and devices != 3", "devices == n, devices != 3"),
        ("devices == (1 + 1)  and devices != 3", "devices == (1 + 1), devices != 3"),
    ],
)
def test_an_and_between_claims_becomes_a_comma(claims: str, listed: str) -> None:
    def text(claims: str) -> str:
        body = f"mesh = [dp: 2]\n data over [dp]\n expect {{ {claims} }}"
        return complete(f"let n = 2\nplan p for first on farm {{\n {body}\n}}\n")

    found = [each for each in look({FILE: text(claims)}) if each.severity is Severity.ERROR]
    assert [each.code for each in found] == ["P001"] * claims.count("and")
    assert all(each.span and each.span.text == "and" for each in found)
    assert all(each.message == "claims are separated by commas, not by `and`" for each in found)
    assert mended(text(claims)) == text(listed)
    assert not [each for each in look({FILE: text(listed)}) if each.severity is Severity.ERROR]


@pytest.mark.parametrize("text", ["let and = 2\nlet b = and\n", "let or_ = 1\nlet and = or_\n"])
def test_elsewhere_and_is_a_name_like_others(text: str) -> None:
    assert look({FILE: text}) == ()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("let a = [1, 2\nlet b = 1\n", "let a = [1, 2]\nlet b = 1\n"),
        ("let a = (1 + 2\nlet b = 1\n", "let a = (1 + 2)\nlet b = 1\n"),
        ("let a = 1 }\n", "let a = 1 \n"),
        (
            "cluster a {\n  levels = [node: 4]\n\nlet b = 1\n",
            "cluster a {\n  levels = [node: 4]\n\nlet b = 1\n}\n",
        ),
        ("cluster a {\n  levels = [x: 4]\ntrain b { }\n", "cluster a {\n  levels = [x: 4]\n}\ntrain b { }\n"),
        ("let a = 64 Gb\n", "let a = 64 GB\n"),
    ],
)
def test_what_unsafe_fixes_write(before: str, after: str) -> None:
    assert mended(before) == before
    assert mended(before, unsafe=True) == after


def test_a_plan_with_several_faults_comes_out_right() -> None:
    right = complete(
        "plan wide for first on farm {\n  mesh = [dp: 2, tp: 2]\n"
        "  data    over [dp]\n  tensor  over [tp]\n  experts over [tp]\n}"
    )
    wrong = (
        right.replace("mesh = [dp: 2,", "mesh = [dp 2,")
        .replace("for first", "first")
        .replace("tensor  over [tp]", "tensr  over tp")
        .replace("hidden", "hiden")
    )
    assert len(look({FILE: wrong})) >= 5
    assert mended(wrong) == right
    assert look({FILE: mended(wrong)}) == ()


def test_a_word_that_is_near_to_two_is_left_alone() -> None:
    source = Source("plan.parc", "layerz")
    assert fix_spelling(source.make_span(0, 6), "layerz", ["layera", "layerb"]) is None
    assert fix_spelling(source.make_span(0, 6), "layerz", ["layers", "heads"]) == Fix(
        "write `layers`", ((source.make_span(0, 6), "layers"),)
    )


def test_a_short_word_or_a_far_one_is_no_safe_guess() -> None:
    source = Source("plan.parc", '"epx" experts2x')
    short, far = (
        fix_spelling(source.make_span(0, 5), "epx", ["ep"]),
        fix_spelling(source.make_span(6, 15), "experts2x", ["experts"]),
    )
    assert short == Fix("write `ep`", ((source.make_span(0, 5), '"ep"'),), safe=False)
    assert far is not None
    assert not far.safe


# Together


def faulty(seed: int) -> str:
    """A right text with tokens dropped, doubled, turned or cut; one with changes; or words at random."""
    choose = Random(seed)
    if seed % 4 == 0:
        return of_words(choose)
    if seed % 4 == 1:
        return mutated(choose)
    tokens = re.findall(r'\s+|\w+|"[^"]*"|#[^\n]*|.', choose.choice(EXAMPLES))
    for _ in range(choose.randint(1, 3)):
        at = choose.randrange(len(tokens))
        token = tokens[at]
        tokens[at] = choose.choice(["", token * 2, token[::-1], token[:-1], ";", token + ";"])
    return "".join(tokens)


def of_syntax(diagnostics: tuple[Diagnostic, ...]) -> int:
    return sum(each.code.startswith("P0") for each in diagnostics)


def named(diagnostics: tuple[Diagnostic, ...]) -> Counter[tuple[str, str]]:
    return Counter((each.code, each.message) for each in diagnostics)


@pytest.mark.parametrize(("first", "count"), [(0, 100), pytest.param(10_000, 3000, marks=pytest.mark.slow)])
def test_every_fix_fixes_its_fault_and_breaks_no_syntax(first: int, count: int) -> None:
    tried = 0
    for seed in range(first, first + count):
        texts = {FILE: faulty(seed)}
        before = look(texts)
        for each in before:
            if each.fix:
                after = look(apply_fixes(texts, [each.fix])[0])
                told = (each.code, each.message)
                assert named(after)[told] < named(before)[told], (seed, each.message)
                assert of_syntax(after) <= of_syntax(before) - each.code.startswith("P0"), (
                    seed,
                    each.message,
                )
                tried += 1
    assert tried > count / 2  # the texts are indeed of the kind that can be mended


def worse(result: Fixed, stage: int, texts: Texts) -> bool:
    """More errors of the syntax, or names, or in all, than before; or another kind of error; or no change."""

    def errors(found: Iterable[Diagnostic]) -> Counter[str]:
        counted = [each.code for each in found if each.severity is Severity.ERROR]
        return Counter(code for code in counted if code < f"P{stage + 1}" or stage == 2)

    before, after = errors(result.diagnostics), errors(look(texts))
    return texts == result.texts or after.total() > before.total() or bool(after - before)


@pytest.mark.parametrize("unsafe", [False, True])
@pytest.mark.parametrize(("first", "count"), [(0, 100), pytest.param(20_000, 3000, marks=pytest.mark.slow)])
def test_all_fixes_come_to_rest_and_break_no_syntax(first: int, count: int, unsafe: bool) -> None:
    for seed in range(first, first + count):
        text = faulty(seed)
        before = look({FILE: text})
        result = fix_texts({FILE: text}, look, unsafe)
        assert result.diagnostics == look(result.texts) or named(result.diagnostics) == named(
            look(result.texts)
        )
        assert of_syntax(result.diagnostics) <= of_syntax(before), seed
        for stage, fixes in select_fixes(
            result.diagnostics, unsafe
        ).items():  # those that would break something
            for fix in fixes:
                assert worse(result, stage, apply_fixes(result.texts, [fix])[0]), (seed, fix)
        again = fix_texts(result.texts, look, unsafe)
        assert (again.texts, again.fixes) == (result.texts, ()), seed


def test_fixes_that_touch_are_applied_in_rounds() -> None:
    """Each round changes one of two letters that touch; the check asks for the other after it."""

    def capitals(texts: Texts) -> list[Diagnostic]:
        source = Source(FILE, texts[FILE])
        places = [at for at, letter in enumerate(source.text) if letter.islower()]
        fixes = [Fix("capital", ((source.make_span(at, at + 1), source.text[at].upper()),)) for at in places]
        return [error("P101", "small", Label(source.make_span(0, 1)), fix=fix) for fix in fixes]

    once, applied = apply_fixes({FILE: "ab cd"}, [each.fix for each in capitals({FILE: "ab cd"}) if each.fix])
    assert (once[FILE], len(applied)) == ("Ab Cd", 2)
    result = fix_texts({FILE: "ab cd"}, capitals)
    assert (result.texts[FILE], len(result.fixes), result.diagnostics) == ("AB CD", 4, ())


def test_two_insertions_at_one_place_are_not_mixed() -> None:
    source = Source(FILE, "ab")
    fixes = [Fix(text, ((source.make_span(1, 1), text),)) for text in ("x", "y")]
    assert apply_fixes({FILE: "ab"}, fixes) == ({FILE: "axb"}, fixes[:1])


def test_a_fix_is_applied_whole_or_not_at_all() -> None:
    source, other = Source(FILE, "ab"), Source("other.parc", "ab")
    both = Fix("both", ((source.make_span(0, 1), "x"), (other.make_span(0, 1), "x")))
    assert apply_fixes({FILE: "ab"}, [both]) == ({FILE: "ab"}, [])
    crossing = [
        Fix("one", ((source.make_span(0, 1), "x"),)),
        Fix("two", ((source.make_span(1, 2), "y"), (source.make_span(0, 0), "z"))),
    ]
    assert apply_fixes({FILE: "ab"}, crossing) == ({FILE: "xb"}, crossing[:1])


def test_a_fix_of_another_text_is_not_applied() -> None:
    stale = Fix("stale", ((Source(FILE, "abc").make_span(0, 1), "x"),))
    assert apply_fixes({FILE: "ab"}, [stale]) == ({FILE: "ab"}, [])


def test_fixes_that_undo_one_another_end() -> None:
    def turned(texts: Texts) -> list[Diagnostic]:
        source = Source(FILE, texts[FILE])
        fix = Fix("turn", ((source.make_span(0, 2), source.text[::-1]),))
        return [error("P101", "turned", Label(source.make_span(0, 1)), fix=fix)]

    result = fix_texts({FILE: "ab"}, turned)
    assert (result.texts[FILE], len(result.fixes), len(result.diagnostics)) == ("ba", 1, 1)


def test_fixes_that_spoil_one_another_are_tried_alone() -> None:
    """`a` may go, or `b`, but not both."""

    def one_must_stay(texts: Texts) -> list[Diagnostic]:
        source = Source(FILE, texts[FILE])
        places = (
            [at for at, letter in enumerate(source.text) if letter in "ab"] if len(source.text) > 2 else []
        )
        faults = [
            error(
                "P001",
                "may go",
                Label(source.make_span(at, at + 1)),
                fix=Fix("go", ((source.make_span(at, at + 1), ""),)),
            )
            for at in places
        ]
        return faults or ([error("P001", f"broken {n}") for n in range(3)] if source.text == "-" else [])

    result = fix_texts({FILE: "a-b"}, one_must_stay)
    assert (result.texts[FILE], [each.title for each in result.fixes]) == ("-b", ["go"])


def test_only_the_named_files_are_changed(tmp_path: Path) -> None:
    root, lib = realpath(tmp_path / "root.parc"), realpath(tmp_path / "lib.parc")
    texts = {root: 'import "lib.parc"\nlet a 1\n', lib: "let b 2\n"}
    Path(lib).write_text(texts[lib])

    def both(texts: Texts) -> tuple[Diagnostic, ...]:
        return load_text(Source(root, texts[root]), (), texts).diagnostics

    alone = fix_texts({root: texts[root]}, both)
    assert alone.texts == {root: 'import "lib.parc"\nlet a = 1\n'}
    assert [each.code for each in alone.diagnostics] == ["P001"]
    assert fix_texts(texts, both).texts == {root: 'import "lib.parc"\nlet a = 1\n', lib: "let b = 2\n"}
    assert Path(lib).read_text() == "let b 2\n"


# What a fix may not break

TWO_PLANS = """import "parc:h100"
cluster c { machine = h100, levels = [fabric: 128, node: 8] }
model m {
  source = "stub.py:Model"
  shape { layers = 80, hidden = 8192, heads = 64, kv_heads = 8, ffn = 28672, gated = true, vocab = 128256 }
}
train t {
  model = m, seed = 1
  batch { sequences = 1024, length = 8192, microbatches = 16 }
  precision { compute = bf16, master = fp32 }
}
plan good for t on c {
  mesh = [pp: 4, dp: 64, tp: 4]
  data over [dp] { shard = optimizer }
  tensor over [tp] { sequence = true }
  pipeline over [pp] { schedule = 1f1b }
  recompute = layer
}
plan full for t on c {
  mesh = [pp: 8, dp: 16, tp: 8]
  data over [dp] { shard = optimizer }
  tensor over [tp] { sequence = true }
  pipeline over [pp] { schedule = 1f1b }
}
"""


def test_a_fix_for_one_plan_does_not_break_another() -> None:
    """`full` wants 64 microbatches, which `good`, of the same train, cannot have: 1,024 / (64 x 64) < 1."""
    result = fix_texts({FILE: TWO_PLANS}, look, unsafe=True)
    assert result.texts[FILE] == TWO_PLANS
    assert not result.fixes
    assert {each.code for each in result.diagnostics} == {"P322", "P327"}
    alone = re.sub("(?s)plan good.*?\n}\n", "", TWO_PLANS)
    assert "microbatches = 64" in mended(alone, unsafe=True)


def test_a_fix_that_uncovers_another_error_of_its_plan_is_not_applied() -> None:
    """With data over `ep` as well its work is not repeated (P308), but 4 x 4 x 4 do not divide 48."""
    text = complete("""plan wide for first on farm {
  mesh = [dp: 4, ep: 4]
  data    over [dp]
  experts over [ep]
}""").replace("sequences = 32", "sequences = 48")
    (found,) = look({FILE: text})
    assert (found.code, found.fix is None) == ("P308", False)
    assert mended(text, unsafe=True) == text
    assert mended(text.replace("sequences = 48", "sequences = 64"), unsafe=True) != text


def test_of_many_fixes_the_one_that_breaks_is_left_out_in_few_checks() -> None:
    """Each small letter may become a capital, all but `x`."""
    asked = 0

    def capitals(texts: Texts) -> list[Diagnostic]:
        nonlocal asked
        asked += 1
        source = Source(FILE, texts[FILE])
        places = [source.make_span(at.start(), at.end()) for at in re.finditer("X", source.text)]
        faults = [error("P201", "X", Label(span)) for span in places]
        for at in re.finditer("[a-z]", source.text):
            span = source.make_span(at.start(), at.end())
            faults.append(error("P202", "small", Label(span), fix=Fix("capital", ((span, at[0].upper()),))))
        return faults

    text = "a " * 500 + "x " + "b " * 500
    result = fix_texts({FILE: text}, capitals)
    assert result.texts[FILE] == "A " * 500 + "x " + "B " * 500
    assert asked <= 2 * 11 + 3  # halves of 1,001 down to one, the round after, and the first look


def test_an_axis_joins_a_list_that_is_empty() -> None:
    texts = {FILE: (Path(__file__).parents[2] / "examples" / "classic.parc").read_text()}
    (text,) = texts.values()
    empty = "data    over []\n  experts over [ep]\n"
    texts[FILE] = text.replace("data    over [ep]\n  experts over [ep]\n", empty)
    assert texts[FILE] != text
    (fault,) = (each for each in look(texts) if each.code == "P308")
    assert fault.fix
    assert apply_fixes(texts, [fault.fix])[0][FILE] == text
