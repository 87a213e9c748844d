"""`parc check examples/seed.parc` in fresh processes: CPU time, and whether a heavy library crept in.

For an installed parc (`make` installs it): a bare checkout has no parse table and reads its grammar.
"""

from __future__ import annotations

import subprocess
from statistics import median

from processes import EXAMPLES, PARC, cost
from table import Figure, show

RUNS = 15
HEAVY = ("torch", "rich", "pygls")


def imported(*command: str) -> set[str]:
    """Top-level modules, as `-X importtime` tells them."""
    python, *rest = command
    report = subprocess.run(
        [python, "-X", "importtime", *rest], capture_output=True, text=True, check=True
    ).stderr
    return {line.rsplit("|", 1)[1].strip().split(".")[0] for line in report.splitlines() if "|" in line}


def main() -> None:
    command = (*PARC, "check", str(EXAMPLES / "seed.parc"))
    cost(*command)  # writes the byte code
    cpu = [cost(*command).cpu * 1e3 for _ in range(RUNS)]
    bare = [cost(PARC[0], "-c", "").cpu * 1e3 for _ in range(RUNS)]
    modules = imported(*command)
    show(
        f"parc check examples/seed.parc, {RUNS} fresh processes",
        [
            Figure("CPU, least", min(cpu), 120, "ms"),
            Figure("CPU, median", median(cpu), None, "ms"),
            Figure("bare Python, least", min(bare), None, "ms"),
            Figure("bare Python, median", median(bare), None, "ms"),
            *(Figure(f"imports {name}", float(name in modules), 0) for name in HEAVY),
        ],
    )


if __name__ == "__main__":
    main()
