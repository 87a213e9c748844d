"""What each value of a choice means, for completion and hovers. By the kind of the block, and by its key."""

from __future__ import annotations

from collections.abc import Mapping

FLOATS = {
    "fp32": "Floating point of 32 bits.",
    "fp64": "Floating point of 64 bits: slow, for comparisons.",
    "bf16": "Floating point of 16 bits: the range of fp32 with 8 bits of precision.",
}

MEANINGS: Mapping[tuple[str, str], Mapping[str, str]] = {
    ("data", "shard"): {
        "none": "Every rank holds all parameters, gradients and optimizer states.",
        "optimizer": "Every rank holds and updates a part of the optimizer states; parameters are whole "
        "(ZeRO-1).",
        "gradients": "As `optimizer`, and of gradients every rank holds a part: each microbatch reduces "
        "them, module by module (ZeRO-2).",
        "parameters": "As `gradients`, and of parameters every rank holds a part: a layer, and what else the "
        "model calls, is gathered for each of its passes (FSDP, ZeRO-3).",
    },
    ("pipeline", "schedule"): {
        "gpipe": "All forward passes, then all backward passes: every microbatch of a step is held at once.",
        "1f1b": "One forward, one backward pass: a stage holds no more microbatches than stages follow it, "
        "itself included.",
        "interleaved": "1f1b with several chunks of layers on each rank: a smaller bubble, more messages.",
        "zero_bubble": "1f1b whose backward pass is split: gradients of parameters fill the bubble (ZB1P).",
        "zbv": "Two chunks on each rank, the second in reverse order of the ranks, with a split backward "
        "pass: no bubble where passes take equally long.",
        "dualpipev": "As zbv, where forward and backward passes of different microbatches run in pairs "
        "(DeepSeek's DualPipe, cut in half).",
    },
    ("plan", "recompute"): {
        "none": "All activations are stored.",
        "attention": "The attention of a layer is computed again in the backward pass.",
        "experts": "The experts of a layer are computed again in the backward pass. Rows are kept as they "
        "were sent.",
        "layer": "Only the inputs of layers and what ranks have sent each other are stored; all else is "
        "computed again in the backward pass.",
    },
    ("adamw", "decay"): {
        "constant": "After the warmup the learning rate stays at `lr`.",
        "cosine": "After the warmup the learning rate falls to `min_lr` along half a cosine, up to the last "
        "step.",
    },
    ("adamw", "idle_experts"): {
        "update": "Its gradient is zero: weight decay shrinks it and the moments move it, as any other "
        "parameter.",
        "skip": "It has no gradient: parameters, moments and its count of steps stay as they are. For "
        "experts in a list of modules, which plain PyTorch trains so.",
    },
    ("approximate", "balance"): {
        "microbatch": "Over the tokens of a microbatch on all ranks.",
        "rank": "Over the tokens of one data rank, then the mean over these ranks: no communication, and "
        "other numbers.",
    },
    ("loss", "shift"): {
        "data": "Labels are the tokens one position later; the model compares position with position.",
        "model": "Labels are the tokens themselves; the model shifts them.",
    },
    ("precision", "compute"): FLOATS,
    ("precision", "master"): FLOATS,
    ("precision", "gradients"): FLOATS,
    ("precision", "reduce"): FLOATS,
    ("precision", "moments"): FLOATS,
    ("precision", "keep_fp32"): {
        "norms": "What scales or shifts normalized values: the parameters of layer norms and RMS norms.",
        "router": "What decides where tokens go: all from which nothing but the choice and the weights of "
        "experts follows.",
    },
    ("train", "optimizer"): {"adamw": "Adam with decoupled weight decay."},
    ("train", "dataset"): {
        "files": "The bytes of text files: a vocabulary of 256.",
        "tokens": "Memory-mapped files of token ids.",
    },
    ("tokens", "type"): {
        "uint8": "Ids of 8 bits: up to 255.",
        "uint16": "Ids of 16 bits: up to 65,535.",
        "uint32": "Ids of 32 bits: up to 4,294,967,295.",
        "int32": "Ids of 32 bits with a sign: up to 2,147,483,647.",
    },
}


def describe_choice(form: str, key: str, choice: str) -> str:
    """The meaning of a value; empty if it is no choice of the key."""
    return MEANINGS.get((form, key), {}).get(choice, "")
