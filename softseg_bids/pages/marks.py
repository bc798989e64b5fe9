"""What is written on the figures of one image: slice numbers, levels, areas, flags, disc points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from softseg_bids.core.quality import NO_LEVEL, PARTIAL_END
from softseg_bids.pages.canvas import FAINT, HALO, INK, MARK, TEXT_SIZE, Box, write

Floats = NDArray[np.float64]

LONGEST_NOTE = 24
# What every image has and nobody need look at: the ends of a slab, and slices beyond the labelled discs.
EXPECTED = frozenset({PARTIAL_END, NO_LEVEL})
# Slice numbers beside a sagittal view stay this many pixels apart.
NUMBER_DISTANCE = 34


class SliceNote(NamedTuple):
    """What a tile says about its slice.

    Attributes
    ----------
    number : int
        The slice's number as in the per-slice table.
    level : str
        Vertebral level (``C3``), empty if unknown.
    area_mm2 : float or None
        CSA from the soft mask.
    flags : sequence of str
        All of the slice's flags.
    """

    number: int
    level: str = ""
    area_mm2: float | None = None
    flags: Sequence[str] = ()

    @property
    def doubts(self) -> list[str]:
        """Flags that are reasons to look twice; a slice with one is framed."""
        return [flag for flag in self.flags if flag not in EXPECTED]


def label_tile(axes: Axes, box: Box, note: SliceNote) -> None:
    """Number, level and area above a tile; a frame and the reasons on it if there are doubts.

    A partly filled end, which is in no mean, is only named; a slice beyond the levels has no level above it.
    """
    rows, columns = box
    left, right, top, bottom = columns.start, columns.stop, rows.start, rows.stop
    doubts = note.doubts
    colour = MARK if doubts else INK
    base = top - 6
    write(axes, left + 2, base, str(note.number), color=colour)
    write(axes, 0.5 * (left + right) - 12, base, note.level, color=colour, ha="center", weight="bold")
    if note.area_mm2 is not None and np.isfinite(note.area_mm2):
        write(axes, right - 2, base, f"{note.area_mm2:.1f} mm²", color=colour, ha="right")
    style = {"size": TEXT_SIZE - 1, "path_effects": HALO}
    if doubts:
        axes.add_patch(
            Rectangle((left, top), right - left, bottom - top, fill=False, edgecolor=MARK, linewidth=2.5)
        )
        text = ", ".join(doubts)
        text = text if len(text) <= LONGEST_NOTE else text[: LONGEST_NOTE - 1] + "…"
        write(axes, left + 7, bottom - 7, f"! {text}", color=MARK, **style)
    elif PARTIAL_END in note.flags:
        write(axes, left + 7, bottom - 7, PARTIAL_END, color=FAINT, **style)


def label_slices(axes: Axes, box: Box, heights: Mapping[int, float], notes: Mapping[int, SliceNote]) -> None:
    """Numbers of some slices at the left of a sagittal view, levels and doubts at its right.

    ``heights``: pixel row of each slice by canonical index, from the head downwards.
    """
    left, right = box[1].start, box[1].stop
    last = -np.inf
    for index, row in heights.items():
        note = notes.get(index, SliceNote(index))
        if row - last >= NUMBER_DISTANCE:
            style = {"ha": "right", "va": "center", "color": FAINT, "size": TEXT_SIZE - 1}
            write(axes, left - 8, row, str(note.number), **style)
            axes.plot([left - 5, left - 1], [row, row], color=FAINT, linewidth=1)
            last = row
        if note.doubts:
            axes.plot([right + 2, right + 10], [row, row], color=MARK, linewidth=2, solid_capstyle="butt")
    for level, rows in _rows_of_levels(heights, notes).items():
        write(axes, right + 16, float(np.mean(rows)), level, va="center", weight="bold", size=TEXT_SIZE - 1)


def _rows_of_levels(heights: Mapping[int, float], notes: Mapping[int, SliceNote]) -> dict[str, list[float]]:
    rows: dict[str, list[float]] = {}
    for index, row in heights.items():
        if index in notes and notes[index].level:
            rows.setdefault(notes[index].level, []).append(row)
    return rows


def mark_disc(axes: Axes, box: Box, at: Floats, name: str) -> None:
    """A cross at a pixel (column, row) with a name before it; nothing if it lies outside the box."""
    column, row = float(at[0]), float(at[1])
    if not (box[1].start <= column <= box[1].stop and box[0].start <= row <= box[0].stop):
        return
    axes.plot(column, row, marker="+", color=INK, markersize=9, markeredgewidth=1.6, path_effects=HALO)
    write(axes, column - 9, row, name, ha="right", va="center", size=TEXT_SIZE - 1, path_effects=HALO)
