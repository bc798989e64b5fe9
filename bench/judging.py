"""One image through the very road of the app, compared with its truth slice by slice."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench import truth
from bench.images import Case
from softseg_bids.core.calibration import BINS, fraction_bins
from softseg_bids.core.cord import Centreline, inspect_slices, keep_cord, measure_slices, trace
from softseg_bids.core.quality import in_means, slice_flags
from softseg_bids.core.scores import dice
from softseg_bids.image.grid import Array, Floats, canonical
from softseg_bids.image.volume import Volume
from softseg_bids.model.predict import Model, segment

Row = dict[str, Any]

# A voxel this far from the surface of the true cord is another object.
BLOB_MM = 10.0
# AP diameters of which bias is asked.
THIN_MM = (2.5, 5.0)
# What the reliability curve asks: voxels of whole slices, this far about the true cord.
ABOUT_MM = 20.0


class Judged(NamedTuple):
    """What came out of one image.

    Attributes
    ----------
    image : dict
        One row: what the image is, and its scores (NaN where there is nothing to score).
    slices : list of dict
        One row a slice that truly shows the whole cord.
    bins : ndarray, shape (10, 3)
        Voxels by predicted fraction: how many, sum of predicted, sum of true fractions.
    """

    image: Row
    slices: list[Row]
    bins: Floats


def judge(model: Model, case: Case) -> Judged:
    """Segment, trace and measure one image as the app does, and compare with what is true."""
    began = time.process_time()
    raw = segment(model, Volume(case.array, case.grid))
    seconds = time.process_time() - began
    turned, grid = canonical(raw, case.grid)
    spacing = grid.spacing_mm
    soft = keep_cord(np.ascontiguousarray(turned, dtype=np.float32), spacing)
    line = trace(soft, spacing)
    if line is None:
        soft = np.zeros_like(soft)  # the app writes no mask then
    slices = _slice_rows(case, soft, spacing, line)
    used = [row for row in slices if row["used"]]
    whole = np.array([section.is_whole for section in case.sections], dtype=bool)
    scored = case.fraction is not None and whole.any()
    thin = [row for row in used if THIN_MM[0] <= row["true_ap_mm"] <= THIN_MM[1]]
    image: Row = {
        "image": f"{case.spec.kind}-{case.spec.number:03d}",
        **case.spec._asdict(),
        "plane": case.plane,
        "voxel_mm": "x".join(f"{value:.2f}" for value in spacing),
        "noise": case.noise,
        "blur_mm": case.blur_mm,
        "cnr": case.cnr,
        "step": case.step,
        "n_slices": len(slices),
        "n_missed": sum(np.isnan(row["area_mm2"]) for row in slices),
        "true_mm2": _mean(row["true_mm2"] for row in used),
        "area_mm2": _mean(row["area_mm2"] for row in used),
        "dice": dice(soft, case.fraction, whole) if scored and case.fraction is not None else np.nan,
        "n_thin": len(thin),
        "ap_bias_mm": _mean(row["ap_mm"] - row["true_ap_mm"] for row in thin),
        "found_mm": 0.0 if line is None else len(line.slices) * float(spacing[2]),
        **_stray(case, soft, spacing),
        "seconds": seconds,
    }
    return Judged(image, slices, _bins(case, soft, whole))


def _slice_rows(case: Case, soft: Array, spacing: Floats, line: Centreline | None) -> list[Row]:
    area, ap, edge = np.full((3, len(case.sections)), np.nan)
    usable = np.zeros(len(case.sections), dtype=bool)
    if line is not None and case.sections:
        table = measure_slices(soft, spacing, line)
        facts = inspect_slices(soft, spacing, line)
        flags = slice_flags(table, float(spacing[2]), facts=facts)
        area[line.slices], ap[line.slices] = table["area_mm2"], table["diameter_ap_mm"]
        edge[line.slices], usable[line.slices] = facts["edge_mm2"], in_means(flags)
    return [
        {
            "image": f"{case.spec.kind}-{case.spec.number:03d}",
            "slice": number,
            "true_mm2": section.area_mm2,
            "area_mm2": float(area[number]),
            "edge_mm2": float(edge[number]),
            "true_ap_mm": section.diameter_ap_mm,
            "ap_mm": float(ap[number]),
            "used": bool(usable[number] and np.isfinite(area[number])),
        }
        for number, section in enumerate(case.sections)
        if section.is_whole
    ]


def _stray(case: Case, soft: Array, spacing: Floats) -> Row:
    """Cord where none is: length (mm) of slices with a voxel more than 10 mm off the true cord."""
    strong = np.argwhere(soft >= 0.5)
    if case.cord is None or not len(strong):
        return {"stray_mm": float(len(np.unique(strong[:, 2])) * spacing[2]) if len(strong) else 0.0}
    points = case.grid.to_world(strong.astype(float)) @ case.rotation.T
    along = (case.cord.s_mm >= case.cord.top_mm) & (case.cord.s_mm <= case.cord.end_mm)
    half = float(np.median(np.maximum(case.cord.a_mm, case.cord.b_mm)[along]))
    off = truth.distance_mm(case.cord, points) > BLOB_MM + half
    return {"stray_mm": float(len(np.unique(strong[off, 2])) * spacing[2])}


def _bins(case: Case, soft: Array, whole: NDArray[np.bool_]) -> Floats:
    if case.fraction is None or not whole.any():
        return np.zeros((BINS, 3))
    x, y = (
        np.arange(n)[:, None] * h + start - np.array([section.centre_mm[axis] for section in case.sections])
        for axis, (n, h, start) in enumerate(
            zip(soft.shape[:2], case.grid.spacing_mm, case.grid.affine[:2, 3], strict=False)
        )
    )
    near = (x[:, None] ** 2 + y[None] ** 2 < ABOUT_MM**2) & whole
    return fraction_bins(soft[near], case.fraction[near])


def _mean(values: Any) -> float:
    found = [float(value) for value in values if np.isfinite(value)]
    return float(np.mean(found)) if found else float("nan")
