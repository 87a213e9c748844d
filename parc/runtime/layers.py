"""Layers whose weights are sharded over a group: each rank holds its share and applies it.

The sizes given are those of the whole layer, and the names of the parameters are those of `nn.Linear` and
`nn.Embedding`. The parameters are uninitialised: `init.initialize` fills them.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributed import ProcessGroup

from .collectives import I, P, State, all_reduce, reduce_scatter
from .grouped import RowCounts, grouped_linear
from .vocabulary import sharded_embedding


class Weights(nn.Module):
    """A layer of the user's model as the parameters that it holds, and perhaps layers below it."""

    def __init__(self, **members: nn.Parameter | nn.Module) -> None:
        super().__init__()
        for name, member in members.items():
            setattr(self, name, member)


class ColumnLinear(nn.Module):
    """A linear layer with sharded output features: takes x (.., in_features) in R, yields S(-1).

    The weight is (out_features / ranks, in_features) and the bias, if any, (out_features / ranks,). With
    `blocks`, the output features consist of equal blocks each of which is sharded, such as query, key and
    value in one layer.

    Raises:
        ValueError: the output features, in their blocks, do not divide over the group.
    """

    bias: nn.Parameter | None

    def __init__(
        self,
        in_features: int,
        out_features: int,
        group: ProcessGroup,
        *,
        bias: bool = False,
        blocks: int = 1,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        share = _divide(out_features, "output features", group, blocks)
        self.weight = nn.Parameter(torch.empty(share, in_features, dtype=dtype))
        self.register_parameter("bias", nn.Parameter(torch.empty(share, dtype=dtype)) if bias else None)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)


class RowLinear(nn.Module):
    """A linear layer with sharded input features: takes x (.., in_features / ranks) in S(-1), yields `dst`.

    Each rank computes a term of a sum, P. With `dst=I` the layer makes the sum, with `dst=S(dim)` this rank's
    share of it; otherwise the caller does. The weight is (out_features, in_features / ranks). The bias is
    whole on every rank, and is added to the sum.

    Raises:
        ValueError: the input features do not divide over the group, or there is a bias without a sum.
    """

    bias: nn.Parameter | None

    def __init__(
        self,
        in_features: int,
        out_features: int,
        group: ProcessGroup,
        *,
        bias: bool = False,
        dst: State = P,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if bias and dst == P:
            raise ValueError("a term of a sum has no bias: every rank would add it")
        share = _divide(in_features, "input features", group)
        self.group, self.dst = group, dst
        self.weight = nn.Parameter(torch.empty(out_features, share, dtype=dtype))
        self.register_parameter(
            "bias", nn.Parameter(torch.empty(out_features, dtype=dtype)) if bias else None
        )

    def forward(self, x: Tensor) -> Tensor:
        y = _reduce(F.linear(x, self.weight), self.group, self.dst)
        return y if self.bias is None else y + self.bias


class GroupedLinear(nn.Module):
    """A linear layer for each expert: takes rows (R, in_features) sorted by expert, yields (R, out_features).

    The experts are sharded over `experts`, if it is given, and the output features of each over `columns` or
    its input features over `rows`. The weight is (experts, out_features, in_features) and the bias, if any,
    (experts, out_features), each without what lies on other ranks.

    Raises:
        ValueError: the experts or the features do not divide over their group.
    """

    bias: nn.Parameter | None

    def __init__(
        self,
        n_experts: int,
        in_features: int,
        out_features: int,
        *,
        bias: bool = False,
        experts: ProcessGroup | None = None,
        columns: ProcessGroup | None = None,
        rows: ProcessGroup | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        held = _divide(n_experts, "experts", experts)
        inner, outer = (
            _divide(in_features, "input features", rows),
            _divide(out_features, "output features", columns),
        )
        self.weight = nn.Parameter(torch.empty(held, outer, inner, dtype=dtype))
        self.register_parameter("bias", nn.Parameter(torch.empty(held, outer, dtype=dtype)) if bias else None)

    def forward(self, rows: Tensor, counts: RowCounts) -> Tensor:
        return grouped_linear(rows, self.weight, counts, self.bias)


class VocabEmbedding(nn.Module):
    """An embedding with a sharded vocabulary: takes indices in R, yields (.., embedding_dim) in `dst`.

    Each rank has zeros for the rows of others, which is a term of a sum, P. With `dst=I` the layer makes the
    sum, with `dst=S(dim)` this rank's share of it; otherwise the caller does. The weight is
    (num_embeddings / ranks, embedding_dim). Row `padding_idx` of the whole table takes no gradient.

    Raises:
        ValueError: the vocabulary does not divide over the group.
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        group: ProcessGroup,
        *,
        padding_idx: int | None = None,
        dst: State = P,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        share = _divide(num_embeddings, "rows of an embedding", group)
        self.weight = nn.Parameter(torch.empty(share, embedding_dim, dtype=dtype))
        self.group, self.dst = group, dst
        self.padding_idx = None if padding_idx is None else padding_idx % num_embeddings

    def forward(self, indices: Tensor) -> Tensor:
        rows = sharded_embedding(indices, self.weight, self.group, self.padding_idx)
        return _reduce(rows, self.group, self.dst)


def _reduce(term: Tensor, group: ProcessGroup, dst: State) -> Tensor:
    """The sum of the ranks' terms, or this rank's share of it; the term itself where `dst` is P."""
    if dst == P:
        return term
    return all_reduce(term, group, dst=dst) if dst == I else reduce_scatter(term, group, dst=dst)


def _divide(size: int, what: str, group: ProcessGroup | None, blocks: int = 1) -> int:
    """What each rank of a group holds of `size`: all where there is no group."""
    if group is None:
        return size
    if size % (blocks * group.size()):
        of = f" in {blocks} blocks" if blocks > 1 else ""
        raise ValueError(f"{size} {what}{of} do not divide over {group.size()} ranks")
    return size // group.size()
