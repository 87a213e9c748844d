"""What a constructor does with tensors on the meta device, recorded operation by operation."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree
from torch.utils._device import _device_constructors
from torch.utils._python_dispatch import TorchDispatchMode

from parc.capture.model.linear_layers import LinearTemplate, describe_call
from parc.capture.source_lines import Frames, list_frames

# Operations that overwrite all of a tensor, with their default arguments.
FILLS: dict[str, tuple[float, ...]] = {
    "normal_": (0.0, 1.0),
    "uniform_": (0.0, 1.0),
    "zero_": (),
    "fill_": (),
    "trunc_normal_": (),
    "orthogonal_": (),
}


_EMPTY = torch.ops.aten.empty.memory_format
_PLAIN = ("empty", "detach")  # what every parameter is made with, and no value is computed by


_SET_DATA = Tensor.data.__set__  # type: ignore[attr-defined]  # a descriptor


class Entry(NamedTuple):
    """One operation. `target` is None for a function of torch.nn.init that is recorded by its name."""

    name: str  # of the operator, without namespace and overload
    target: Callable[..., Any] | None
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    out: Any
    frames: Frames  # of the user's constructor
    operands: tuple[int, ...] = ()  # the storages of the tensors among the arguments, as they were
    number: int = 0  # in the order of all entries


RecordedStep: TypeAlias = tuple[
    Entry, int
]  # what a linear layer's constructor does, and with which parameter


class Recording(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records every operation on tensors. All memory is kept, so that none is met twice."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._log: list[Entry] = []
        self._by_storage: dict[int, list[int]] = defaultdict(list)  # entries that make or change a storage
        self._kept: dict[int, torch.UntypedStorage] = {}  # a parameter that is cast lets go of its own

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing here is compiled, and the guard against it costs more than the recording

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = _get_name(func)
        fills = name in FILLS and args[0].is_meta  # there is nothing to fill
        out = args[0] if fills else func(*args, **(kwargs or {}))
        frames = [] if fills or name in _PLAIN else list_frames()
        self._add(Entry(name, func, args, kwargs or {}, out, frames), list_tensors((args, kwargs)))
        return out

    @contextmanager
    def record(self) -> Iterator[None]:
        """Record what is done inside, with the functions of torch.nn.init that do nothing on the meta device.

        A model has many thousands of linear layers. What their default draws depends on the shape alone, and
        is asked for once; their tensors are made without a way through the modes of torch.
        """
        init = nn.init
        _device_constructors()  # torch remembers the functions that it finds at the first call
        kept = init._no_grad_trunc_normal_, init.orthogonal_, init.kaiming_uniform_, torch.empty
        bounds: dict[Hashable, tuple[float, ...]] = {}

        def trunc_normal(
            tensor: Tensor, mean: float, std: float, a: float, b: float, generator: object = None
        ) -> Tensor:
            return self._add_fill("trunc_normal_", tensor, mean, std, a, b)

        def orthogonal(tensor: Tensor, gain: float = 1, generator: object = None) -> Tensor:
            return self._add_fill("orthogonal_", tensor, gain)

        def kaiming_uniform(tensor: Tensor, *arguments: Any, **keywords: Any) -> Tensor:
            with torch._C.DisableTorchFunction():
                key = tensor.shape, arguments, tuple(keywords.items())
                known = tensor.is_meta and key in bounds
            if known:
                return self._add_fill("uniform_", tensor, *bounds[key])
            kept[2](tensor, *arguments, **keywords)
            if self._log[-1].out is tensor and self._log[-1].name == "uniform_":
                bounds[key] = self._log[-1].args[1:]
            return tensor

        def empty(*size: Any, **options: Any) -> Tensor:
            plain = options.get("device") is None and options.keys() <= {"device", "dtype"}
            if not plain or modes != _count_modes():
                return kept[3](*size, **options)
            with torch._C.DisableTorchFunction(), torch._C._DisableTorchDispatch():
                out = kept[3](*size, **options | {"device": "meta"})
                asked = {key: value for key, value in options.items() if value is not None}
                made = {**asked, "device": out.device, "pin_memory": False}
                self._add(Entry("empty", _EMPTY, ([*out.shape],), made, out, []), ())
            return out

        construct = nn.Linear.__init__
        known: dict[Hashable, tuple[LinearTemplate, list[RecordedStep]]] = {}

        def linear(module: nn.Linear, *args: Any, **kwargs: Any) -> None:
            key = describe_call(module, args, kwargs) if modes == _count_modes() else None
            if key in known:
                self._repeat(module, *known[key])
                return
            start = len(self._log)
            construct(module, *args, **kwargs)
            if key is not None:
                with torch._C.DisableTorchFunction():
                    storages = [get_storage(each) for each in module.parameters()]
                    steps = [(each, storages.index(get_storage(each.out))) for each in self._log[start:]]
                known[key] = LinearTemplate(module), steps

        init._no_grad_trunc_normal_, init.orthogonal_ = trunc_normal, orthogonal
        init.kaiming_uniform_, torch.empty = kaiming_uniform, empty
        nn.Linear.__init__ = linear  # type: ignore[assignment]
        try:
            with self, _Literals(self):
                modes = _count_modes()
                yield
        finally:
            init._no_grad_trunc_normal_, init.orthogonal_, init.kaiming_uniform_, torch.empty = kept
            nn.Linear.__init__ = construct  # type: ignore[method-assign]

    def add_literal(self, data: Any, made: Tensor, keywords: Mapping[str, Any]) -> None:
        """Adds a call of `torch.tensor` with numbers, which keeps no values on the meta device."""
        if made.is_meta and all(isinstance(leaf, bool | int | float) for leaf in pytree.tree_leaves(data)):
            dtype = {} if keywords.get("dtype") is None else {"dtype": made.dtype}
            self._add(Entry("tensor", torch.tensor, (copy.deepcopy(data),), dtype, made, list_frames()), ())

    def find_entries(self, storage: int, end: Entry | None = None) -> list[Entry]:
        """What has made or changed a storage, in order, before the entry `end` if there is one."""
        found = (self._log[number] for number in self._by_storage[storage])
        return [entry for entry in found if end is None or entry.number < end.number]

    def find_sources(self, tensor: Tensor) -> list[Entry]:
        """What has made or changed a tensor, and all that it was made from, in order."""
        found: set[int] = set()
        left = [get_storage(tensor)]
        while left:
            new = set(self._by_storage[left.pop()]) - found
            found |= new
            for number in new:
                left += self._log[number].operands
        return [self._log[number] for number in sorted(found)]

    def _repeat(self, module: nn.Linear, template: LinearTemplate, steps: Sequence[RecordedStep]) -> None:
        """Makes a linear layer as the one that a template was taken from, and records the same."""
        made = template.fill(module)
        with torch._C.DisableTorchFunction():
            storages = list(map(self._keep_storage, made))
        for entry, place in steps:
            new, storage, number = made[place], storages[place], len(self._log)
            args, operands = ((new, *entry.args[1:]), (storage,)) if entry.operands else (entry.args, ())
            self._by_storage[storage].append(number)
            self._log.append(
                Entry(entry.name, entry.target, args, entry.kwargs, new, entry.frames, operands, number)
            )

    def _add_fill(self, name: str, tensor: Tensor, *arguments: float) -> Tensor:
        self._add(Entry(name, None, (tensor, *arguments), {}, tensor, []), (tensor,))
        return tensor

    def _add(self, entry: Entry, operands: Sequence[Tensor]) -> None:
        number = len(self._log)
        with torch._C.DisableTorchFunction():  # modes would see every look at a tensor
            # a module that is cast gets other storages later
            storages = tuple(map(self._keep_storage, operands))
            in_place = len(operands) == 1 and operands[0] is entry.out
            for storage in storages if in_place else map(self._keep_storage, list_tensors(entry.out)):
                self._by_storage[storage].append(number)
        self._log.append(entry._replace(operands=storages, number=number))

    def _keep_storage(self, tensor: Tensor) -> int:
        key = get_storage(tensor)
        if key not in self._kept:
            self._kept[key] = tensor.untyped_storage()
        return key


class _Literals(TorchFunctionMode):
    """Observes `torch.tensor`, which calls no operator, and lets `.data` be set to a tensor with data."""

    def __init__(self, recording: Recording) -> None:
        super().__init__()
        self.recording = recording

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func == _SET_DATA and args[0].is_meta and isinstance(args[1], Tensor):
            args = (args[0], args[1].to("meta"))
        out = func(*args, **(kwargs or {}))
        if func is torch.tensor:
            given = dict(kwargs or {})
            data = args[0] if args else given.pop("data")
            self.recording.add_literal(data, out, given)
        return out


def _count_modes() -> tuple[int, int]:
    """How many modes of torch functions and of dispatch are entered, those of a device among them."""
    return torch._C._len_torch_function_stack(), torch._C._len_torch_dispatch_stack()


@cache
def _get_name(operator: Any) -> str:
    """The name of an operator, without namespace and overload."""
    name: str = operator._schema.name
    return name.split("::")[1]


def list_tensors(tree: Any) -> list[Tensor]:
    """The tensors among the leaves of a tree."""
    if isinstance(tree, Tensor):
        return [tree]
    parts = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, (list, tuple)) else ()
    inner = (part for part in parts if isinstance(part, (Tensor, list, tuple, dict)))
    return [tensor for part in inner for tensor in list_tensors(part)]


def get_storage(tensor: Tensor) -> int:
    """What is the same for all tensors that share memory."""
    key: int = tensor.untyped_storage()._cdata
    return key
