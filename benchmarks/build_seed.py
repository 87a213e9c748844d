"""`parc build examples/seed.parc` in a fresh process, the import of torch included: time, memory, output."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from processes import EXAMPLES, PARC, cost
from table import Figure, show


def main() -> None:
    with TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        built = cost(*PARC, "build", str(EXAMPLES / "seed.parc"), "-o", str(out))
        files = [path for path in out.rglob("*") if path.is_file()]
        show(
            "parc build examples/seed.parc: 128 devices",
            [
                Figure("wall", built.wall, 10, "s"),
                Figure("CPU", built.cpu, None, "s"),
                Figure("peak memory", built.peak / 1e9, 1.5, "GB"),
                Figure("output", sum(path.stat().st_size for path in files) / 1e3, 300, "KB"),
                Figure("stage files", len(list(out.glob("stage_*.py"))), 4),
                Figure("files", len(files), None),
            ],
        )


if __name__ == "__main__":
    main()
