"""Where a program diverges: the first tensor, its ranks, the factor, the collectives before it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from parc.ir.states import P, S
from parc.plan.mesh import Axis, Mesh
from parc.verify.numbers.divergence import locate_divergence
from parc.verify.numbers.shards import select_share, sum_terms
from parc.verify.numbers.tolerance import compare_tensors
from parc.verify.report import RungFinding, format_ranks
from parc.verify.sample.sample import compile_sample

from .plans import LAYOUTS, captured, find_plan
from .sample_runs import Edit, prepare

NOT_REPEATED = "the difference is gone when the program is run once more: it does not always compute alike"


def locate(model: str, layout: str, folder: Path, *edits: Edit) -> RungFinding:
    """The divergence of a program after `edits`."""
    plan = find_plan(model, layout)
    sample = compile_sample(plan, captured=captured(model))
    return locate_divergence(prepare(sample, folder, *edits, timeout=30.0))


def line(folder: Path, name: str, text: str, within: str = "") -> int:
    """The first line with `text`, after the line that starts with `within`."""
    lines = (folder / name).read_text().splitlines()
    start = next(number for number, each in enumerate(lines) if each.startswith(within))
    return next(number for number, each in enumerate(lines, 1) if text in each and number > start)


@pytest.mark.parametrize("model", ["moe", "classic"])
@pytest.mark.parametrize(
    "layout",
    [name if name == "everything" else pytest.param(name, marks=pytest.mark.slow) for name in LAYOUTS],
)
def test_every_module_of_a_right_program_gives_its_share_of_what_the_models_gives(
    model: str, layout: str, tmp_path: Path
) -> None:
    assert locate(model, layout, tmp_path / "program").message == NOT_REPEATED


def test_a_scaled_output_names_the_axes_of_that_size_and_the_edited_line(tmp_path: Path) -> None:
    edit = ("model.py", "return out, balance", "return 2 * out, balance")
    found = locate("moe", "everything", tmp_path / "program", edit)
    assert found.message == (
        "output 1 of `layers.1.moe` differs first: step 0, microbatch 0, ranks 2-3, 6-7: all that hold it"
    )
    assert found.details[1] == (
        "every entry is exactly 2 times what it should be: "
        "a scale error over `ep` or `pp` or `tp` or the 2 microbatches"
    )
    assert (found.file, found.line) == ("model.py", line(tmp_path / "program", "model.py", edit[2]))


def test_a_sum_that_is_left_out_is_named_with_its_line(tmp_path: Path) -> None:
    """It is the embedding's: the next module to give something is the first block's attention."""
    edit = ("runtime/collectives.py", "    dist.all_reduce(total, group=group)", "    pass")
    found = locate("classic", "tensor", tmp_path / "program", edit)
    assert found.message.startswith(
        "the output of `blocks.0.attn` differs first: step 0, microbatch 0, ranks 0-1"
    )
    sums = (("model.py", "CausalSelfAttention", "self.out("), ("stage_0.py", "Stage", "self.symbols(tokens)"))
    for (file, name, text), detail in zip(sums, found.details[-2:], strict=True):
        here = line(tmp_path / "program", file, text, within=f"class {name}")
        assert f"over `tp` (P -> I) at {file}:{here}, class {name}" in detail
    assert (found.file, found.line) == (edit[0], line(tmp_path / "program", edit[0], "    pass"))


def test_a_gradient_that_is_not_summed_is_met_in_the_backward_pass(tmp_path: Path) -> None:
    edit = ("runtime/collectives.py", "return _sum_terms(gradient, ctx.group), None", "return gradient, None")
    found = locate("moe", "tensor", tmp_path / "program", edit)
    assert found.message.startswith(
        "the gradient of the output of `norm` differs first: step 0, microbatch 0"
    )
    assert "all_reduce over `tp`, the backward pass of convert of `norm`" in found.details[-1]
    here = line(tmp_path / "program", "stage_0.py", "norm = convert(norm, self.tp, src=I, dst=R)")
    assert f"stage_0.py:{here}" in found.details[-1]


def test_only_the_ranks_that_differ_are_named(tmp_path: Path) -> None:
    once = "(2 if torch.distributed.get_rank() == 3 else 1) * "
    edit = ("model.py", "return x + ", f"return {once}x + ")
    found = locate("moe", "data", tmp_path / "program", edit)
    assert "step 0, microbatch 0, rank 3" in found.message
    assert not found.message.endswith("all that hold it")


def test_a_parameters_gradient_names_the_axes_that_complete_it(tmp_path: Path) -> None:
    edit = ("model.py", "init=constant(1.0)", 'init=constant(1.0), reduce=("ep",)')
    found = locate("moe", "everything", tmp_path / "program", edit)
    assert found.message.startswith("the gradient of `layers.2.")
    assert "_norm.weight` differs first: step 0, ranks 2-3, 6-7" in found.message
    assert found.details[-1] == "after the last microbatch its terms are summed over `ep`, `tp`"
    assert (found.file, found.line) == ("model.py", line(tmp_path / "program", "model.py", edit[2]))


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (("train.py", "balance=0.05", "balance=0.1"), "the gradient of output 3 of `layers.2.moe.router`"),
        (("runtime/objective.py", "return total / ", "return total / 4 / "), "the loss"),
        (("runtime/gradients.py", "return total.sqrt()", "return total"), "the gradient norm"),
        (("runtime/optim.py", "weight_decay=settings.weight_decay", "weight_decay=0.0"), "`head.weight`"),
    ],
)
def test_a_difference_after_the_modules_is_named(
    edit: tuple[str, str, str], message: str, tmp_path: Path
) -> None:
    found = locate("moe", "data", tmp_path / "program", edit)
    assert found.message.startswith(f"{message} differs first: step 0, "), found.message
    assert (found.file, found.line) == (edit[0], line(tmp_path / "program", edit[0], edit[2]))


def test_a_later_step_is_looked_at_where_the_first_is_right(tmp_path: Path) -> None:
    edit = ("runtime/data/batches.py", "first = step * of.sequences", "first = 2 * step * of.sequences")
    found = locate("moe", "data", tmp_path / "program", edit)
    assert found.message.startswith(
        "the output of `layers.0.attention_norm` differs first: step 1, microbatch 0"
    )


MESH = Mesh((Axis("dp", 2), Axis("tp", 2)))


def test_shares_of_a_flattened_dim_tile_it() -> None:
    """Rows (sequence, position): `dp` has whole sequences, `tp` half of the positions of each."""
    states = {"dp": S(0), "tp": S(0, 4)}
    whole = torch.arange(4 * 6).view(4, 6)
    shares = [select_share(states, whole.flatten(), rank, MESH).tolist() for rank in range(4)]
    halves = [(whole[:2, :3], whole[:2, 3:]), (whole[2:, :3], whole[2:, 3:])]
    assert shares == [half.flatten().tolist() for pair in halves for half in pair]


def test_terms_of_a_sum_are_added_over_their_axis_alone() -> None:
    held = {rank: torch.tensor(float(10**rank)) for rank in range(4)}
    over_tp = sum_terms({"tp": P}, held, MESH)
    assert {rank: int(value) for rank, value in over_tp.items()} == {0: 11, 1: 11, 2: 1100, 3: 1100}
    over_both = sum_terms({"dp": P, "tp": P}, held, MESH)
    assert {int(value) for value in over_both.values()} == {1111}


def test_a_gap_knows_multiples_and_what_is_no_number() -> None:
    whole = torch.tensor([1.0, -2.0, 4.0], dtype=torch.float64)
    assert compare_tensors(whole, whole, 0.0).error == 0
    half = compare_tensors(whole / 2, whole, 0.0)
    assert (half.error, half.ratio, half.scaled) == (0.5, 0.5, True)
    assert not compare_tensors(whole + 1, whole, 0.0).scaled
    assert compare_tensors(whole * torch.nan, whole, 0.0).error == float("inf")
    assert compare_tensors(whole[:2], whole, 0.0).error == float("inf")


def test_neighbouring_ranks_are_written_as_a_range() -> None:
    assert format_ranks([8, 1, 0, 2, 5]) == "ranks 0-2, 5, 8"
    assert format_ranks([3]) == "rank 3"
