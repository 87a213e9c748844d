"""The end of a run of ranks is explained: which ranks wait where, which was killed, what failed.

No process is left.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from parc.verify.execution.diagnose import RunFailed
from parc.verify.numbers.rung import prove_numbers
from parc.verify.sample.sample import compile_sample

from .plans import captured, find_plan
from .sample_runs import Edit, prepare
from .test_divergence import line

pytestmark = pytest.mark.usefixtures("no_process_left")

SUM = "    dist.all_reduce(total, group=group)"
END = ("runtime/gradients.py", "        return total.sqrt()")
GROUP = 'self.mesh.get_group("tp")'  # torch lets its groups wait for ten minutes
RECEIVES = f"        if dist.get_rank() == 0:\n            dist.recv(total, 1, {GROUP})\n"


def stopped(folder: Path, *edits: Edit, timeout: float = 60.0, layout: str = "tensor") -> RunFailed:
    """How a program ends after edits."""
    sample = compile_sample(find_plan("moe", layout), captured=captured("moe"))
    with pytest.raises(RunFailed) as found:
        prove_numbers(prepare(sample, folder, *edits, timeout=timeout))
    return found.value


def test_of_a_hang_the_ranks_and_their_operations_are_reported(tmp_path: Path) -> None:
    edit = (END[0], END[1], RECEIVES + END[1])
    start = time.monotonic()
    found = stopped(tmp_path / "program", edit, timeout=10.0)
    assert (
        time.monotonic() - start < 500
    )  # torch lets groups wait for 600: the watch ends it, however loaded this machine
    assert found.verdict == "refuted"
    assert found.finding.message == "the program hangs: a step was not done after 10 s"
    here = line(tmp_path / "program", END[0], "dist.recv")
    sums = line(tmp_path / "program", "runtime/collectives.py", SUM)
    place = line(tmp_path / "program", "stage_0.py", "self.embedding(tokens)", within="class Stage")
    assert found.finding.details == (
        f"rank 0 waits in `recv` at {END[0]}:{here}",
        f"rank 1 waits in `all_reduce` at runtime/collectives.py:{sums} from stage_0.py:{place}",
    )


def test_sizes_that_do_not_fit_are_a_crash_of_the_program(tmp_path: Path) -> None:
    edit = ("runtime/collectives.py", SUM, f"    if dist.get_rank() == 0:\n    {SUM}")
    found = stopped(tmp_path / "program", edit)
    assert found.verdict == "refuted"
    assert "does not come to the end of a step" in found.finding.message


def test_a_loop_without_end_ends_as_well(tmp_path: Path) -> None:
    edit = (*END, "        while True:\n            pass")
    found = stopped(tmp_path / "program", edit, timeout=10.0, layout="one-rank")
    here = line(tmp_path / "program", "runtime/gradients.py", "while True")
    assert found.verdict == "not provable"  # it may be slow
    assert found.finding.message.startswith("a step was not done after 10 s, and not all ranks wait")
    assert found.finding.details == (f"rank 0 runs runtime/gradients.py:{here}",)


def test_a_killed_rank_is_not_provable(tmp_path: Path) -> None:
    kill = "    if dist.get_rank() == 1:\n        import os\n\n        os.kill(os.getpid(), 9)\n"
    found = stopped(tmp_path / "program", ("runtime/collectives.py", SUM, kill + SUM))
    assert found.verdict == "not provable"
    assert found.finding.message.startswith("rank 1 was ended by signal SIGKILL")


def test_a_program_that_crashes_is_refuted_with_its_line(tmp_path: Path) -> None:
    found = stopped(
        tmp_path / "program",
        (*END, "        return total.square_root()"),
    )
    here = line(tmp_path / "program", "runtime/gradients.py", "square_root")
    assert found.verdict == "refuted"
    assert "AttributeError" in found.finding.message
    assert (found.finding.file, found.finding.line) == ("runtime/gradients.py", here)


def test_a_rank_that_exits_as_if_it_had_succeeded_is_refuted(tmp_path: Path) -> None:
    leaves = "        if step == 2:\n            import os\n\n            os._exit(0)\n"
    start = "        start = time.perf_counter()\n"
    found = stopped(tmp_path / "program", ("runtime/training.py", start, leaves + start), layout="one-rank")
    assert found.verdict == "refuted"
    assert found.finding.message.startswith("rank 0 ended before all steps were done")


def test_a_step_whose_gradients_cannot_be_inspected_is_not_provable(tmp_path: Path) -> None:
    edit = (
        "runtime/training.py",
        "self.update(step, norm, idle)",
        "type(self).update(self, step, norm, idle)",
    )
    found = stopped(tmp_path / "program", edit, layout="one-rank")
    assert found.verdict == "not provable"
    assert found.finding.message.startswith("the edited `step` does not call `update`")
