"""Pipelines: the gradients of every cut and schedule are those of the whole model."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from parc.runtime.init import initialize
from parc.runtime.pipeline import Pipeline
from parc.runtime.placement import place_parameters
from parc.runtime.topology import Topology
from tests.runtime.toy import BLOCKS, VOCABULARY, WIDTH, Stage, placements

MICROBATCHES, SEQUENCES, LENGTH = 4, 2, 3
Result = tuple[dict[str, torch.Tensor], Any, int]


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    shape = (2, MICROBATCHES, SEQUENCES, LENGTH)
    tokens, labels = torch.randint(VOCABULARY, shape, generator=generator)
    return tokens, labels


def term(packed: torch.Tensor) -> torch.Tensor:
    return packed[0] / 24 + 0.3 * packed[1] / MICROBATCHES


def run_without_pipeline(balance: bool) -> Result:
    torch.set_default_dtype(torch.float64)
    model = Stage(range(BLOCKS), balance=balance)
    initialize(place_parameters(model, placements(), Topology.build({}).mesh), seed=0)
    each = []
    for tokens, labels in zip(*batch(), strict=True):
        returned = model(tokens, labels=labels)
        each.append(torch.stack(returned) if balance else torch.stack([returned, torch.zeros(())]))
        term(each[-1]).backward()
    return gradients(model), torch.stack(each).detach(), model.calls


def gradients(model: Stage) -> dict[str, torch.Tensor]:
    found = {name: tensor.grad for name, tensor in model.named_parameters()}
    return {name: gradient for name, gradient in found.items() if gradient is not None}


def run_pipeline(layers: list[int], schedule: Any, balance: bool) -> Result:
    torch.set_default_dtype(torch.float64)
    topology = Topology.build({"pp": len(layers)}, pipeline="pp")
    start = sum(layers[: topology.stage])
    stage = Stage(range(start, start + layers[topology.stage]), balance=balance)
    initialize(place_parameters(stage, placements(), topology.mesh), seed=0)
    with torch.device("meta"):
        between = (torch.empty(SEQUENCES, LENGTH, WIDTH), torch.empty(()))[: 2 if balance else 1]
        tokens = (torch.empty(SEQUENCES, LENGTH, dtype=torch.int64),)
    pipeline = Pipeline(
        stage,
        topology,
        inputs=between if topology.stage else tokens,
        outputs=between,
        microbatches=MICROBATCHES,
        schedule=schedule,
        device=torch.device("cpu"),
    )
    tokens, labels = batch()
    returned = None
    for _ in range(2):  # the second step must not see the first
        stage.zero_grad()
        stage.calls = 0
        returned = pipeline.step(tokens, {"labels": labels} if topology.last else {}, term)
    return gradients(stage), returned, stage.calls


@pytest.mark.parametrize("balance", [True, False])
@pytest.mark.parametrize("schedule", ["gpipe", "1f1b"])
@pytest.mark.parametrize("layers", [[2, 2], [1, 3], [2, 1, 1], [1, 1, 1, 1]])
def test_every_cut_and_schedule_gives_the_whole_models_gradients(ranks, layers, schedule, balance) -> None:
    ((expected, scalars, _),) = ranks(1, run_without_pipeline, balance)
    stages = ranks(len(layers), run_pipeline, layers, schedule, balance)
    found = {name: gradient for gradients, _, _ in stages for name, gradient in gradients.items()}
    assert found.keys() == expected.keys()
    for (
        name,
        gradient,
    ) in expected.items():  # the same operations in the same order, one rounding apart at most
        torch.testing.assert_close(found[name], gradient, rtol=1e-14, atol=1e-15)
    assert [returned for _, returned, _ in stages[:-1]] == [None] * (len(layers) - 1)
    torch.testing.assert_close(stages[-1][1], scalars, rtol=1e-14, atol=0)


def test_a_stage_runs_once_a_microbatch_and_never_to_learn_its_shapes(ranks) -> None:
    assert [calls for _, _, calls in ranks(2, run_pipeline, [2, 2], "1f1b", True)] == [MICROBATCHES] * 2
