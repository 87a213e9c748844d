"""One forward pass without data: which submodules a model calls, with what, and which tensors each reads.

Each call of a submodule becomes one opaque operator in its caller's graph, so every distinct module is
captured once and the emitted program keeps the user's own structure. Containers of the layers are the
exception: they are captured as part of the whole, since a pipeline cuts there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from parc.capture.calls import Call, ExpertsCall, NotExperts, find_roles, to_specs
from parc.capture.custom_ops import call, experts
from parc.capture.graph import get_user_name
from parc.capture.inline.block import LoopInBlock, find_expert_list
from parc.capture.inline.split import Split, find_split
from parc.capture.inline.substitute import run_substituted
from parc.capture.inline.trace import run_loop
from parc.capture.left_results import ChangedArgument
from parc.capture.model.signatures import Signatures
from parc.capture.model.tree import walk_modules


@dataclass(frozen=True)
class Forward:
    """What one forward pass did, by the paths of modules; "" is the model itself."""

    boundaries: dict[str, nn.Module]  # the modules that are captured on their own, called or not
    calls: dict[str, list[Call]]
    experts: dict[str, ExpertsCall]
    reads: dict[str, set[int]]  # the ids of the tensors that the operations of a module that ran have read
    splits: dict[str, Split]  # of the blocks with a loop over their experts, by the paths of the experts

    def find_home(self, name: str) -> str:
        """The path of the innermost boundary that holds a parameter."""
        path = name
        while path not in self.boundaries and path:
            path = path.rpartition(".")[0]
        return path

    def copy_experts(self, like: str, path: str) -> None:
        """The experts below `path` are called as those below `like`."""
        below = [known for known in self.experts if known.startswith(f"{like}.")]
        self.experts.update({path + known.removeprefix(like): self.experts[known] for known in below})
        self.splits.update(
            {path + known.removeprefix(like): self.splits[known] for known in below if known in self.splits}
        )

    def get_loop(self, path: str) -> tuple[nn.ModuleList, Split]:
        """The experts at `path`, and how the block that has them in a loop is split."""
        experts = self.boundaries[path]
        assert isinstance(experts, nn.ModuleList)
        return experts, self.splits[path]

    def find_loop(self, path: str) -> str | None:
        """The path of the experts that the module at `path` has a loop over, if it has one."""
        return next((each for each in self.splits if each.rpartition(".")[0] == path), None)


def record_forward(
    model: nn.Module, layers: str, experts_paths: Set[str], signatures: Signatures, *inputs: Tensor
) -> Forward:
    """Run a model on the meta device. `layers` is the path of its list of layers.

    A module that is like another, and called like it, is not run again: what it calls, and which tensors its
    operations read, is known from the other.
    """
    boundaries = _find_boundaries(model, layers, experts_paths)
    forward = Forward(boundaries, defaultdict(list), {}, defaultdict(set), {})
    reads = _Reads(forward.reads)
    known: dict[Hashable, tuple[str, Call]] = {}

    def record(path: str, module: nn.Module) -> Callable[..., Any]:
        run = module.forward

        def run_recorded(*args: Any, **kwargs: Any) -> Any:
            reads.add((args, kwargs))
            arguments = to_specs((args, kwargs))
            key = signatures.number(module), *arguments
            if key in known:
                like, call = known[key]
                forward.calls[path].append(replace(call, module=module))
                forward.copy_experts(like, path)
                return call.make_results()
            with reads.enter(path):
                out = run_block(path, module, run, args, kwargs)
                reads.add(out)
            if to_specs((args, kwargs)) != arguments:
                raise ChangedArgument(get_user_name(path), type(module))
            call = Call(module, *arguments, *to_specs(out))
            forward.calls[path].append(call)
            known[key] = path, call
            return out

        return run_recorded

    def run_block(path: str, module: nn.Module, run: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        name, experts = find_expert_list(module)
        experts_path = f"{path}.{name}" if path else name
        if experts is None or experts_path == layers:
            return run(*args, **kwargs)
        if experts_path not in experts_paths:
            try:
                return run(*args, **kwargs)
            except (LoopInBlock, NotExperts):
                raise
            except Exception as fault:
                raise LoopInBlock(path) from fault
        with _restore(boundaries):
            split = find_split(module, experts, run, args, kwargs)
        forward.splits[experts_path] = split
        out = run_substituted(module, experts, split, run, args, kwargs)
        call = forward.experts[experts_path]
        forward.experts[experts_path] = replace(call, choices=min(call.choices, split.choices))
        return out

    stubs = {path: record(path, module) for path, module in forward.boundaries.items()}
    stubs |= {path: _make_experts_operator(path, forward.experts) for path in experts_paths}
    with _patch(forward.boundaries, stubs), reads:
        record("", model)(*inputs)
    return forward


@contextmanager
def make_calls_opaque(forward: Forward, around: nn.Module) -> Iterator[None]:
    """Every boundary but `around` itself becomes one operator."""
    stubs = {
        path: _make_experts_operator(path, {})
        if path in forward.experts
        else _make_call_operator(path, forward.calls[path])
        for path, module in forward.boundaries.items()
        if module is not around
    }
    for path, module in forward.boundaries.items():
        if module is around and (loop := forward.find_loop(path)) is not None:
            stubs[path] = _make_substituted(module, forward, loop)
    with _patch(forward.boundaries, stubs):
        yield


def _make_substituted(module: nn.Module, forward: Forward, loop: str) -> Callable[..., Any]:
    """The `forward` of a block with one call in place of its loop over the experts at `loop`."""
    run, (experts, split) = module.forward, forward.get_loop(loop)

    def run_block(*args: Any, **kwargs: Any) -> Any:
        return run_substituted(module, experts, split, run, args, kwargs)

    return run_block


@contextmanager
def make_experts_run(forward: Forward, path: str) -> Iterator[None]:
    """The experts that a block has a loop over are called, as a module of experts, through that loop."""
    if path not in forward.splits:
        yield
        return
    owner = path.rpartition(".")[0]
    block, (first, *_), (experts, split) = (
        forward.boundaries[owner],
        forward.calls[owner],
        forward.get_loop(path),
    )

    def run(tokens: Tensor, indices: Tensor, weights: Tensor) -> Tensor:
        return run_loop(block, experts, first, split, tokens, indices, weights)

    with _patch(forward.boundaries, {path: run}):
        yield


def _find_boundaries(model: nn.Module, layers: str, experts_paths: Set[str]) -> dict[str, nn.Module]:
    """The user's own modules; torch's layers and containers are part of the module that calls them."""
    parts = layers.split(".")[:-1] if layers else []
    containers = {".".join(parts[:depth]) for depth in range(len(parts) + 1)}
    found = {}
    for path, module in walk_modules(model, experts_paths.__contains__):
        users = not type(module).__module__.startswith("torch.")
        if path in experts_paths or (users and path not in containers):
            found[path] = module
    return found


@contextmanager
def _patch(boundaries: Mapping[str, nn.Module], stubs: Mapping[str, Callable[..., Any]]) -> Iterator[None]:
    """Modules have other functions for their `forward`."""
    for path, stub in stubs.items():
        boundaries[path].forward = stub
    try:
        yield
    finally:
        for path in stubs:
            del boundaries[path].forward


@contextmanager
def _restore(boundaries: Mapping[str, nn.Module]) -> Iterator[None]:
    """Modules that have other functions for their `forward` have their own again."""
    stubs = {path: vars(module).pop("forward") for path, module in boundaries.items()}
    try:
        yield
    finally:
        for path, stub in stubs.items():
            boundaries[path].forward = stub


def _make_experts_operator(path: str, calls: dict[str, ExpertsCall]) -> Callable[..., Tensor]:
    """The operator that stands for a module of experts; notes in `calls` how it was called."""

    def forward(*args: Any, **kwargs: Any) -> Tensor:
        given: dict[int | str, Any] = dict(enumerate(args))
        given.update(kwargs)
        roles = find_roles(path, given)
        tokens, indices, weights = (given[role] for role in roles)
        calls[path] = ExpertsCall(tokens.shape, roles, indices.shape[-1])
        result: Tensor = experts(tokens, indices, weights, path)
        return result

    return forward


def _make_call_operator(path: str, calls: Sequence[Call]) -> Callable[..., Any]:
    """The operator that stands for a module that was called before."""

    def forward(*args: Any, **kwargs: Any) -> Any:
        leaves = pytree.tree_leaves((args, kwargs))
        return calls[0].make_results(call([x for x in leaves if isinstance(x, Tensor)], path))

    return forward


class _Reads(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes which tensors the operations of each module read: those of a submodule are its own."""

    def __init__(self, reads: dict[str, set[int]]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._reads = reads
        self._path = [""]

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing here is compiled

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.add((args, kwargs))
        return func(*args, **(kwargs or {}))

    @contextmanager
    def enter(self, path: str) -> Iterator[None]:
        """The module at `path` runs."""
        self._path.append(path)
        yield
        self._path.pop()

    def add(self, tree: object) -> None:
        """The module that runs reads these tensors."""
        ids = (id(leaf) for leaf in pytree.tree_leaves(tree) if isinstance(leaf, Tensor))
        self._reads[self._path[-1]].update(ids)
