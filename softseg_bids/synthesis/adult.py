"""Healthy adults among the drawn bodies, and what is known about them from the geometry alone.

:func:`~softseg_bids.synthesis.body.draw_body` draws from far outside the norms, so that a network
trusts no prior. Here bodies are drawn until one is an ordinary neck, for datasets to look at.
"""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from softseg_bids.synthesis.body import Body, Floats, draw_body, true_area_mm2

# Mean area between discs 2 and 4; healthy adults have 72 +- 7 mm2 (imag_a_00075).
C2_C3_AREA_MM2 = (60.0, 85.0)
# Disc C3-C4 below the top of C1: between 0.87 and 1.09 of the mean neck.
DISC_4_MM = (46.0, 58.0)
# Smallest and largest area over the median: the enlargement passes, a compression does not.
AREA_RATIO = (0.85, 1.2)
MOST_TILT_DEG = 17.0
MOST_DRIFT_MM = 8.0
LEAST_CSF_MM = (1.5, 0.9)  # beside the cord; before and behind it, together
# The vertebral bodies begin this far in front of the canal.
COLUMN_GAP_MM = 1.0


def draw_adult(rng: Generator, s_centre_mm: float, half_view_mm: float) -> Body:
    """Draw bodies until one is a healthy adult as far as a neck scan shows.

    Parameters
    ----------
    rng : numpy Generator
        The only source of randomness.
    s_centre_mm : float
        Height of the body at z = 0 (mm below the top of C1).
    half_view_mm : float
        How far above and below that height the body must be ordinary.

    Returns
    -------
    Body
        Without lesions, compression or stenosis; its cord of normal size, near the z axis.
    """
    while True:
        body = draw_body(rng, s_centre_mm=s_centre_mm, wide=True)
        if _is_complete(body) and _is_ordinary(body, s_centre_mm, half_view_mm):
            # The skull's base barely enters a neck scan and takes a third of its rendering.
            return body._replace(lesions=np.empty((0, 7)), voids=np.empty((0, 6)), has_head=False)


def mean_area_mm2(body: Body, start_mm: float, end_mm: float) -> float:
    """True area averaged along the cord between two positions s (mm below the top of C1)."""
    s_mm = np.linspace(start_mm, end_mm, 2001)
    return float(np.trapezoid(true_area_mm2(body, s_mm), s_mm) / (end_mm - start_mm))


def disc_tips_mm(body: Body) -> dict[int, Floats]:
    """Posterior tip of each disc, in the body's frame: disc value (SCT numbering) to (3,) mm."""
    order = np.argsort(body.s_of_z)
    tips = {}
    for value in range(2, len(body.discs_mm) + 1):
        s = float(body.discs_mm[value - 1])
        z = float(np.interp(s, body.s_of_z[order], body.z_mm[order]))
        at = np.array([*(np.interp(z, body.z_mm, column) for column in body.centre_mm.T), z])
        front = np.interp(s, body.s_mm, body.sac_b_mm + body.sac_v_mm + body.canal_gap_mm) + COLUMN_GAP_MM
        tips[value] = at + front * _forwards(body, z)
    return tips


def _forwards(body: Body, z: float) -> Floats:
    """The direction v of the cord's section at a height: to the front, perpendicular to the cord and to u."""
    tangent = np.array([np.interp(z, body.z_mm, column) for column in body.tangent.T])
    v = np.array([0.0, tangent[2], -tangent[1]])
    return np.asarray(v / np.linalg.norm(v))


def _is_complete(body: Body) -> bool:
    return body.has_cord and body.has_arches and body.has_bodies


def _is_ordinary(body: Body, s_centre_mm: float, half_view_mm: float) -> bool:
    s_mm = np.arange(max(s_centre_mm - half_view_mm, 0.0), s_centre_mm + half_view_mm)
    areas = true_area_mm2(body, s_mm)
    ratios = areas / np.median(areas)
    in_view = np.abs(body.z_mm) <= half_view_mm
    tilt_deg = np.rad2deg(np.arccos(body.tangent[in_view, 2].min()))
    beside, about = body.sac_a_mm - body.cord_a_mm, body.sac_b_mm - body.cord_b_mm
    size_mm2 = mean_area_mm2(body, float(body.discs_mm[1]), float(body.discs_mm[3]))
    return bool(
        C2_C3_AREA_MM2[0] <= size_mm2 <= C2_C3_AREA_MM2[1]
        and DISC_4_MM[0] <= body.discs_mm[3] <= DISC_4_MM[1]
        and ratios.min() >= AREA_RATIO[0]
        and ratios.max() <= AREA_RATIO[1]
        and tilt_deg <= MOST_TILT_DEG
        and np.abs(body.centre_mm[in_view]).max() <= MOST_DRIFT_MM
        and np.interp(s_mm, body.s_mm, beside).min() >= LEAST_CSF_MM[0]
        and np.interp(s_mm, body.s_mm, about).min() >= LEAST_CSF_MM[1]
    )
