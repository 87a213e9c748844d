"""A recomputed module has the results and gradients of the module itself, and does once what is done once."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from parc.runtime import recompute as runtime
from parc.runtime.collectives import I, R, S, all_gather, all_reduce, convert, reduce_scatter
from parc.runtime.experts import combine, dispatch, dispatch_local
from parc.runtime.grouped import grouped_linear
from parc.runtime.recompute import is_first_pass, keep_result, recompute

WIDTH, TOKENS, EXPERTS = 4, 6, 4


class Count(TorchDispatchMode):
    """Counts the calls of operators, by name."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: dict[str, int] = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        self.calls[name] = self.calls.get(name, 0) + 1
        return func(*args, **(kwargs or {}))


class Layer(nn.Module):
    """Every collective that a layer may have, and experts, over the one axis that there is."""

    def __init__(self, group: dist.ProcessGroup, local: bool) -> None:
        super().__init__()
        self.group, self.local = group, local
        generator = torch.Generator().manual_seed(3)

        def draw(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.randn(shape, dtype=torch.float64, generator=generator))

        self.inner, self.router = draw(WIDTH, WIDTH), draw(EXPERTS, WIDTH)
        self.experts = draw(EXPERTS // group.size(), WIDTH, WIDTH)
        self.counted = torch.zeros(EXPERTS, dtype=torch.int64)
        self.passes = 0

    def forward(self, x: Tensor) -> Tensor:
        """x (tokens, width) in S(0)"""
        self.passes += 1
        whole = all_gather(x, self.group, src=S(0), dst=R)
        x = x + reduce_scatter((whole @ self.inner).tanh(), self.group, dst=S(0))
        scores = (x @ self.router.T).softmax(-1)
        weights, indices = scores.topk(2)
        if self.local:
            tokens, indices, weights = (
                all_gather(each, self.group, src=S(0), dst=R) for each in (x, indices.double(), weights)
            )
            rows, counts, route = dispatch_local(tokens, indices.long(), EXPERTS, self.group)
            term = combine(grouped_linear(rows, self.experts, counts).tanh(), weights, route)
            out = convert(all_reduce(term, self.group, dst=I), self.group, src=I, dst=S(0))
        else:
            rows, counts, route = dispatch(x, indices, EXPERTS, self.group)
            out = combine(grouped_linear(rows, self.experts, counts).tanh(), weights, route)
        if is_first_pass():
            self.counted += route.tokens_per_expert
        return x + out


def call(module: nn.Module, x: Tensor) -> Tensor:
    return module(x)


def train(group: dist.ProcessGroup, local: bool, run: Callable[..., Tensor]) -> dict[str, object]:
    """Two layers forward, then both backward."""
    generator = torch.Generator().manual_seed(dist.get_rank())
    layers = [Layer(group, local) for _ in range(2)]
    x = torch.randn(TOKENS, WIDTH, dtype=torch.float64, generator=generator, requires_grad=True)
    with Count() as forward:
        out = x
        for layer in layers:
            out = run(layer, out)
    with Count() as backward:
        out.square().sum().backward()
    grads = [p.grad for layer in layers for p in layer.parameters()]
    return {
        "tensors": [out.detach(), x.grad, *grads],
        "counts": [layer.counted.tolist() for layer in layers],
        "passes": [layer.passes for layer in layers],
        "forward": forward.calls,
        "backward": backward.calls,
    }


def names_of_collectives(calls: dict[str, int]) -> dict[str, int]:
    wires = ("allreduce_", "_allgather_base_", "_reduce_scatter_base_", "alltoall_base_")
    return {name: calls.get(name, 0) for name in wires}


@pytest.mark.parametrize("local", [False, True])
def test_nothing_but_arithmetic_is_done_again(ranks, local: bool) -> None:
    def work() -> dict[str, dict[str, object]]:
        group = dist.group.WORLD
        return {run.__name__: train(group, local, run) for run in (call, recompute)}

    for found in ranks(2, work):
        plain, again = found["call"], found["recompute"]
        assert plain["passes"] == [1, 1]
        assert again["passes"] == [2, 2]
        for one, other in zip(plain["tensors"], again["tensors"], strict=True):
            assert torch.equal(one, other)
        assert plain["counts"] == again["counts"]
        for calls in ("forward", "backward"):
            assert names_of_collectives(plain[calls]) == names_of_collectives(again[calls])
            for name in ("topk", "sort", "bincount", "_local_scalar_dense"):
                assert plain[calls].get(name, 0) == again[calls].get(name, 0), name
        assert sum(names_of_collectives(plain["forward"]).values()) > 0
        assert again["backward"]["mm"] > plain["backward"]["mm"]


@pytest.mark.parametrize("local", [False, True])
def test_a_second_pass_that_resends_communicates_again_and_routes_as_before(ranks, local: bool) -> None:
    """All collectives but the exchange of counts are issued again, before those of the backward pass."""

    def resend(module: nn.Module, x: Tensor) -> Tensor:
        return recompute(module, x, resend=True)

    def work() -> dict[str, dict[str, object]]:
        group = dist.group.WORLD
        return {run.__name__: train(group, local, run) for run in (call, resend)}

    for found in ranks(2, work):
        plain, again = found["call"], found["resend"]
        for one, other in zip(plain["tensors"], again["tensors"], strict=True):
            assert torch.equal(one, other)
        assert plain["counts"] == again["counts"]
        ahead, back, both = (
            names_of_collectives(calls) for calls in (plain["forward"], plain["backward"], again["backward"])
        )
        exchanges = {} if local else {"alltoall_base_": 2}  # of counts, in two layers
        assert both == {name: back[name] + ahead[name] - exchanges.get(name, 0) for name in back}
        for name in ("topk", "sort", "bincount", "_local_scalar_dense"):
            assert plain["backward"].get(name, 0) == again["backward"].get(name, 0), name


class Sums(nn.Module):
    """Ends with a collective whose backward pass communicates, and reads nothing that was saved."""

    def __init__(self, log: list[str]) -> None:
        super().__init__()
        self.log = log

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        self.log.append("forward")
        shared = reduce_scatter(x.exp(), dist.group.WORLD, dst=S(0))
        shared.register_hook(lambda _: self.log.append("backward"))
        return shared, torch.tensor(3)


def test_the_second_pass_that_resends_comes_before_all_else(ranks) -> None:
    def work() -> dict[str, list[str]]:
        found = {}
        for name, resend in (("keeps", False), ("resends", True)):
            log: list[str] = []
            found[name] = log
            shared, count = recompute(Sums(log), torch.ones(4, 2, requires_grad=True), resend=resend)
            assert count == 3
            shared.sum().backward()
        return found

    for found in ranks(2, work):
        assert found["keeps"] == ["forward", "backward", "forward"]
        assert found["resends"][:2] == ["forward", "forward"]


class Chooses(nn.Module):
    """Chooses anew in each call."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, scores: Tensor) -> Tensor:
        self.calls += 1
        values, indices = (scores if self.calls % 2 else -scores).topk(1)
        mask = (scores if self.calls % 2 else -scores) > 0
        return values.exp().sum() + (scores.gather(-1, indices) + mask * scores).exp().sum()


def test_a_second_pass_chooses_what_the_first_one_chose() -> None:
    one, other = (torch.tensor([[1.0, 3.0, -2.0]], requires_grad=True) for _ in range(2))
    module = Chooses()
    recompute(module, one).backward()
    assert module.calls == 2
    Chooses()(other).backward()
    assert one.grad is not None
    assert other.grad is not None
    assert torch.equal(one.grad, other.grad)


def test_what_is_kept_is_freed_by_the_second_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    passes = []
    create = runtime._create_passes
    monkeypatch.setattr(runtime, "_create_passes", lambda resend: passes.append(create(resend)) or passes[-1])
    x = torch.randn(3, 4, requires_grad=True)
    out = recompute(Chooses(), x)
    results = passes[0][0].results
    assert [name for name, _ in results] == ["aten.topk.default", "aten.gt.Scalar"]
    out.backward()
    assert not results


def test_a_pass_that_asks_for_something_else_is_an_error() -> None:
    calls = []

    @keep_result
    def one() -> Tensor:
        return torch.ones(())

    @keep_result
    def two() -> Tensor:
        return torch.ones(())

    class Module(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            calls.append(None)
            return (x * (one() if len(calls) == 1 else two())).exp()

    out = recompute(Module(), torch.ones((), requires_grad=True))
    with pytest.raises(RuntimeError, match="asks for two where the forward pass has kept one"):
        out.backward()


def test_without_recomputation_nothing_is_kept() -> None:
    @keep_result
    def one() -> Tensor:
        assert is_first_pass()
        return torch.ones(())

    first, second = one(), one()
    assert first is not second
