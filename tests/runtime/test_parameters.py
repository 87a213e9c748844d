"""Parameters: what cannot be sharded is refused, what is made says how its gradient is summed."""

from __future__ import annotations

from typing import Any

import torch

from parc.runtime.layout import Layout
from parc.runtime.parameters import local_slices, parameter, sharded_axes

ZERO = (("zero_",),)


def test_local_shape_slices_and_declared_facts(ranks) -> None:
    def facts() -> tuple[Any, ...]:
        mesh = Layout.build({"ep": 2, "tp": 2}).mesh
        made: Any = parameter(mesh, (4, 6), {"ep": 0, "tp": 1}, init=ZERO, experts=True, reduce=("tp",))
        places = [(part.start, part.stop) for part in local_slices(made)]
        return tuple(made.shape), tuple(made.to_local().shape), places, made.init, made.experts, made.reduce

    on_ranks = ranks(4, facts)
    assert [places for _, _, places, *_ in on_ranks] == [
        [(0, 2), (0, 3)],
        [(0, 2), (3, 6)],
        [(2, 4), (0, 3)],
        [(2, 4), (3, 6)],
    ]
    for shape, local, _, *declared in on_ranks:
        assert (shape, local, declared) == ((4, 6), (2, 3), [ZERO, True, ("tp",)])


def test_what_does_not_divide_or_names_no_axis_is_refused(ranks) -> None:
    def message(sharded: dict[str, int | tuple[int, int]], reduce: tuple[str, ...]) -> str:
        try:
            parameter(Layout.build({"tp": 2}).mesh, (5, 4), sharded, init=ZERO, reduce=reduce)
        except ValueError as error:
            return str(error)
        return ""

    assert (
        ranks(2, message, {"tp": 0}, ())[0] == "dim 0 of (5, 4) does not divide over the 2 ranks of axis 'tp'"
    )
    assert ranks(2, message, {"tp": (1, 4)}, ())[0].startswith("each of 4 blocks of dim 1 of (5, 4) does not")
    assert "no axis 'ep'" in ranks(2, message, {"ep": 1}, ())[0]
    assert "no axis 'dp'" in ranks(2, message, {"tp": 1}, ("dp",))[0]


def test_type_and_device_follow_torchs_defaults(ranks) -> None:
    def made() -> tuple[Any, ...]:
        mesh = Layout.build({"tp": 2}).mesh
        torch.set_default_dtype(torch.float64)
        with torch.device("meta"):
            on_meta: Any = parameter(mesh, (1 << 20, 1 << 20), {"tp": 0}, init=ZERO)
        real: Any = parameter(mesh, (4,), {"tp": 0}, init=ZERO)
        return on_meta.to_local().device.type, real.to_local().device.type, real.dtype, sharded_axes(real)

    assert ranks(2, made)[0] == ("meta", "cpu", torch.float64, ("tp",))
