"""Draws the loss of a run: `python benchmarks/picture.py runs/metrics.jsonl docs/quickstart.svg`.

The dashed lines are what a model pays that knows only how often each byte occurs, and 0.7 nats less.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from parc.runtime.data.datasets import ByteDataset, compute_unigram_entropy, find_files

WIDTH, HEIGHT = 720, 300
LEFT, RIGHT, TOP, BOTTOM = 52, 170, 24, 40
INK, FAINT, LINE = "#1f2328", "#8c959f", "#0969da"


def picture(losses: list[float], entropy: float) -> str:
    """`losses`: nats a byte, a step each -> an SVG document."""
    lowest, highest = int(min(losses)), int(max(losses)) + 1

    def x(step: float) -> float:
        return round(LEFT + (WIDTH - LEFT - RIGHT) * step / len(losses), 1)

    def y(loss: float) -> float:
        return round(TOP + (HEIGHT - TOP - BOTTOM) * (highest - loss) / (highest - lowest), 1)

    def text(at: tuple[float, float], words: str, anchor: str = "start", fill: str = INK) -> str:
        return f'<text x="{at[0]}" y="{at[1]}" text-anchor="{anchor}" fill="{fill}">{words}</text>'

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}">',
        "<style>text { font: 12px sans-serif }</style>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" rx="6" fill="#ffffff"/>',
    ]
    for loss in range(lowest, highest + 1):
        parts.append(f'<path d="M{LEFT} {y(loss)}H{WIDTH - RIGHT}" stroke="#eaeef2"/>')
        parts.append(text((LEFT - 8, y(loss) + 4), str(loss), "end", FAINT))
    ticks = range(0, len(losses) + 1, max(1, len(losses) // 6))
    parts += [text((x(step), HEIGHT - 20), str(step), "middle", FAINT) for step in ticks]
    parts.append(text((LEFT, 14), "loss, nats a byte", fill=FAINT))
    parts.append(text((x(len(losses) / 2), HEIGHT - 5), "step", "middle", FAINT))
    for level, words in ((entropy, "unigram entropy"), (entropy - 0.7, "0.7 nats below")):
        parts.append(
            f'<path d="M{LEFT} {y(level)}H{WIDTH - RIGHT}" stroke="{FAINT}" stroke-dasharray="4 4"/>'
        )
        parts.append(text((WIDTH - RIGHT + 8, y(level) + 4), f"{words}: {level:.2f}", fill=FAINT))
    path = "L".join(f"{x(step + 1)} {y(loss)}" for step, loss in enumerate(losses))
    parts.append(f'<path d="M{path}" fill="none" stroke="{LINE}" stroke-width="1.8"/>')
    parts.append(text((WIDTH - RIGHT + 8, y(losses[-1]) + 4), f"8 processes: {losses[-1]:.2f}", fill=LINE))
    return "\n".join([*parts, "</svg>", ""])


def main() -> None:
    metrics, out = map(Path, sys.argv[1:])
    losses = [json.loads(line)["loss"] for line in metrics.read_text().splitlines()]
    entropy = compute_unigram_entropy(ByteDataset(find_files(["stdlib:*.py"], Path())))
    out.write_text(picture(losses, entropy))


if __name__ == "__main__":
    main()
