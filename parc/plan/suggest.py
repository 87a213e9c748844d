"""Spelling suggestions for unknown names."""

from __future__ import annotations

from collections.abc import Iterable

from parc.diagnostic import Fix
from parc.named_tuple import NamedTuple
from parc.source import Span
from parc.syntax import tree

MAX_LENGTH = 64  # of a compared word
SAFE_LENGTH = 4  # from this length on, a fix of one letter is safe


class Explanation(NamedTuple):
    """What an unknown key or block may mean. `meant`: the statement as its fix makes it."""

    help: str | None = None
    fix: Fix | None = None
    meant: tree.Assignment | tree.Block | None = None


def measure_distance(one: str, other: str) -> int:
    """The edit distance: insertions, deletions, replacements and swaps of neighbouring letters."""
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        before, last, row = row, before, [i]
        for j, against in enumerate(other, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != against))
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == against:
                cost = min(cost, last[j - 2] + 1)
            row.append(cost)
    return row[-1]


def _list_near(word: str, options: Iterable[str]) -> list[tuple[int, str]]:
    """The options that differ from `word` in at most a third of its letters, each with its edit distance."""
    word, most = word.lower()[:MAX_LENGTH], max(1, len(word) // 3)
    shortened = ((option.lower()[:MAX_LENGTH], option) for option in options)
    near = (
        (measure_distance(word, other), option)
        for other, option in shortened
        if abs(len(other) - len(word)) <= most  # the distance is not smaller
    )
    return [(distance, option) for distance, option in near if distance <= most]


def find_nearest(word: str, options: Iterable[str]) -> str | None:
    """The option with the least edit distance; None if none is close."""
    near = _list_near(word, options)
    ranked = ((distance, not option.startswith(word[:1]), option) for distance, option in near)
    best = min(ranked, default=None)
    return best[2] if best else None


def suggest_spelling(word: str, options: Iterable[str]) -> str | None:
    """Help for an unknown word: the nearest option, or all options if they are few."""
    options = sorted(options)
    meant = find_nearest(word, options)
    if meant:
        return f"did you mean `{meant}`?"
    if not options or len(options) > 20:
        return None
    return "available: " + ", ".join(f"`{option}`" for option in options)


def fix_spelling(span: Span, word: str, options: Iterable[str]) -> Fix | None:
    """A fix that replaces `word` at `span`, quoted or not, by the nearest option, if that is unique."""
    if len(word) > MAX_LENGTH:
        return None
    near = sorted(_list_near(word, {*options} - {word}))
    if not near or near[0][0] in [distance for distance, _ in near[1:2]]:
        return None
    if span.text not in (word, f'"{word}"'):
        return None
    distance, meant = near[0]
    instead = span.text.replace(word, meant)
    numbers = [
        [sign for sign in text if sign.isdigit()] for text in (word, meant)
    ]  # `h200` is no slip for `h100`
    safe = distance <= 1 and len(word) >= SAFE_LENGTH and numbers[0] == numbers[1]
    return Fix(f"write `{meant}`", ((span, instead),), safe=safe)


def fix_choice(span: Span, word: str, options: Iterable[str]) -> Fix | None:
    """As `fix_spelling`, for one of a few words: the option is written without quotes."""
    fix = fix_spelling(span, word, options)
    return fix and fix._replace(edits=tuple((span, text.strip('"')) for span, text in fix.edits))
