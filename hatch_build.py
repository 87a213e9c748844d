"""Build hook: saves the parse table into the package, so that an installed one need not read its grammar."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

TABLE = "parc/syntax/table.bin"


class ParseTableHook(BuildHookInterface[Any]):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        sys.path.insert(0, self.root)
        try:
            from parc.syntax import table

            table.save(Path(self.root, TABLE))
        finally:
            sys.path.remove(self.root)
        # Git ignores the table, and so would the builder.
        build_data["artifacts"].append(TABLE)
