"""Every rule's page is true: its example breaks the rule, its cure breaks none."""

from __future__ import annotations

import re
from inspect import cleandoc
from pathlib import Path

import pytest

from parc.check.advice.alternatives import MEAN
from parc.check.load import load_text
from parc.check.pages import format_page, list_rules
from parc.check.registry import Rule
from parc.check.unsupported import find_unsupported
from parc.commands.rule import render_pages
from parc.diagnostic import Diagnostic, Severity
from parc.source import Source
from parc.syntax import tree
from parc.syntax.parse import parse
from tests.front.plans import complete, list_findings, load

# Faults of the command line, of the file system, or of files too large to print.
WITHOUT_EXAMPLE = {"P005", "P008", "P009", "P116", "P118", "P125", "P510", "P601", "P660"}
ROOT = Path(__file__).parents[2]


def named(rule: Rule) -> str:
    return f"{rule.code}-{rule.name}"


def part(rule: Rule, heading: str) -> str:
    """The plan under a heading of the rule's page."""
    match = re.search(rf"^## {heading}\n\n((?:    .*\n|\n)+)", cleandoc(rule.prose) + "\n", re.M)
    assert match, f"{rule.code} has no {heading}"
    return cleandoc(match[1])


def instead(rule: Rule) -> str:
    """What is under `Instead`, and of the example the blocks that it leaves out."""
    text = part(rule, "Instead")
    kept = {head(block) for block in blocks(text)}
    return "\n".join(
        [text, *(each.span.text for each in blocks(part(rule, "Example")) if head(each) not in kept)]
    )


def blocks(text: str) -> tuple[tree.Statement, ...]:
    return parse(Source("page.parc", text))[0].statements


def head(statement: tree.Statement) -> tuple[str, ...]:
    """What another statement has too that replaces this one: `cluster farm`, or `import` of whatever."""
    words = statement.span.text.split()
    return tuple(words[:1] if words[0] in ("import", "let", "launch") else words[:2])


def check(fragment: str, folder: Path) -> tuple[Diagnostic, ...]:
    (folder / ".git").mkdir()  # imports stay in here
    (folder / "hardware.parc").write_text("# empty")
    file = folder / "plan.parc"
    file.write_text(complete(fragment))
    return load_text(Source(str(file), file.read_text())).diagnostics


with_example = [rule for rule in list_rules() if rule.code < "P4" and rule.code not in WITHOUT_EXAMPLE]


@pytest.mark.parametrize("rule", with_example, ids=named)
def test_the_example_breaks_the_rule(rule: Rule, tmp_path: Path) -> None:
    found = check(part(rule, "Example"), tmp_path)
    assert rule.code in {each.code for each in found}
    assert all(each.severity is rule.severity for each in found if each.code == rule.code)
    # It points into the example, not only at the blocks that completed it.
    first = next(each for each in found if each.code == rule.code)
    assert min(label.span.line for label in first.labels) <= part(rule, "Example").count("\n") + 1


@pytest.mark.parametrize("rule", with_example, ids=named)
def test_the_cure_checks_clean(rule: Rule, tmp_path: Path) -> None:
    assert check(instead(rule), tmp_path) == ()


not_built = [rule for rule in list_rules() if rule.code.startswith("P4")]


@pytest.mark.parametrize("rule", not_built, ids=named)
def test_what_is_not_built_yet_checks_clean_and_is_refused_by_building(rule: Rule) -> None:
    loaded = load(complete(part(rule, "Example")))
    assert loaded.ok
    (refused,) = find_unsupported(loaded.plans[0], loaded.launches)
    assert (refused.code, refused.severity) == (rule.code, rule.severity)
    assert refused.span is not None
    cured = load(complete(instead(rule)))
    assert cured.diagnostics == ()
    assert find_unsupported(cured.plans[0], cured.launches) == ()


@pytest.mark.parametrize("rule", list_rules(), ids=named)
def test_every_page_says_what(rule: Rule) -> None:
    text = format_page(rule.code)
    assert text is not None
    assert text.startswith(f"# {rule.name} ({rule.code}, {rule.severity.value})")
    assert len(cleandoc(rule.prose).splitlines()[0]) > 20
    if rule.code in WITHOUT_EXAMPLE:
        assert "## Example" not in text


def test_codes_and_names_are_unique() -> None:
    rules = list_rules()
    assert len({rule.code for rule in rules}) == len({rule.name for rule in rules}) == len(rules)
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", rule.name) for rule in rules)


def test_every_code_that_is_reported_anywhere_has_a_page_and_no_other() -> None:
    reported = set()
    for file in (ROOT / "parc").rglob("*.py"):
        reported |= set(re.findall(r"""["'](P\d{3})["']""", file.read_text()))
    assert reported == {rule.code for rule in list_rules()}


def test_the_written_pages_are_those_of_the_rules() -> None:
    folder = ROOT / "docs" / "rules"
    written = {file.name: file.read_text() for file in folder.iterdir()}
    assert written == render_pages(), "write them anew: python -m parc rule --all -o docs/rules"


# What the examples do not show: the other side of a limit, and the exact words.


def test_the_numbers_the_arithmetic_and_the_nearest_values_are_reported() -> None:
    text = complete("plan wide for first on farm {\n mesh = [dp: 3]\n data over [dp]\n}")
    (found,) = load(text).diagnostics
    assert found.code == "P208"
    assert found.message == "32 sequences cannot be divided into 4 microbatches x 3 data ranks"
    assert found.notes == ("32 / (4 microbatches x 3 data ranks) = 2.67 sequences each",)
    assert found.help == "nearest that divide: sequences: 24 or 36"
    assert [label.span.text for label in found.labels] == ["32", "4", "dp: 3"]


def test_another_number_of_microbatches_is_another_loss_where_experts_are_balanced() -> None:
    text = complete("plan wide for first on farm {\n mesh = [dp: 2]\n data over [dp]\n}")
    text = text.replace("microbatches = 4", "microbatches = 3")
    (plain,) = load(text).diagnostics
    assert plain.help == "nearest that divide: sequences: 30 or 36; or microbatches: 2 or 4"
    (found,) = load(text.replace("  model = moe\n", "  model = moe\n  loss { balance = 0.01 }\n")).diagnostics
    assert found.help == f"{plain.help} ({MEAN})"


def test_nearest_divisors_of_both_sides() -> None:
    cluster = "cluster farm { levels = [node: 4] }"
    text = complete(f"{cluster}\nplan wide for first on farm {{\n mesh = [ep: 3]\n experts over [ep]\n}}")
    *_, found = (each for each in load(text).diagnostics if each.code == "P207")
    assert found.message == "8 experts cannot be divided by 3 ranks of `ep`"
    assert found.notes == ("8 / 3 = 2, remainder 2",)
    assert found.help == "nearest that divide: experts: 6 or 9; or ranks of `ep`: 2 or 4"


@pytest.mark.parametrize(
    ("strategies", "codes"),
    [
        ("experts over [x]", ["P308"]),  # tokens are replicated: local experts run, an all-reduce joins them
        ("data over [x]\n experts over [x]", []),
        ("tensor over [x]\n experts over [x]", []),
        ("tensor over [x]\n data over [y]\n experts over [y] { tensor = [x] }", []),
        ("data over [x]\n experts over [x] { tensor = [y] }", ["P308"]),
        ("data over [x, y]", []),
        ("data over [x]\n data over [y]", ["P105"]),
        ("pipeline over [x]\n data over [x]", ["P304"]),
        ("pipeline over [x]\n experts over [x]", ["P304"]),
        ("experts over [x] { tensor = [x] }", ["P304"]),
        ("data over [y]\n experts over [x] { tensor = [y] }", ["P308", "P304"]),
        ("tensor over [x, x]\n experts over [x]", ["P303"]),
        ("", ["P302", "P302"]),
    ],
)
def test_which_strategies_may_share_an_axis(strategies: str, codes: list[str]) -> None:
    sizes = "[x: 2, y: 2]" if "y" in strategies or not strategies else "[x: 2]"
    plan = f"plan wide for first on farm {{\n mesh = {sizes}\n {strategies}\n}}"
    assert [code for code, _ in list_findings(complete(plan))] == codes


def test_an_axis_of_one_rank_may_carry_nothing() -> None:
    plan = "plan wide for first on farm {\n mesh = [dp: 4, tp: 1]\n data over [dp]\n}"
    assert list_findings(complete(plan)) == []


@pytest.mark.parametrize(("microbatches", "codes"), [(3, ["P214"]), (4, []), (5, [])])
def test_1f1b_needs_as_many_microbatches_as_stages(microbatches: int, codes: list[str]) -> None:
    batch = f"batch {{ sequences = 60, length = 8, microbatches = {microbatches} }}"
    train = f"train first {{ model = moe, {batch} }}"
    plan = "plan wide for first on farm {\n mesh = [pp: 4]\n pipeline over [pp] { schedule = 1f1b }\n}"
    assert [code for code, _ in list_findings(complete(f"{train}\n{plan}"))] == codes


@pytest.mark.parametrize(
    ("layers", "codes"),
    [
        ("[4, 4, 4, 4]", []),
        ("[1, 5, 5, 5]", []),
        ("[16, 0, 0, 0]", ["P213", "P213", "P213"]),
        ("[4, 4, 4, 5]", ["P212"]),
        ("[8, 8]", ["P211"]),
        ("[8, 9]", ["P211", "P212"]),
        ("[]", ["P211", "P212"]),
    ],
)
def test_every_layer_has_one_stage(layers: str, codes: list[str]) -> None:
    plan = f"plan wide for first on farm {{\n mesh = [pp: 4]\n pipeline over [pp] {{ layers = {layers} }}\n}}"
    assert [code for code, _ in list_findings(complete(plan))] == codes


def test_a_chunk_multiplies_the_stages() -> None:
    plan = """plan wide for first on farm {
      mesh = [pp: 2]
      pipeline over [pp] { schedule = interleaved, chunks = 3, layers = [3, 3, 3, 3, 2, 2] }
    }"""
    assert list_findings(complete(plan)) == []
    assert list_findings(complete(plan.replace(", 2, 2]", ", 4]"))) == [("P211", "[3, 3, 3, 3, 4]")]


def test_dense_layers_and_shared_experts_are_split_by_the_tensor_axes() -> None:
    model = """model moe {
      source = "moe.py:M"
      shape { layers = 4, experts = 8, ffn = 64, dense_layers = 1, dense_ffn = 66, shared_ffn = 30 }
    }"""
    plan = "plan wide for first on farm {\n mesh = [tp: 4]\n tensor over [tp]\n experts over [tp]\n}"
    assert list_findings(complete(f"{model}\n{plan}")) == [("P205", "66"), ("P205", "30")]
    # Where the plan itself says what is replicated, building judges.
    stated = plan.replace("tensor over [tp]", 'tensor over [tp] { replicate = ["*.w1"] }')
    assert list_findings(complete(f"{model}\n{stated}")) == []


def test_a_fault_that_two_plans_share_is_reported_once() -> None:
    model = 'model moe { source = "moe.py:M", shape { heads = 3, kv_heads = 2 } }'
    plans = "\n".join(
        f"plan p{i} for first on farm {{\n mesh = [dp: 4]\n data over [dp]\n}}" for i in range(3)
    )
    assert list_findings(complete(f"{model}\ncluster farm {{ levels = [node: 4] }}\n{plans}")) == [
        ("P221", "3")
    ]


def test_a_default_that_stands_in_for_a_faulty_value_raises_nothing_more() -> None:
    """`microbatches` would be 1, which is too few for four stages: but that is not what the file says."""
    train = 'train first { model = moe, batch { sequences = 32, length = 8, microbatches = "8" } }'
    plan = "plan wide for first on farm {\n mesh = [pp: 4]\n pipeline over [pp]\n}"
    assert list_findings(complete(f"{train}\n{plan}")) == [("P106", '"8"')]


def test_a_million_devices_are_as_easy_as_eight() -> None:
    text = complete(
        "plan wide for first on farm {\n mesh = [dp: 262144, tp: 4]\n data over [dp]\n tensor over [tp]\n"
        " experts over [tp]\n}"
    )
    text = text.replace("sequences = 32", "sequences = 1048576")
    loaded = load(text)
    assert loaded.diagnostics == ()
    assert loaded.plans[0].mesh.size == 2**20


def test_prime_sizes_do_not_make_the_suggestions_slow() -> None:
    """2^61 - 1 is prime: looking for its divisors must end."""
    prime = 'model moe { source = "moe.py:M", shape { heads = 9007199254740881 } }'
    plan = "plan wide for first on farm {\n mesh = [tp: 1000003]\n tensor over [tp]\n}"
    (found,) = load(complete(f"{prime}\n{plan}")).diagnostics
    assert found.code == "P203"


def test_idle_devices_are_a_warning() -> None:
    (found,) = load(complete("cluster farm { levels = [rack: 2, node: 8] }")).diagnostics
    assert (found.code, found.severity) == ("P202", Severity.WARNING)
    assert found.message == "12 of 16 devices are idle"


@pytest.mark.parametrize(
    ("shape", "experts", "codes"),
    [
        ("ffn = 66", "", ["P205"]),  # nothing speaks of experts: a dense model
        ("ffn = 66, experts = 0", "", ["P205"]),
        ("ffn = 66", "experts over [tp]", []),  # how many is unknown, but the ffn is that of an expert
        ("ffn = 66, experts = 8", "", ["P314"]),  # each expert stays whole
    ],
)
def test_the_ffn_of_a_dense_model_is_split(shape: str, experts: str, codes: list[str]) -> None:
    model = f'model moe {{ source = "moe.py:M", shape {{ {shape} }} }}'
    plan = f"plan wide for first on farm {{\n mesh = [tp: 4]\n tensor over [tp]\n {experts}\n}}"
    assert [code for code, _ in list_findings(complete(f"{model}\n{plan}"))] == codes


def test_what_one_rule_proposes_suits_the_others() -> None:
    """16 divides 32 heads, and not 8 kv_heads; multiples of 12 and 8 are those of 24 from 24 on, and none of
    them divides 1,024."""
    shape = "layers = 16, hidden = 1024, heads = 32, kv_heads = 8, experts = 0"
    text = f"""cluster farm {{ levels = [node: 64] }}
    model moe {{ source = "moe.py:M", shape {{ {shape} }} }}
    plan wide for first on farm {{
      mesh = [tp: 12]
      tensor over [tp]
    }}"""
    helps = {each.code: each.help for each in load(complete(text)).diagnostics}
    assert helps["P203"] == helps["P204"] == "nearest that divide: ranks of `tp`: 8"


def test_layers_are_not_spread_over_stages_that_cannot_stay() -> None:
    """16 layers over 4 ranks x 3 chunks: `dualpipev` has two chunks, and 8 stages divide them."""
    pipeline = "pipeline over [pp] { schedule = dualpipev, chunks = 3 }"
    batch = "batch { sequences = 32, length = 1024, microbatches = 16 }"
    train, plan = f"train first {{\n model = moe\n {batch}\n}}", "plan wide for first on farm"
    text = f"{train}\n{plan} {{\n mesh = [pp: 4]\n {pipeline}\n}}"
    assert [code for code, _ in list_findings(complete(text))] == ["P229"]


def test_where_no_value_does_reports_what_the_nearest_contradicts() -> None:
    """3 ranks divide 9 heads, and not 4 kv_heads; 20 heads would, but do not divide 576."""
    model = """model moe {
      source = "moe.py:M"
      shape { hidden = 576, heads = 9, kv_heads = 4, experts = 0 }
    }"""
    plan = "plan wide for first on farm {\n mesh = [tp: 5]\n tensor over [tp]\n}"
    heads = next(each for each in load(complete(f"{model}\n{plan}")).diagnostics if each.code == "P203")
    assert heads.help == (
        "nearest that divide: heads: none nearby: at 10, 10 heads cannot be divided by 4 kv_heads (P221); "
        "or ranks of `tp`: none nearby: at 3, 4 kv_heads cannot be divided by 3 ranks of `tp` (P204)"
    )


def test_a_size_that_would_fill_the_cluster_and_suits_no_other_rule_is_reported() -> None:
    cluster = "cluster farm { levels = [node: 6] }"
    plan = "plan wide for first on farm {\n mesh = [dp: 4]\n data over [dp]\n}"
    (found,) = load(complete(f"{cluster}\n{plan}")).diagnostics
    assert found.code == "P202"
    assert found.help == (
        "sizes that leave none idle: ranks of `dp`: none nearby: at 6, "
        "32 sequences cannot be divided into 4 microbatches x 6 data ranks (P208)"
    )
    assert found.fix is None


def test_rounds_of_many_microbatches_are_reported_in_full() -> None:
    """Not as 7.50002e+06."""
    plan = """plan wide for first on farm {
      mesh = [pp: 4]
      pipeline over [pp] { schedule = interleaved, chunks = 2 }
    }"""
    text = complete(plan).replace("sequences = 32", "sequences = 1000003")
    text = text.replace("microbatches = 4", "microbatches = 1000003")
    (found,) = (each for each in load(text).diagnostics if each.code == "P227")
    assert found.notes == ("1,000,003 // 4 = 250,000 rounds", "1,000,003 / 250,000 = 4, remainder 3")


@pytest.mark.parametrize(("sequences", "each"), [(100_001, "25,000.25"), (2, "0.5"), (402, "100.50")])
def test_parts_of_sequences_are_reported_in_full(sequences: int, each: str) -> None:
    text = complete("").replace("sequences = 32", f"sequences = {sequences}").replace("[dp: 4]", "[dp: 1]")
    (found,) = (each for each in load(text).diagnostics if each.code == "P208")
    assert found.notes[0].endswith(f"= {each} sequences each")


@pytest.mark.parametrize(
    "types",
    [
        "compute = fp32, master = fp32, gradients = fp32, moments = fp32",
        "compute = bf16, master = fp32, gradients = bf16",
        "compute = bf16, master = bf16",
        "moments = bf16",
        "compute = bf16, master = bf16, moments = fp32",
    ],
)
def test_every_type_of_masters_gradients_and_moments_is_built(types: str) -> None:
    text = complete(f"""
        train first {{
          model = moe
          batch     {{ sequences = 32, length = 1024, microbatches = 4 }}
          precision {{ {types} }}
        }}""")
    assert find_unsupported(load(text).plans[0]) == ()
