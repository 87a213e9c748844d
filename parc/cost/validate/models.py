"""The models in the data, by their names there. Sizes are those of papers and model cards."""

from __future__ import annotations

from functools import partial
from typing import Any

from parc.cost.job.architecture import Architecture, LatentAttention

GPT_VOCAB = 51200  # GPT-2's 50,257, padded for tensor parallelism


def build_gpt(
    layers: int, hidden: int, heads: int, length: int, ffn: int = 0, vocab: int = GPT_VOCAB
) -> Architecture:
    """A model in the style of GPT-3: tied embedding and head, FFNs four times as wide, no gates."""
    wide = ffn or 4 * hidden
    return Architecture(
        layers=layers,
        hidden=hidden,
        heads=heads,
        kv_heads=heads,
        head_dim=hidden // heads,
        ffn=wide,
        dense_ffn=wide,
        vocab=vocab,
        length=length,
        gated=False,
        tied=True,
    )


def _build_decoder(
    hidden: int, heads: int, kv_heads: int, ffn: int, vocab: int, head_dim: int = 128, **rest: Any
) -> partial[Architecture]:
    rest.setdefault("dense_ffn", ffn)
    return partial(
        Architecture,
        hidden=hidden,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        ffn=ffn,
        vocab=vocab,
        **rest,
    )


LLAMA3_70B = _build_decoder(8192, 64, 8, 28672, 128256)  # the runs have fewer layers than the model
DEEPSEEK_V2 = partial(
    _build_decoder(
        5120, 128, 128, 1536, 102400, experts=160, top_k=6, shared_ffn=3072, dense_layers=1, dense_ffn=12288
    ),
    latent=LatentAttention(1536, 512, 128, 64, 128),
)

GPTS = {"GPT-175B": partial(build_gpt, 96, 12288, 96), "GPT-530B": partial(build_gpt, 105, 20480, 128)}

DECODERS = {
    "GPT OSS 120B": _build_decoder(2880, 64, 8, 2880, 201088, 64, layers=36, experts=128, top_k=4),
    "Llama3-8x70B": _build_decoder(8192, 64, 8, 28672, 128256, layers=80, experts=8, top_k=2),
    "Llama3.1-8B": _build_decoder(4096, 32, 8, 14336, 128256, layers=32),
    "Mixtral-8x22B": _build_decoder(6144, 48, 8, 16384, 32768, layers=56, experts=8, top_k=2),
    "Mixtral-8x22B-G8T8": _build_decoder(6144, 48, 8, 2048, 32768, layers=56, experts=64, top_k=8),
    "Qwen2-57B-A14B": _build_decoder(
        3584, 28, 4, 2560, 151936, layers=28, experts=64, top_k=8, shared_ffn=20480
    ),
    "Qwen3_235B_a22B": _build_decoder(4096, 64, 4, 1536, 151936, layers=94, experts=128, top_k=8),
}
"""In every other layer GPT OSS 120B attends to 128 tokens only, which is not modelled."""
