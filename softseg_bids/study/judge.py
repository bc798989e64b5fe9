"""Masks of several methods judged against labels, session by session."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from softseg_bids.bids.dataset import Scan
from softseg_bids.bids.masks import Known
from softseg_bids.core.calibration import BINS, deviation, fraction_bins, reliability
from softseg_bids.core.scores import (
    HALF,
    dice,
    relative_volume_error,
    slices_with_mask,
    soft_dice,
    surface_distance,
)
from softseg_bids.image.grid import Array
from softseg_bids.image.volume import DataError, Volume, read_grid, read_mask, read_volume
from softseg_bids.study import masks
from softseg_bids.study.masks import Found
from softseg_bids.study.ours import enough
from softseg_bids.study.place import Measured, Place, canonical_array, measured, over, places_of_labels

Floats = NDArray[np.float64]

TRUTH = "labels"
# Reliability is asked of voxels this near to the label's box, in its slices.
ABOUT_MM = 10.0


class Method(NamedTuple):
    """A method.

    Attributes
    ----------
    name : str
    masks : mapping of str to list of Path
        Candidates by image key, best first.
    without : mapping of str to Found
        Why images have no mask, where that is known (results of the app): that no cord was found
        (``empty``), that they failed, or that they were never run.
    cut : float or None
        From which value in (0, 1) a voxel counts as cord; None leaves masks soft.
    """

    name: str
    masks: Mapping[str, list[Path]]
    without: Mapping[str, Found]
    cut: float | None = None


class Judged(NamedTuple):
    """What came of some sessions.

    Attributes
    ----------
    scores, areas, left_out : list of dict
        Rows of the tables ``evaluate_scores``, ``evaluate_areas`` (the labels' own among them, as method
        ``labels``) and ``evaluate_left_out``.
    bins : dict of (method, contrast) to ndarray, shape (10, 3)
        As of `core.calibration.fraction_bins`.
    """

    scores: list[dict[str, Any]]
    areas: list[dict[str, Any]]
    left_out: list[dict[str, Any]]
    bins: dict[tuple[str, str], Floats]


def known_of(scan: Scan) -> Known:
    """What masks of a scan may be named after."""
    return Known(scan.key, scan.participant, scan.names, scan.stem, scan.contrast)


def judge_session(
    scans: Sequence[Scan], labels: Mapping[str, list[Path]], methods: Sequence[Method], found: Judged
) -> None:
    """Judge all methods on the images of a session that have a label; what came of it is added to ``found``.

    Parameters
    ----------
    scans : sequence of Scan
        Of one session.
    labels : mapping of str to list of Path
        Candidates by image key, best first.
    methods : sequence of Method
    found : Judged
    """
    volumes: dict[str, Volume] = {}
    for scan in scans:
        label = _label(scan, labels.get(scan.key, []))
        if isinstance(label, Volume):
            volumes[scan.key] = label
        else:
            found.left_out.append({**_named(scan), "reason": label})
    discs = {scan.key: volume for scan in scans if (volume := _discs(scan)) is not None}
    places = places_of_labels(volumes, discs)
    for scan in scans:
        if scan.key in volumes and scan.key not in places:
            found.left_out.append({**_named(scan), "reason": "its label shows less than 10 mm of cord"})
        elif scan.key in places:
            _judge_image(scan, volumes[scan.key], places[scan.key], methods, found)


def _judge_image(scan: Scan, label: Volume, place: Place, methods: Sequence[Method], found: Judged) -> None:
    reference = canonical_array(label)
    true = measured(reference, place)
    found.areas.extend(_areas(scan, TRUTH, place, true, true))
    shown = slices_with_mask(reference)
    about = _about(reference, place.grid.spacing_mm) & shown
    for method in methods:
        mask = masks.find_mask(method.masks.get(scan.key, []), label.grid)
        if mask.status == masks.MISSING:
            mask = method.without.get(scan.key, mask)
        if mask.status == masks.EMPTY and mask.array is None:
            mask = mask._replace(array=np.zeros_like(reference))
        if method.cut is not None:
            mask = masks.cut_at(mask, method.cut)
        row: dict[str, Any] = {
            "method": method.name, **_named(scan), "status": mask.status, "reason": mask.reason,
            "mask_file": str(mask.path) if mask.path else None, "n_slices": int(shown.sum()),
        }  # fmt: skip
        if mask.array is not None:
            bins = fraction_bins(mask.array[about], reference[about])
            key = method.name, scan.contrast
            found.bins[key] = found.bins.get(key, np.zeros((BINS, 3))) + bins
            row |= scores_of(mask.array, reference, place.grid.spacing_mm)
            row["reliability_deviation"] = deviation(reliability(bins))[1]
        if mask.status == masks.USED and mask.array is not None:
            found.areas.extend(_areas(scan, method.name, place, measured(mask.array, place), true))
        found.scores.append(row)


def scores_of(predicted: Array, reference: Array, spacing_mm: Floats) -> dict[str, float]:
    """Scores of a mask over the slices in which the label has any voxel of at least half.

    Parameters
    ----------
    predicted, reference : ndarray, shape (x, y, z)
        Canonical, [0, 1].
    spacing_mm : ndarray, shape (3,)
    """
    shown = slices_with_mask(reference)
    surface = surface_distance(predicted, reference, spacing_mm, shown)
    return {
        "dice": dice(predicted, reference, shown),
        "soft_dice": soft_dice(predicted, reference, shown),
        "relative_volume_error": relative_volume_error(predicted, reference, shown),
        "surface_mm": surface.mean_mm,
        "hausdorff_95_mm": surface.hausdorff_95_mm,
    }


def _areas(scan: Scan, method: str, place: Place, mask: Measured, true: Measured) -> list[dict[str, Any]]:
    """A row a region: the mask and the label over the very same slices."""
    used = place.usable & mask.usable & true.usable
    rows = []
    for region in place.regions:
        own, wanted = (over(place, each, region, used) for each in (mask, true))
        there = own["n_slices"] > 0
        rows.append(
            {
                "method": method, **_named(scan), "region": region.name,
                "area_mm2": own["area_mm2"] if there else None,
                "true_mm2": wanted["area_mm2"] if there else None,
                "error_mm2": own["area_mm2"] - wanted["area_mm2"] if there else None,
                "coverage": own["coverage"],
                "in_statistics": bool(there and enough(region.name, own["coverage"])),
            }
        )  # fmt: skip
    return rows


def _label(scan: Scan, candidates: Sequence[Path]) -> Volume | str:
    """The label of a scan on its own grid, or why it has none."""
    try:
        grid = read_grid(scan.paths[0])
    except DataError as error:
        return str(error)
    found = masks.find_mask(candidates, grid)
    if found.status == masks.USED and found.path is not None:
        return read_mask(found.path)
    return "it has no label" if found.status == masks.MISSING else found.reason


def _discs(scan: Scan) -> Volume | None:
    if scan.discs is None:
        return None
    try:
        return read_volume(scan.discs)
    except DataError:
        return None


def _about(reference: Array, spacing_mm: Floats) -> NDArray[np.bool_]:
    """Columns of voxels near the label's box, shape (x, y, 1)."""
    near = np.zeros((*reference.shape[:2], 1), dtype=bool)
    strong = np.argwhere((reference >= HALF).any(axis=2))
    margin = np.ceil(ABOUT_MM / spacing_mm[:2]).astype(int)
    low, high = np.maximum(strong.min(axis=0) - margin, 0), strong.max(axis=0) + margin + 1
    near[low[0] : high[0], low[1] : high[1]] = True
    return near


def _named(scan: Scan) -> dict[str, Any]:
    return {
        "participant_id": f"sub-{scan.participant}",
        "session_id": f"ses-{scan.session}" if scan.session else None,
        "contrast": scan.contrast,
        "source_image": scan.relative,
    }
