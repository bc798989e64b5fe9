"""What the group's tables say was done, for the methods text: only rows that carry a number count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from math import isfinite

from softseg_bids.pages.methods import Trace

Row = Mapping[str, str | None]
# The column without which a row says why there is nothing; of the other tables, `estimate`.
NUMBERS = {
    "norms": "z", "change": "change_mm2", "compression": "min_area_mm2", "compression_sites": "min_area_mm2",
    "profile": "mean_mm2", "variability": "sd_mm2",
}  # fmt: skip
# Tables without statistics have something else that tells their rows apart.
KINDS = {"change": "alignment", "compression_sites": "site_source"}
REFUSED = "refused"


def trace_of(name: str, rows: Sequence[Row]) -> Trace | None:
    """What a table says was done; None if none of its rows carries a number.

    Parameters
    ----------
    name : str
        ``contrasts`` is ``group_contrasts.tsv``.
    rows : sequence of mapping
        As read from it; None where a value is missing.
    """
    number, kind = NUMBERS.get(name, "estimate"), KINDS.get(name, "statistic")
    if rows and number not in rows[0]:
        return Trace()
    found = [row for row in rows if _is_number(row[number])]
    if not found:
        return None
    refused = {REFUSED} if any(row.get(kind) == REFUSED for row in rows) else set()
    return Trace(
        frozenset(_distinct(found, kind)) | refused, _distinct(found, "method"), _distinct(found, "formula")
    )


def _is_number(cell: str | None) -> bool:
    return cell is not None and isfinite(float(cell))


def _distinct(rows: Sequence[Row], column: str) -> tuple[str, ...]:
    """What stands in a column, most frequent first."""
    counts = Counter(cell for row in rows if (cell := row.get(column)) is not None)
    return tuple(cell for cell, _ in counts.most_common())
