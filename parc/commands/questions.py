"""What `parc init` has to know."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple


class Question(NamedTuple):
    """Something that the user says of the model."""

    key: str
    words: str
    usual: int


MODEL = (
    Question("layers", "layers", 16),
    Question("hidden", "hidden size", 1024),
    Question("heads", "attention heads", 16),
    Question("kv_heads", "key-value heads", 16),
    Question("ffn", "hidden size of one expert's feed-forward network", 2048),
    Question("experts", "experts of a layer, 0 for a dense model", 64),
    Question("top_k", "experts of a token", 2),
    Question("vocab", "words of the vocabulary", 32000),
)


def options(parser: argparse.ArgumentParser) -> None:
    """Those of `parc init`, which every start of the command line declares: nothing is imported for them."""
    parser.add_argument("-o", "--out", type=Path, default=Path("plan.parc"), metavar="FILE")
    parser.add_argument("--config", type=Path, metavar="FILE", help="a Hugging Face config.json of the model")
    parser.add_argument("--machine", default="h100", metavar="NAME", help="known hardware (h100)")
    parser.add_argument("--devices", type=int, metavar="N", help="how many there are (8)")
    parser.add_argument("--sequences", type=int, metavar="N", help="of a batch (four a device)")
    parser.add_argument("--length", type=int, metavar="N", help="tokens of a sequence (1024)")
    parser.add_argument("--source", default="model.py:Model", help="file.py:Class of your model")
    model = parser.add_argument_group("the model, where there is no --config")
    for question in MODEL:
        name = f"--{question.key.replace('_', '-')}"
        model.add_argument(name, type=int, metavar="N", help=f"{question.words} ({question.usual})")
