"""What a scan leaves for its session: a small JSON record, and soft masks as compressed arrays."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softseg_bids.app.jobs import ScanJob, scan_from
from softseg_bids.core.cord import Centreline
from softseg_bids.image.grid import Array, Grid, canonical, like_stored


@dataclass(frozen=True)
class Record:
    """A scan that finished.

    Attributes
    ----------
    job : ScanJob
    image : str
        The 3-D image that was segmented (the source, or the combined one in the work folder).
    soft : str
        The soft mask that counts, as a compressed array on the image's stored grid.
    checksum : str
        Digest of the source files.
    status : str
        ``measured`` or ``no_cord``.
    mask_source : str
        ``model`` or ``corrected``.
    edited : list of int
        Canonical slices that a correction changed.
    line : dict or None
        The centreline as JSON (frame mm), None where there is no cord.
    shape, affine : list
        The image's stored grid: it may be gone when its session is measured.
    sight : str
        What was seen of levels, see `sights`; empty if nobody looked.
    """

    job: ScanJob
    image: str
    soft: str
    checksum: str
    status: str
    mask_source: str
    edited: list[int]
    line: dict[str, Any] | None
    shape: list[int]
    affine: list[list[float]]
    sight: str = ""

    def write(self, path: Path) -> Path:
        """Write the record as JSON."""
        path.write_text(json.dumps(dataclasses.asdict(self), default=str, sort_keys=True), encoding="utf-8")
        return path

    @property
    def grid(self) -> Grid:
        """The image's stored grid."""
        return Grid((self.shape[0], self.shape[1], self.shape[2]), np.array(self.affine))

    @property
    def centreline(self) -> Centreline:
        """The centreline of a measured scan.

        Raises
        ------
        ValueError
            If there is no cord.
        """
        if self.line is None:
            raise ValueError(f"{self.job.scan.relative}: no cord, so no centreline")
        return line_from(self.line)


def read_record(path: Path) -> Record:
    """A record from its file."""
    fields = json.loads(path.read_text(encoding="utf-8"))
    job = fields["job"]
    fields["job"] = ScanJob(**dict(job, scan=scan_from(job["scan"])))
    return Record(**fields)


def line_as_json(line: Centreline) -> dict[str, Any]:
    """A centreline as plain lists."""
    return {name: np.asarray(value).tolist() for name, value in line._asdict().items()}


def line_from(fields: dict[str, Any]) -> Centreline:
    """A centreline from plain lists."""
    return Centreline(
        slices=np.asarray(fields["slices"], dtype=np.intp),
        points_mm=np.asarray(fields["points_mm"], dtype=float),
        tangents=np.asarray(fields["tangents"], dtype=float),
    )


def centreline_image(line: Centreline, grid: Grid) -> NDArray[np.uint8]:
    """1 in the voxel each centreline point falls into, canonical axes."""
    image = np.zeros(grid.shape, dtype=np.uint8)
    index = np.rint(line.points_mm / grid.spacing_mm).astype(int)
    index = np.clip(index, 0, np.array(grid.shape) - 1)
    image[index[:, 0], index[:, 1], line.slices] = 1
    return image


def save_soft(path: Path, soft: Array) -> Path:
    """Write a soft mask (float32, stored axes)."""
    np.savez_compressed(path, soft=soft)
    return path


def load_soft(path: Path) -> Array:
    """Read a soft mask written by :func:`save_soft`."""
    with np.load(path) as content:
        return np.asarray(content["soft"], dtype=np.float32)


def to_canonical(array: NDArray[np.generic], stored: Grid) -> tuple[Array, Grid]:
    """A stored array as float32 on canonical axes, with its canonical grid."""
    turned, grid = canonical(array, stored)
    return np.asarray(turned, dtype=np.float32), grid


def to_stored(array: Array, stored: Grid) -> Array:
    """Undo :func:`to_canonical`."""
    return np.asarray(like_stored(array, stored), dtype=np.float32)
