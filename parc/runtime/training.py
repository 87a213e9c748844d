"""One training step: microbatches forward and backward, gradients completed and clipped, the optimizer."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import NoReturn

import torch
import torch.distributed as dist
from torch import Tensor, nn

from .data.batches import Batches
from .experts import TOKEN_COUNTS
from .gradients import Gradients
from .objective import Objective, pack_losses
from .optim import AdamWSettings, Expert, ScheduledAdamW
from .pipeline import Pipeline
from .placement import PlacedParameter
from .process.launch import RunStopped
from .process.watchdog import WATCHDOG
from .sharded_modules import ShardedModules
from .slices import SharedUpdates
from .topology import Topology

SHOWN = 4  # of each list in a message


class Trainer:
    """Trains `stages`: those of this rank, or one that is the whole model where there is no `pipeline`.

    `keywords` names what the whole model takes of a microbatch besides the tokens. `load_axes` are the axes
    over which the counts of the experts modules are terms of a sum; None where there are no experts.
    `sharded_modules` are the paths of modules whose gradients each backward pass reduces one by one, if any;
    their parameters are gathered for each pass where they were placed so. `flops` is the arithmetic of one
    step on one device, `peak_flops` what the device could do in a second.
    """

    def __init__(
        self,
        stages: Sequence[nn.Module],
        parameters: Sequence[PlacedParameter],
        topology: Topology,
        batches: Batches,
        objective: Objective,
        optimizer: AdamWSettings,
        *,
        pipeline: Pipeline | None = None,
        keywords: Sequence[str] = ("labels",),
        load_axes: tuple[str, ...] | None = None,
        sharded_modules: Sequence[str] | None = None,
        flops: float | None = None,
        peak_flops: float | None = None,
    ) -> None:
        self.stages = stages
        self.parameters = parameters
        self.topology = topology
        self.batches = batches
        self.objective = objective
        self.settings = optimizer
        self.pipeline = pipeline
        self.keywords = keywords
        self.load_axes = load_axes
        self.flops, self.peak_flops = flops, peak_flops
        self.sharded_modules = (
            ShardedModules(stages, sharded_modules, parameters, topology.mesh)
            if sharded_modules is not None
            else None
        )
        self.gradients = Gradients(parameters, topology.mesh, topology.pipeline)
        self.optimizer = ScheduledAdamW(parameters, optimizer)
        self.shared_updates = SharedUpdates(parameters, topology.mesh)
        self.token_counts = {
            name.removesuffix(f".{TOKEN_COUNTS}"): counts  # by the path of the module of experts
            for stage in stages
            for name, counts in stage.named_buffers()
            if name.split(".")[-1] == TOKEN_COUNTS
        }
        self.device = torch.device(topology.mesh.device_type)

    def step(self, step: int) -> dict[str, float]:
        """Trains on the batch of `step`; its figures, the same on every rank but for the clock's.

        Raises RunStopped, on every rank and before the update, where the loss or the norm of the gradient is
        not finite.
        """
        WATCHDOG.restart(f"step {step}")
        start = time.perf_counter()
        losses = self.compute_gradients(step)
        norm = self.gradients.compute_norm()
        found = [losses, norm.double().view(1)]
        if self.load_axes is not None:
            counts = self.sum_token_counts(self.load_axes)
            found.append(self.compute_expert_load(counts).double().view(1))
            if self.settings.idle_experts == "skip":
                found.append(counts.double())
        loss, balance, norm_value, *rest = torch.cat(found).tolist()  # where the host waits for the device
        if not math.isfinite(loss + balance + norm_value):
            self.stop_run(step, {"loss": loss, "balance loss": balance, "gradient norm": norm_value})
        idle = self.find_idle_experts(rest[1:])
        self.update(step, norm, idle)
        figures = {
            "step": step,
            "loss": loss,
            "grad_norm": norm_value,
            "lr": self.settings.learning_rate(step),
        }
        if self.objective.balance is not None:
            figures["balance"] = balance
        if rest:
            figures["expert_load"] = rest[0]
        WATCHDOG.restart(f"what follows step {step}")
        seconds = time.perf_counter() - start
        batch = self.batches.settings
        figures["tokens_per_second"] = batch.sequences * batch.length / seconds
        if self.flops and self.peak_flops:
            figures["mfu"] = self.flops / seconds / self.peak_flops
        return figures

    def compute_gradients(self, step: int) -> Tensor:
        """Leaves the gradient of the whole batch in the parameters; returns loss and balance loss: (2,)."""
        packed, divisor = self.run_microbatches(step)
        self.gradients.complete()
        microbatches = self.batches.settings.microbatches
        return self.objective.compute_total(packed, divisor, microbatches, self.topology)

    def run_microbatches(self, step: int) -> tuple[Tensor | None, Tensor]:
        """Adds up this rank's terms of the gradient; its losses, and what they are divided by.

        The losses are (microbatches, 2), on the ranks of the last stage alone.
        """
        ids = self.batches.load(step, self.topology.data_rank, self.topology.data_ranks)
        tokens, labels = (part.to(self.device) for part in ids)
        named = {"tokens": tokens, "labels": labels}
        microbatches = len(tokens)
        divisor = self.objective.compute_divisor(self.batches.select_predicted(labels), self.topology)

        def term(packed: Tensor) -> Tensor:
            return self.objective.compute_term(packed, divisor, microbatches)

        packed: Tensor | None
        if self.pipeline is not None:
            packed = self.pipeline.step(named, term)
        else:
            (stage,), each = self.stages, []
            for index in range(microbatches):
                given = {name: named[name][index] for name in self.keywords}
                each.append(pack_losses(stage(tokens[index], **given)))
                term(each[-1]).backward()  # type: ignore[no-untyped-call]
            packed = torch.stack(each).detach()
        return packed, divisor

    def update(self, step: int, norm: Tensor, idle: Iterable[Expert] = ()) -> None:
        """Clips the gradients, whose global norm is `norm`, and updates all but the `idle` experts."""
        if self.settings.clip is not None:
            self.gradients.clip(self.settings.clip, norm)
        self.optimizer.step(step, idle)
        self.shared_updates.gather()

    def stop_run(self, step: int, figures: Mapping[str, float]) -> NoReturn:
        """Raises RunStopped with what of `step` is not finite, on which ranks. All ranks call this together.

        The gradients are sums over ranks by now: the step is run again, to see which rank has the term.
        """
        for parameter in self.parameters:
            parameter.drop_gradient()
        if self.sharded_modules is not None:
            self.sharded_modules.whole = True
        packed, _ = self.run_microbatches(step)
        found: list[list[str]] = [[] for _ in range(dist.get_world_size())]
        dist.all_gather_object(found, list(self.list_not_finite(packed)))
        what = " and ".join(
            f"the {name} is {value}" for name, value in figures.items() if not math.isfinite(value)
        )
        ranks = (
            f"  rank {rank}: {', '.join(each[:SHOWN])}{', ..' * (len(each) > SHOWN)}"
            for rank, each in enumerate(found)
            if each
        )
        lines = [*islice(ranks, SHOWN)] or ["  every rank's share was finite when the step was run again"]
        raise RunStopped("\n".join([f"step {step} is not finite: {what}", *lines]))

    def list_not_finite(self, packed: Tensor | None) -> Iterator[str]:
        """What of this rank's own share is not finite: parameters, its losses, its terms of gradients."""
        numbers = " and ".join(map(str, self.topology.stages))
        stage = f" of stage {numbers}" if self.topology.stage_count > 1 else ""
        for parameter in self.parameters:
            if not parameter.kept.isfinite().all():
                yield f"the parameter `{parameter.name}`{stage}"
        for number, losses in enumerate(() if packed is None else packed):
            if not losses.isfinite().all():
                yield f"the loss of microbatch {number}"
        for parameter in self.parameters:
            if not parameter.ensure_gradient().isfinite().all():
                yield f"the gradient of `{parameter.name}`{stage}"

    def sum_token_counts(self, axes: tuple[str, ...]) -> Tensor:
        """Tokens of each expert in the step, one module of experts of these stages after the other: (..,).

        Reads and clears the counts that the modules keep of this rank's tokens.
        """
        kept = list(self.token_counts.values())
        if not kept:
            return torch.zeros(0, dtype=torch.float32, device=self.device)
        counts = torch.cat(kept).to(torch.float32)
        torch._foreach_zero_(kept)
        self.topology.sum(counts, axes)
        return counts

    def find_idle_experts(self, counts: Sequence[float]) -> list[Expert]:
        """The experts of these stages that no token has reached; `counts` as of `sum_token_counts`."""
        numbered = [(path, number) for path, kept in self.token_counts.items() for number in range(len(kept))]
        return [expert for expert, count in zip(numbered, counts, strict=False) if not count]

    def compute_expert_load(self, counts: Tensor) -> Tensor:
        """Tokens of the busiest expert over the mean of its layer, in the worst layer; 1 is even. A scalar.

        `counts` as of `sum_token_counts`. With a pipeline, all ranks call this together.
        """
        worst = torch.zeros((), dtype=torch.float32, device=self.device)
        if self.token_counts:
            layers = torch.split(counts, [len(each) for each in self.token_counts.values()])
            worst = torch.stack([layer.max() / layer.mean() for layer in layers]).max()
        if self.topology.pipeline is not None:
            dist.all_reduce(worst, dist.ReduceOp.MAX, group=self.topology.pipeline)
        return worst
