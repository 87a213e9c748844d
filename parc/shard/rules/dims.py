"""Operators that read or cut certain dims as a whole and act alike along the others."""

from __future__ import annotations

from collections.abc import Iterable

from parc.capture.graph import get_argument, get_name
from parc.ir.states import I, Kind, P, R, S, State
from parc.shard.rules import (
    Conflict,
    Decision,
    Site,
    drop_dims,
    keep_alike,
    read_first,
    rule,
    settle,
    settle_all,
)


def read_dim(site: Site) -> int:
    """The dim that an operator is asked to act along."""
    dim: int = get_argument(site.node, "dim")
    return dim % max(len(site.operands[0].shape), 1)


def check_not_sharded(site: Site, state: State, dims: Iterable[int]) -> None:
    """Raise Conflict where the first operand is sharded on one of `dims`."""
    if state.sharded and state.dim in list(dims):
        size = site.operands[0].shape[state.dim]
        raise Conflict(f"`{get_name(site.node)}` reads the whole of dim {state.dim}, of {size}", [0])


@rule(
    *("aten::softmax", "aten::log_softmax", "aten::cumsum", "aten::sort", "aten::argsort"),
    *("aten::glu", "aten::topk"),
    knows=("dim", "dtype", "k", "largest", "sorted", "stable", "descending"),
)
def act_along(site: Site) -> Decision:
    """Reads the whole of one dim."""
    state = settle(site.operands[0])
    check_not_sharded(site, state, [read_dim(site)])
    return keep_alike(site, state)


@rule("aten::layer_norm", "aten::rms_norm", knows=("normalized_shape", "eps", "cudnn_enable"))
def normalize(site: Site) -> Decision:
    """The normalised dims are the last ones; weight and bias have these alone."""
    state = settle(site.operands[0])
    shape = site.node.args[1]
    assert isinstance(shape, (list, tuple))
    ndim = len(site.operands[0].shape)
    check_not_sharded(site, state, range(ndim - len(shape), ndim))
    return _apply_whole_parameters(site, state)


@rule(
    *("aten::conv1d", "aten::conv2d", "aten::group_norm"),
    knows=("stride", "padding", "dilation", "groups", "num_groups", "eps", "cudnn_enabled"),
)
def act_on_each_sample(site: Site) -> Decision:
    """Reads the whole of every dim but the first, of the samples; a convolution may be given one alone."""
    state, sizes = settle(site.operands[0]), site.operands[0].shape
    convolves = get_name(site.node) != "aten::group_norm"
    batched = not convolves or len(sizes) == len(site.operands[1].shape)
    check_not_sharded(site, state, range(int(batched), len(sizes)))
    return _apply_whole_parameters(site, state)


def _apply_whole_parameters(site: Site, state: State) -> Decision:
    """The first operand in a settled state; parameters whole, with a gradient a rank where it varies."""
    rest = [settle(operand) for operand in site.operands[1:]]
    varying = state.sharded or Kind.REPLICATE in (s.kind for s in (state, *rest))
    weight = R if varying else I
    first = state if state.sharded else weight
    return Decision([first] + [weight] * len(rest), [first])


@rule("aten::slice", "aten::narrow", knows=("dim", "start", "end", "step", "length"))
def slice_dim(site: Site) -> Decision:
    """Linear, and blind to the other dims. What cuts nothing off is nothing."""
    state = read_first(site)
    if site.shapes[0] != site.operands[0].shape:
        check_not_sharded(site, state, [read_dim(site)])
    return Decision([state], [state])


@rule("aten::tril", "aten::triu", "aten::flip", "aten::roll", knows=("dims", "shifts", "diagonal"))
def rearrange(site: Site) -> Decision:
    """Linear, and blind to the other dims."""
    state = read_first(site)
    ndim = len(site.operands[0].shape)
    triangle = get_name(site.node) in ("aten::tril", "aten::triu")
    dims = [ndim - 2, ndim - 1] if triangle else get_argument(site.node, "dims")
    check_not_sharded(site, state, [dim % ndim for dim in dims] or range(ndim))
    return Decision([state], [state])


@rule("aten::pad", knows=("pad", "mode", "value"))
def pad(site: Site) -> Decision:
    """Linear where zeros are added, and blind to the dims that get none. `pad` begins with the last dim."""
    sizes, value = get_argument(site.node, "pad"), get_argument(site.node, "value")
    state, ndim = read_first(site), len(site.operands[0].shape)
    if value or get_argument(site.node, "mode") != "constant":
        state = settle(site.operands[0])
    padded = (ndim - 1 - place // 2 for place, size in enumerate(sizes) if size)
    check_not_sharded(site, state, padded if get_argument(site.node, "mode") == "constant" else range(ndim))
    return Decision([state], [state])


@rule("aten::index_select", knows=("dim",))
def index_select(site: Site) -> Decision:
    """Linear in the rows that it picks."""
    state, index = read_first(site), site.operands[1].state
    check_not_sharded(site, state, [read_dim(site)])
    return Decision([state, index if index == I else R], [state])


@rule("aten::gather", "aten::scatter", "aten::scatter_add", knows=("dim", "value", "sparse_grad"))
def gather(site: Site) -> Decision:
    """Operands aligned on every dim but one. Terms that are sharded on that one yield terms of the sum."""
    states = [settle(operand) for operand in site.operands]
    target = next((state for state in states if state.sharded), None)
    if target is None:
        return settle_all(site)
    if get_name(site.node) == "aten::scatter_add" and target.dim == read_dim(site) and not states[0].sharded:
        _, index, terms = site.operands
        if index.shape[target.dim] == terms.shape[target.dim]:
            return Decision([P, target, target], [P])
    check_not_sharded(site, target, [read_dim(site)])
    if len({operand.shape[target.dim] for operand in site.operands}) > 1:
        raise Conflict(f"its operands differ in dim {target.dim}, which is sharded", range(len(states)))
    return Decision([target] * len(states), [target])


@rule("aten::repeat_interleave", knows=("repeats", "dim", "output_size"))
def repeat_interleave(site: Site) -> Decision:
    """Each entry of a dim some times over: those of a share stay in it."""
    state = read_first(site)
    dim, repeats = get_argument(site.node, "dim"), get_argument(site.node, "repeats")
    if state.sharded and (dim is None or not isinstance(repeats, int)):
        raise Conflict("`repeat_interleave` of a sharded value needs a number and a dim", [0])
    return Decision([state], [state])


@rule("aten::select", "aten::unbind", knows=("dim", "index"))
def drop_dim(site: Site) -> Decision:
    """One entry of a dim, or each by itself."""
    state, dim = read_first(site), read_dim(site)
    check_not_sharded(site, state, [dim])
    return Decision([state], [drop_dims(state, [dim])] * len(site.shapes))


@rule("aten::view_as_complex", "aten::view_as_real")
def pair_parts(site: Site) -> Decision:
    """The last dim of the real tensor holds the two parts of each number."""
    state = read_first(site)
    if get_name(site.node) == "aten::view_as_complex":
        check_not_sharded(site, state, [len(site.operands[0].shape) - 1])
    return Decision([state], [state])


@rule(
    *("aten::chunk", "aten::split", "aten::split_with_sizes"),
    knows=("chunks", "dim", "split_size", "split_sizes"),
)
def split(site: Site) -> Decision:
    """A dim cut in as many blocks as there are chunks is sharded inside each of them."""
    state = read_first(site)
    dim = read_dim(site)
    count = len(site.shapes)
    if not state.sharded or state.dim != dim:
        return Decision([state], [state] * count)
    if len({shape[dim] for shape in site.shapes}) > 1:
        raise Conflict(f"`{get_name(site.node)}` cuts dim {dim}, which is sharded, in unequal parts", [0])
    if state.blocks % count:
        raise Chunked(f"`{get_name(site.node)}` cuts dim {dim}, which is sharded, in {count}", [0], count)
    return Decision([state], [S(dim, state.blocks // count)] * count)


class Chunked(Conflict):
    """A sharded dim is cut into `count` parts: legal where it is sharded in as many blocks."""

    def __init__(self, reason: str, operands: list[int], count: int) -> None:
        super().__init__(reason, operands)
        self.count = count


@rule("aten::cat", "aten::stack", knows=("dim",))
def concatenate(site: Site) -> Decision:
    states = site.states
    dim = get_argument(site.node, "dim") % len(site.shapes[0])
    if all(state.partial for state in states):
        return Decision(states, [P])
    settled = [settle(operand) for operand in site.operands]
    stacked = get_name(site.node) == "aten::stack"
    sharded = [state for state in settled if state.sharded]
    if not sharded:
        return settle_all(site)
    target = sharded[0]
    if any(state != target for state in sharded):
        raise Conflict("its operands are sharded differently", range(len(states)))
    sizes = {operand.shape[dim] for operand in site.operands} if not stacked else set()
    if not stacked and target.dim == dim and len(sizes) == 1 and len(sharded) == len(settled):
        return Decision(settled, [S(dim, target.blocks * len(settled))])
    if not stacked and target.dim == dim:
        raise Conflict(f"it joins along dim {dim}, which is sharded", range(len(states)))
    result = S(target.dim + (stacked and dim <= target.dim), target.blocks)
    return Decision([target] * len(settled), [result])
