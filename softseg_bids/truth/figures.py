"""What a reader must see of a soft truth: each image with it, and how far the masks lay apart."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from softseg_bids.bids.dataset import Scan
from softseg_bids.core.cord import trace
from softseg_bids.image.grid import Grid, canonical, stored_slices
from softseg_bids.image.volume import DataError, read_series
from softseg_bids.pages.figures import montage
from softseg_bids.pages.layers import Layers
from softseg_bids.pages.marks import SliceNote
from softseg_bids.pages.truth import Offsets
from softseg_bids.truth.geometry import Given
from softseg_bids.truth.session import Truth


def draw(path: Path, scan: Scan, given: Given, truth: Truth) -> Layers | None:
    """Axial tiles with the soft truth; slices are numbered as stored. None if it is too short."""
    try:
        series = read_series(scan.paths[0])
    except DataError:
        return None
    combined = series.array.mean(axis=-1)
    image, grid = canonical(combined, series.grid)
    line = trace(truth.soft, grid.spacing_mm)
    if line is None:
        return None
    pixel = float(grid.spacing_mm[:2].prod())
    shown = np.flatnonzero(truth.labelled)
    numbers = stored_slices(shown, series.grid)
    notes = {
        int(index): SliceNote(int(number), area_mm2=float(truth.soft[:, :, index].sum(dtype=float)) * pixel)
        for index, number in zip(shown, numbers, strict=True)
    }
    return montage(path, np.asarray(image, dtype=np.float32), truth.soft, grid.spacing_mm, line, notes)


def offsets(found: Sequence[tuple[str, Truth]], grids: Sequence[Grid]) -> Sequence[Offsets]:
    """The distance of every slice of every contrast from the session's centreline, by scanner height."""
    curves = []
    for (contrast, truth), grid in zip(found, grids, strict=True):
        index = np.zeros((len(truth.distance_mm), 3))
        index[:, 2] = np.arange(len(truth.distance_mm))
        index[:, :2] = 0.5 * (np.asarray(grid.shape[:2]) - 1)
        height = grid.to_world(index)[:, 2]
        curves.append(Offsets(contrast, height, truth.distance_mm, truth.labelled))
    return curves
