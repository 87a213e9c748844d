"""The initial values of all parameters: draws, the draws of others, or values that are stored."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from parc.capture.model.recipes import InitialValue, Recipe, Unrecorded, derive_initial_value, find_draws
from parc.capture.model.recording import Recording
from parc.capture.model.tree import TensorSlot

STORED: Recipe = (("stored",),)
"""The initial value is no draw of the program: it is read from a file."""


@dataclass(frozen=True)
class InitialValues:
    """Recipes of all parameters by name; for those that are stored, also why."""

    recipes: dict[str, Recipe]
    unrecorded: dict[str, Unrecorded]


def find_initial_values(
    recording: Recording, parameters: Sequence[TensorSlot], stored: Sequence[TensorSlot]
) -> InitialValues:
    """Parameters that share random numbers share a draw, or are stored together, as with `stored` buffers."""
    found: dict[str, InitialValue] = {}
    unrecorded: dict[str, Unrecorded] = {}
    for place in parameters:
        try:
            found[place.name] = derive_initial_value(recording, place.tensor)
        except Unrecorded as reason:
            unrecorded[place.name] = reason
    for names in _group_by_draw(found):
        moved = [name for name in names if found[name].rearranged]
        if len(names) > 1 and moved:
            unrecorded |= {each: Unrecorded("shares its random numbers, in another order") for each in moved}
    needed = {
        draw
        for place in (*parameters, *stored)
        if place.is_buffer or place.name in unrecorded
        for draw in find_draws(recording, place.tensor)
    }
    for name, value in found.items():
        if value.draw in needed and name not in unrecorded:
            unrecorded[name] = Unrecorded("shares its random numbers with another tensor")
    drawn = {name: value for name, value in found.items() if name not in unrecorded}
    shared = {name: names[0] for names in _group_by_draw(drawn) if len(names) > 1 for name in names}
    named = {name: _name_draw(value, shared.get(name)) for name, value in drawn.items()}
    recipes = {place.name: named.get(place.name, STORED) for place in parameters}
    return InitialValues(recipes, unrecorded)


def _group_by_draw(found: Mapping[str, InitialValue]) -> list[list[str]]:
    names: dict[int, list[str]] = defaultdict(list)
    for name, value in found.items():
        if value.draw is not None:
            names[value.draw].append(name)
    return list(names.values())


def _name_draw(value: InitialValue, first: str | None) -> Recipe:
    """The recipe; of parameters that begin with the same random numbers, with the name of the first."""
    return value.recipe if first is None else (("draw_as", first), *value.recipe)
