"""Did you mean .."""

from __future__ import annotations

from collections.abc import Iterable

from parc.diagnostic import Fix
from parc.source import Span

LONGEST = 64  # letters of a word that are compared
CERTAIN = 4  # letters of a word from which on one wrong letter leaves no doubt


def distance(one: str, other: str) -> int:
    """Insertions, deletions, replacements and swaps of neighbours that turn one word into the other."""
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


def nearest(word: str, options: Iterable[str]) -> str | None:
    """The option that was most likely meant; None where none is near."""
    lowered = word.lower()[:LONGEST]
    near = [
        (distance(lowered, option.lower()[:LONGEST]), not option.startswith(word[:1]), option)
        for option in options
    ]
    best = min(near, default=None)
    return best[2] if best and best[0] <= max(1, len(word) // 3) else None


def did_you_mean(word: str, options: Iterable[str]) -> str | None:
    """The help of an unknown word: the nearest option, or else all of them where they are few."""
    options = sorted(options)
    meant = nearest(word, options)
    if meant:
        return f"did you mean `{meant}`?"
    if not options or len(options) > 20:
        return None
    return "known here: " + ", ".join(f"`{option}`" for option in options)


def respelling(span: Span, word: str, options: Iterable[str]) -> Fix | None:
    """Write the only option that is near to `word`, which stands at `span`, in quotes or not."""
    if len(word) > LONGEST:
        return None
    near = sorted(
        (distance(word.lower(), option.lower()), option) for option in set(options) if option != word
    )
    if not near or nearest(word, [near[0][1]]) is None or near[0][0] in [steps for steps, _ in near[1:2]]:
        return None
    if span.text not in (word, f'"{word}"'):
        return None
    steps, meant = near[0]
    instead = span.text.replace(word, meant)
    return Fix(f"write `{meant}`", ((span, instead),), safe=steps <= 1 and len(word) >= CERTAIN)
