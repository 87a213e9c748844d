"""Where a package comes from whose code a build would run."""

from __future__ import annotations

import re
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from importlib.machinery import PathFinder
from importlib.metadata import Distribution, distribution, distributions, packages_distributions
from json import loads
from pathlib import Path
from urllib.parse import unquote, urlparse

from parc.diagnostic import CompileError, Label, error
from parc.plan.blocks import Model
from parc.plan.imports import find_project

TORCH = re.compile(r"torch(?![\w.-])", re.IGNORECASE)  # as a requirement begins


def check_origin(model: Model) -> None:
    """Raises CompileError where `source` names a package that is known to have nothing to do with models.

    It must lie in the project, or be installed and depend on torch. Nothing of it is imported.
    """
    place, _, _ = model.source.rpartition(":")
    if place.endswith(".py"):
        return
    name = place.partition(".")[0]
    folder = Path(model.span.source.path).resolve().parent
    places = _find_places(name, folder)
    project = find_project(folder)
    if not places and name not in sys.builtin_module_names:
        return  # to import it fails with a message of its own
    if any(place.is_relative_to(project) and not _is_installed(place) for place in places):
        return
    if any(map(_depends_on_torch, _list_owners(name, places))):
        return
    message = f"`{name}` is neither in the project nor an installed package that depends on torch"
    help = "building runs its code: `--allow-outside-imports` permits this"
    raise CompileError(error("P501", message, Label(model.at("source"), "not imported"), help=help))


def _find_places(name: str, folder: Path) -> list[Path]:
    """The file or the folders of a top-level package, as an import beside the plan or of Python finds it."""
    spec = PathFinder.find_spec(name, [str(folder), *sys.path])
    if spec is None:
        return []
    found = [
        *([spec.origin] if spec.has_location and spec.origin else []),
        *(spec.submodule_search_locations or []),
    ]
    return [Path(each).resolve() for each in found]


def _is_installed(place: Path) -> bool:
    """Whether it lies among packages of Python, which may themselves lie in the project."""
    paths = sysconfig.get_paths()
    roots = {Path(paths[key]).resolve() for key in ("stdlib", "platstdlib", "purelib", "platlib")}
    return any(place.is_relative_to(root) for root in roots) or "site-packages" in place.parts


def _list_owners(name: str, places: Sequence[Path]) -> Iterator[Distribution]:
    """The installed distributions that have this package, those that are installed in place too."""
    yield from map(distribution, packages_distributions().get(name, ()))
    for each in distributions():
        url = loads(each.read_text("direct_url.json") or "{}")
        if url.get("dir_info", {}).get("editable"):
            folder = Path(unquote(urlparse(url["url"]).path)).resolve()
            if any(place.is_relative_to(folder) for place in places):
                yield each


def _depends_on_torch(found: Distribution) -> bool:
    """Also where only an extra needs it."""
    return any(TORCH.match(each) for each in (found.metadata["Name"], *(found.requires or ())))
