"""What participants left in OUT: the joined table of each session, and what its JSON says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from softseg_bids.bids import derivatives


def session_tables(out: Path, participant: str = "*") -> list[Path]:
    """The joined tables of sessions in OUT, of one participant or of all, sorted."""
    pattern = f"sub-{participant}"
    found = [
        *out.glob(f"{pattern}/anat/*_desc-session_morph.tsv"),
        *out.glob(f"{pattern}/ses-*/anat/*_desc-session_morph.tsv"),
    ]
    return sorted(found)


def session_facts(table: Path) -> dict[str, Any]:
    """What the JSON of a joined table says about its session."""
    facts: dict[str, Any] = json.loads(derivatives.sidecar(table).read_text())["Session"]
    return facts
