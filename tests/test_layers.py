"""Imports run one way, and every library has one home.

Read from the syntax trees, so that an import inside a function counts too.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "parc"

TEXT = {"source", "diagnostic", "docstrings", "named_tuple", "record", "resources", "version"}
FRONT = TEXT | {"syntax", "plan", "ir", "schedule", "trace", "cost", "check"}
BACK = TEXT | {"plan", "ir"}
EVERYTHING = FRONT | {
    *(
        "collector",
        "report",
        "render",
        "capture",
        "shard",
        "lower",
        "emit",
        "runtime",
        "verify",
        "driver",
        "search",
    )
}

MAY_IMPORT: dict[str, set[str]] = {
    "source": {"named_tuple", "record"},
    "named_tuple": set(),
    "record": {"named_tuple"},
    "resources": set(),
    "version": set(),
    "collector": set(),
    "docstrings": set(),
    "diagnostic": {"named_tuple", "record", "source"},
    "syntax": TEXT,
    "plan": TEXT | {"syntax"},
    "ir": TEXT | {"plan"},
    "schedule": {"named_tuple"},
    "trace": BACK | {"schedule"},
    "cost": BACK | {"schedule", "trace"},
    "check": TEXT | {"syntax", "plan", "ir", "cost"},
    "search": FRONT,
    "report": BACK | {"schedule", "cost", "check"},
    "render": FRONT | {"report"},
    "capture": BACK | {"collector", "runtime"},
    "shard": BACK | {"capture"},
    "lower": BACK | {"capture", "shard"},
    "emit": BACK | {"runtime"},
    "runtime": set(),
    "verify": BACK | {"trace", "runtime", "capture", "shard", "lower", "emit", "check"},
    "driver": EVERYTHING,
    "commands": FRONT | {"collector", "report", "render", "search"},
    "commands.build": {"commands", "diagnostic", "driver"},
    "commands.run": {"driver"},
    "commands.verify": EVERYTHING | {"commands"},
    "commands.lsp": {"commands", "diagnostic", "lsp"},
    "cli": {"commands", "diagnostic", "version"},
    "lsp": FRONT | {"render", "report"},
    "__init__": FRONT,
    "__main__": {"cli"},
}

HOMES: dict[str, set[str]] = {
    "torch": {"capture", "shard", "lower", "emit", "runtime", "verify", "driver"},
    "lark": {"syntax"},
    "jinja2": {"emit", "render"},
    "pygls": {"lsp"},
    "lsprotocol": {"lsp"},
    "shtab": {"commands"},
}

APART = [layer for layer in MAY_IMPORT if "." in layer]  # modules that may import more than their package


def locate(layer: str) -> Path:
    return ROOT / layer.replace(".", "/")


def modules(layer: str) -> list[Path]:
    package = locate(layer)
    if not package.is_dir():
        return [package.with_suffix(".py")]
    apart = [locate(each).with_suffix(".py") for each in APART]
    return [path for path in sorted(package.rglob("*.py")) if path not in apart]


def target_of(name: str) -> str:
    """The layer of an imported name, such as `parc.plan.mesh.Mesh`."""
    first, *rest = name.split(".")[1:]
    inner = f"{first}.{rest[0]}" if rest else first
    return inner if inner in APART else first


@cache
def imported(path: Path) -> tuple[tuple[int, str], ...]:
    """(line, absolute dotted name) of everything that a module imports."""
    return tuple(read_imports(path))


def read_imports(path: Path) -> Iterator[tuple[int, str]]:
    here = ("parc", *path.relative_to(ROOT).parent.parts)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(here[: len(here) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module) if part)
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)


LAYERS = sorted(
    {path.stem for path in ROOT.glob("*.py")} | {path.parent.name for path in ROOT.glob("*/*.py")} | {*APART}
)


@pytest.mark.parametrize("layer", LAYERS)
def test_imports_run_one_way(layer: str) -> None:
    assert layer in MAY_IMPORT, f"parc/{layer} is new: say in MAY_IMPORT what it may import"
    faults = [
        f"{path.relative_to(ROOT.parent)}:{line} imports {name}"
        for path in modules(layer)
        for line, name in imported(path)
        if name.startswith("parc.")
        if (target := target_of(name)) != layer
        if target not in MAY_IMPORT[layer]
    ]
    assert not faults, "\n".join(faults)


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def import_graph() -> dict[str, set[str]]:
    """The modules of parc that each of them imports, inside functions and for type checkers too."""
    paths = {module_name(path): path for path in ROOT.rglob("*.py")}
    graph: dict[str, set[str]] = {}
    for module, path in paths.items():
        names = {name for _, name in imported(path)}
        graph[module] = {name if name in paths else name.rpartition(".")[0] for name in names} & paths.keys()
    return graph


def reached(graph: dict[str, set[str]], module: str) -> frozenset[str]:
    """All that a module imports, and what that imports, and so on."""
    found: set[str] = set()
    ahead = [module]
    while ahead:
        new = graph[ahead.pop()] - found
        found |= new
        ahead += new
    return frozenset(found)


def test_no_module_imports_itself_in_a_circle() -> None:
    graph = import_graph()
    after = {module: reached(graph, module) for module in graph}
    circles = {
        frozenset(other for other in after[module] if module in after[other])
        for module in graph
        if module in after[module]
    }
    assert not circles, "\n".join(", ".join(sorted(circle)) for circle in circles)


def test_detection_knows_nothing_of_advice_and_price_nothing_of_rules() -> None:
    """So a rule that tries other plans by detection never asks for advice."""
    graph = import_graph()
    assert not [
        each for each in reached(graph, "parc.check.detection") if each.startswith("parc.check.advice")
    ]
    rooms = ("parc.check.rules", "parc.check.lints", "parc.check.advice")
    assert not [each for each in reached(graph, "parc.check.costs") if each.startswith(rooms)]


@pytest.mark.parametrize("layer", LAYERS)
def test_a_library_has_one_home(layer: str) -> None:
    faults = [
        f"{path.relative_to(ROOT.parent)}:{line} imports {name}"
        for path in modules(layer)
        for line, name in imported(path)
        if layer not in HOMES.get(name.split(".")[0], {layer})
    ]
    assert not faults, "\n".join(faults)


def test_the_runtime_needs_pytorch_alone() -> None:
    """It is copied into what parc emits: torch, the standard library and its own relative imports."""
    allowed = set(sys.stdlib_module_names) | {"torch"}
    faults = [
        f"{path.relative_to(ROOT.parent)}:{line} imports {name}"
        for path in modules("runtime")
        for line, name in imported(path)
        if name.split(".")[0] not in allowed and not name.startswith("parc.runtime.")
    ]
    assert not faults, "\n".join(faults)


def test_an_import_inside_a_function_says_why() -> None:
    """Torch and the time of a start ask for some: `# noqa: PLC0415 - start-up time`."""
    reason = re.compile(r"# noqa: PLC0415 - (start-up time|it needs torch|pygls may not be installed)\b")
    faults = [
        f"{path.relative_to(ROOT.parent)}:{number}: {line.strip()}"
        for path in sorted(ROOT.rglob("*.py"))
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if "PLC0415" in line and not reason.search(line)
    ]
    assert not faults, "\n".join(faults)
