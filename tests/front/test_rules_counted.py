"""Rules in closed form against counting: every rank, every layer, one by one."""

from __future__ import annotations

from math import prod

from hypothesis import example, given, settings
from hypothesis import strategies as st

from parc.plan.placement import locate_layers
from tests.front.plans import complete, load


def codes(text: str) -> set[str]:
    return {each.code for each in load(text).diagnostics}


@given(
    sizes=st.lists(st.sampled_from([1, 2, 3, 4, 6, 8]), min_size=1, max_size=4),
    levels=st.lists(st.sampled_from([1, 2, 3, 4, 8]), min_size=1, max_size=3),
)
@example(sizes=[2, 3], levels=[1, 8])  # all in one node, though three divides none
@example(sizes=[4, 3], levels=[2, 8])
@example(sizes=[2, 3, 4], levels=[3, 8])
@settings(max_examples=150)
def test_units_are_cut_unevenly_where_a_run_of_ranks_is_neither_inside_of_one_nor_whole_ones(
    sizes: list[int], levels: list[int]
) -> None:
    """A run is what an axis and all inside of it hold: its ranks follow one another."""
    ranks = prod(sizes)
    uneven = False
    for unit in (prod(levels[at:]) for at in range(1, len(levels))):
        for run in (prod(sizes[at:]) for at in range(1, len(sizes))):
            for start in range(0, ranks if run < ranks else 0, run):  # what is all of the mesh is not cut
                units = [rank // unit for rank in range(start, start + run)]
                uneven |= len(set(units)) > 1 and any(units.count(each) < unit for each in units)
    mesh = ", ".join(f"a{at}: {size}" for at, size in enumerate(sizes))
    data = ", ".join(f"a{at}" for at in range(len(sizes)))
    farm = ", ".join(f"l{at}: {size}" for at, size in enumerate(levels))
    found = codes(
        complete(
            f"""cluster farm {{ levels = [{farm}] }}
            train first {{ model = moe, batch {{ sequences = {ranks}, length = 8 }} }}
            plan wide for first on farm {{ mesh = [{mesh}], data over [{data}] }}"""
        )
    )
    assert ("P225" in found) == uneven


@given(
    ranks=st.integers(1, 4),
    chunks=st.integers(1, 3),
    dense=st.integers(1, 12),
    data=st.data(),
)
@settings(max_examples=100)
def test_a_rank_without_experts_is_one_whose_layers_are_all_dense(
    ranks: int, chunks: int, dense: int, data: st.DataObject
) -> None:
    stages = data.draw(st.lists(st.integers(1, 4), min_size=ranks * chunks, max_size=ranks * chunks))
    text = complete(
        f"""model moe {{
          source = "moe.py:M"
          shape {{ layers = {sum(stages)}, dense_layers = {min(dense, sum(stages))}, experts = 8 }}
        }}
        train first {{ model = moe, batch {{ sequences = 24, length = 8, microbatches = 12 }} }}
        plan wide for first on farm {{
          mesh = [ep: 2, pp: {ranks}], data over [ep], experts over [ep]
          pipeline over [pp] {{ schedule = gpipe, chunks = {chunks}, layers = {stages} }}
        }}"""
    )
    loaded = load(text)
    (plan,) = loaded.plans
    bare = [rank for rank in range(ranks) if all(part.stop <= dense for part in locate_layers(plan, rank))]
    found = {each.code for each in loaded.diagnostics}
    assert ("P230" in found) == (bool(bare) and dense < sum(stages))
