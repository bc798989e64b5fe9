"""Facts about a scan that move its cross-sectional area, from its voxel grid and sidecar."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

MISSING = ("", "-", "n/a")
ISO_RATIO = 1.5  # thicker than this in one direction only: that is the slice direction
GOOD_PIXEL_MM = 2.0
COARSEST_PIXEL_MM = 4.0  # about half the cord's depth
OBLIQUE_DEG = 30.0  # a thick slice tilted by more cuts the cord's edge over several pixels
ISOCENTRE_MM = 60.0


def plane_of(spacing_mm: NDArray[np.floating]) -> str:
    """``iso``, ``sag``, ``cor`` or ``ax`` from the canonical voxel size (right, front, up)."""
    ordered = np.sort(spacing_mm)
    if ordered[2] < ISO_RATIO * ordered[1]:
        return "iso"
    return ("sag", "cor", "ax")[int(np.argmax(spacing_mm))]


def csa_fit(spacing_mm: NDArray[np.floating], tilt_deg: float) -> str:
    """``good``, ``limited`` or ``no``: whether pixels and plane allow a cross-section to be measured.

    Parameters
    ----------
    spacing_mm : ndarray, shape (3,)
        Canonical voxel size: right, front, up.
    tilt_deg : float
        Mean angle between the cord and the slice normal.
    """
    pixel = float(max(spacing_mm[:2]))
    if pixel > COARSEST_PIXEL_MM:
        return "no"
    thick = spacing_mm[2] > ISO_RATIO * pixel
    return "limited" if pixel > GOOD_PIXEL_MM or (thick and tilt_deg > OBLIQUE_DEG) else "good"


def scanner_facts(metadata: Mapping[str, Any]) -> dict[str, str]:
    """Columns ``manufacturer``, ``scanner`` and ``software`` from a sidecar."""
    names = {
        "manufacturer": "Manufacturer",
        "scanner": "ManufacturersModelName",
        "software": "SoftwareVersions",
    }
    return {column: _text(metadata.get(name)) for column, name in names.items()}


def site_of(
    participant: Mapping[str, str | None],
    session: Mapping[str, str | None],
    metadata: Mapping[str, Any],
    column: str | None,
) -> str:
    """The site: the column asked for, else `site`, `institution_id`, else the sidecar's InstitutionName."""
    row = {**participant, **{name: value for name, value in session.items() if value}}
    for name in [column] if column else ["site", "institution_id"]:
        value = row.get(name)
        if value and value not in MISSING:
            return value
    return "" if column else _text(metadata.get("InstitutionName"))


def isocentre_offset_mm(points_mm: NDArray[np.floating]) -> float:
    """Distance (mm) of the middle of some scanner points from the scanner's origin."""
    return float(np.linalg.norm(np.mean(points_mm, axis=0)))


def _text(value: object) -> str:
    text = "" if value is None else " ".join(str(value).split())
    return "" if text in MISSING else text
