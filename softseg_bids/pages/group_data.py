"""Tables as the group's page carries them: columns, packed as JSON that no name can break out of."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

MISSING = frozenset({"", "n/a"})
# Labels, hashes and versions may look like numbers; nobody computes with them.
NAMES = frozenset({
    "participant_id", "session_id", "person_id", "run", "acq", "ce", "rec", "contrast", "region", "site",
    "scanner", "software", "model_hash", "version", "group", "versus", "batch", "source_image", "input",
    "baseline_session",
})  # fmt: skip
# As JSON writes them: 007 is a name.
NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?")
# Text that would end the script element, open a comment in it, or a line in old JavaScript.
UNSAFE = {character: f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"}


def embedded(content: Any) -> str:
    """JSON that may stand in a ``<script>`` element whatever texts it holds.

    Raises
    ------
    ValueError
        If it holds NaN or an infinity, which JSON has no word for.
    """
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return re.sub("[<>&\u2028\u2029]", lambda found: UNSAFE[found.group()], text)


def packed(name: str, cells: Sequence[str | None]) -> dict[str, Any]:
    """One column: ``{"n": numbers}``, or ``{"s": distinct texts, "i": index of each}``.

    Missing is null, or -1.

    Parameters
    ----------
    name : str
        Columns of `NAMES` stay text.
    cells : sequence of str or None
        As in the TSV; ``n/a`` and empty cells are missing.
    """
    distinct = dict.fromkeys(cells)
    present = [cell for cell in distinct if cell is not None and cell not in MISSING]
    if name not in NAMES and present and all(NUMBER.fullmatch(cell) for cell in present):
        values = {cell: json.loads(cell) for cell in present}
        return {"n": [values.get(cell) if cell is not None else None for cell in cells]}
    places = {cell: place for place, cell in enumerate(present)}
    return {"s": present, "i": [places.get(cell, -1) if cell is not None else -1 for cell in cells]}


def packed_rows(
    rows: Sequence[Mapping[str, str | None]], columns: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Rows of a table as packed columns; a column that a row lacks is missing there."""
    return {name: packed(name, [row.get(name) for row in rows]) for name in columns}
