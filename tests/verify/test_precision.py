"""In float32 and bfloat16 a right program is within the rounding bounds, and a wrong one is not."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from parc.capture.capture import Captured, capture
from parc.plan.blocks import NumberType
from parc.runtime.recompute import recompute
from parc.verify.precision.compare_rank import RankRouting
from parc.verify.precision.replay_routing import ChoiceKey, Selection, find_flips, replay_routing
from parc.verify.precision.rung import prove_precision
from parc.verify.report import NotProvable, Rung
from parc.verify.sample.sample import LowPrecision, compile_sample, set_precision

from .plans import LAYOUTS, find_plan
from .sample_runs import Edit, prepare

QUICK = ("experts-with-data", "everything")


@cache
def captured(model: str, precision: LowPrecision) -> Captured:
    return capture(set_precision(find_plan(model, "one-rank"), precision))


def rung(
    model: str, layout: str, precision: LowPrecision, folder: Path, *edits: Edit, device: str = "cpu"
) -> Rung:
    """The rung of a program after `edits`."""
    sample = compile_sample(find_plan(model, layout), precision, captured(model, precision))
    return prove_precision(prepare(sample, folder, *edits, device=device))


@pytest.mark.parametrize("model", ["moe", "classic"])
@pytest.mark.parametrize(
    "layout", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in LAYOUTS]
)
def test_a_right_program_is_within_its_bounds(model: str, layout: str, tmp_path: Path) -> None:
    found = rung(model, layout, "fp32", tmp_path / "program")
    assert found.verdict == "proved", found
    experts = 3 if model == "classic" else 2
    choices = experts * 16 * 6  # layers with experts, sequences, positions: each token chooses once
    assert f"of {choices} choices" in found.compared[-2]


@pytest.mark.parametrize("model", ["moe", "classic"])
def test_in_bfloat16_choices_that_would_differ_are_counted_apart(model: str, tmp_path: Path) -> None:
    found = rung(model, "experts-with-data", "bf16", tmp_path / "program")
    assert found.verdict == "proved", found
    flipped = int(found.compared[-2].split(":")[1].split()[0])
    assert 0 < flipped < 20


def mixed_rung(
    folder: Path,
    *edits: Edit,
    layout: str = "everything",
    master: NumberType = "fp32",
    gradients: NumberType = "fp32",
    moments: NumberType = "fp32",
    reduce: NumberType | None = None,
    compute: LowPrecision = "bf16",
    keep_fp32: tuple[str, ...] = (),
    model: str = "moe",
) -> Rung:
    """The rung of a plan that computes in bfloat16 and states what else it keeps and sends, after edits."""
    plan = find_plan(model, layout)
    own = replace(plan.train.precision, compute=compute, master=master, keep_fp32=keep_fp32)
    types = replace(own, gradients=gradients, moments=moments, reduce=reduce or gradients)
    plan = replace(plan, train=replace(plan.train, precision=types))
    return prove_precision(prepare(compile_sample(plan, compute), folder, *edits))


@pytest.mark.parametrize(
    ("edit", "reported"),
    [
        pytest.param(None, None, marks=pytest.mark.slow),
        (
            ("runtime/training.py", "        self.shared_updates.gather()\n", ""),
            "`embedding.weight` is not its master, rounded, after the update",
        ),
    ],
    ids=["right", "stale"],
)
@pytest.mark.parametrize(
    "layout", ["optimizer-sharded", pytest.param("gradients-sharded", marks=pytest.mark.slow)]
)
def test_masters_that_ranks_share(
    layout: str, edit: Edit | None, reported: str | None, tmp_path: Path
) -> None:
    edits = (edit,) if edit else ()
    found = mixed_rung(tmp_path / "program", *edits, layout=layout)
    assert [each.message for each in found.findings[:1]] == ([reported] if reported else []), found


@pytest.mark.parametrize(
    ("master", "gradients", "moments"),
    [
        ("fp32", "fp32", "bf16"),
        ("fp32", "bf16", "fp32"),
        ("bf16", "fp32", "bf16"),
        ("bf16", "bf16", "bf16"),
        ("bf16", "fp32", "fp32"),
    ],
)
def test_types_that_a_plan_states(
    master: NumberType, gradients: NumberType, moments: NumberType, tmp_path: Path
) -> None:
    found = mixed_rung(tmp_path / "program", master=master, gradients=gradients, moments=moments)
    assert found.verdict == "proved", found
    (line,) = (line for line in found.compared if line.startswith("masters"))
    assert f"masters in {master}, moments in {moments}, gradients added up in {gradients} " in line


KEPT = ("norms", "router", "head.*")


@pytest.mark.parametrize(
    ("model", "layout", "kept"),
    [
        ("moe", "everything", KEPT),
        pytest.param("moe", "parameters-sharded", KEPT, marks=pytest.mark.slow),
        pytest.param("classic", "everything", ("norms", "router", "*.attn.*"), marks=pytest.mark.slow),
        pytest.param("classic", "gradients-sharded", ("norms", "places.*"), marks=pytest.mark.slow),
    ],
)
def test_parameters_that_stay_in_fp32(model: str, layout: str, kept: tuple[str, ...], tmp_path: Path) -> None:
    types: dict[str, NumberType] = {"gradients": "bf16", "reduce": "bf16", "moments": "bf16"}
    found = mixed_rung(tmp_path / "program", model=model, layout=layout, keep_fp32=kept, **types)
    assert found.verdict == "proved", found
    (line,) = (line for line in found.compared if line.startswith("masters"))
    assert line.endswith(f"; {', '.join(kept)} in fp32")


@pytest.mark.parametrize(
    ("edit", "reported"),
    [
        (
            ("runtime/placement.py", "precision.widen() if placement.keep_fp32 else precision", "precision"),
            "the gradient of `layers.0.attention_norm.weight` is bfloat16, and float32 by the plan",
        ),
        (
            (
                "model.py",
                "self.weight = nn.Parameter(torch.empty(16))",
                "self.weight = nn.Parameter(torch.empty(16, dtype=torch.bfloat16))",
            ),
            "the model's tensor of `layers.0.attention_norm.weight` is bfloat16, and float32 by the plan",
        ),
        (
            ("model.py", "hidden = x.to(torch.float32)", "hidden = x"),
            "`layers.0.attention_norm` computes `pow` in bfloat16, and in fp32 by the plan",
        ),
    ],
    ids=["gradients", "parameters", "computed"],
)
def test_parameters_that_do_not_stay_in_fp32(edit: Edit, reported: str, tmp_path: Path) -> None:
    found = mixed_rung(tmp_path / "program", edit, layout="one-rank", gradients="bf16", keep_fp32=KEPT)
    assert reported in [each.message for each in found.findings], found


@pytest.mark.parametrize("compute", ["bf16", "fp32"])
@pytest.mark.parametrize("layout", ["everything", "gradients-sharded"])
def test_gradients_that_are_sent_in_fewer_bits(compute: LowPrecision, layout: str, tmp_path: Path) -> None:
    found = mixed_rung(tmp_path / "program", layout=layout, compute=compute, reduce="bf16")
    assert found.verdict == "proved", found
    (line,) = (line for line in found.compared if line.startswith("masters"))
    assert "gradients added up in fp32 and sent in bf16" in line


@pytest.mark.parametrize(
    ("edit", "reported"),
    [
        (
            (
                "runtime/placement.py",
                "placed.select_slice(placed.master).to(types.master)",
                "placed.select_slice(placed.master)",
            ),
            "the master of `embedding.weight` is bfloat16, and float32 by the plan",
        ),
        (
            ("runtime/placement.py", "    tensor.grad_dtype = types.gradients\n", ""),
            "the gradient of `embedding.weight` is bfloat16, and float32 by the plan",
        ),
        (
            ("runtime/optim.py", "        round_masters(self.parameters)\n", ""),
            "`embedding.weight` is not its master, rounded, after the update",
        ),
        (
            (
                "runtime/rounded_adamw.py",
                'state["exp_avg_sq"] = torch.zeros_like(parameter, dtype=self.moments)',
                'state["exp_avg_sq"] = torch.zeros_like(parameter)',
            ),
            "the mean of the squared gradient of `embedding.weight` is float32, and bfloat16 by the plan",
        ),
    ],
    ids=["no masters", "gradients as computed", "stale", "moments of the type of masters"],
)
def test_masters_that_are_wrong(edit: Edit, reported: str, tmp_path: Path) -> None:
    found = mixed_rung(tmp_path / "program", edit, moments="bf16")
    assert found.verdict == "refuted"
    assert reported in [finding.message for finding in found.findings]


def test_without_replay_a_single_other_choice_refutes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RankRouting, "choose", lambda *_: None)
    assert rung("classic", "one-rank", "bf16", tmp_path / "program").verdict == "refuted"


WRONG = {
    "experts mixed where counts are uneven": (
        "classic",
        "experts-inside-data",  # two experts a rank
        ("runtime/grouped.py", "self.counts.cumsum(0,", "self.counts.sort().values.cumsum(0,"),
    ),
    "a sum left out": (
        "moe",
        "tensor",
        ("runtime/collectives.py", "    dist.all_reduce(total, group=group)", "    pass"),
    ),
    "a sum of gradients left out": (
        "moe",
        "tensor",
        ("runtime/collectives.py", "return _sum_terms(gradient, ctx.group), None", "return gradient, None"),
    ),
    "decay left out": (
        "moe",
        "data",
        ("runtime/optim.py", "weight_decay=settings.weight_decay", "weight_decay=0.0"),
    ),
    "a norm that counts what ranks share": (
        "moe",
        "tensor",
        ("runtime/gradients.py", "if axis in axes]", "]"),
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_program_exceeds_its_bounds(what: str, tmp_path: Path) -> None:
    model, layout, edit = WRONG[what]
    found = rung(model, layout, "fp32", tmp_path / "program", edit)
    assert found.verdict == "refuted"
    assert found.findings[0].file == edit[0]
    assert "rounding allows" in found.findings[0].message


def test_products_of_experts_are_fused_where_their_rows_fit(tmp_path: Path) -> None:
    assert rung("moe", "one-rank", "fp32", tmp_path / "a").compared[-1] == "the experts' products are fused"
    split = rung("moe", "experts-split", "fp32", tmp_path / "b")  # 6 of 12 columns: 24 bytes
    assert split.compared[-1] == "the experts' products are loops: rows are no multiples of 16 bytes"


def test_each_rank_needs_a_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    with pytest.raises(NotProvable, match="4 ranks need a GPU each and this machine has 3"):
        rung("moe", "data", "bf16", tmp_path / "program", device="cuda")


def test_a_model_that_has_used_cuda_leaves_none_to_the_ranks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    with pytest.raises(NotProvable, match="CUDA is in use in this process already"):
        rung("moe", "data", "bf16", tmp_path / "program", device="cuda")


class Chooses(nn.Module):
    """Every way in which routers choose, one after the other."""

    def forward(self, scores: Tensor) -> list[Tensor]:
        values, indices = scores.topk(2)
        best, at = scores.max(-1, keepdim=True)
        winner = scores.argmax(-1)
        ordered = scores.sort(dim=-1, descending=True)
        return [values, indices, best, at, winner, ordered.values, ordered.indices]


def test_choices_are_replaced_and_values_are_the_runs_own() -> None:
    scores = torch.tensor([[3.0, 1.0, 2.0], [1.0, 3.0, 2.0]])
    wanted = {
        0: torch.tensor([[2, 1], [1, 2]]),
        1: torch.tensor([[1], [1]]),
        2: torch.tensor([[2, 1, 0], [1, 2, 0]]),
        3: torch.tensor([1, 1]),
    }
    model, seen = nn.ModuleDict({"router": Chooses()}), list[int]()

    def choose(key: ChoiceKey, own: Selection) -> Tensor:
        assert (key.microbatch, key.path) == (0, "router")
        place = (0, 1, 3, 2)[key.number]
        seen.append(int(find_flips(own, wanted[place]).sum()))
        return wanted[place]

    replay_routing([model], {"router"}, choose)
    values, indices, best, at, winner, ordered, order = model["router"](scores)
    assert values.tolist() == [[2.0, 1.0], [3.0, 2.0]]
    assert torch.equal(indices, wanted[0])
    assert best.tolist() == [[1.0], [3.0]]
    assert torch.equal(at, wanted[1])
    assert ordered.tolist() == [[2.0, 1.0, 3.0], [3.0, 2.0, 1.0]]
    assert torch.equal(order, wanted[2])
    assert torch.equal(winner, wanted[3])
    assert seen == [1, 1, 1, 0]


def test_another_order_is_no_other_choice() -> None:
    own = Selection(torch.tensor([[0, 1], [2, 1]]), 1)
    assert find_flips(own, torch.tensor([[1, 0], [2, 0]])).tolist() == [False, True]


def test_outside_of_modules_and_among_integers_nothing_is_replaced() -> None:
    def choose(*_: object) -> Tensor:
        raise AssertionError

    model = nn.ModuleDict({"router": Chooses()})
    replay_routing([model], {"router"}, choose)
    assert torch.tensor([1.0, 2.0]).argmax() == 1
    *_, order = model["router"](torch.tensor([[2, 1, 3]]))
    assert order.tolist() == [[2, 0, 1]]


def test_a_second_pass_gets_the_choices_of_the_first_one() -> None:
    model, seen = nn.ModuleDict({"router": Chooses()}), list[ChoiceKey]()

    def choose(key: ChoiceKey, own: Selection) -> Tensor:
        seen.append(key)
        return own.indices.flip(0)

    replay_routing([model], {"router"}, choose)
    scores = [torch.tensor([[3.0, 1.0, 2.0], [1.0, 3.0, 2.0]], requires_grad=True) for _ in range(2)]
    values = [recompute(model["router"], each)[0] for each in scores]
    for value, each in zip(values, scores, strict=True):
        value.exp().sum().backward()
        assert each.grad is not None
        assert each.grad.count_nonzero(1).tolist() == [2, 2]
        assert each.grad.argmin(1).tolist() == [0, 1]  # the largest score, which is not chosen
    assert len(seen) == len(set(seen)) == 8
