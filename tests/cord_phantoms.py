"""Bodies of known geometry for the tests of core: exact partial volume by supersampling."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

SEMI_RL_MM, SEMI_AP_MM = 6.1, 3.9
AREA_MM2 = np.pi * SEMI_RL_MM * SEMI_AP_MM


def direction(tilt_ap_deg: float, tilt_rl_deg: float = 0.0) -> NDArray[Any]:
    """Unit vector upwards, tilted to the front and to the right."""
    vector = np.array([np.tan(np.deg2rad(tilt_rl_deg)), np.tan(np.deg2rad(tilt_ap_deg)), 1.0])
    return vector / np.linalg.norm(vector)


def cylinder(
    spacing_mm: tuple[float, float, float],
    tilt_deg: tuple[float, float] = (0.0, 0.0),
    height_mm: float = 60.0,
    width_mm: float = 48.0,
    semi_mm: tuple[float, float] = (SEMI_RL_MM, SEMI_AP_MM),
    offset_mm: tuple[float, float] = (0.13, -0.21),
    finer: int = 8,
) -> NDArray[np.float32]:
    """An endless elliptic cylinder through the middle of a box; voxel values are its fraction.

    The ellipse lies in the plane perpendicular to the axis. Each voxel is split into
    ``finer`` parts along z and twice as many along x and y.
    """
    spacing = np.asarray(spacing_mm)
    grow = height_mm * np.tan(np.deg2rad(np.abs(tilt_deg)))[::-1]
    shape = np.round(np.array([width_mm + grow[0], width_mm + grow[1], height_mm]) / spacing).astype(int)
    axis = direction(*tilt_deg)
    # Right and front, turned by the smallest rotation that takes up to the axis.
    right = np.array([1 - axis[0] ** 2 / (1 + axis[2]), -axis[0] * axis[1] / (1 + axis[2]), -axis[0]])
    front = np.cross(axis, right)
    middle = 0.5 * (shape - 1) * spacing + np.array([*offset_mm, 0.0])
    fine = [
        ((np.arange(n * parts) + 0.5) / parts - 0.5) * p - m
        for n, p, m, parts in zip(shape, spacing, middle, (2 * finer, 2 * finer, finer), strict=True)
    ]
    out = np.zeros(shape, dtype=np.float32)
    slope = np.abs(axis[:2] / axis[2])
    reach = max(semi_mm) / axis[2] + spacing[2] * slope + spacing[:2]
    for k in range(shape[2]):
        # Only the pixels that can meet the cylinder in this slice.
        at = (middle[:2] + (k * spacing[2] - middle[2]) * axis[:2] / axis[2]) / spacing[:2]
        low = np.maximum(np.floor(at - reach / spacing[:2]), 0).astype(int)
        high = np.minimum(np.ceil(at + reach / spacing[:2]) + 1, shape[:2]).astype(int)
        if (high <= low).any():
            continue
        x = fine[0][low[0] * 2 * finer : high[0] * 2 * finer, None]
        y = fine[1][None, low[1] * 2 * finer : high[1] * 2 * finer]
        for z in fine[2][k * finer : (k + 1) * finer]:
            u = x * right[0] + y * right[1] + z * right[2]
            v = x * front[0] + y * front[1] + z * front[2]
            inside = (u / semi_mm[0]) ** 2 + (v / semi_mm[1]) ** 2 <= 1
            parts = inside.reshape(high[0] - low[0], 2 * finer, high[1] - low[1], 2 * finer)
            out[low[0] : high[0], low[1] : high[1], k] += parts.mean(axis=(1, 3)) / finer
    return out
