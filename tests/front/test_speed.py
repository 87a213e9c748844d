"""How long checking takes. Processor time, the least of several: other work only adds to it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from parc.check.load import load_text
from parc.source import Source
from parc.syntax import table
from parc.syntax.lark_tables import make_tables
from tests.timing import find_least, measure_slowness

ROOT = Path(__file__).parents[2]
SEED = (ROOT / "examples" / "seed.parc").read_text()
FRESH = 0.120  # s, that the seed takes at most in a fresh process,
WARM = 0.008  # and in a warm one: it takes 5 ms, and half as much again while others use the caches
LONG = 1.0  # s for 2,000 lines


def time_warm(text: str) -> Callable[[], float]:
    def once() -> float:
        begun = time.process_time()
        load_text(Source("plan.parc", text))
        return time.process_time() - begun

    once()
    return once


def time_fresh(folder: Path, *arguments: str) -> Callable[[], float]:
    """In a process of its own, which finds its byte code in the folder."""
    environment = {"PYTHONPATH": str(ROOT), "PYTHONPYCACHEPREFIX": str(folder)}

    def once() -> float:
        process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        return usage.ru_utime + usage.ru_stime

    once()
    return once


def test_the_seed_in_a_fresh_process(tmp_path: Path) -> None:
    """With the tables that an installed parc has. Where even starting Python and importing lark takes longer
    than usual, twice as long as that."""
    table.save_tables(make_tables(), tmp_path / "table.bin")
    said = "from pathlib import Path\nfrom parc.syntax import table\n"
    said += f"table.TABLE = Path({str(tmp_path / 'table.bin')!r})\n"
    said += "from parc.cli import main\nassert main(['check', 'examples/seed.parc']) == 0"
    check = time_fresh(tmp_path, "-c", said)
    lark = find_least(time_fresh(tmp_path, "-c", "import lark"), 0, tries=5)
    limit = max(FRESH, 2 * lark)
    assert find_least(check, limit) <= limit


def test_the_seed_in_a_warm_process() -> None:
    limit = WARM * measure_slowness()
    assert find_least(time_warm(SEED), limit, tries=200) <= limit


def build_million() -> str:
    """The seed on 2^20 devices: 8,192 replicas, each as the seed is."""
    changes = {
        "fabric: 8,": "fabric: 65536,",
        "[ep: 8,": "[dp: 8192, ep: 8,",
        "data     over [ep]": "data     over [dp, ep]",
        "sequences = 256": "sequences = 2097152",
        "devices == 128": "devices == 1048576",
    }
    text = SEED
    for old, new in changes.items():
        assert text.count(old) == 1
        text = text.replace(old, new)
    return text


def test_a_million_devices_take_little_longer_than_the_seed() -> None:
    loaded = load_text(Source("plan.parc", build_million()))
    assert loaded.ok
    assert loaded.plans[0].mesh.size == 2**20
    seed, large = time_warm(SEED), time_warm(build_million())
    ratio = min(find_least(large, 0, tries=15) / find_least(seed, 0, tries=15) for _ in range(3))
    assert ratio <= 1.5


def test_two_thousand_lines() -> None:
    names = ["farm", "moe", "seed", "wide"]
    blocks = []
    for copy in range(2000 // SEED.count("\n")):
        text = SEED
        for name in names:
            text = re.sub(rf"\b{name}\b(?! =)", f"{name}{copy}", text)
        blocks.append(text)
    text = "\n".join(blocks)
    assert 1900 < text.count("\n") < 2100
    assert load_text(Source("plan.parc", text)).ok
    limit = LONG * measure_slowness()
    assert find_least(time_warm(text), limit) <= limit


@pytest.mark.parametrize("lines", [2000])
def test_a_file_full_of_faults_is_no_slower(lines: int) -> None:
    limit = LONG * measure_slowness()
    for line in ("let a = ;\n", "plan a for b on c { mesh = [x: 1] }\n"):
        assert find_least(time_warm(line * lines), limit) <= limit
