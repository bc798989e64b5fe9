"""What each session left: a small record in OUT, of which every run makes table and page anew.

A run may be of a few participants, and several may run at once: what they tell is of all sessions in OUT.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from softseg_bids.bids import derivatives
from softseg_bids.image.volume import DataError
from softseg_bids.pages.layers import Layers, layers_at
from softseg_bids.pages.truth import ContrastBlock, Offsets, SessionPart, TruthPage, truth_page

FIGURE = "softgt"
TABLE, PAGE = "group_softgt.tsv", "softgt.html"
DICTIONARY: dict[str, dict[str, Any]] = {
    "mask": {"Description": "The mask that was used"},
    "status": {
        "Description": "What became of it",
        "Levels": {
            "written": "a soft truth was written",
            "outlying": "lies elsewhere than the session's centreline: neither averaged nor written",
            "no_overlap": "shares no slice with another contrast: neither averaged nor written",
            "none": "no slice was left, or the mask cannot be used at all",
            "failed": "the session could not be averaged",
        },
    },
    "n_labelled": {"Description": "Slices with a soft truth"},
    "n_dropped": {"Description": "Slices of the mask left out: partial at an end, or cut by the border"},
    "n_rejected": {"Description": "Slices of the mask too far from the session's centreline"},
    "largest_distance_mm": {
        "Description": "Largest distance of a used slice's centre from it",
        "Units": "mm",
    },
    "fewest_contrasts": {"Description": "Smallest number of contrasts averaged in a labelled slice"},
    "most_contrasts": {"Description": "Largest number of contrasts averaged in a labelled slice"},
    "area_mask_mm2": {"Description": "Mean in-plane area of the mask in labelled slices", "Units": "mm^2"},
    "area_soft_mm2": {"Description": "Mean in-plane area of the soft truth there", "Units": "mm^2"},
    "reason": {"Description": "Why there is no truth, or what to look at"},
}


class Record(NamedTuple):
    """One session: its rows of the table, and its part of the page."""

    rows: list[dict[str, Any]]
    part: SessionPart


def place(out: Path, participant: str, session: str | None) -> Path:
    """Where a session's record lies: beside its figures."""
    return derivatives.session_figure(out, participant, session, FIGURE, ".json")


def write(path: Path, record: Record) -> None:
    """Write a record; figures are named relative to it."""
    part = record.part
    content = {
        "Rows": record.rows,
        "Session": part.label,
        "Error": part.error,
        "Notes": list(part.notes),
        "ToleranceMillimetres": part.tolerance_mm,
        "InPlane": part.in_plane,
        "Contrasts": [
            {
                "Contrast": block.contrast,
                "Source": block.source,
                "Status": block.status,
                "Reason": block.reason,
                "Facts": dict(block.facts),
                "Figure": block.figure.image.name if block.figure else None,
                "Labelled": block.labelled,
            }
            for block in part.blocks
        ],
        "Offsets": [
            {
                "Contrast": curve.contrast,
                "HeightMillimetres": _plain(curve.height_mm),
                "DistanceMillimetres": _plain(curve.distance_mm),
                "Labelled": [bool(value) for value in curve.labelled],
            }
            for curve in part.offsets or ()
        ],
    }
    derivatives.write_json(path, content)


def tell(out: Path, dataset: str, version: str) -> Path:
    """Write the table and the page of all sessions that have a record.

    Runs share no lock: each writes its records first, and looks again whether there are others after it
    has told. So the last to tell has told of all.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    DataError
        If a record is damaged.
    """
    page = out / PAGE
    columns = ["participant_id", "session_id", "contrast", "source_image", *DICTIONARY]
    told: Mapping[Path, bytes] | None = None
    while told != (now := _records(out)):
        told = None  # until all of it is written
        records = [_read(path, content) for path, content in now.items()]
        rows = [row for record in records for row in record.rows]
        derivatives.write_table(out / TABLE, rows, DICTIONARY, columns=columns)
        parts = [record.part for record in records]
        try:
            truth_page(TruthPage(dataset, version, parts), page)
        except FileNotFoundError:
            if _records(out) == now:
                raise
            continue  # another run is at one of these sessions: figures went after its record
        told = now
    return page


def _records(out: Path) -> dict[Path, bytes]:
    """The records in OUT, in the order of the table."""
    found = {}
    for path in sorted(out.glob(f"sub-*/figures/*_desc-session{FIGURE}_qc.json")):
        try:
            found[path] = path.read_bytes()
        except FileNotFoundError:  # another run is at this session
            continue
    return found


def _read(path: Path, content: bytes) -> Record:
    try:
        told = json.loads(content)
        blocks = [
            ContrastBlock(
                block["Contrast"],
                block["Source"],
                block["Status"],
                block["Reason"],
                block["Facts"],
                _layers(path, block["Figure"]),
                block["Labelled"],
            )
            for block in told["Contrasts"]
        ]
        curves = [
            Offsets(
                curve["Contrast"],
                np.array(curve["HeightMillimetres"], dtype=float),
                np.array(curve["DistanceMillimetres"], dtype=float),
                np.array(curve["Labelled"], dtype=bool),
            )
            for curve in told["Offsets"]
        ]
        part = SessionPart(
            told["Session"],
            told["Error"],
            blocks,
            curves,
            told["Notes"],
            told["ToleranceMillimetres"],
            told["InPlane"],
        )
        return Record(told["Rows"], part)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(f"{path}: cannot be used ({error}); remove it, and run its session again") from error


def _layers(record: Path, name: str | None) -> Layers | None:
    """The files of a figure, if they are all there."""
    if name is None:
        return None
    layers = layers_at(record.with_name(name))
    return layers if all(path.exists() for path in layers) else None


def _plain(values: NDArray[np.float64]) -> list[float | None]:
    """Numbers as JSON has them: it knows no NaN."""
    return [float(value) if np.isfinite(value) else None for value in values]
