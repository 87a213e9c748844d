"""How a plan is cut to a sample: sizes keep their kind, and arguments are read by name and value."""

from __future__ import annotations

from dataclasses import replace

import pytest

from parc.check.load import load, load_text
from parc.plan.blocks import Plan
from parc.source import Source
from parc.verify.report import NotProvable
from parc.verify.sample import choose, shrink
from parc.verify.sample.choose import choose_sample
from parc.verify.sample.factory_arguments import iterate_arguments

from .plans import EXAMPLES, loaded

SEED = load(EXAMPLES / "seed.parc").plans[0]


def plan(ranks: int, layout: str, layers: int = 12, dense: int = 0, more: str = "") -> Plan:
    text = f"""
    model m {{
      source = "moe.py:MoETransformer"
      shape {{
        layers = {layers}, dense_layers = {dense}, hidden = 1024, heads = 16, kv_heads = 4, ffn = 2000
        experts = 64, top_k = 8, vocab = 32001 {more}
      }}
    }}
    train t {{
      model = m, seed = 1, steps = 10
      batch {{ sequences = 1024, length = 4096, microbatches = 16 }}
    }}
    cluster c {{ levels = [node: {ranks}] }}
    plan p for t on c {{ {layout} }}
    """
    return load_text(Source(str(EXAMPLES / "of-a-test.parc"), text)).plans[0]


def axes(of: Plan, most: int) -> dict[str, int]:
    return {axis.name: axis.size for axis in shrink.shrink_mesh(of, most).axes}


def test_a_mesh_that_fits_is_run_as_it_is() -> None:
    assert shrink.shrink_mesh(SEED, 128) == SEED.mesh


def test_else_each_axis_is_as_small_as_keeps_its_kind() -> None:
    assert axes(SEED, 64) == {"ep": 2, "pp": 3, "tp": 2}  # a first, a middle and a last stage
    assert axes(SEED, 8) == {"ep": 2, "pp": 2, "tp": 2}
    odd = plan(9 * 7, "mesh = [dp: 9, ep: 7]\n data over [dp, ep]\n experts over [ep]")
    assert axes(odd, 16) == {"dp": 3, "ep": 3}


def test_an_axis_of_data_has_three_ranks_where_they_fit() -> None:
    """A factor that is right for two ranks alone is noticed."""
    small = shrink.shrink_mesh(SEED, 64)
    wide = shrink.widen_data(SEED, small, 64)
    assert wide is not None
    assert {axis.name: axis.size for axis in wide.axes} == {"ep": 3, "pp": 3, "tp": 2}
    assert shrink.widen_data(SEED, small, 16) is None
    assert shrink.widen_data(SEED, SEED.mesh, 128) is None  # it is run as it is


def test_uneven_stages_stay_uneven_and_keep_a_loop_over_their_layers() -> None:
    of = plan(4, "mesh = [pp: 4]\n pipeline over [pp] { layers = [2, 4, 4, 2] }")
    assert shrink.shrink_layers(of, of.mesh, 2) == shrink.KeptLayers(
        (2, 3, 3, 2), 0, (0, 1, 2, 3, 4, 6, 7, 8, 10, 11)
    )
    small = shrink.shrink_mesh(of, 3)
    assert shrink.shrink_layers(of, small, 2).stages == (2, 3, 2)


def test_even_stages_keep_a_loop_over_their_layers() -> None:
    assert shrink.shrink_layers(SEED, SEED.mesh, 2) == shrink.KeptLayers(
        (2, 2, 2, 2), 0, (0, 1, 4, 5, 8, 9, 12, 13)
    )


def test_two_layers_with_experts_are_left() -> None:
    of = plan(1, "mesh = [dp: 1]\n data over [dp]", layers=3, dense=1)
    assert shrink.shrink_layers(of, of.mesh, 2) == shrink.KeptLayers((3,), 1, (0, 1, 2))
    split = plan(2, "mesh = [pp: 2]\n pipeline over [pp] { layers = [8, 4] }", dense=8)
    assert shrink.shrink_layers(split, split.mesh, 2) == shrink.KeptLayers((3, 2), 3, (0, 1, 2, 8, 9))


def test_a_dense_layer_stays_where_it_was() -> None:
    of = plan(2, "mesh = [pp: 2]\n pipeline over [pp] { layers = [6, 6] }", dense=3)
    assert shrink.shrink_layers(of, of.mesh, 2) == shrink.KeptLayers((3, 2), 1, (0, 3, 4, 6, 7))
    whole = plan(2, "mesh = [pp: 2]\n pipeline over [pp] { layers = [4, 8] }", dense=6)
    assert shrink.shrink_layers(whole, whole.mesh, 2) == shrink.KeptLayers((2, 4), 3, (0, 1, 4, 6, 7, 8))


@pytest.mark.parametrize(
    ("least", "size", "ways", "found"),
    [
        (6, 1024, [(4, 4)], 8),
        (6, 1023, [(4, 4)], 6),  # it did not divide, so it does not now
        (8, 1023, [(4, 4)], 9),
        (6, 1024, [(8, 1)], 6),  # nothing splits it any more
        (40, 32, [], 32),  # never larger than it was
    ],
)
def test_a_size_divides_by_what_it_did(
    least: int, size: int, ways: list[tuple[int, int]], found: int
) -> None:
    assert shrink.shrink_size(least, size, ways) == found


def test_sizes_are_unlike_each_other_and_divide() -> None:
    of = plan(
        32,
        "mesh = [ep: 8, tp: 4]\n data over [ep]\n tensor over [tp]\n experts over [ep]",
        more=", dense_ffn = 2048",
    )
    found = shrink.shrink_sizes(of, of.mesh)
    assert found["heads"] == 2 * found["kv_heads"]  # queries still share keys
    assert found["kv_heads"] % 4 == 0
    assert found["hidden"] == found["heads"] * found["head_dim"]
    assert found["vocab"] % 4  # as 32001
    assert found["experts"] == 16  # two a rank
    assert found["top_k"] == 2
    widths = [found[name] for name in ("hidden", "ffn", "dense_ffn", "vocab", "experts")]
    assert len(set(widths)) == len(widths)


def test_one_expert_a_rank_stays_one() -> None:
    of = plan(64, "mesh = [ep: 64]\n data over [ep]\n experts over [ep]")
    assert shrink.shrink_sizes(of, of.mesh)["experts"] == 64
    assert (
        shrink.shrink_sizes(of, shrink.shrink_mesh(of, 8))["experts"] == 4
    )  # two ranks; four, for a token has two of them


def test_experts_divide_into_groups_of_two_at_least() -> None:
    of = plan(64, "mesh = [ep: 8, dp: 8]\n data over [ep, dp]\n experts over [ep]")
    assert shrink.shrink_sizes(of, of.mesh, groups=8)["experts"] == 16
    assert shrink.shrink_sizes(of, shrink.shrink_mesh(of, 8), groups=8)["experts"] == 16


def test_the_sizes_of_latent_attention_are_cut_and_stay_unlike_each_other() -> None:
    of = plan(8, "mesh = [dp: 8]\n data over [dp]", more=", latent = [1536, 512, 128, 64, 128]")
    found = shrink.shrink_sizes(of, of.mesh)
    assert [found[name] for name in shrink.LATENT] == [20, 12, 6, 4, 14]


def test_a_router_that_chooses_among_groups_is_cut_with_its_groups() -> None:
    """671 billion parameters on 2,048 ranks, with latent attention."""
    (large,) = load(EXAMPLES / "v3.parc").plans
    sample = choose_sample(large, "fp64", 16)
    model = sample.plan.train.model
    assert model.arguments["n_groups"] == 8
    assert model.shape.experts == model.arguments["n_experts"] == 16
    assert model.shape.latent == (20, 12, 6, 4, 14)
    assert model.arguments["q_rank"] == 20
    assert sample.plan.mesh.size <= 16


def test_the_batch_is_as_small_as_keeps_every_rank_busy() -> None:
    batch = shrink.shrink_batch(SEED, SEED.mesh)
    assert (batch.microbatches, batch.length) == (4, 8)
    assert batch.sequences == 4 * 8  # one a rank and microbatch, as it was


BEFORE = {"layers": 16, "hidden": 1024, "heads": 16, "ffn": 2048, "experts": 16, "head_dim": 64}
AFTER = {"layers": 4, "hidden": 24, "heads": 4, "ffn": 32, "experts": 8, "head_dim": 6}


def test_arguments_are_read_by_name_and_value() -> None:
    given = {"n_layers": 16, "dim": 1024, "n_heads": 16, "max_length": 1024, "num_experts": 16, "rate": 0.5}
    first = next(iterate_arguments(given, BEFORE, AFTER, range(4)))
    assert first == {
        "n_layers": 4,
        "dim": 24,
        "n_heads": 4,
        "max_length": 1024,
        "num_experts": 8,
        "rate": 0.5,
    }


def test_an_argument_of_another_name_may_be_any_size_that_nothing_claims() -> None:
    given = {"depth": 16, "heads": 16, "count": 16, "wide": 4096, "flag": True}
    found = list(iterate_arguments(given, BEFORE, AFTER, range(4)))
    assert [each["count"] for each in found] == [8, 8, 16, 16]
    assert [each["wide"] for each in found] == [64, 4096, 64, 4096]  # twice the feed-forward width
    assert all(each["flag"] is True for each in found)


def test_a_list_with_an_entry_a_layer_keeps_those_of_the_layers_kept() -> None:
    given = {"kinds": tuple(f"layer {number}" for number in range(16))}
    first = next(iterate_arguments(given, BEFORE, AFTER, (0, 1, 14, 15)))
    assert first["kinds"] == ("layer 0", "layer 1", "layer 14", "layer 15")


def test_an_optimizer_whose_first_steps_show_nothing_is_run_with_another() -> None:
    of = loaded("moe", 2, "mesh = [dp: 2]\n data over [dp]").plans[0]
    slow = replace(of.train.optimizer, lr=1e-5, eps=0.0, warmup=2000)
    sample = choose_sample(replace(of, train=replace(of.train, optimizer=slow)))
    its = sample.plan.train.optimizer
    assert (its.lr, its.eps, its.warmup) == (1e-3, 1e-12, 2)
    shown = "lr 0.001 (of 1e-05), eps 1e-12 (of 0), warmup 2 (of 2,000)"
    assert any(shown in line for line in sample.notes)


def test_more_ranks_than_are_run_are_not_started(monkeypatch: pytest.MonkeyPatch) -> None:
    of = loaded("moe", 2, "mesh = [dp: 2]\n data over [dp]").plans[0]
    monkeypatch.setattr(choose, "_is_legal", lambda _plan: False)
    with pytest.raises(NotProvable, match="the plan's 2 ranks are more than are run here: at most 1"):
        choose_sample(of, ranks=1)
