"""The full plan of a run as a table: every input, chosen or left out, and why."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from softseg_bids.bids.dataset import LeftOut, Scan

PLAN_COLUMNS = ("file", "status", "contrast", "combine", "discs", "corrected", "reason")


def plan(root: Path, scans: Iterable[Scan], left_out: Iterable[LeftOut]) -> list[dict[str, str]]:
    """Rows for ``--dry-run``, one a file, in the order of the files.

    ``file`` is a path from the dataset's root; ``status`` is ``chosen`` or ``left out``;
    ``combine`` says how several volumes become one image; ``discs`` (with a file of the junction) and
    ``corrected`` name the label files found; ``reason`` is given for what is left out.
    """
    rows = [row for scan in scans for row in _scan_rows(root, scan)]
    rows += [_left_out_row(root, entry) for entry in left_out]
    return sorted(rows, key=lambda row: row["file"])


def _scan_rows(root: Path, scan: Scan) -> list[dict[str, str]]:
    how = f"{len(scan.paths)} echoes" if len(scan.paths) > 1 else scan.combine
    shared = {
        "status": "chosen",
        "contrast": scan.contrast,
        "combine": how,
        "discs": ", ".join(_shown(root, path) for path in scan.label_files),
        "corrected": _shown(root, scan.corrected),
        "reason": "",
    }
    return [{"file": _shown(root, path), **shared} for path in scan.paths]


def _left_out_row(root: Path, entry: LeftOut) -> dict[str, str]:
    empty = dict.fromkeys(PLAN_COLUMNS, "")
    return {**empty, "file": _shown(root, entry.path), "status": "left out", "reason": entry.reason}


def _shown(root: Path, path: Path | None) -> str:
    if path is None:
        return ""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
