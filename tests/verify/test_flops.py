"""The arithmetic of a step, which MFU is made of, against torch's own counter."""

from __future__ import annotations

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from parc.capture.flops import count_flops
from parc.verify.numbers.reference import Reference
from parc.verify.sample.tokens import Tokens

from .plans import VOCABULARY, captured, loaded


@pytest.mark.parametrize("model", ["moe", "classic"])
def test_a_forward_pass_is_counted_as_torch_counts_it(model: str) -> None:
    (plan,) = loaded(model, 1, "mesh = [dp: 1]\ndata over [dp]").plans
    module = Reference(plan, captured(model), Tokens(VOCABULARY)).build_model()
    tokens = torch.randint(32, (plan.train.batch.sequences // plan.train.batch.microbatches, 6))
    inputs = (tokens,) if model == "moe" else (tokens, tokens)
    with (
        FlopCounterMode(display=False) as counter,
        sdpa_kernel(SDPBackend.MATH),
    ):  # the others it cannot count
        module(*inputs)
    assert count_flops(captured(model).root, captured(model).experts) == counter.get_total_flops()
