"""Build hook: saves the parse tables in the package, so that an installed parc does not import lark.

An editable install saves them in the checkout, where it also compiles the modules, as pip does for a wheel.
"""

from __future__ import annotations

import compileall
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

TABLE = "parc/syntax/table.bin"


class ParseTableHook(BuildHookInterface[Any]):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        sys.path.insert(0, self.root)
        try:
            from parc.syntax import lark_tables, table  # noqa: PLC0415 - `self.root` is on the path only here

            table.save_tables(lark_tables.make_tables(), Path(self.root, TABLE))
        finally:
            sys.path.remove(self.root)
        build_data["artifacts"].append(TABLE)  # which Git ignores, and so would the builder
        if version == "editable":
            compileall.compile_dir(Path(self.root, "parc"), quiet=1)
