"""docs/reliability.md: what was injected, how, and what became of it.

The page is written by hand but for what stands between its markers, ``<!-- injected:begin -->`` and
``end``, and likewise ``how``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from faults.lab import Outcome

PAGE = Path(__file__).parents[1] / "docs" / "reliability.md"


def write_report(path: Path, outcomes: Sequence[Outcome], seed: int) -> None:
    """Write the page with these outcomes; the same ones give the same bytes.

    Raises
    ------
    ValueError
        If the page has lost a marker.
    """
    text = PAGE.read_text(encoding="utf-8")
    for name, part in (("injected", _table(outcomes, seed)), ("how", _how(outcomes))):
        text = _replaced(text, name, part)
    path.write_text(text, encoding="utf-8")


def _table(outcomes: Sequence[Outcome], seed: int) -> list[str]:
    rows = [
        f"| {it.fault} | {it.injected or '–'} | {it.survived if it.injected else '–'} | {it.spoiled} |"
        for it in outcomes
    ]
    total, harm = sum(it.injected for it in outcomes), sum(it.spoiled for it in outcomes)
    return [
        "| fault | injected | survived | lost |",
        "|---|---:|---:|---:|",
        *rows,
        f"| **all** | **{total}** | **{total - harm}** | **{harm}** |",
        "",
        f"Seed {seed}.",
    ]


def _how(outcomes: Sequence[Outcome]) -> list[str]:
    lines = [
        f"- **{it.fault}**: {it.how}." + (f" Not injected here: {it.skipped}." if it.skipped else "")
        for it in outcomes
    ]
    problems = [f"- {problem}" for it in outcomes for problem in it.problems]
    return [*lines, "", "## What went wrong", "", *problems] if problems else lines


def _replaced(text: str, name: str, lines: Sequence[str]) -> str:
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    head, found, rest = text.partition(begin)
    _, closed, tail = rest.partition(end)
    if not (found and closed):
        raise ValueError(f"{PAGE}: has no {begin} or no {end}; put them back")
    return "\n".join([f"{head}{begin}", "", *lines, "", f"{end}{tail}"])
