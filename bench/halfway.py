"""Where each image itself has the edge: half way between cord and fluid, without a network's opinion.

A network that draws partial volumes as physics has them puts its edge there. So the spread of these
areas over the contrasts of one person is what such a network can be expected to reach.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import map_coordinates

from softseg_bids.image.grid import Array, Floats

RAYS = 72
STEP_MM = 0.05
# The cord's brightness is that of its outer part, where the edge is; the fluid's the extreme right beyond it.
INSIDE_MM, BEYOND_MM = (-2.5, -1.0), (0.0, 2.5)
# The edge is looked for this far to either side of the mask's.
NEAR_MM = 1.5
# A step from cord to fluid of less than this share of the cord's brightness is no edge to be seen.
LEAST_STEP = 0.05
LEAST_RAYS = 0.5


def halfway_ratio(image: Array, soft: Array, spacing_mm: Floats) -> float:
    """Area within the half-way contour over that within the mask's contour at 0.5, of one axial slice.

    Parameters
    ----------
    image, soft : ndarray, shape (x, y)
        Intensities; cord fraction in [0, 1].
    spacing_mm : ndarray, shape (2,)

    Returns
    -------
    float
        NaN where fewer than half of the rays from the middle show an edge.
    """
    weight = soft * (soft >= 0.5)
    if weight.sum() == 0:
        return float("nan")
    centre = [
        float((weight.sum(axis=1 - axis) * np.arange(n)).sum() / weight.sum())
        for axis, n in enumerate(soft.shape)
    ]
    own, found = [], []
    for angle in np.linspace(0, 2 * np.pi, RAYS, endpoint=False):
        direction = np.array([np.cos(angle), np.sin(angle)])
        radius = np.arange(0, 0.5 * float(min(np.array(soft.shape) * spacing_mm)), STEP_MM)
        at = np.array(centre)[:, None] + direction[:, None] * radius / spacing_mm[:, None]
        fraction, value = (map_coordinates(part, at, order=1, mode="nearest") for part in (soft, image))
        if fraction[0] < 0.5 or fraction.min() >= 0.5:
            continue
        edge = radius[int(np.argmax(fraction < 0.5))]
        own.append(edge)
        found.append(_halfway(radius - edge, value) + edge)
    known = np.isfinite(found)
    if known.sum() < LEAST_RAYS * RAYS:
        return float("nan")
    return float((np.array(found)[known] ** 2).sum() / (np.array(own)[known] ** 2).sum())


def _halfway(offset_mm: Floats, value: Floats) -> float:
    """The crossing of the level half way between cord and fluid that is nearest to offset 0, or NaN."""
    inside = value[(offset_mm >= INSIDE_MM[0]) & (offset_mm <= INSIDE_MM[1])]
    beyond = value[(offset_mm >= BEYOND_MM[0]) & (offset_mm <= BEYOND_MM[1])]
    if not len(inside) or not len(beyond):
        return float("nan")
    cord = float(np.median(inside))
    # The first extreme beyond the edge, on the side to which the brightness changes there.
    rising = float(np.interp(0.5, offset_mm, value) - np.interp(-0.5, offset_mm, value)) > 0
    fluid = float(beyond.max() if rising else beyond.min())
    if abs(fluid - cord) < LEAST_STEP * abs(cord):
        return float("nan")
    near = np.abs(offset_mm) <= NEAR_MM
    is_beyond = (value[near] - 0.5 * (cord + fluid)) * (1 if rising else -1) > 0
    crossings = offset_mm[near][1:][is_beyond[1:] & ~is_beyond[:-1]]
    return float(crossings[np.argmin(np.abs(crossings))]) if len(crossings) else float("nan")
