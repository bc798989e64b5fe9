"""Which slices the montage shows, and where their tiles lie."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from softseg_bids.pages.canvas import LEGEND_HEIGHT
from softseg_bids.pages.marks import SliceNote

TILE_MM = 30.0
PIXELS_PER_MM = 6.0
# Slices thinner than this are shown every STEP_MM.
THICK_SLICE_MM = 2.0
STEP_MM = 3.0
MOST_COLUMNS = 7
# Even a single tile leaves room for the legend below it.
FEWEST_COLUMNS = 4
LABEL_HEIGHT = 22
GAP = 6


def tile_slices(
    slices: NDArray[np.integer], spacing_z_mm: float, notes: Mapping[int, SliceNote]
) -> list[int]:
    """The canonical indices of the slices that get a tile, from the head downwards.

    Every slice if they are thick; of thin ones each 3 mm gives one: a slice with doubts if there
    is one, else the middle.
    """
    step = 1 if spacing_z_mm >= THICK_SLICE_MM else max(1, round(STEP_MM / spacing_z_mm))
    downwards = [int(index) for index in slices[::-1]]
    groups = [downwards[start : start + step] for start in range(0, len(downwards), step)]
    return [_spokesman(group, notes) for group in groups]


def _spokesman(group: list[int], notes: Mapping[int, SliceNote]) -> int:
    doubtful = [index for index in group if index in notes and notes[index].doubts]
    return doubtful[0] if doubtful else group[len(group) // 2]


class Layout(NamedTuple):
    """Places of ``n_tiles`` tiles in the montage, in pixels."""

    n_tiles: int

    @property
    def size(self) -> int:
        """Side of a tile."""
        return round(TILE_MM * PIXELS_PER_MM)

    @property
    def columns(self) -> int:
        """Tiles in a row."""
        return max(FEWEST_COLUMNS, min(MOST_COLUMNS, self.n_tiles))

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the figure."""
        rows = -(-self.n_tiles // self.columns)
        height = rows * (self.size + LABEL_HEIGHT + GAP) + GAP + LEGEND_HEIGHT
        return height, self.columns * (self.size + GAP) + GAP

    def box(self, place: int) -> tuple[slice, slice]:
        """Rows and columns of a tile."""
        row, column = divmod(place, self.columns)
        top = GAP + LABEL_HEIGHT + row * (self.size + LABEL_HEIGHT + GAP)
        left = GAP + column * (self.size + GAP)
        return slice(top, top + self.size), slice(left, left + self.size)
