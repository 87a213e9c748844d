"""Definitions, uses and new names, across imports."""

from __future__ import annotations

from pathlib import Path

import pytest

from parc.lsp.document.analysis import Analysis
from parc.lsp.document.edits import apply_edits
from parc.lsp.document.mentions import Mention, find_definition, find_mention, find_uses, list_analyses
from parc.lsp.document.symbols import Symbol
from parc.lsp.document.workspace import Workspace
from parc.lsp.edits.rename import refuse_rename
from parc.plan.imports import HARDWARE
from tests.lsp.editing import SEED, edit_seed, open_text, type_text

FARM, REST = SEED[: SEED.index("model moe")], SEED[SEED.index("model moe") :]


def find_in_seed(old: str, new: str) -> tuple[Analysis, Mention]:
    analysis, offset = edit_seed(old, new)
    found = find_mention(analysis, offset)
    assert found is not None
    return analysis, found


@pytest.mark.parametrize(
    ("old", "new", "kind", "line"),
    [
        ("wide for seed on", "wide for se|ed on", "train", "train seed {"),
        ("seed on farm", "seed on fa|rm", "cluster", "cluster farm {"),
        ("= moe, seed", "= m|oe, seed", "model", "model moe {"),
        ("data     over [ep]", "data     over [e|p]", "axis", "mesh = [ep: 8, pp: 4, tp: 4]"),
        ("{ tensor = [tp] }", "{ tensor = [t|p] }", "axis", "mesh = [ep: 8, pp: 4, tp: 4]"),
        ("link fabric", "link fab|ric", "level", "levels = [fabric: 8, node: 16]"),
    ],
)
def test_where_a_name_is_given(old: str, new: str, kind: str, line: str) -> None:
    analysis, found = find_in_seed(old, new)
    defined = find_definition(analysis, found.symbol)
    assert defined is not None
    assert (found.symbol.kind, defined.span.source.get_line(defined.span.line).strip()) == (kind, line)


def test_axes_of_two_plans_are_two_things() -> None:
    text = SEED + "plan other for seed on farm {\n  mesh = [ep: 128]\n  data over [ep]\n}\n"
    analysis = open_text(text)
    offset = text.rindex("[ep]") + 1
    found = find_mention(analysis, offset)
    assert found is not None
    uses = find_uses([analysis], found.symbol)
    assert [each.span.line for each in uses] == [
        text[: text.rindex("ep: 128")].count("\n") + 1,
        text.count("\n") - 1,
    ]


def test_a_word_that_is_no_constant_is_no_name() -> None:
    analysis, offset = edit_seed("decay = cosine", "decay = cos|ine")
    assert find_mention(analysis, offset) is None


def open_project(folder: Path) -> tuple[Workspace, Analysis]:
    """A plan that is open and imports a farm that is not; and another on the disk, with the same farm."""
    (folder / "farm.parc").write_text(FARM)
    (folder / "other.parc").write_text('import "farm.parc"\n' + REST)
    (folder / "alone.parc").write_text(SEED)
    workspace = Workspace()
    workspace.folders = [folder]
    workspace.set_text(folder / "plan.parc", 'import "farm.parc"\n' + REST, 1)
    analysis = workspace.analyse(folder / "plan.parc")
    assert analysis is not None
    return workspace, analysis


def test_uses_are_found_in_every_file_that_sees_the_name(tmp_path: Path) -> None:
    farms, analysis = open_project(tmp_path)
    symbol = Symbol("cluster", "farm")
    uses = find_uses(list_analyses(farms, analysis, symbol), symbol)
    assert [(each.path.name, each.span.text, each.is_definition) for each in uses] == [
        ("farm.parc", "farm", True),
        ("other.parc", "farm", False),
        ("plan.parc", "farm", False),
    ]


def test_only_files_that_can_see_a_name_are_analysed(tmp_path: Path) -> None:
    """A workspace may have hundreds of plans, and analysing one takes tens of milliseconds."""
    farms, _ = open_project(tmp_path)
    (tmp_path / "above.parc").write_text('import "other.parc"\n')
    (tmp_path / "escaped.parc").write_text('import "\\x66arm.parc"\n')
    (tmp_path / "circle.parc").write_text('import "circle.parc"\nimport "parc:h100"\n')
    importers = farms.analyse_all(importing=(tmp_path / "farm.parc").resolve())
    names = ["plan.parc", "above.parc", "escaped.parc", "farm.parc", "other.parc"]
    assert [each.path.name for each in importers] == names


def test_folders_of_other_tools_are_not_searched(tmp_path: Path) -> None:
    for name in (".git", "node_modules", "plans"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.parc").write_text(SEED)
    workspace = Workspace()
    workspace.folders = [tmp_path]
    assert [each.path.parent.name for each in workspace.analyse_all()] == ["plans"]


def test_a_new_name_leaves_the_plans_what_they_are(tmp_path: Path) -> None:
    farms, analysis = open_project(tmp_path)
    for symbol in (Symbol("cluster", "farm"), Symbol("axis", "ep", "plan wide")):
        edits: dict[Path, list[tuple[int, int, str]]] = {}
        now = farms.analyse(analysis.path)
        assert now is not None
        for each in find_uses(list_analyses(farms, now, symbol), symbol):
            edits.setdefault(each.path, []).append((each.span.start, each.span.end, "another"))
        for path, some in edits.items():
            opened_there = farms.open_files.get(path)
            text = opened_there.source.text if opened_there else path.read_text()
            if opened_there:
                farms.set_text(path, apply_edits(text, some), 2)
            else:
                path.write_text(apply_edits(text, some))
                farms.invalidate(path)
    after = farms.analyse(tmp_path / "plan.parc")
    assert after is not None
    assert after.loaded.ok
    assert after.plans[0].cluster.name == "another"
    assert after.plans[0].mesh.names == ("another", "pp", "tp")
    other = farms.analyse(tmp_path / "other.parc")
    assert other is not None
    assert other.loaded.ok


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("tp", "the axis `tp` exists already"),
        ("1f", "is not a name"),
        ("let", "is not a name"),
        ("ﬁ", "P317"),
        ("²", "P317"),  # a letter to Python's `\w`, and no identifier
        ("in", "P317"),
    ],
)
def test_names_that_are_refused(name: str, why: str) -> None:
    analysis = open_text(SEED)
    refusal = refuse_rename(Workspace(), [analysis], Symbol("axis", "ep", "plan wide"), name)
    assert refusal is not None
    assert why in refusal
    assert refuse_rename(Workspace(), [analysis], Symbol("axis", "ep", "plan wide"), "xp") is None


def refuse(text: str, name: str) -> str | None:
    offset = text.index("|")
    path = Path("/plans/plan.parc")
    files = Workspace()
    files.set_text(path, text[:offset] + text[offset + 1 :], 1)
    analysis = files.analyse(path)
    found = find_mention(analysis, offset) if analysis else None
    assert analysis
    assert found
    return refuse_rename(files, list_analyses(files, analysis, found.symbol), found.symbol, name)


def test_names_in_files_that_come_with_parc_stay() -> None:
    text = 'import "parc:h100"\n' + SEED + "cluster other {\n  levels = [node: 2]\n  machine = MACHINE\n}\n"
    machine = next(line.split()[1] for line in _h100() if line.startswith("machine "))
    why = refuse(text.replace("MACHINE", f"|{machine}"), "mine")
    assert why
    assert "a file of yours" in why


def _h100() -> list[str]:
    return (HARDWARE / "h100.parc").read_text(encoding="utf-8").splitlines()


def test_a_level_takes_its_claims_along() -> None:
    """`data.fabrics` counts its units; so does the same of a plan in another file."""
    text = SEED.replace("devices == 128", "devices == 128, data.fabrics <= 1, experts.fabrics >= 1")
    analysis, offset = type_text(text.replace("[fabric: 8", "[fab|ric: 8"))
    found = find_mention(analysis, offset)
    assert found
    assert refuse_rename(Workspace(), [analysis], found.symbol, "net") is None
    uses = find_uses([analysis], found.symbol)
    after = apply_edits(analysis.source.text, [(each.span.start, each.span.end, "net") for each in uses])
    assert after == text.replace("fabric", "net")
    assert [each.code for each in open_text(after).loaded.diagnostics] == [
        each.code for each in analysis.loaded.diagnostics
    ]


def test_a_claim_leads_to_the_level_that_it_counts() -> None:
    analysis, offset = edit_seed("devices == 128", "devices == 128, data.nod|es <= 8, data.ranks == 8")
    found = find_mention(analysis, offset)
    assert found
    assert (found.symbol.kind, found.symbol.name, found.span.text) == ("level", "node", "node")
    assert (
        find_mention(analysis, analysis.source.text.index("data.ranks") + 6) is None
    )  # no level is called `rank`


def test_a_constant_takes_no_word_that_means_something_else() -> None:
    text = "let |warm = 100\n" + SEED.replace("warmup = 100", "warmup = warm")
    why = refuse(text, "cosine")
    assert why
    assert "in use already" in why
    assert refuse(text, "steps_of_warming") is None
