"""Which sizes of a captured model depend on the sequences of a microbatch, and on their length."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, fx, nn

from parc.capture.capture import Captured, capture
from parc.capture.graph import Body, get_name
from parc.capture.sizes import BatchSize, Size, vary_batch
from parc.check.load import load_text
from parc.source import Source

B, L, HEADS, HEAD_DIM, H = 4, 6, 2, 8, 16
ROOT = Path(__file__).parents[2]
BATCH, LENGTH, TOKENS = Size(Fraction(1), 1), Size(Fraction(1), 0, 1), Size(Fraction(1), 1, 1)


def constant(size: int) -> Size:
    return Size(Fraction(size))


@given(
    st.integers(1, 4096),
    st.integers(1, 1 << 20),
    st.integers(1, 1 << 14),
    st.integers(0, 2),
    st.integers(0, 2),
)
def test_products_of_powers_are_told_apart(
    sequences: int, length: int, factor: int, batch_power: int, length_power: int
) -> None:
    comparison = vary_batch(BatchSize(sequences, length))
    size = Size(Fraction(factor), batch_power, length_power)
    assert comparison.explain(size.evaluate(comparison.first), size.evaluate(comparison.second)) == size


@given(st.integers(1, 4096), st.integers(3, 1 << 20))
def test_the_other_length_is_shorter(sequences: int, length: int) -> None:
    assert 1 < vary_batch(BatchSize(sequences, length)).second.length < length


def test_a_number_that_changes_by_chance_is_no_product() -> None:
    comparison = vary_batch(BatchSize(8, 8))
    assert comparison.explain(4, 3) is None
    assert comparison.explain(4, 7) is None


def test_a_share_of_the_tokens_is_a_size_where_it_is_whole() -> None:
    comparison = vary_batch(BatchSize(4, 6))
    size = comparison.explain(12, comparison.second.sequences * comparison.second.length // 2)
    assert size == Size(Fraction(1, 2), 1, 1)
    assert str(size) == "1/2 * B * L"
    with pytest.raises(ValueError, match="no whole number"):
        size.evaluate(BatchSize(1, 3))


PLAN = """
cluster one {{ levels = [node: 1] }}
model m {{ source = "{source}", arguments {{ {arguments} }} }}
train t {{
  model = m, seed = 1, steps = 1, batch {{ sequences = {sequences}, length = {length}, microbatches = 1 }}
  optimizer = adamw {{ lr = 1e-3 }}, precision {{ compute = fp64, master = fp64 }}
}}
plan p for t on one {{
  mesh = [dp: 1]
  data over [dp]
}}
"""


def capture_source(folder: Path, source: str, arguments: str = "") -> Captured:
    text = PLAN.format(source=source, arguments=arguments, sequences=B, length=L)
    return capture(load_text(Source(str(folder / "plan.parc"), text)).plans[0])


def sizes(node: fx.Node) -> Any:
    return node.meta["symbols"].sizes


def find(body: Body, operator: str) -> fx.Node:
    """The first operation of that name, callers first."""
    bodies = [body]
    while bodies:
        body, *bodies = bodies
        for node in body.operations():
            if get_name(node) == f"aten::{operator}":
                return node
        bodies += body.children.values()
    raise AssertionError(f"there is no `{operator}`")


@pytest.fixture(scope="module")
def moe() -> Captured:
    arguments = (
        f"n_layers = 2, dim = {H}, n_heads = {HEADS}, n_kv_heads = {HEADS}, ffn = 12, n_experts = 4"
        f", top_k = 2, vocab = 32, max_length = {L}"
    )
    return capture_source(ROOT / "examples", "moe.py:MoETransformer", arguments)


def test_nothing_of_an_ordinary_model_is_bound_to_its_batch(moe: Captured) -> None:
    assert moe.fixed == ()


def test_inputs_have_the_sizes_of_the_batch(moe: Captured) -> None:
    assert [sizes(node) for node in moe.root.inputs()] == [(BATCH, LENGTH), (BATCH, LENGTH)]


def test_flattened_tokens_have_the_product(moe: Captured) -> None:
    body = moe.root.children["model.layers.0"].children["moe"]
    assert sizes(find(body, "flatten")) == (TOKENS, constant(H))


def test_heads_are_constants_where_batch_and_length_are_not(moe: Captured) -> None:
    view = find(moe.root.children["model.layers.0"].children["attention"], "view")
    assert sizes(view) == (BATCH, LENGTH, constant(HEADS), constant(HEAD_DIM))
    assert view.meta["symbols"].args[1] == (BATCH, LENGTH, -1, HEAD_DIM)


def test_the_end_of_a_slice_is_the_length(moe: Captured) -> None:
    table = find(moe.root, "slice")
    assert table.args[1:] == (0, 0, L)
    assert table.meta["symbols"].args[1:] == (0, 0, LENGTH)


def test_a_table_that_is_as_long_as_the_sequences_binds_nothing() -> None:
    arguments = f"depth = 3, width = {H}, heads = 2, inner = 8, count = 2, symbols = 32, context = {L}"
    classic = capture_source(ROOT / "examples", "classic.py:SwitchGPT", arguments)
    assert classic.fixed == ()
    assert find(classic.root, "arange").meta["symbols"].args == (LENGTH,)


class Net(nn.Module):
    """Embeds tokens, applies `act` to them (B, L, H), and gives logits."""

    act: Callable[[Tensor], Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(8, H)
        self.head = nn.Linear(H, 8)

    def forward(self, tokens: Tensor) -> Tensor:
        logits: Tensor = self.head(self.act(self.embedding(tokens)))
        return logits


NET = """
import torch
from tests.shard.test_sizes import Net as Base
class Net(Base):
    def act(self, x):
{body}
"""


def capture_act(folder: Path, body: str) -> Captured:
    indented = "".join(f"        {line}\n" for line in body.splitlines())
    (folder / "net.py").write_text(NET.format(body=indented))
    return capture_source(folder, "net.py:Net")


def test_a_mask_that_forward_makes_is_length_by_length(tmp_path: Path) -> None:
    net = capture_act(
        tmp_path,
        "mask = torch.ones(x.shape[1], x.shape[1], device=x.device).tril()\nreturn mask.to(x.dtype) @ x",
    )
    assert net.fixed == ()
    assert sizes(find(net.root, "ones")) == (LENGTH, LENGTH)


def test_a_model_of_one_length_still_takes_other_numbers_of_sequences(tmp_path: Path) -> None:
    net = capture_act(tmp_path, f"assert x.shape[1] == {L}, 'only {L}'\nreturn x * 2")
    (fixed,) = net.fixed
    assert (fixed.path, fixed.what, fixed.reason) == ("", "length", f"only {L}")
    assert sizes(find(net.root, "mul")) == (BATCH, constant(L), constant(H))


def test_a_model_of_one_batch_has_constants(tmp_path: Path) -> None:
    net = capture_act(tmp_path, f"assert x.shape[:2] == ({B}, {L}), 'only this'\nreturn x * 2")
    (fixed,) = net.fixed
    assert (fixed.path, fixed.what, fixed.reason) == ("", "sequences and length", "only this")
    assert sizes(find(net.root, "mul")) == (constant(B), constant(L), constant(H))


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        (
            "return torch.cat((x[:, 1:], x[:, :1]), dim=1)",
            "has 5 for 4 sequences of length 6 and 2 for 28 sequences of length 3",
        ),
        (
            "return x / float(x.shape[1])",
            "has 6.0 for 4 sequences of length 6 and 3.0 for 28 sequences of length 3",
        ),
        (
            "return x if x.shape[1] > 4 else x * 2",
            "it computes other things for 28 sequences of length 3",
        ),
    ],
)
def test_what_no_product_explains_binds_its_module(tmp_path: Path, act: str, reason: str) -> None:
    net = capture_act(tmp_path, act)
    (fixed,) = net.fixed
    assert (fixed.path, fixed.what) == ("", "sequences and length")
    assert fixed.reason.endswith(reason)
    assert sizes(find(net.root, "embedding")) == (constant(B), constant(L), constant(H))


def test_a_number_of_the_model_that_equals_the_length_is_a_constant(tmp_path: Path) -> None:
    net = capture_act(tmp_path, f"return x.unflatten(-1, ({H // 2}, 2)).flatten(-2) + torch.ones({L}).sum()")
    assert net.fixed == ()
    assert sizes(find(net.root, "ones")) == (constant(L),)
