"""`parc build` of large models in fresh processes, the import of torch included: CPU time, memory, output.

The examples, and models with the sizes of the largest two whose experts are written as stacked weights and as
a list of modules.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from processes import EXAMPLES, PARC, cost
from table import Figure, show

HERE = Path(__file__).parent
PLANS = (  # file, plan, seconds of CPU at most
    (EXAMPLES / "seed.parc", "wide", 10),
    (EXAMPLES / "moe30b.parc", "whole", 10),
    (EXAMPLES / "v3.parc", "deep", 15),
    (HERE / "moe30b.parc", "list", 10),
    (HERE / "moe30b.parc", "stack", 10),
    (HERE / "v3.parc", "list", 15),
    (HERE / "v3.parc", "stack", 15),
)


def main() -> None:
    cost(PARC[0], "-c", "import torch.export")  # writes the byte code
    show("import torch", [Figure("CPU", cost(PARC[0], "-c", "import torch").cpu, None, "s")])
    for file, plan, seconds in PLANS:
        with TemporaryDirectory() as folder:
            out = Path(folder) / "out"
            built = cost(*PARC, "build", str(file), plan, "-o", str(out))
            files = [path for path in out.rglob("*") if path.is_file()]
            sizes = {path: path.stat().st_size / 1e3 for path in files}
            show(
                f"parc build {file.name} {plan}",
                [
                    Figure("CPU", built.cpu, seconds, "s"),
                    Figure("peak memory", built.peak / 1e9, 1, "GB"),
                    Figure("output", sum(sizes.values()), None, "KB"),
                    Figure(
                        "code of the stages", sum(sizes[path] for path in out.glob("stage_*.py")), None, "KB"
                    ),
                    Figure("table of ranks", sizes[out / "ranks.csv"], None, "KB"),
                ],
            )


if __name__ == "__main__":
    main()
