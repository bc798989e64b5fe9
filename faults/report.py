"""docs/reliability.md: what was injected, how, and what became of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from faults.lab import Outcome

TEMPLATE = Path(__file__).with_name("reliability.md")


def write_report(path: Path, outcomes: Sequence[Outcome], seed: int) -> None:
    """Write the table; the same outcomes give the same bytes."""
    rows = [
        f"| {it.fault} | {it.injected or '–'} | {it.survived if it.injected else '–'} | {it.spoiled} |"
        for it in outcomes
    ]
    total, harm = sum(it.injected for it in outcomes), sum(it.spoiled for it in outcomes)
    table = [
        "| fault | injected | survived | lost |",
        "|---|---:|---:|---:|",
        *rows,
        f"| **all** | **{total}** | **{total - harm}** | **{harm}** |",
    ]
    how = [
        f"- **{it.fault}**: {it.how}." + (f" Not injected here: {it.skipped}." if it.skipped else "")
        for it in outcomes
    ]
    if harm:
        how += ["", "## What went wrong", "", *[f"- {problem}" for it in outcomes for problem in it.problems]]
    text = TEMPLATE.read_text(encoding="utf-8")
    parts = {"TABLE": "\n".join(table), "SEED": str(seed), "HOW": "\n".join(how)}
    for name, part in parts.items():
        text = text.replace(f"{{{name}}}", part)
    path.write_text(text, encoding="utf-8")
