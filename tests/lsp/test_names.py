"""Definitions, uses and new names, across imports."""

from __future__ import annotations

from pathlib import Path

import pytest

from parc.lsp.document import names
from parc.lsp.document.analysis import Analysis, edited
from parc.lsp.document.project import Project
from parc.plan.imports import HARDWARE
from tests.lsp.editing import SEED, opened, seed, typed

FARM, REST = SEED[: SEED.index("model moe")], SEED[SEED.index("model moe") :]


def mention(old: str, new: str) -> tuple[Analysis, names.Mention]:
    analysis, offset = seed(old, new)
    found = names.at(analysis, offset)
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
    analysis, found = mention(old, new)
    defined = names.definition(analysis, found.symbol)
    assert defined is not None
    assert (found.symbol.kind, defined.span.source.line(defined.span.line).strip()) == (kind, line)


def test_axes_of_two_plans_are_two_things() -> None:
    text = SEED + "plan other for seed on farm {\n  mesh = [ep: 128]\n  data over [ep]\n}\n"
    analysis = opened(text)
    offset = text.rindex("[ep]") + 1
    found = names.at(analysis, offset)
    assert found is not None
    uses = names.uses(Project(), analysis, found.symbol)
    assert [each.span.line for each in uses] == [
        text[: text.rindex("ep: 128")].count("\n") + 1,
        text.count("\n") - 1,
    ]


def test_a_word_that_is_no_constant_is_no_name() -> None:
    analysis, offset = seed("decay = cosine", "decay = cos|ine")
    assert names.at(analysis, offset) is None


def project(folder: Path) -> tuple[Project, Analysis]:
    """A plan that is open and imports a farm that is not; and another on the disk, with the same farm."""
    (folder / "farm.parc").write_text(FARM)
    (folder / "other.parc").write_text('import "farm.parc"\n' + REST)
    (folder / "alone.parc").write_text(SEED)
    project = Project()
    project.folders = [folder]
    project.edit(folder / "plan.parc", 'import "farm.parc"\n' + REST, 1)
    analysis = project.analysis(folder / "plan.parc")
    assert analysis is not None
    return project, analysis


def test_uses_are_found_in_every_file_that_sees_the_name(tmp_path: Path) -> None:
    farms, analysis = project(tmp_path)
    uses = names.uses(farms, analysis, names.Symbol("cluster", "farm"))
    assert [(each.path.name, each.span.text, each.defines) for each in uses] == [
        ("farm.parc", "farm", True),
        ("other.parc", "farm", False),
        ("plan.parc", "farm", False),
    ]


def test_folders_of_other_tools_are_not_looked_through(tmp_path: Path) -> None:
    for name in (".git", "node_modules", "plans"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.parc").write_text(SEED)
    project = Project()
    project.folders = [tmp_path]
    assert [each.path.parent.name for each in project.all()] == ["plans"]


def test_a_new_name_leaves_the_plans_what_they_are(tmp_path: Path) -> None:
    farms, analysis = project(tmp_path)
    for symbol in (names.Symbol("cluster", "farm"), names.Symbol("axis", "ep", "plan wide")):
        edits: dict[Path, list[tuple[int, int, str]]] = {}
        now = farms.analysis(analysis.path)
        assert now is not None
        for each in names.uses(farms, now, symbol):
            edits.setdefault(each.path, []).append((each.span.start, each.span.end, "another"))
        for path, some in edits.items():
            opened_there = farms.open.get(path)
            text = opened_there.source.text if opened_there else path.read_text()
            if opened_there:
                farms.edit(path, edited(text, some), 2)
            else:
                path.write_text(edited(text, some))
                farms.changed(path)
    after = farms.analysis(tmp_path / "plan.parc")
    assert after is not None
    assert after.loaded.ok
    assert after.plans[0].cluster.name == "another"
    assert after.plans[0].mesh.names == ("another", "pp", "tp")
    other = farms.analysis(tmp_path / "other.parc")
    assert other is not None
    assert other.loaded.ok


@pytest.mark.parametrize(
    ("name", "why"),
    [("tp", "the axis `tp` is there already"), ("1f", "cannot be a name"), ("let", "cannot be a name")],
)
def test_names_that_are_refused(name: str, why: str) -> None:
    analysis = opened(SEED)
    refusal = names.refusal(Project(), analysis, names.Symbol("axis", "ep", "plan wide"), name)
    assert refusal is not None
    assert why in refusal
    assert names.refusal(Project(), analysis, names.Symbol("axis", "ep", "plan wide"), "xp") is None


def refused(text: str, name: str) -> str | None:
    offset = text.index("|")
    path = Path("/plans/plan.parc")
    files = Project()
    files.edit(path, text[:offset] + text[offset + 1 :], 1)
    analysis = files.analysis(path)
    found = names.at(analysis, offset) if analysis else None
    assert analysis
    assert found
    return names.refusal(files, analysis, found.symbol, name)


def test_names_in_files_that_come_with_parc_stay() -> None:
    text = 'import "parc:h100"\n' + SEED + "cluster other {\n  levels = [node: 2]\n  machine = MACHINE\n}\n"
    machine = next(line.split()[1] for line in _h100() if line.startswith("machine "))
    why = refused(text.replace("MACHINE", f"|{machine}"), "mine")
    assert why
    assert "a file of yours" in why


def _h100() -> list[str]:
    return (HARDWARE / "h100.parc").read_text(encoding="utf-8").splitlines()


def test_a_level_takes_its_claims_along() -> None:
    """`data.fabrics` counts its units; so does the same of a plan in another file."""
    text = SEED.replace("devices == 128", "devices == 128, data.fabrics <= 1, experts.fabrics >= 1")
    analysis, offset = typed(text.replace("[fabric: 8", "[fab|ric: 8"))
    found = names.at(analysis, offset)
    assert found
    assert names.refusal(Project(), analysis, found.symbol, "net") is None
    uses = names.uses(Project(), analysis, found.symbol)
    after = edited(analysis.source.text, [(each.span.start, each.span.end, "net") for each in uses])
    assert after == text.replace("fabric", "net")
    assert [each.code for each in opened(after).loaded.diagnostics] == [
        each.code for each in analysis.loaded.diagnostics
    ]


def test_a_claim_leads_to_the_level_that_it_counts() -> None:
    analysis, offset = seed("devices == 128", "devices == 128, data.nod|es <= 8, data.ranks == 8")
    found = names.at(analysis, offset)
    assert found
    assert (found.symbol.kind, found.symbol.name, found.span.text) == ("level", "node", "node")
    assert (
        names.at(analysis, analysis.source.text.index("data.ranks") + 6) is None
    )  # no level is called `rank`


def test_a_constant_takes_no_word_that_means_something_else() -> None:
    text = "let |warm = 100\n" + SEED.replace("warmup = 100", "warmup = warm")
    why = refused(text, "cosine")
    assert why
    assert "used already" in why
    assert refused(text, "steps_of_warming") is None
