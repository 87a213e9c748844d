"""Blocks whose `forward` has the router and a loop over the experts, in the ways that people write them."""

from types import SimpleNamespace

import torch
from small_base import Model as Base
from torch import nn
from torch.nn import functional as F


class Expert(nn.Module):
    def __init__(self, dim, inner):
        super().__init__()
        self.up = nn.Linear(dim, inner)
        self.down = nn.Linear(inner, dim, bias=False)

    def forward(self, x):
        return self.down(F.silu(self.up(x)))


class Mixture(nn.Module):
    def __init__(self, dim=16, inner=12, count=4, k=2):
        super().__init__()
        self.count, self.k = count, k
        self.gate = nn.Linear(dim, count, bias=False)
        self.experts = nn.ModuleList(Expert(dim, inner) for _ in range(count))

    def choose(self, x):
        weights, indices = self.gate(x).softmax(-1).topk(self.k)
        return weights / weights.sum(-1, keepdim=True), indices


class OneHot(Mixture):
    """The loop that Mixtral had in transformers."""

    def forward(self, hidden_states):
        batch, length, dim = hidden_states.shape
        hidden_states = hidden_states.view(-1, dim)
        router_logits = self.gate(hidden_states)
        weights = F.softmax(router_logits, dim=1, dtype=torch.float)
        weights, selected = torch.topk(weights, self.k, dim=-1)
        weights /= weights.sum(dim=-1, keepdim=True)
        weights = weights.to(hidden_states.dtype)
        out = torch.zeros((batch * length, dim), dtype=hidden_states.dtype, device=hidden_states.device)
        mask = F.one_hot(selected, num_classes=self.count).permute(2, 1, 0)
        for expert_idx in torch.greater(mask.sum(dim=(-1, -2)), 0).nonzero():
            expert = self.experts[expert_idx]
            choice, row = torch.where(mask[expert_idx].squeeze(0))
            current = hidden_states[None, row].reshape(-1, dim)
            current = expert(current) * weights[row, choice, None]
            out.index_add_(0, row, current.to(hidden_states.dtype))
        return out.reshape(batch, length, dim)


class Numbered(Mixture):
    """Experts without tokens are left out."""

    def forward(self, x):
        tokens = x.flatten(0, 1)
        weights, indices = self.choose(tokens)
        out = torch.zeros_like(tokens)
        for number, expert in enumerate(self.experts):
            found = (indices == number).nonzero()
            if len(found) == 0:
                continue
            row, choice = found[:, 0], found[:, 1]
            out[row] += expert(tokens[row]) * weights[row, choice].unsqueeze(-1)
        return out.view(x.shape)


class Masked(Mixture):
    def forward(self, x):
        tokens = x.reshape(-1, x.shape[-1])
        weights, indices = self.choose(tokens)
        out = torch.zeros_like(tokens)
        for number in range(self.count):
            for choice in range(self.k):
                mask = indices[:, choice] == number
                if mask.any():
                    out[mask] += weights[mask, choice : choice + 1] * self.experts[number](tokens[mask])
        return out.view(*x.shape)


class Sorted(Mixture):
    def forward(self, x):
        batch, length, dim = x.shape
        tokens = x.view(-1, dim)
        weights, indices = self.choose(tokens)
        order = indices.view(-1).argsort(stable=True)
        counts = torch.bincount(indices.view(-1), minlength=self.count).tolist()
        parts = tokens[order // self.k].split(counts)
        made = torch.cat([expert(part) for expert, part in zip(self.experts, parts, strict=True)])
        made = made * weights.view(-1)[order, None]
        return torch.zeros_like(tokens).index_add(0, order // self.k, made).view(batch, length, dim)


class Kept(Mixture):
    """The dims of sequences are kept, and scores of others are left out before there are weights."""

    def forward(self, x):
        scores, indices = self.gate(x).topk(self.k, dim=-1)
        least = torch.full_like(self.gate(x), float("-inf"))
        weights = least.scatter(-1, indices, scores).softmax(-1)
        out = torch.zeros_like(x)
        tokens, flat = x.view(-1, x.size(-1)), weights.view(-1, weights.size(-1))
        for number, expert in enumerate(self.experts):
            mask = (indices == number).any(dim=-1)
            rows = mask.view(-1)
            if rows.any():
                out[mask] += expert(tokens[rows]) * flat[rows, number].unsqueeze(1)
        return out


class Scaled(Mixture):
    """Scores by a sigmoid, of which those with a bias choose; the number of choices is in a configuration."""

    def __init__(self):
        super().__init__()
        self.config = SimpleNamespace(top_k=2)
        self.register_buffer("bias", torch.tensor([0.1, 0.0, -0.1, 0.0]))

    def forward(self, x):
        tokens = x.flatten(0, 1)
        scores = self.gate(tokens).sigmoid()
        indices = (scores + self.bias).topk(self.config.top_k)[1]
        weights = scores.gather(1, indices) * 2.5
        repeated = tokens.repeat_interleave(self.config.top_k, dim=0)
        made = torch.empty_like(repeated)
        for number, expert in enumerate(self.experts):
            rows = indices.view(-1) == number
            made[rows] = expert(repeated[rows])
        return (made.view(*indices.shape, -1) * weights.unsqueeze(-1)).sum(1).view_as(x)


class Spread(Mixture):
    """The weights of all experts, of which those that are not chosen are 0."""

    def forward(self, x):
        tokens = x.flatten(0, 1)
        weights, indices = self.choose(tokens)
        spread = torch.zeros(len(tokens), self.count, device=x.device, dtype=x.dtype).scatter_(
            1, indices, weights
        )
        out = torch.zeros_like(tokens)
        for number, expert in enumerate(self.experts):
            (row,) = torch.where(spread[:, number] > 0)
            out[row] += expert(tokens[row]) * spread[row, number : number + 1]
        return out.view_as(x)


class Switch(Mixture):
    """One expert a token, weighted with its probability among all."""

    def forward(self, x):
        tokens = x.view(-1, x.shape[-1])
        scores = self.gate(tokens).softmax(-1)
        best = scores.argmax(-1)
        out = torch.zeros_like(tokens)
        for number in range(self.count):
            (row,) = torch.where(best == number)
            if row.numel() > 0:
                out = out.index_add(0, row, self.experts[number](tokens[row]) * scores[row, number, None])
        return out.view(x.shape)


class Balanced(Mixture):
    """With an expert that has every token, and a balance loss."""

    def __init__(self):
        super().__init__()
        self.shared = Expert(16, 20)

    def forward(self, x):
        tokens = x.view(-1, x.shape[-1])
        scores = self.gate(tokens).softmax(-1)
        weights, indices = scores.topk(self.k)
        routed = torch.zeros_like(tokens)
        for number, expert in enumerate(self.experts):
            row, choice = torch.where(indices == number)
            routed = routed.index_add(0, row, expert(tokens[row]) * weights[row, choice, None])
        load = F.one_hot(indices, self.count).sum(1).float().mean(0)
        return (routed + self.shared(tokens)).view(x.shape), (load * scores.mean(0)).sum()


class Layer(nn.Module):
    def __init__(self, mixture):
        super().__init__()
        self.norm = nn.LayerNorm(16)
        self.mixture = mixture

    def forward(self, x):
        return x + self.mixture(self.norm(x))


class Model(Base):
    """Each of the first seven ways in a layer."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(
            Layer(kind()) for kind in (OneHot, Numbered, Masked, Sorted, Kept, Scaled, Spread)
        )


class OneChoice(Base):
    def __init__(self):
        super().__init__(lambda dim: Layer(Switch()))


class WithBalance(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(32, 16)
        self.layers = nn.ModuleList(Balanced() for _ in range(2))
        self.head = nn.Linear(16, 32)

    def forward(self, tokens):
        x, balance = self.embedding(tokens), 0
        for layer in self.layers:
            y, loss = layer(x)
            x, balance = x + y, balance + loss
        return self.head(x), balance


class Skipping(Base):
    def __init__(self):
        super().__init__(lambda dim: Layer(Numbered(count=8)))
