"""docs/language.md: it is as the schema and the grammar are, and every example in it is read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from parc.check.load import load_text
from parc.diagnostic import Severity
from parc.plan.schema.documentation import list_paths
from parc.render.language import render_language
from parc.source import Source

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "language.md").read_text()
SECTION = re.compile(r"^### (?P<path>[\w.]+)\n(?P<text>.*?)(?=^##)", re.M | re.S)
ROW = re.compile(r"^\| `(\w+)` \|.*\| `(\w+) = (.*)` \|$", re.M)
SECTIONS = {found["path"]: found["text"] for found in SECTION.finditer(PAGE)}
EXAMPLES = [(path, key, value) for path, text in SECTIONS.items() for _, key, value in ROW.findall(text)]
MACHINE = "\nmachine big { levels = [node: 16] }\n"
NAMES = {"machine": "big", "cluster": "farm", "model": "moe", "train": "seed", "plan": "wide"}


def test_the_page_is_that_of_the_schema_and_the_grammar() -> None:
    assert render_language() == PAGE, "write it anew: python -m parc.render.language docs/language.md"


def test_every_block_has_a_section_and_every_key_an_example() -> None:
    assert list(SECTIONS) == list(list_paths().values())
    for form, path in list_paths().items():
        assert [key for at, key, _ in EXAMPLES if at == path] == [key.name for key in form.keys]


@pytest.mark.parametrize(("path", "key", "value"), EXAMPLES, ids=lambda text: text)
def test_an_example_is_a_value_of_its_key(path: str, key: str, value: str) -> None:
    """It takes the place of the value in the plan that the page shows, and causes no error."""
    kind, *inner = path.split(".")
    place = ".".join([NAMES[kind], *inner, key])
    if path == "machine.link":
        place = f"farm.link.{key}"
    if path == "train.adamw":
        place = f"seed.optimizer.{key}"
    if path == "train.tokens":
        place, value = "seed.dataset", f'tokens("data.bin", {key} = {value})'
    text = re.search(r"```parc\n(.*?)```", PAGE, re.S)
    assert text
    loaded = load_text(Source(str(ROOT / "examples" / "seed.parc"), text[1] + MACHINE), [f"{place}={value}"])
    assert [each for each in loaded.diagnostics if each.severity is Severity.ERROR or each.code < "P2"] == []


def test_claims_of_the_page_are_read() -> None:
    claims = re.search(r"^expect \{.*\}$", PAGE, re.M)
    text = (ROOT / "examples" / "seed.parc").read_text()
    assert claims
    loaded = load_text(Source("seed.parc", text.replace("expect { devices == 128 }", claims[0])))
    assert [each.code for each in loaded.diagnostics if each.code < "P2"] == []
    assert len(loaded.plans[0].expect) == 3
