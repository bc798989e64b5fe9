"""What participants left in OUT: the joined table of each session, and what its JSON says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from softseg_bids.bids import derivatives
from softseg_bids.image.volume import DataError


def session_tables(out: Path, participant: str = "*") -> list[Path]:
    """The joined tables of sessions in OUT, of one participant or of all, sorted."""
    pattern = f"sub-{participant}"
    found = [
        *out.glob(f"{pattern}/anat/*_desc-session_morph.tsv"),
        *out.glob(f"{pattern}/ses-*/anat/*_desc-session_morph.tsv"),
    ]
    return sorted(found)


def session_facts(table: Path) -> dict[str, Any]:
    """What the JSON of a joined table says about its session.

    Raises
    ------
    DataError
        If it is not there, or says nothing about it.
    """
    path = derivatives.sidecar(table)
    try:
        facts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["Session"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(
            f"{path}: cannot be used ({error}); run the participant level again for its participant"
        ) from error
    return facts
