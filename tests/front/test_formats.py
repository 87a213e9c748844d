"""Diagnostics as other tools read them: JSON, SARIF, and GitHub's workflow commands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parc.check.pages import list_rules
from parc.diagnostic import Diagnostic, Fix, Label, Severity, error
from parc.render import github, sarif
from parc.render import json as as_json
from parc.source import Source
from tests.front.plans import complete, load

FAULTY = complete("let a = 2 GBs\nplan wide for first on farm {\n  mesh = [dp: 3]\n  data over [dp]\n}")


def build_fixable() -> Diagnostic:
    """One with a fix of two edits, a label over two lines, and one without a text."""
    source = Source("dir/my plan.parc", "let a = 1;\nlet ä = 2;\n")
    edits = ((source.make_span(9, 10), ""), (source.make_span(20, 21), ""))
    return Diagnostic(
        "P002",
        Severity.WARNING,
        "two `;`",
        (Label(source.make_span(9, 20), "from here"), Label(source.make_span(15, 16), primary=False)),
        ("a note",),
        "leave them out",
        Fix("leave out the `;`", edits, safe=False),
    )


# JSON


def test_json_holds_all_that_a_diagnostic_says() -> None:
    found = json.loads(as_json.render([build_fixable()]))
    place = {"file": "dir/my plan.parc", "start": {"line": 1, "column": 10}, "end": {"line": 2, "column": 10}}
    assert found["version"] == 1
    (told,) = found["diagnostics"]
    assert {key: told[key] for key in ("code", "severity", "message", "notes", "help")} == {
        "code": "P002",
        "severity": "warning",
        "message": "two `;`",
        "notes": ["a note"],
        "help": "leave them out",
    }
    assert told["labels"][0] == place | {"text": "from here", "primary": True}
    assert [label["primary"] for label in told["labels"]] == [True, False]
    assert told["fix"]["title"] == "leave out the `;`"
    assert told["fix"]["safe"] is False
    assert [(edit["start"], edit["end"], edit["text"]) for edit in told["fix"]["edits"]] == [
        ({"line": 1, "column": 10}, {"line": 1, "column": 11}, ""),
        ({"line": 2, "column": 10}, {"line": 2, "column": 11}, ""),
    ]


def test_json_of_nothing() -> None:
    assert json.loads(as_json.render([])) == {"version": 1, "diagnostics": []}


# SARIF: what its schema asks of the objects that are written here. A name with a `!` must be there.

OBJECTS: dict[str, dict[str, object]] = {
    "log": {"$schema": "uri", "version!": "2.1.0", "runs!": ["run"]},
    "run": {"tool!": "tool", "results": ["result"], "columnKind": "unicodeCodePoints"},
    "tool": {"driver!": "component"},
    "component": {"name!": "text", "version": "text", "rules": ["descriptor"]},
    "descriptor": {
        "id!": "text",
        "name": "text",
        "shortDescription": "message",
        "help": "message",
        "defaultConfiguration": "configuration",
    },
    "configuration": {"level": "level"},
    "message": {"text!": "text", "markdown": "text"},
    "result": {
        "ruleId": "text",
        "ruleIndex": "index",
        "level": "level",
        "message!": "message",
        "locations": ["location"],
        "relatedLocations": ["location"],
        "fixes": ["fix"],
    },
    "location": {"id": "index", "physicalLocation": "physical", "message": "message"},
    "physical": {"artifactLocation!": "artifact", "region": "region"},
    "artifact": {"uri": "uri"},
    "region": {"startLine": "line", "startColumn": "line", "endLine": "line", "endColumn": "line"},
    "fix": {"description": "message", "artifactChanges!": ["change"]},
    "change": {"artifactLocation!": "artifact", "replacements!": ["replacement"]},
    "replacement": {"deletedRegion!": "region", "insertedContent": "content"},
    "content": {"text": "any text"},
}


def check_schema(value: Any, kind: object) -> None:
    if isinstance(kind, list):
        assert isinstance(value, list)
        for each in value:
            check_schema(each, kind[0])
    elif kind in OBJECTS:
        known = {name.rstrip("!"): wanted for name, wanted in OBJECTS[str(kind)].items()}
        assert set(value) <= set(known)
        assert {name[:-1] for name in OBJECTS[str(kind)] if name.endswith("!")} <= set(value)
        for name, part in value.items():
            check_schema(part, known[name])
    elif kind in ("index", "line"):
        assert type(value) is int
        assert value >= (kind == "line")
    elif kind == "level":
        assert value in ("none", "note", "warning", "error")
    elif kind == "uri":
        assert isinstance(value, str)
        assert value.isascii()
        assert " " not in value
    elif kind in ("text", "any text"):
        assert isinstance(value, str)
        assert value or kind == "any text"
    else:
        assert value == kind


def render_run(*diagnostics: Diagnostic) -> Any:
    """The only run of the log."""
    log = json.loads(sarif.render(diagnostics))
    check_schema(log, "log")
    return log["runs"][0]


def test_sarif_points_at_every_guilty_place() -> None:
    unit, division = render_run(*load(FAULTY).diagnostics)["results"]
    assert unit["locations"][0]["physicalLocation"]["region"] == {
        "startLine": 1,
        "startColumn": 11,
        "endLine": 1,
        "endColumn": 14,
    }
    assert unit["level"] == "error"
    assert division["locations"][0]["message"]["text"] == "32 sequences"
    assert [each["message"]["text"] for each in division["relatedLocations"]] == [
        "4 microbatches",
        "3 data ranks of `dp`",
    ]
    assert [each["id"] for each in division["relatedLocations"]] == [0, 1]
    assert "note: 32 / (4 microbatches x 3 data ranks) = 2.67" in division["message"]["text"]


def test_sarif_explains_each_rule_once() -> None:
    run = render_run(*load(FAULTY).diagnostics, *load(FAULTY).diagnostics)
    rules = run["tool"]["driver"]["rules"]
    assert [(rule["id"], rule["name"]) for rule in rules] == [
        ("P108", "unknown-unit"),
        ("P208", "sequences-do-not-divide"),
    ]
    assert all(rules[result["ruleIndex"]]["id"] == result["ruleId"] for result in run["results"])


def test_sarif_holds_fixes() -> None:
    (result,) = render_run(build_fixable())["results"]
    (fix,) = result["fixes"]
    (change,) = fix["artifactChanges"]
    assert fix["description"]["text"] == "leave out the `;`"
    assert unquote(change["artifactLocation"]["uri"]) == "dir/my plan.parc"
    assert [each["deletedRegion"]["startLine"] for each in change["replacements"]] == [1, 2]


def test_sarif_of_every_rule_and_of_a_fault_without_a_place() -> None:
    run = render_run(*(error(rule.code, "message") for rule in list_rules()))
    assert len(run["tool"]["driver"]["rules"]) == len(run["results"]) == len(list_rules())
    assert render_run()["results"] == []


def test_sarif_names_an_absolute_path_by_a_file_uri(tmp_path: Path) -> None:
    source = Source(str(tmp_path / "é.parc"), "x")
    (result,) = render_run(error("P001", "x", Label(source.make_span(0, 1))))["results"]
    uri = urlparse(result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"])
    assert uri.scheme == "file"
    assert unquote(uri.path) == source.path


@given(st.text(max_size=30), st.text(max_size=30, min_size=1), st.data())
def test_sarif_and_json_of_any_text(text: str, path: str, data: st.DataObject) -> None:
    source = Source(path.encode(errors="replace").decode(), text)
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    fault = error("P001", text or "x", Label(source.make_span(start, end), text))
    (result,) = render_run(fault)["results"]
    region = result["locations"][0]["physicalLocation"]["region"]
    assert (region["startLine"], region["startColumn"]) <= (region["endLine"], region["endColumn"])
    (told,) = json.loads(as_json.render([fault]))["diagnostics"]
    lines = text.split("\n")
    first, last = told["labels"][0]["start"], told["labels"][0]["end"]
    before = "\n".join([*lines[: first["line"] - 1], lines[first["line"] - 1][: first["column"] - 1]])
    until = "\n".join([*lines[: last["line"] - 1], lines[last["line"] - 1][: last["column"] - 1]])
    assert (len(before), len(until)) == (start, end)


# GitHub


def test_a_workflow_command_has_one_line_and_escapes_what_ends_its_parts() -> None:
    source = Source("a,b:c.parc", "let a = 64 GBs\n")
    fault = error(
        "P108",
        "100% wrong\nindeed",
        Label(source.make_span(11, 14), "here"),
        Label(source.make_span(4, 5), "of this", primary=False),
        help="look: there",
    )
    assert github.render([fault]) == (
        "::error title=P108,file=a%2Cb%3Ac.parc,line=1,col=12,endColumn=15"
        "::100%25 wrong%0Aindeed%0Aa,b:c.parc:1: of this%0Ahelp: look: there\n"
    )


@pytest.mark.parametrize(
    ("severity", "command"),
    [(Severity.ERROR, "::error "), (Severity.WARNING, "::warning "), (Severity.INFO, "::notice ")],
)
def test_severities_of_workflow_commands(severity: Severity, command: str) -> None:
    assert github.render([Diagnostic("P202", severity, "x")]) == f"{command}title=P202::x\n"


def test_a_place_over_several_lines_has_no_columns() -> None:
    assert ",line=1,endLine=2::" in github.render([build_fixable()])


@given(st.text(max_size=50))
def test_no_text_ends_a_workflow_command(text: str) -> None:
    said = github.render(
        [error("P001", text, Label(Source(text, text).make_span(0, len(text)), text), help=text)]
    )
    assert said.count("\n") == 1
    assert all(sign.isprintable() for sign in said[:-1])
