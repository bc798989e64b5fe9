"""Tables as text, and their place in docs/benchmark.md: every part between markers of its own."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from bench.scores import Areas, Figure
from softseg_bids.image.volume import written_aside

PAGE = Path(__file__).parents[1] / "docs" / "benchmark.md"
VERDICT = {True: "yes", False: "**no**", None: ""}


def figure_table(figures: Sequence[Figure]) -> str:
    """Markdown: figure, wanted, reached, and whether that is enough."""
    rows = [(one.name, one.wanted, one.reached, VERDICT[one.passed]) for one in figures]
    return table(("figure", "wanted", "reached", "enough"), rows)


def group_table(name: str, rows: Sequence[tuple[str, int, float, Areas, float, int]]) -> str:
    """Markdown of a :func:`~bench.scores.breakdown`."""
    head = (name, "images", "Dice", "CSA bias", "median", "SD", "SD of slices", "missed slices", "strays")
    return table(
        head,
        [
            (
                value, n, f"{dice:.3f}", f"{found.bias:+.1f} %", f"{found.median:+.1f} %",
                f"{found.sd:.1f} %", f"{found.slice_sd:.1f} %", f"{missed:.1f} %", strays,
            )
            for value, n, dice, found, missed, strays in rows
        ],
    )  # fmt: skip


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Markdown; a value that is no number reads n/a."""
    lines = [head, ["---"] * len(head), *rows]
    text = "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)
    return re.sub(r"[+-]?\bnan\b( %)?", "n/a", text)


def replace_part(part: str, text: str, page: Path = PAGE) -> None:
    """Put a text between the markers of a part; other parts stay to the letter.

    Raises
    ------
    ValueError
        If the page lacks the markers.
    """
    begin, end = f"<!-- {part}:begin -->", f"<!-- {part}:end -->"
    old = page.read_text()
    if old.count(begin) != 1 or old.count(end) != 1:
        raise ValueError(
            f"{page}: has no single pair of markers {begin} and {end}; put them where the part belongs"
        )
    before, rest = old.split(begin)
    after = rest.split(end)[1]
    with written_aside(page) as aside:
        aside.write_text(f"{before}{begin}\n{text.strip()}\n{end}{after}")
