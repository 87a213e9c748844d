"""The layout algebra: named axes, ranks, groups, and the units of the cluster that groups touch.

A rank is the mixed-radix number of its coordinates, outermost axis first, so the last axis varies fastest:
on `[ep: 8, pp: 4, tp: 4]`, rank = (ep * 4 + pp) * 4 + tp. All results are integer arithmetic over the axes;
ranks are enumerated only by iteration.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from math import prod

from parc.named_tuple import NamedTuple
from parc.record import dataclass


class Axis(NamedTuple):
    name: str
    size: int


class GroupSizes(dict[str, int]):
    """The size of each axis of a mesh; and that of a group over several axes, by its name: `dp+tp`."""

    def __missing__(self, group: str) -> int:
        axes = split_group_name(group)
        if len(axes) == 1:
            raise KeyError(group)
        return prod(self[axis] for axis in axes)


def split_group_name(group: str) -> tuple[str, ...]:
    """The axes of a group: `dp+tp` is one over `dp` and `tp`, `dp` one over that axis alone."""
    return tuple(group.split("+"))


def identify_group(group: str) -> str:
    """The name of a group in an emitted program, an identifier: `dp_tp` for `dp+tp`."""
    return group.replace("+", "_")


class Lattice:
    """The integers `base + sum(c_i * stride_i)` with `0 <= c_i < size_i`, in ascending order.

    Strides decrease and nest: each stride is at least the extent of the digits after it.
    """

    __slots__ = ("base", "digits", "size")

    def __init__(self, base: int, digits: Iterable[tuple[int, int]]) -> None:
        """`digits` holds (size, stride) of each axis, outermost first."""
        self.base = base
        self.digits = tuple(digits)
        self.size = prod(size for size, _ in self.digits)

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> int:
        if not -self.size <= index < self.size:
            raise IndexError(index)
        index %= self.size
        value = self.base
        for size, stride in reversed(self.digits):
            index, digit = divmod(index, size)
            value += digit * stride
        return value

    def __iter__(self) -> Iterator[int]:
        return map(self.__getitem__, range(self.size))

    def position(self, value: int) -> int | None:
        """The index of `value` among the members; None if it is not a member."""
        rest, index = value - self.base, 0
        if rest < 0:
            return None
        for size, stride in self.digits:
            digit = min(rest // stride, size - 1)
            rest -= digit * stride
            index = index * size + digit
        return None if rest else index

    def __contains__(self, value: object) -> bool:
        return isinstance(value, int) and self.position(value) is not None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Lattice) and (self.base, self.digits) == (other.base, other.digits)

    def __hash__(self) -> int:
        return hash((self.base, self.digits))

    def __repr__(self) -> str:
        shown = ", ".join(str(self[i]) for i in range(min(self.size, 8)))
        return f"Lattice({shown}{', ..' if self.size > 8 else ''})"


@dataclass(frozen=True, slots=True)
class Groups:
    """All groups over a set of axes, ordered by their first ranks."""

    first: Lattice  # the first rank of each group
    digits: tuple[tuple[int, int], ...]

    def __len__(self) -> int:
        return self.first.size

    def __getitem__(self, index: int) -> Lattice:
        return Lattice(self.first[index], self.digits)

    def __iter__(self) -> Iterator[Lattice]:
        return map(self.__getitem__, range(len(self)))


@dataclass(frozen=True, slots=True)
class Mesh:
    """Named axes, outermost first."""

    axes: tuple[Axis, ...]

    @property
    def size(self) -> int:
        """The number of ranks."""
        return prod(axis.size for axis in self.axes)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(axis.name for axis in self.axes)

    @property
    def sizes(self) -> GroupSizes:
        """The sizes of the axes, outermost first."""
        return GroupSizes(self.axes)

    def name_group(self, names: Collection[str]) -> str:
        """The name of the groups over the axes `names`, in the order of the mesh, without those of one rank.

        Of axes that all have one rank, the first stands for the group.
        """
        axes = [axis for axis in self.axes if axis.name in names]
        return "+".join(axis.name for axis in axes if axis.size > 1) or axes[0].name

    def axis(self, name: str) -> Axis:
        for axis in self.axes:
            if axis.name == name:
                return axis
        raise KeyError(name)

    def product(self, names: Iterable[str]) -> int:
        """The number of ranks in one group over the axes `names`."""
        return prod(self.axis(name).size for name in names)

    def stride(self, name: str) -> int:
        """The difference in rank between two neighbours on the axis."""
        stride = 1
        for axis in reversed(self.axes):
            if axis.name == name:
                return stride
            stride *= axis.size
        raise KeyError(name)

    def coordinates(self, rank: int) -> dict[str, int]:
        """The rank's coordinate on each axis, outermost first."""
        if not 0 <= rank < self.size:
            raise IndexError(rank)
        digits: list[tuple[str, int]] = []
        for axis in reversed(self.axes):
            rank, digit = divmod(rank, axis.size)
            digits.append((axis.name, digit))
        return dict(reversed(digits))

    def rank(self, coordinates: Mapping[str, int]) -> int:
        """The rank at `coordinates`; axes that are left out have coordinate 0."""
        rank = 0
        for axis in self.axes:
            digit = coordinates.get(axis.name, 0)
            if not 0 <= digit < axis.size:
                raise IndexError(f"{axis.name}: {digit}")
            rank = rank * axis.size + digit
        return rank

    def format_rank(self) -> str:
        """A rank as a formula of its coordinates: `(ep * 4 + pp) * 4 + tp`."""
        if not self.axes:
            return "0"
        text = self.axes[0].name
        for index, axis in enumerate(self.axes[1:]):
            text = f"({text})" if index else text
            text = f"{text} * {axis.size} + {axis.name}"
        return text

    def group(self, rank: int, names: Collection[str]) -> Lattice:
        """The ranks that differ from `rank` only on the axes `names`, in rank order."""
        coordinates = self.coordinates(rank)
        inside = self._get_digits(names)
        base = rank - sum(coordinates[name] * self.stride(name) for name in names)
        return Lattice(base, inside)

    def groups(self, names: Collection[str]) -> Groups:
        """All groups over the axes `names`; they partition the ranks."""
        others = [name for name in self.names if name not in names]
        return Groups(Lattice(0, self._get_digits(others)), self._get_digits(names))

    def index(self, rank: int, names: Collection[str]) -> int:
        """The position of the rank in its group over the axes `names`."""
        coordinates = self.coordinates(rank)
        index = 0
        for axis in self.axes:
            if axis.name in names:
                index = index * axis.size + coordinates[axis.name]
        return index

    def count_units(self, names: Collection[str], levels: Iterable[int]) -> tuple[int, ...]:
        """The number of units of each level that one group over `names` touches.

        `levels` are the sizes of a cluster, outermost first: in `[8, 16]` the first unit is the whole cluster
        of 128 devices, the second a node of 16. Rank r is on device r. The result is exact if units and mesh
        nest, or if the blocks inside the groups divide a unit; otherwise it is an upper bound.
        """
        digits, unit, found = self._get_digits(names), 1, []
        for size in reversed(tuple(levels)):
            unit *= size
            found.append(self._count_touched(digits, unit))
        return tuple(reversed(found))

    def nests(self, unit: int) -> bool:
        """Whether units of `unit` ranks divide the mesh along its axes."""
        strides = [self.stride(name) for name in self.names] + [self.size]
        return all(unit % stride == 0 or stride % unit == 0 for stride in strides)

    def _count_touched(self, digits: tuple[tuple[int, int], ...], unit: int) -> int:
        """How many units of `unit` ranks one group touches."""
        far, near = 1, 1  # members outside the unit of the first member, and inside of it
        reach, block = 1, 1  # ranks from the first to the last of the near members; what they are aligned to
        for size, stride in digits:
            if stride >= unit:
                far *= size
            else:
                near *= size
                reach += (size - 1) * stride
                block = max(block, size * stride)
        if unit % block == 0:  # blocks are aligned, so none straddles two units
            return far
        whole = -(-reach // unit)
        # A run that starts inside a unit may touch one more unit.
        return far * (whole if self.nests(unit) else min(near, (reach - 2) // unit + 2))

    def _get_digits(self, names: Collection[str]) -> tuple[tuple[int, int], ...]:
        """(size, stride) of each of the axes `names`, outermost first.

        Raises:
            KeyError: the mesh has no such axis.
        """
        found: list[tuple[int, int]] = []
        stride = 1
        for axis in reversed(self.axes):
            if axis.name in names:
                found.append((axis.size, stride))
            stride *= axis.size
        if len(found) < len(names):
            for name in names:
                self.axis(name)  # raises KeyError for an unknown one
        found.reverse()
        return tuple(found)
