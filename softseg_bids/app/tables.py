"""The per-slice table of one image, with its place along the cord, levels and flags."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softseg_bids.app.alignment import Alignment
from softseg_bids.app.columns import MEASURES
from softseg_bids.app.records import Record
from softseg_bids.core.cord import inspect_slices, measure_slices
from softseg_bids.core.levels import below_junction_mm, level_coordinate
from softseg_bids.core.quality import image_flags, in_means, slice_flags
from softseg_bids.core.uncertainty import AreaUncertainty, area_sd_mm2
from softseg_bids.image.grid import Array, Grid, line_world, stored_slices

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class SliceTable:
    """One entry a slice of the centreline, from the lowest up.

    Attributes
    ----------
    slices : ndarray of int
        Canonical slice indices.
    stored_slices : ndarray of int
        The same slices as a viewer counts them in the file.
    position_mm, level, pmj_mm : ndarray
        Along the session's axis; vertebral level as a coordinate, and distance below the pontomedullary
        junction, NaN where unknown.
    points_mm : ndarray, shape (n, 3)
        The centreline in scanner mm.
    measures : dict of ndarray
        As of `core.cord.measure_slices`.
    edited : ndarray of bool
        Slices changed by a correction.
    flags : list of list of str
        Of each slice; ``usable`` says which slices enter means.
    image_flags : list of str
        Of the whole image.
    area_sd_mm2 : ndarray
        Of the area's error as the model expects it; NaN where a person corrected the slice.
    usable : ndarray of bool
    spacing_mm : ndarray, shape (3,)
        Canonical voxel size.
    tilt_deg : float
        Mean angle between cord and slice normal.
    """

    slices: NDArray[np.intp]
    stored_slices: NDArray[np.intp]
    position_mm: Floats
    level: Floats
    pmj_mm: Floats
    points_mm: Floats
    measures: dict[str, Floats]
    edited: NDArray[np.bool_]
    flags: list[list[str]]
    image_flags: list[str]
    usable: NDArray[np.bool_]
    area_sd_mm2: Floats
    spacing_mm: Floats
    tilt_deg: float

    @property
    def starts_mm(self) -> Floats:
        """Upper end of each slice along the axis."""
        return np.asarray(self.position_mm - 0.5 * self.measures["length_mm"])

    @property
    def ends_mm(self) -> Floats:
        """Lower end of each slice along the axis."""
        return np.asarray(self.position_mm + 0.5 * self.measures["length_mm"])

    @property
    def whole_mm(self) -> tuple[float, float]:
        """The stretch of all slices, whether or not they enter means."""
        return float(self.starts_mm.min()), float(self.ends_mm.max())

    @property
    def extent_mm(self) -> tuple[float, float]:
        """The stretch of the slices that enter means (of all, if none does)."""
        if not self.usable.any():
            return self.whole_mm
        return float(self.starts_mm[self.usable].min()), float(self.ends_mm[self.usable].max())

    def rows(self) -> list[dict[str, Any]]:
        """Rows of the table in OUT, from the lowest slice up."""
        return [
            {
                "slice": int(self.stored_slices[n]),
                "position_mm": self.position_mm[n],
                "x_mm": self.points_mm[n, 0],
                "y_mm": self.points_mm[n, 1],
                "z_mm": self.points_mm[n, 2],
                "level": self.level[n],
                "pmj_mm": self.pmj_mm[n],
                **{name: self.measures[name][n] for name in (*MEASURES, "length_mm")},
                "area_sd_mm2": self.area_sd_mm2[n],
                "edited": bool(self.edited[n]),
                "flags": self.flags[n],
            }
            for n in range(len(self.slices))
        ]

    def as_json(self) -> dict[str, Any]:
        """The table as plain lists."""
        plain = {name: value.tolist() for name, value in vars(self).items() if isinstance(value, np.ndarray)}
        return plain | {
            "measures": {name: value.tolist() for name, value in self.measures.items()},
            "flags": self.flags,
            "image_flags": self.image_flags,
            "tilt_deg": self.tilt_deg,
        }

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> SliceTable:
        """A table from plain lists."""
        fields = dict(fields)
        for name in (
            "slices",
            "stored_slices",
            "position_mm",
            "level",
            "pmj_mm",
            "points_mm",
            "edited",
            "usable",
            "area_sd_mm2",
            "spacing_mm",
        ):
            fields[name] = np.asarray(fields[name])
        fields["measures"] = {name: np.asarray(value, float) for name, value in fields["measures"].items()}
        return cls(**fields)


def slice_table(soft: Array, stored: Grid, grid: Grid, record: Record, alignment: Alignment) -> SliceTable:
    """Measure every slice of an image, with the tangents and levels it shares with its session.

    Parameters
    ----------
    soft : ndarray, shape (x, y, z)
        The soft mask, canonical axes.
    stored, grid : Grid
        Of the file, and canonical.
    record : Record
        The scan, for its centreline and edited slices.
    alignment : Alignment
        From `alignment.align`.
    """
    line = record.centreline._replace(tangents=np.asarray(alignment.tangents))
    measures = measure_slices(soft, grid.spacing_mm, line)
    position = np.asarray(alignment.positions_mm)
    level = level_coordinate(position, alignment.discs)
    facts = inspect_slices(soft, grid.spacing_mm, line)
    flags = slice_flags(
        measures,
        float(grid.spacing_mm[2]),
        facts=facts,
        levels=level if alignment.discs else None,
    )
    tilt = np.rad2deg(np.arccos(np.clip(line.tangents[:, 2], -1, 1)))
    return SliceTable(
        line.slices,
        stored_slices(line.slices, stored),
        position,
        level,
        below_junction_mm(position, alignment.discs),
        line_world(line, grid),
        measures,
        np.isin(line.slices, record.edited),
        flags,
        image_flags(measures, flags),
        in_means(flags),
        _area_sd(measures["area_mm2"], facts["edge_mm2"], record),
        grid.spacing_mm,
        float(tilt.mean()),
    )


def _area_sd(area_mm2: Floats, edge_mm2: Floats, record: Record) -> Floats:
    """What the model expects of its own error; NaN where a person corrected it, or if it does not say."""
    if record.job.uncertainty is None:
        return np.full_like(area_mm2, np.nan)
    sd = area_sd_mm2(area_mm2, edge_mm2, AreaUncertainty(*record.job.uncertainty))
    return np.where(np.isin(record.centreline.slices, record.edited), np.nan, sd)
