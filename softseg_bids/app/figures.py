"""The figures of a session: which arrays and notes go into them (how they look: `pages`)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from softseg_bids.app.alignment import Alignment
from softseg_bids.app.landmarks import disc_name
from softseg_bids.app.records import Record, load_soft, to_canonical
from softseg_bids.app.tables import SliceTable
from softseg_bids.bids.dataset import Scan
from softseg_bids.core.levels import LEVEL_NAMES, Region
from softseg_bids.image.volume import Volume
from softseg_bids.pages import curves, figures
from softseg_bids.pages.marks import SliceNote


def draw_image(
    record: Record, volume: Volume, alignment: Alignment | None, table: SliceTable | None
) -> list[str]:
    """Montage and sagittal view of an image, or its overview where no cord was found; the files written."""
    outputs = record.job.outputs
    array, grid = to_canonical(volume.array, volume.grid)
    if alignment is None or table is None:
        return [str(figures.overview(Path(outputs["overview"]), array, grid.spacing_mm))]
    soft, _ = to_canonical(load_soft(Path(record.soft)), volume.grid)
    notes = slice_notes(table)
    size_mm = np.asarray(grid.shape) * grid.spacing_mm
    line = record.centreline
    discs = {
        disc_name(value): grid.to_index(np.asarray(point)) * grid.spacing_mm
        for value, point in alignment.disc_points_mm.items()
    }
    inside = {name: point for name, point in discs.items() if (point > 0).all() and (point < size_mm).all()}
    montage = figures.montage(Path(outputs["montage"]), array, soft, grid.spacing_mm, line, notes)
    sagittal = figures.sagittal(Path(outputs["sagittal"]), array, soft, grid.spacing_mm, line, notes, inside)
    return [str(path) for path in (*montage, *sagittal)]


def slice_notes(table: SliceTable) -> dict[int, SliceNote]:
    """What the tile of each slice says."""
    levels = [LEVEL_NAMES.get(int(level), "") for level in np.nan_to_num(table.level)]
    areas = [float(area) if np.isfinite(area) else None for area in table.measures["area_mm2"]]
    said = zip(table.slices.tolist(), table.stored_slices.tolist(), levels, areas, table.flags, strict=True)
    return {index: SliceNote(number, level, area, tuple(flags)) for index, number, level, area, flags in said}


def draw_curves(
    path: Path, tables: Mapping[str, tuple[Scan, SliceTable]], rows: list[dict[str, Any]]
) -> None:
    """CSA of all images of a session over its axis.

    Parameters
    ----------
    path : Path
        The SVG.
    tables : mapping of str to (Scan, SliceTable)
        By image.
    rows : list of dict
        The session's long table, for the regions' extents.
    """
    drawn = [
        curves.Curve(
            scan.contrast,
            _label(scan),
            table.position_mm,
            table.measures["area_mm2"],
            table.measures["area_binary_mm2"],
            ~table.usable,
        )
        for scan, table in tables.values()
    ]
    regions = {
        row["region"]: Region(row["region"], row["start_mm"], row["end_mm"])
        for row in rows
        if row["region"] != "cord" and row["start_mm"] is not None
    }
    curves.draw(path, drawn, list(regions.values()))


def _label(scan: Scan) -> str:
    repeat = [f"{name}-{value}" for name in ("acq", "rec", "run") if (value := getattr(scan, name))]
    return " ".join([scan.contrast, *repeat])
