"""The layout algebra, against brute force and against the formulae of Megatron-Core and torchtitan."""

from __future__ import annotations

from itertools import islice, product
from math import prod

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from parc.plan.mesh import Axis, Lattice, Mesh

NAMES = ("a", "b", "c", "d", "e")


def build_mesh(*sizes: int) -> Mesh:
    return Mesh(tuple(Axis(name, size) for name, size in zip(NAMES, sizes, strict=False)))


@st.composite
def draw_meshes(draw: st.DrawFn, most: int = 10**7) -> Mesh:
    """Up to five axes, with so many ranks that nothing could enumerate them all in a test."""
    sizes: list[int] = []
    for _ in range(draw(st.integers(1, 5))):
        sizes.append(draw(st.integers(1, max(1, min(3000, most // prod(sizes))))))
    return build_mesh(*draw(st.permutations(sizes)))


@st.composite
def draw_ranks(draw: st.DrawFn, most: int = 10**7) -> tuple[Mesh, int, tuple[str, ...]]:
    """A mesh, one of its ranks and a set of its axes."""
    mesh = draw(draw_meshes(most))
    chosen = tuple(name for name in mesh.names if draw(st.booleans()))
    return mesh, draw(st.integers(0, mesh.size - 1)), chosen


@given(draw_ranks())
def test_coordinates_round_trip(case: tuple[Mesh, int, tuple[str, ...]]) -> None:
    mesh, rank, _ = case
    coordinates = mesh.coordinates(rank)
    assert mesh.rank(coordinates) == rank
    assert all(0 <= coordinates[axis.name] < axis.size for axis in mesh.axes)
    assert sum(mesh.stride(name) * digit for name, digit in coordinates.items()) == rank


@given(draw_ranks())
def test_a_rank_stands_in_its_group_where_index_says(case: tuple[Mesh, int, tuple[str, ...]]) -> None:
    mesh, rank, axes = case
    group = mesh.group(rank, axes)
    assert len(group) == mesh.product(axes)
    assert group[mesh.index(rank, axes)] == rank
    assert group.position(rank) == mesh.index(rank, axes)


@given(draw_ranks(), st.integers(0, 10**9))
def test_peers_have_the_same_group_and_differ_on_its_axes_alone(
    case: tuple[Mesh, int, tuple[str, ...]], pick: int
) -> None:
    mesh, rank, axes = case
    group = mesh.group(rank, axes)
    peer = group[pick % len(group)]
    assert mesh.group(peer, axes) == group
    mine, theirs = mesh.coordinates(rank), mesh.coordinates(peer)
    assert all(mine[name] == theirs[name] for name in mesh.names if name not in axes)


@given(draw_ranks(), st.integers(0, 10**9))
def test_membership_is_exact(case: tuple[Mesh, int, tuple[str, ...]], pick: int) -> None:
    mesh, rank, axes = case
    other = pick % mesh.size
    group = mesh.group(rank, axes)
    same = mesh.group(other, axes) == group
    assert (other in group) == same
    if same:
        assert group[mesh.index(other, axes)] == other


@given(draw_ranks(), st.integers(0, 10**9))
def test_groups_are_as_many_as_partition_the_ranks(
    case: tuple[Mesh, int, tuple[str, ...]], pick: int
) -> None:
    """Every rank is in one group: counts multiply, and the i-th group is the group of its own members."""
    mesh, rank, axes = case
    groups = mesh.groups(axes)
    assert len(groups) * mesh.product(axes) == mesh.size
    others = [name for name in mesh.names if name not in axes]
    assert groups[mesh.index(rank, others)] == mesh.group(rank, axes)
    group = groups[pick % len(groups)]
    assert mesh.group(group[0], axes) == group


@given(draw_ranks(most=512))
def test_groups_partition_the_ranks_counted_out(case: tuple[Mesh, int, tuple[str, ...]]) -> None:
    mesh, _, axes = case
    groups = [list(group) for group in mesh.groups(axes)]
    assert sorted(rank for group in groups for rank in group) == list(range(mesh.size))
    assert all(group == sorted(group) for group in groups)
    assert [group[0] for group in groups] == sorted(group[0] for group in groups)


@given(draw_ranks(most=512), st.lists(st.integers(1, 12), min_size=1, max_size=3))
def test_span_is_never_less_than_counted_and_exact_where_levels_nest(
    case: tuple[Mesh, int, tuple[str, ...]], levels: list[int]
) -> None:
    mesh, _, axes = case
    units = [prod(levels[i:]) for i in range(len(levels))]
    counted = [max(len({rank // unit for rank in group}) for group in mesh.groups(axes)) for unit in units]
    for told, truth, unit in zip(mesh.count_units(axes, levels), counted, units, strict=True):
        near = [mesh.stride(axis) * mesh.axis(axis).size for axis in axes if mesh.stride(axis) < unit]
        exact = mesh.nests(unit) or unit % max(near, default=1) == 0
        assert told == truth if exact else told >= truth


def test_a_million_ranks_are_not_enumerated() -> None:
    mesh = build_mesh(1024, 32, 32)
    group = mesh.group(987_654, ("a",))
    assert list(islice(group, 3)) == [987_654 % 1024, 987_654 % 1024 + 1024, 987_654 % 1024 + 2048]
    assert len(mesh.groups(("b",))) == 1024 * 32


def test_the_seed_plan_as_audited() -> None:
    """facts audited by hand: an expert block is a node, its all-to-all spans all 8, and so on."""
    mesh = Mesh((Axis("ep", 8), Axis("pp", 4), Axis("tp", 4)))
    assert mesh.rank({"ep": 2, "pp": 1, "tp": 3}) == (2 * 4 + 1) * 4 + 3
    assert list(mesh.group(0, ("pp", "tp"))) == list(range(16))
    assert list(mesh.group(0, ("ep",))) == [0, 16, 32, 48, 64, 80, 96, 112]
    assert [list(group) for group in islice(mesh.groups(("pp",)), 2)] == [[0, 4, 8, 12], [1, 5, 9, 13]]
    assert (len(mesh.groups(("ep",))), len(mesh.groups(("pp",)))) == (16, 32)
    levels = (8, 16)
    assert mesh.count_units(("ep",), levels) == (1, 8)
    assert mesh.count_units(("pp", "tp"), levels) == (1, 1)
    assert mesh.count_units(("tp",), levels) == (1, 1)


@given(st.tuples(*[st.integers(1, 5)] * 3), st.integers(0, 7))
def test_megatron_core_rank_groups(sizes: tuple[int, int, int], chosen: int) -> None:
    """`generate_masked_orthogonal_rank_groups` in Megatron-Core's `megatron/core/parallel_state.py`.

    Its docstring, for the order tp-dp-pp (innermost first): global_rank = tp_rank + dp_rank * tp_size +
    pp_rank * tp_size * dp_size; the groups of some types are numbered by the coordinates of the others, and
    within each the ranks by their own, both with the first of the order running fastest.
    """
    tp, dp, pp = sizes
    order = {"tp": tp, "dp": dp, "pp": pp}
    masked = [name for bit, name in enumerate(order) if chosen >> bit & 1]
    rest = [name for name in order if name not in masked]

    def fastest_first(names: list[str]) -> list[dict[str, int]]:
        digits = product(*(range(order[name]) for name in reversed(names)))
        return [dict(zip(reversed(names), each, strict=True)) for each in digits]

    def global_rank(c: dict[str, int]) -> int:
        return c["tp"] + c["dp"] * tp + c["pp"] * tp * dp

    published = [
        [global_rank(outer | inner) for inner in fastest_first(masked)] for outer in fastest_first(rest)
    ]
    mesh = Mesh((Axis("pp", pp), Axis("dp", dp), Axis("tp", tp)))
    assert [list(group) for group in mesh.groups(masked)] == published


def test_megatron_core_example_of_16_devices() -> None:
    """The docstring of `initialize_model_parallel` (Megatron-Core): 16 devices, tensor 2, pipeline 4."""
    mesh = Mesh((Axis("pp", 4), Axis("dp", 2), Axis("tp", 2)))
    tensor = [list(group) for group in mesh.groups(("tp",))]
    data = [list(group) for group in mesh.groups(("dp",))]
    pipeline = [list(group) for group in mesh.groups(("pp",))]
    assert tensor == [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9], [10, 11], [12, 13], [14, 15]]
    assert data == [[0, 2], [1, 3], [4, 6], [5, 7], [8, 10], [9, 11], [12, 14], [13, 15]]
    assert pipeline == [[0, 4, 8, 12], [1, 5, 9, 13], [2, 6, 10, 14], [3, 7, 11, 15]]


@given(st.tuples(*[st.integers(1, 4)] * 4), st.data())
def test_torchtitan_device_mesh(sizes: tuple[int, int, int, int], data: st.DataObject) -> None:
    """`ParallelDims` in torchtitan's `torchtitan/distributed/parallel_dims.py`.

    It hands the dims pp, dp_replicate, dp_shard, (cp,) tp in this order to torch's `init_device_mesh`, which
    lays out `arange(world).view(sizes)`.
    """
    names = ("pp", "dp_replicate", "dp_shard", "tp")
    mesh = Mesh(tuple(Axis(name, size) for name, size in zip(names, sizes, strict=True)))
    row_major = {place: rank for rank, place in enumerate(product(*map(range, sizes)))}
    rank = data.draw(st.integers(0, mesh.size - 1))
    place = tuple(mesh.coordinates(rank).values())
    assert row_major[place] == rank
    for dim, name in enumerate(names):  # a submesh of one dim is the line through the rank
        line = [row_major[*place[:dim], i, *place[dim + 1 :]] for i in range(sizes[dim])]
        assert list(mesh.group(rank, (name,))) == line
    flattened = [
        row_major[place[0], i, j, place[3]] for i, j in product(range(sizes[1]), range(sizes[2]))
    ]  # mesh["dp_replicate", "dp_shard"]._flatten("dp")
    assert list(mesh.group(rank, ("dp_replicate", "dp_shard"))) == flattened


@given(st.integers(0, 100), st.lists(st.integers(1, 6), min_size=1, max_size=4))
def test_a_lattice_is_its_members_in_order(base: int, sizes: list[int]) -> None:
    digits = [(size, prod(sizes[i + 1 :]) * 2) for i, size in enumerate(sizes)]
    lattice = Lattice(base, digits)
    members = list(lattice)
    assert members == sorted(set(members))
    assert [lattice.position(value) for value in members] == list(range(len(lattice)))
    assert all(value not in lattice for value in range(base - 3, members[-1] + 3) if value not in members)


def test_places_that_do_not_exist_are_refused() -> None:
    mesh = build_mesh(2, 3)
    with pytest.raises(IndexError):
        mesh.coordinates(6)
    with pytest.raises(IndexError):
        mesh.rank({"b": 3})
    with pytest.raises(IndexError):
        mesh.group(0, ("b",))[3]
    with pytest.raises(KeyError):
        mesh.groups(("x",))


@given(draw_meshes(most=64))
def test_axes_of_one_rank_change_nothing(mesh: Mesh) -> None:
    assume(any(axis.size == 1 for axis in mesh.axes))
    without = Mesh(tuple(axis for axis in mesh.axes if axis.size > 1))
    assert mesh.size == without.size
    for name in without.names:
        assert mesh.stride(name) == without.stride(name)
