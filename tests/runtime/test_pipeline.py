"""Pipelines: the gradients of every cut and schedule are those of the whole model."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from parc.runtime.init import initialize
from parc.runtime.pipeline import Pipeline
from parc.runtime.placement import place_parameters
from parc.runtime.topology import Topology
from tests.runtime.toy import BLOCKS, DOUBLE, VOCABULARY, WIDTH, Stage, list_specs, placements

MICROBATCHES, SEQUENCES, LENGTH = 4, 2, 3
V_SHAPED = ("zbv", "dualpipev")
Result = tuple[dict[str, torch.Tensor], Any, int]


def batch(microbatches: int = MICROBATCHES) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    shape = (2, microbatches, SEQUENCES, LENGTH)
    tokens, labels = torch.randint(VOCABULARY, shape, generator=generator)
    return tokens, labels


def term(packed: torch.Tensor) -> torch.Tensor:
    return packed[0] / 24 + 0.3 * packed[1] / MICROBATCHES


def run_without_pipeline(balance: bool, microbatches: int = MICROBATCHES) -> Result:
    torch.set_default_dtype(torch.float64)
    model = Stage(range(BLOCKS), balance=balance)
    initialize(place_parameters(model, placements(), Topology.build({}).mesh, DOUBLE), seed=0)
    each = []
    for tokens, labels in zip(*batch(microbatches), strict=True):
        returned = model(tokens, labels=labels)
        each.append(torch.stack(returned) if balance else torch.stack([returned, torch.zeros(())]))
        term(each[-1]).backward()
    return gradients(model), torch.stack(each).detach(), model.calls


def gradients(model: Stage) -> dict[str, torch.Tensor]:
    found = {name: tensor.grad for name, tensor in model.named_parameters()}
    return {name: gradient for name, gradient in found.items() if gradient is not None}


def run_pipeline(
    layers: list[int], schedule: Any, balance: bool, chunks: int = 1, microbatches: int = MICROBATCHES
) -> Result:
    """`layers` of each stage, of which a rank has `chunks`."""
    torch.set_default_dtype(torch.float64)
    axes = {"pp": len(layers) // chunks}
    topology = Topology.build(axes, pipeline="pp", chunks=chunks, v_shaped=schedule in V_SHAPED)
    starts = [sum(layers[:number]) for number in topology.stages]
    owned = [range(start, start + layers[at]) for start, at in zip(starts, topology.stages, strict=True)]
    stages = [Stage(own, balance=balance) for own in owned]
    for stage in stages:
        initialize(place_parameters(stage, placements(), topology.mesh, DOUBLE), seed=0)
    with torch.device("meta"):
        between = (torch.empty(SEQUENCES, LENGTH, WIDTH), torch.empty(()))[: 2 if balance else 1]
        like = torch.empty(SEQUENCES, LENGTH, dtype=torch.int64)
    pipeline = Pipeline(
        stages,
        list_specs(len(layers), between),
        topology,
        tokens=like,
        microbatches=microbatches,
        schedule=schedule,
        device=torch.device("cpu"),
    )
    tokens, labels = batch(microbatches)
    returned = None
    for _ in range(2):  # the second step must not see the first
        for stage in stages:
            stage.zero_grad()
            stage.calls = 0
        returned = pipeline.step({"tokens": tokens, "labels": labels}, term)
    found = {name: gradient for stage in stages for name, gradient in gradients(stage).items()}
    return found, returned, sum(stage.calls for stage in stages)


@pytest.mark.parametrize("balance", [True, False])
@pytest.mark.parametrize("schedule", ["gpipe", "1f1b"])
@pytest.mark.parametrize("layers", [[2, 2], [1, 3], [2, 1, 1], [1, 1, 1, 1]])
def test_every_cut_and_schedule_gives_the_whole_models_gradients(ranks, layers, schedule, balance) -> None:
    assert_equal(
        ranks(1, run_without_pipeline, balance), ranks(len(layers), run_pipeline, layers, schedule, balance)
    )


LOOPED = [
    ("gpipe", 2),
    ("1f1b", 2),
    ("interleaved", 2),
    ("interleaved", 4),
    ("zero_bubble", 1),
    ("zero_bubble", 2),
    ("zbv", 2),
    ("dualpipev", 2),
]


@pytest.mark.parametrize("microbatches", [4, 6])
@pytest.mark.parametrize(("schedule", "chunks"), LOOPED)
def test_so_does_every_schedule_of_several_stages_a_rank(ranks, schedule, chunks, microbatches) -> None:
    """A rank has the first stage, the last one, or neither; microbatches fill rounds of two or three."""
    layers = [1, 1, 1, 1]
    found = ranks(len(layers) // chunks, run_pipeline, layers, schedule, True, chunks, microbatches)
    assert_equal(ranks(1, run_without_pipeline, True, microbatches), found)
    assert [calls for _, _, calls in found] == [chunks * microbatches] * (len(layers) // chunks)


def assert_equal(whole: list[Result], parts: list[Result]) -> None:
    """Of all ranks the gradients, and of one of them the scalars of all microbatches."""
    ((expected, scalars, _),) = whole
    found = {name: gradient for gradients, _, _ in parts for name, gradient in gradients.items()}
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():  # the same operations, one rounding apart at most
        torch.testing.assert_close(found[name], gradient, rtol=1e-14, atol=1e-15)
    (returned,) = (returned for _, returned, _ in parts if returned is not None)
    torch.testing.assert_close(returned, scalars, rtol=1e-14, atol=0)


def test_a_stage_runs_once_a_microbatch_and_never_to_learn_its_shapes(ranks) -> None:
    assert [calls for _, _, calls in ranks(2, run_pipeline, [2, 2], "1f1b", True)] == [MICROBATCHES] * 2


@pytest.mark.parametrize("schedule", ["zero_bubble", "zbv", "dualpipev"])
def test_a_split_backward_pass_takes_views_and_keeps_gradients_as_parameters_lie(ranks, schedule) -> None:
    """Stages without a balance loss return a view. The gradient of a product's weight is a transposed tensor,
    which an optimizer that reads memory in order would apply to other entries."""
    chunks = 1 if schedule == "zero_bubble" else 2
    layers = [2, 2] if chunks == 1 else [1, 1, 1, 1]
    found = ranks(2, run_pipeline, layers, schedule, False, chunks)
    assert_equal(ranks(1, run_without_pipeline, False), found)
    assert all(each.is_contiguous() for gradients, _, _ in found for each in gradients.values())
