"""A GPT of the first generation whose feed-forward layers are switched: one expert a token.

LayerNorm, learned positions, one linear for query, key and value, attention written out, GELU experts that are ordinary
modules in a list. `forward` returns the training loss itself.
"""

import torch
from torch import nn
from torch.nn import functional


class CausalSelfAttention(nn.Module):
    def __init__(self, width, heads, context):
        super().__init__()
        self.heads = heads
        self.scale = (width // heads) ** -0.5
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.register_buffer("visible", torch.ones(context, context, dtype=torch.bool).tril(), persistent=False)

    def forward(self, h):
        b, s, width = h.shape
        # The rows of `qkv` are ordered (head, q | k | v, head width): what belongs to a head is contiguous.
        q, k, v = self.qkv(h).view(b, s, self.heads, 3, width // self.heads).permute(3, 0, 2, 1, 4).unbind(0)
        scores = (q @ k.transpose(-2, -1)) * self.scale
        scores = scores.masked_fill(~self.visible[:s, :s], float("-inf"))
        mixed = functional.softmax(scores, dim=-1) @ v
        return self.out(mixed.transpose(1, 2).contiguous().view(b, s, width))


class Specialist(nn.Module):
    def __init__(self, width, inner):
        super().__init__()
        self.fc1 = nn.Linear(width, inner)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(inner, width)

    def forward(self, t):
        return self.fc2(self.act(self.fc1(t)))


class ExpertBank(nn.Module):
    """tokens (n, width), indices and weights (n, k) -> (n, width)"""

    def __init__(self, count, width, inner):
        super().__init__()
        self.specialists = nn.ModuleList([Specialist(width, inner) for _ in range(count)])

    def forward(self, tokens, indices, weights):
        result = torch.zeros_like(tokens)
        for number, specialist in enumerate(self.specialists):
            mask = (indices == number).any(dim=-1)
            if not mask.any():
                continue
            share = (weights * (indices == number)).sum(dim=-1, keepdim=True)
            result[mask] = result[mask] + share[mask] * specialist(tokens[mask])
        return result


class SwitchLayer(nn.Module):
    def __init__(self, width, inner, count):
        super().__init__()
        self.count = count
        self.gate = nn.Linear(width, count)
        self.bank = ExpertBank(count, width, inner)

    def forward(self, h):
        flat = h.reshape(-1, h.size(-1))
        probs = functional.softmax(self.gate(flat), dim=-1)
        top, winner = probs.max(dim=-1, keepdim=True)
        load = functional.one_hot(winner.squeeze(-1), self.count).to(probs.dtype).mean(0)
        penalty = torch.sum(load * probs.mean(0)) * self.count
        return self.bank(flat, winner, top).reshape(h.shape), penalty


class SwitchBlock(nn.Module):
    def __init__(self, width, heads, inner, count, context):
        super().__init__()
        self.ln1 = nn.LayerNorm(width)
        self.attn = CausalSelfAttention(width, heads, context)
        self.ln2 = nn.LayerNorm(width)
        self.switch = SwitchLayer(width, inner, count)

    def forward(self, h):
        h = h + self.attn(self.ln1(h))
        update, penalty = self.switch(self.ln2(h))
        return h + update, penalty


class SwitchGPT(nn.Module):
    def __init__(self, depth, width, heads, inner, count, symbols, context, penalty_weight=0.01):
        super().__init__()
        self.penalty_weight = penalty_weight
        self.symbols = nn.Embedding(symbols, width)
        self.places = nn.Embedding(context, width)
        self.blocks = nn.ModuleList([SwitchBlock(width, heads, inner, count, context) for _ in range(depth)])
        self.ln = nn.LayerNorm(width)
        self.unembed = nn.Linear(width, symbols)
        self.apply(self._reset)

    @staticmethod
    def _reset(module):
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.trunc_normal_(module.weight, std=0.02)

    def forward(self, idx, targets):
        """idx, targets (b, s): token numbers -> mean cross-entropy in nats, plus the weighted balance penalty"""
        h = self.symbols(idx) + self.places(torch.arange(idx.size(1), device=idx.device))
        penalties = h.new_zeros(())
        for block in self.blocks:
            h, penalty = block(h)
            penalties = penalties + penalty
        scores = self.unembed(self.ln(h))
        loss = functional.cross_entropy(scores.flatten(0, 1), targets.flatten())
        return loss + self.penalty_weight * penalties / len(self.blocks)
