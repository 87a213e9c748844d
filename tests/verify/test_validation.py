"""A build is compared with the user's module: right programs pass, and a fault in one is named."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from parc import driver
from parc.check.load import load
from parc.cli import main
from parc.plan.blocks import Plan
from parc.verify.mutants.bugs.data import lose_values
from parc.verify.mutants.target import MutationTarget
from parc.verify.report import NotProvable
from parc.verify.sample.choose import choose_sample
from parc.verify.sample.sample import Sample
from parc.verify.validation import validate as validation
from parc.verify.validation.alike import find_unmatched
from parc.verify.validation.thread_group import Mismatch, run_ranks_as_threads
from parc.verify.validation.turns import Deadlock
from tests.build.projects import ALL, DATA, EXPERTS, TENSOR, Project
from tests.verify.plans import PLANS

EXAMPLES = Path(__file__).parents[2] / "examples"


def compile_example(name: str, plan: str | None = None) -> driver.Compiled:
    made = driver.compile_plan(load(EXAMPLES / f"{name}.parc"), plan)
    assert isinstance(made, driver.Compiled)
    return made


def in_slow_tests(plan: str) -> object:
    return pytest.param("classic", plan, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    ("file", "plan"),
    [
        *(("quickstart", None), ("seed", None), ("classic", "everything")),
        *map(in_slow_tests, ("alone", "replicas", "tensors", "sequence", "experts", "stages")),
    ],
)
def test_a_right_program_passes_and_all_of_it_is_checked(file: str, plan: str | None) -> None:
    made = compile_example(file, plan)
    found, diagnostics = validation.validate(made.plan, made.files)
    assert diagnostics == ()
    assert found is not None
    assert found.largest < 1e-9  # see numbers/tolerance.py
    assert found.roles == choose_sample(made.plan, "fp64", validation.RANKS).plan.mesh.size


def test_both_stages_of_a_rank_are_compared() -> None:
    """A V, whose ends are on one rank and whose middle stages hand over on another."""
    made = driver.compile_plan(load(PLANS / "run" / "split-backward.parc"), "zbv")
    assert isinstance(made, driver.Compiled)
    found, diagnostics = validation.validate(made.plan, made.files)
    assert diagnostics == ()
    assert found is not None
    assert (found.roles, found.gradients) == (2, len(made.captured.recipes))


FAULTS = {
    "a sum over tensor ranks is left out": (
        "model.py",
        "= all_reduce(attention, self.tp, dst=I)",
        "= attention",
    ),
    "a gradient is not summed": ("model.py", "x = convert(x, self.tp, src=I, dst=R)\n", "x = x.view_as(x)\n"),
    "a mean is that of one rank": ("model.py", " / self.ep.size()", ""),
    "a sign is another": ("model.py", "second * cos + first * sin", "second * cos - first * sin"),
    "a constant is another": ("model.py", "eps = 1e-6", "eps = 1e-4"),
    "a weight lies on another dim": ("model.py", '{"tp": 1},', '{"tp": 0},'),
    "a gradient is not completed": ("model.py", 'reduce=("ep",)', "reduce=()"),
    "a residual is left out": ("model.py", "x = x + attention", "x = attention"),
    "a buffer is another": ("stage_1.py", "angles.sin()", "angles.cos()"),
    "a loss is counted twice": ("stage_2.py", "return loss,", "return 2 * loss,"),
    "a balance loss ends at a stage": ("stage_1.py", "= balance + layer_balance", "= layer_balance"),
    "a layer is skipped": ("stage_1.py", "in self.layers.values()", "in list(self.layers.values())[1:]"),
    "a stage sends another type": ("stage_0.py", "return x, balance", "return x.float(), balance"),
    "learning begins faster": ("train.py", "warmup=2", "warmup=1"),
    "a moment is another": ("train.py", "beta2=0.95", "beta2=0.5"),
    "gradients are kept": ("runtime/optim.py", "parameter.drop_gradient()", "pass"),
}


@pytest.fixture(scope="module")
def seed_sample() -> tuple[driver.Compiled, Sample]:
    made = compile_example("seed")
    return made, choose_sample(made.plan, "fp64", validation.RANKS)


@pytest.mark.parametrize(("file", "old", "new"), FAULTS.values(), ids=FAULTS)
def test_a_fault_of_emission_is_an_error(
    file: str,
    old: str,
    new: str,
    seed_sample: tuple[driver.Compiled, Sample],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made, sample = seed_sample
    text = sample.files[file].decode()
    assert old in text
    broken = replace(sample, files={**sample.files, file: text.replace(old, new).encode()})
    monkeypatch.setattr(validation, "choose_sample", lambda *_: broken)
    found, (fault,) = validation.validate(made.plan, made.files)
    assert found is None
    assert fault.code == "P513"
    ends = new == "return x.float(), balance" or old == '{"tp": 1},'  # others compute something else
    assert ("does not come to the end" if ends else "does not compute") in fault.message


def test_the_first_tensor_that_differs_is_named_with_its_line(
    seed_sample: tuple[driver.Compiled, Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, sample = seed_sample
    text = sample.files["model.py"].decode().replace("q = self.wq(x)", "q = self.wq(x.detach())")
    broken = replace(sample, files={**sample.files, "model.py": text.encode()})
    monkeypatch.setattr(validation, "choose_sample", lambda *_: broken)
    _, (fault,) = validation.validate(made.plan, made.files)
    # what reads x in the last layer comes first in the backward pass
    assert fault.labels[0].text == "the gradient of layers.5.attention_norm.weight of the program differs"
    assert "class RMSNorm" in fault.labels[0].span.source.text.splitlines()[fault.labels[0].span.line - 1]
    assert "rank " in fault.notes[0]


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("runtime/training.py", "        self.shared_updates.gather()\n", ""),
        ("runtime/gradients.py", "member.gradient for member", "member.ensure_gradient() for member"),
    ],
    ids=["stale parameters", "norm of terms"],
)
def test_updates_that_ranks_share_are_compared(
    file: str, old: str, new: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = driver.compile_plan(load(PLANS / "run" / "optimizer-sharded.parc"), "classic")
    assert isinstance(made, driver.Compiled)
    sample = choose_sample(made.plan, "fp64", validation.RANKS)
    text = sample.files[file].decode()
    assert old in text
    broken = replace(sample, files={**sample.files, file: text.replace(old, new).encode()})
    monkeypatch.setattr(validation, "choose_sample", lambda *_: broken)
    found, (fault,) = validation.validate(made.plan, made.files)
    assert (found, fault.code) == (None, "P513")


def test_what_the_smaller_program_lacks_is_reported(seed_sample: tuple[driver.Compiled, Sample]) -> None:
    made, sample = seed_sample
    assert find_unmatched(made.files, sample.files) == []
    text = made.files["stage_3.py"].decode()
    edited = text.replace("balance / self.n_moe_layers", "balance * self.n_moe_layers")
    assert edited != text
    files = {**made.files, "stage_3.py": edited.encode()}
    assert find_unmatched(files, sample.files) == ["`Stage` of `stage_3.py`"]


@pytest.mark.parametrize("layout", [DATA, TENSOR, EXPERTS, ALL])
def test_it_is_recorded_in_the_folder(
    layout: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    project = Project(tmp_path, layout, 4 if layout == ALL else 2)
    assert main(["build", str(project.write()), "-o", str(project.out)]) == 0
    assert re.search(r"checked: \d roles, \d+ gradients, largest difference \de-1\d", capsys.readouterr().out)
    record = json.loads((project.out / "plan.lock.json").read_text())["validation"]
    assert record["roles"] == project.devices
    assert record["largest_difference"] < 1e-9


def test_it_is_skipped_if_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    project = Project(tmp_path)
    assert main(["build", str(project.write()), "-o", str(project.out), "--no-validate"]) == 0
    assert "checked" not in capsys.readouterr().out
    assert "validation" not in json.loads((project.out / "plan.lock.json").read_text())


def test_nothing_is_written_where_it_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = Project(tmp_path)

    def emit_another_constant(plan: Plan, compute: str, ranks: int, *_: object) -> Sample:
        sample = choose_sample(plan, "fp64", ranks)
        text = sample.files["stage_0.py"].replace(b"F.cross_entropy(", b"2 * F.cross_entropy(")
        return replace(sample, files={**sample.files, "stage_0.py": text})

    monkeypatch.setattr(validation, "choose_sample", emit_another_constant)
    built = driver.build(project.write(), None, project.out)
    assert "P513" in [each.code for each in built.diagnostics]
    assert not project.out.exists()


# Threads as ranks


def test_threads_have_groups_as_processes_have() -> None:
    def work(rank: int) -> list[float]:
        mesh = dist.init_device_mesh("cpu", (2, 2), mesh_dim_names=("a", "b"))
        total, gathered = torch.tensor([float(rank)]), torch.empty(2)
        dist.all_reduce(total, group=mesh.get_group("b"))
        dist.all_gather_single(gathered, total, group=mesh.get_group("a"))
        rows = torch.tensor([10.0 * rank, 10.0 * rank + 1])
        swapped = torch.empty(2)
        dist.all_to_all_single(swapped, rows, group=mesh.get_group("b"))
        return [*gathered.tolist(), *swapped.tolist()]

    assert run_ranks_as_threads(4, work) == [[1, 5, 0, 10], [1, 5, 1, 11], [1, 5, 20, 30], [1, 5, 21, 31]]
    assert not dist.is_initialized()


def test_ranks_that_issue_different_operations_are_named() -> None:
    def work(rank: int) -> None:
        dist.all_reduce(torch.zeros(2 + rank))

    with pytest.raises(
        Mismatch, match=r"rank 0 issues all_reduce\(sum\) of torch.float32\[2\], rank 1 .*\[3\]"
    ):
        run_ranks_as_threads(2, work)


def test_ranks_that_wait_for_each_other_are_named() -> None:
    def work(rank: int) -> None:
        if rank == 1:
            dist.recv(torch.zeros(2), src=0)

    with pytest.raises(Deadlock, match="rank 1 waits for a tensor of rank 0"):
        run_ranks_as_threads(2, work)


def test_a_tensor_is_received_as_it_was_requested_not_as_it_is_awaited() -> None:
    """A rank with two stages waits for what one of them gets while more is on its way to the other."""

    def work(rank: int) -> list[float]:
        sent = [torch.full((1,), float(number)) for number in range(3)]
        if rank == 0:
            for tensor in sent:
                dist.isend(tensor, dst=1)
            return []
        received = [torch.zeros(1) for _ in sent]
        waits = [dist.irecv(tensor, src=0) for tensor in received]
        for wait in reversed(waits):
            assert wait is not None
            wait.wait()
        return [float(tensor) for tensor in received]

    assert run_ranks_as_threads(2, work) == [[], [0, 1, 2]]


def test_what_no_other_rank_has_joined_is_refused() -> None:
    def work(rank: int) -> None:
        if rank == 0:
            dist.isend(torch.zeros(2), dst=1)

    with pytest.raises(Mismatch, match="1 operations are left"):
        run_ranks_as_threads(2, work)


def test_a_result_that_does_not_fit_is_refused() -> None:
    def work(_: int) -> None:
        dist.all_gather_single(torch.empty(4), torch.zeros(2, dtype=torch.float64))

    with pytest.raises(Mismatch, match="a rank gives"):
        run_ranks_as_threads(2, work)


def test_a_tensor_of_another_type_than_expected_is_refused() -> None:
    def work(rank: int) -> None:
        if rank == 0:
            dist.send(torch.zeros(2, dtype=torch.int64), dst=1)
        else:
            dist.recv(torch.zeros(2), src=0)

    with pytest.raises(Mismatch, match=r"torch.int64\[2\] where torch.float32\[2\] is expected"):
        run_ranks_as_threads(2, work)


def test_a_run_shows_what_is_not_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def choose_none(*_: object) -> Sample:
        raise NotProvable("no smaller one can be made")

    monkeypatch.setattr(validation, "choose_sample", choose_none)
    monkeypatch.setattr("parc.verify.execution.subprocess.run_program", lambda _: 0)
    assert main(["run", str(Project(tmp_path).write()), "--device", "cpu"]) == 0
    shown = capsys.readouterr().out
    assert "warning[P514]: the program is not checked: no smaller one can be made" in shown
    assert "checked:" not in shown.replace("not checked:", "")


@pytest.mark.parametrize("name", ["copied-head", "stored-values"])
def test_copies_and_stored_values_that_are_lost_are_an_error(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = driver.compile_plan(load(Path(__file__).parents[1] / "plans" / "build" / f"{name}.parc"), None)
    assert isinstance(made, driver.Compiled)
    sample = choose_sample(made.plan, "fp64", validation.RANKS)
    (mutant,) = lose_values(MutationTarget(sample))
    broken = replace(sample, files={**sample.files, **mutant.files})
    monkeypatch.setattr(validation, "choose_sample", lambda *_: broken)
    _, (fault,) = validation.validate(made.plan, made.files)
    assert fault.code == "P513"
    assert fault.notes[0].startswith("the initial value of head.")
