"""A training run on any layout: figures and parameters of a plain loop over the whole batch on one device."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from parc.runtime.data.batches import Batches, BatchSettings
from parc.runtime.data.datasets import ByteDataset
from parc.runtime.init import initialize
from parc.runtime.objective import Objective
from parc.runtime.optim import AdamWSettings
from parc.runtime.pipeline import Pipeline
from parc.runtime.placement import Placement, Precision, place_parameters
from parc.runtime.process.launch import RunStopped
from parc.runtime.topology import Topology
from parc.runtime.training import Trainer
from tests.runtime.toy import BLOCKS, DOUBLE, SINGLE, VOCABULARY, WIDTH, Stage, list_specs, placements

SEQUENCES, LENGTH, MICROBATCHES, STEPS = 8, 5, 4, 3
SETTINGS = AdamWSettings(lr=0.05, clip=0.3, warmup=2, steps=STEPS)
ROUNDING = 1e-11  # float64; three steps of AdamW, which divides by small numbers
IGNORED = 3  # an id that is in the data, so that the ranks' numbers of valid labels differ


@pytest.fixture
def batches(tmp_path: Path) -> Batches:
    ids = torch.randint(VOCABULARY, (700,), generator=torch.Generator().manual_seed(0))
    (tmp_path / "ids").write_bytes(bytes(ids.tolist()))
    data = ByteDataset([tmp_path / "ids"])
    settings = BatchSettings(sequences=SEQUENCES, length=LENGTH, microbatches=MICROBATCHES, seed=1)
    return Batches(data, settings)


def one_device(batches: Batches, mean: bool) -> tuple[list[dict[str, float]], dict[str, torch.Tensor]]:
    """What the run means: written with torch alone, on plain tensors."""
    torch.set_default_dtype(torch.float64)
    model = Stage(range(BLOCKS), mean=mean)
    initialize(place_parameters(model, placements(), Topology.build({}).mesh, DOUBLE), seed=0)
    parameters = list(model.parameters())
    adamw = torch.optim.AdamW(parameters, betas=(0.9, 0.95), weight_decay=0.1, foreach=False)
    figures = []
    for step in range(STEPS):
        tokens, labels = batches.load(step)
        masked = labels if mean else labels.masked_fill(labels == IGNORED, -100)
        divisor = MICROBATCHES if mean else (masked != -100).sum()
        losses, balances = zip(
            *(model(tokens[i], labels=masked[i]) for i in range(MICROBATCHES)), strict=True
        )
        loss, balance = sum(losses) / divisor, sum(balances) / MICROBATCHES
        (loss + 0.2 * balance).backward()
        norm = torch.nn.utils.clip_grad_norm_(parameters, 0.3)
        adamw.param_groups[0]["lr"] = SETTINGS.learning_rate(step)
        adamw.step()
        adamw.zero_grad()
        figures.append({"loss": loss.item(), "balance": balance.item(), "grad_norm": norm.item()})
    return figures, values(model)


def values(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.detach() for name, tensor in model.named_parameters()}


class Masked(nn.Module):
    """The toy with labels of `IGNORED` left out, as a vocabulary-parallel loss would leave them out."""

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self.stage = stage

    def forward(self, *received: torch.Tensor, **keywords: torch.Tensor) -> Any:
        if "labels" in keywords and not self.stage.mean:
            labels = keywords["labels"]
            keywords["labels"] = labels.masked_fill(labels == IGNORED, -100)
        return self.stage(*received, **keywords)


def trained(axes: dict[str, int], schedule: Any, batches: Batches, mean: bool) -> tuple[Any, ...]:
    torch.set_default_dtype(torch.float64)
    data = tuple(axis for axis in axes if axis.startswith("dp"))
    topology = Topology.build(axes, data=data, pipeline="pp" if "pp" in axes else None)
    size = BLOCKS // topology.stage_count
    own = range(topology.stages[0] * size, (topology.stages[0] + 1) * size)
    stage = Stage(own, mean=mean, data_ranks=topology.data_ranks)
    parameters = place_parameters(stage, placements(reduce=data), topology.mesh, DOUBLE)
    initialize(parameters, seed=0)
    pipeline = None
    model = Masked(stage)
    if topology.pipeline is not None:
        share = SEQUENCES // MICROBATCHES // topology.data_ranks
        with torch.device("meta"):
            between = (torch.empty(share, LENGTH, WIDTH), torch.empty(()))
            tokens = torch.empty(share, LENGTH, dtype=torch.int64)
        pipeline = Pipeline(
            [model],
            list_specs(topology.stage_count, between),
            topology,
            tokens=tokens,
            microbatches=MICROBATCHES,
            schedule=schedule,
            device=torch.device("cpu"),
        )
    trainer = Trainer(
        [model],
        parameters,
        topology,
        batches,
        Objective(
            returns="loss" if mean else "logits",
            loss_axes=data,
            balance=0.2,
            balance_axes=data,
            ignore_index=IGNORED,
        ),
        SETTINGS,
        pipeline=pipeline,
    )
    return [trainer.step(step) for step in range(STEPS)], values(stage)


@pytest.mark.parametrize("mean", [False, True], ids=["logits", "loss"])
@pytest.mark.parametrize(
    ("axes", "schedule"),
    [
        ({}, None),
        ({"dp": 2}, None),
        ({"tp": 2}, None),  # nothing is sharded over it: its ranks do the same
        ({"pp": 2}, "gpipe"),
        ({"pp": 4}, "1f1b"),
        ({"dp": 2, "pp": 2}, "1f1b"),
        ({"pp": 2, "dp": 2, "tp": 2}, "gpipe"),
    ],
)
def test_every_layout_trains_as_one_device_does(ranks, batches, axes, schedule, mean) -> None:
    ((figures, parameters),) = ranks(1, one_device, batches, mean)
    seen = set()
    for found_figures, found in ranks(
        torch.Size(axes.values()).numel(), trained, axes, schedule, batches, mean
    ):
        for step, expected in enumerate(figures):
            for name, value in expected.items():
                assert found_figures[step][name] == pytest.approx(value, rel=ROUNDING), name
        for name, value in found.items():
            torch.testing.assert_close(value, parameters[name], rtol=ROUNDING, atol=ROUNDING)
        seen |= found.keys()
    assert seen == parameters.keys()


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_what_is_not_finite_ends_the_run_on_every_rank_before_the_update(ranks, batches, what: str) -> None:
    """Rank 1 alone computes it; the others have it by their sums."""

    def stop() -> tuple[str, bool]:
        topology, model = Topology.build({"dp": 2}, data=("dp",)), Stage(range(BLOCKS), balance=False)
        parameters = place_parameters(model, placements(reduce=("dp",)), topology.mesh, SINGLE)
        initialize(parameters, seed=0)
        before = {name: value.clone() for name, value in values(model).items()}
        if topology.data_rank == 1 and what == "loss":
            model.register_forward_hook(lambda _module, _given, loss: loss * float("inf"))
        elif topology.data_rank == 1:
            model.head.register_hook(lambda gradient: gradient * float("nan"))
        objective = Objective(returns="logits", loss_axes=("dp",))
        trainer = Trainer([model], parameters, topology, batches, objective, SETTINGS)
        with pytest.raises(RunStopped) as stopped:
            trainer.step(2)
        kept = all(torch.equal(value, before[name]) for name, value in values(model).items())
        return str(stopped.value), kept

    (message, kept), other = ranks(2, stop)
    assert (message, kept) == other
    assert kept
    head, *lines = message.splitlines()
    assert head.startswith("step 2 is not finite: ")
    assert ("the loss is inf" in head) == (what == "loss")
    assert "the gradient norm is nan" in head
    (line,) = lines
    guilty = "the loss of microbatch 0" if what == "loss" else "the gradient of `head`"
    assert line.startswith(f"  rank 1: {guilty}")


WEIGHT = {"weight": Placement((1,), init=(("zero_",),))}


class Loaded(nn.Module):
    """Counts as an experts module does: `given[step]` tokens to each expert on every microbatch of a step."""

    tokens_per_expert: torch.Tensor

    def __init__(self, given: list[list[int]]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.given = [torch.tensor(counts) for counts in given for _ in range(MICROBATCHES)]
        self.register_buffer("tokens_per_expert", torch.zeros_like(self.given[0]))

    def forward(self, x_BS: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        self.tokens_per_expert += self.given.pop(0)
        return self.weight.sum() * x_BS.sum()


def test_the_expert_load_is_that_of_all_data_ranks_and_of_one_step(ranks, batches) -> None:
    def loads() -> list[float]:
        topology = Topology.build({"dp": 2}, data=("dp",))
        model = Loaded([[[6, 0, 0], [0, 0, 4]], [[0, 2, 1], [4, 4, 0]]][topology.data_rank])
        parameters = place_parameters(model, WEIGHT, topology.mesh, SINGLE)
        objective = Objective(returns="loss", loss_axes=("dp",))
        trainer = Trainer([model], parameters, topology, batches, objective, SETTINGS, load_axes=("dp",))
        return [trainer.step(step)["expert_load"] for step in range(2)]

    for found in ranks(2, loads):
        assert found == pytest.approx([6 / 3, 4 / 4], rel=1e-6)  # float32 counts


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_stage_without_experts_sends_its_load_in_the_type_of_the_others(ranks, batches, dtype) -> None:
    """Stages with experts hold float32; one of torch's default type would send another number of bytes."""

    def load_dtype() -> torch.dtype:
        torch.set_default_dtype(dtype)
        topology, model = Topology.build({}), Stage(range(BLOCKS), balance=False)
        kept = Precision(master=dtype, gradients=dtype)
        parameters = place_parameters(model, placements(), topology.mesh, kept)
        trainer = Trainer([model], parameters, topology, batches, Objective(returns="loss"), SETTINGS)
        return trainer.compute_expert_load(trainer.sum_token_counts(())).dtype

    assert ranks(1, load_dtype) == [torch.float32]


def test_utilisation_is_told_where_the_peak_is_known(ranks, batches) -> None:
    def figures(**known: float) -> dict[str, float]:
        topology, model = Topology.build({}), Loaded([[1]])
        parameters = place_parameters(model, WEIGHT, topology.mesh, SINGLE)
        objective = Objective(returns="loss")
        return Trainer([model], parameters, topology, batches, objective, SETTINGS, **known).step(0)

    (told,) = ranks(1, lambda: figures(flops=3e9, peak_flops=2e12))
    seconds = SEQUENCES * LENGTH / told["tokens_per_second"]
    assert told["mfu"] == pytest.approx(3e9 / 2e12 / seconds)
    (untold,) = ranks(1, lambda: figures(flops=3e9))
    assert "mfu" not in untold
    assert "balance" not in untold
