"""A grammar for tree-sitter as one for Lark: both make LALR(1) parsers, and lex by what may come next."""

from __future__ import annotations

import json
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import lark

HERE = Path(__file__).parent
GRAMMAR = HERE.parents[1] / "editors" / "tree-sitter-parc" / "grammar.js"


@cache
def build_parser(node: str) -> lark.Lark:
    command = [node, str(HERE / "rules_of.js"), str(GRAMMAR)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    given: dict[str, Any] = json.loads(done.stdout)
    tokens: dict[tuple[str, str], str] = {}
    lines = []
    for name, rule in given["rules"].items():
        if name in (given["word"], "_newline"):
            continue
        lines.append(f"{name}: {_format_rule(rule, given, tokens)}")
    for (kind, value), name in tokens.items():
        lines.append(f"{name}: {_format_terminal(kind, value)}")
    for number, extra in enumerate(given["extras"]):
        rule = given["rules"][extra["name"]] if extra["type"] == "SYMBOL" else extra
        lines += [
            f"IGNORED{number}: {_format_terminal(rule['type'], rule['value'])}",
            f"%ignore IGNORED{number}",
        ]
    return lark.Lark(
        "\n".join(lines),
        start="file",
        parser="lalr",
        lexer="contextual",
        propagate_positions=True,
        maybe_placeholders=False,
        keep_all_tokens=True,
    )


def _format_rule(rule: dict[str, Any], given: dict[str, Any], tokens: dict[tuple[str, str], str]) -> str:
    match rule["type"]:
        case "SEQ":
            return "(" + " ".join(_format_rule(each, given, tokens) for each in rule["members"]) + ")"
        case "CHOICE":
            return "(" + " | ".join(_format_rule(each, given, tokens) for each in rule["members"]) + ")"
        case "REPEAT":
            return _format_rule(rule["content"], given, tokens) + "*"
        case "REPEAT1":
            return _format_rule(rule["content"], given, tokens) + "+"
        case "OPTIONAL":
            return _format_rule(rule["content"], given, tokens) + "?"
        case "SYMBOL" if rule["name"] in (given["word"], "_newline"):
            return _format_rule(given["rules"][rule["name"]], given, tokens)
        case "SYMBOL":
            name: str = rule["name"]
            return name
    return tokens.setdefault((rule["type"], rule["value"]), f"TOKEN{len(tokens)}")


def _format_terminal(kind: str, value: str) -> str:
    return json.dumps(value) if kind == "STRING" else f"/{value}/"
