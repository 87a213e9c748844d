"""Places in three encodings; those that do not exist."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parc.lsp.document.positions import (
    Encoding,
    find_offset,
    find_position,
    normalize_line_ends,
    replace_range,
)
from parc.source import Source

TEXT = "a\U0001d54ab\n\nö=1"  # a double-struck S has 2 units in UTF-16 and 4 in UTF-8, an ö 1 and 2
ENCODINGS: tuple[Encoding, ...] = ("utf-8", "utf-16", "utf-32")


@pytest.mark.parametrize(
    ("encoding", "places"),
    [
        ("utf-32", [(0, 0), (0, 1), (0, 2), (0, 3), (1, 0), (2, 0), (2, 1), (2, 2), (2, 3)]),
        ("utf-16", [(0, 0), (0, 1), (0, 3), (0, 4), (1, 0), (2, 0), (2, 1), (2, 2), (2, 3)]),
        ("utf-8", [(0, 0), (0, 1), (0, 5), (0, 6), (1, 0), (2, 0), (2, 2), (2, 3), (2, 4)]),
    ],
)
def test_places(encoding: Encoding, places: list[tuple[int, int]]) -> None:
    source = Source("a", TEXT)
    assert [find_position(source, at, encoding) for at in range(len(TEXT) + 1)] == places
    assert [find_offset(source, place, encoding) for place in places] == list(range(len(TEXT) + 1))


@pytest.mark.parametrize(
    ("place", "wanted"),
    [((0, 2), 1), ((0, 99), 3), ((1, 7), 4), ((99, 0), len(TEXT)), ((-1, 0), 0), ((0, -5), 0)],
)
def test_places_that_do_not_exist_are_moved(place: tuple[int, int], wanted: int) -> None:
    """The first is in the middle of a character."""
    assert find_offset(Source("a", TEXT), place, "utf-16") == wanted


@given(st.text(), st.sampled_from(ENCODINGS), st.integers(-2, 99), st.integers(-2, 99))
def test_any_place_is_some_place(text: str, encoding: Encoding, line: int, character: int) -> None:
    source = Source("a", normalize_line_ends(text))
    at = find_offset(source, (line, character), encoding)
    assert 0 <= at <= len(source.text)
    assert find_offset(source, find_position(source, at, encoding), encoding) == at


@given(st.text(alphabet="aö\U0001d54a\n"), st.data(), st.sampled_from(ENCODINGS))
def test_an_edit_puts_a_text_between_two_places(text: str, data: st.DataObject, encoding: Encoding) -> None:
    source = Source("a", text)
    start, end = sorted(data.draw(st.integers(0, len(text))) for _ in range(2))
    places = find_position(source, start, encoding), find_position(source, end, encoding)
    assert replace_range(source, *places, "new", encoding) == text[:start] + "new" + text[end:]
    assert replace_range(source, *reversed(places), "new", encoding) == text[:start] + "new" + text[end:]


def test_all_line_ends_are_one() -> None:
    assert normalize_line_ends("a\r\nb\rc\nd") == "a\nb\nc\nd"
