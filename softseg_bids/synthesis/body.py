"""Who the person is: the drawn parameters of a procedural body, as values.

A body is a smooth centreline with everything else placed relative to it. Along the cord the
coordinate is ``s`` (mm), 0 at the plane through the top of C1 (the foramen magnum, where the
cord ends by definition) and growing downwards; across it ``u`` (to the right) and ``v`` (to the
front) are millimetres in the plane perpendicular to the centreline.

Everything random is drawn here, with numpy, on the CPU; :mod:`softseg_bids.synthesis.anatomy`
only applies it. The same body can so be rendered on any grid, in any contrast, on any device.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Height of each vertebra with the disc below it (mm), C1 (from its top to the C1-C2 joint) to S2:
# adult means, rounded from textbook morphometry; every body scales and jitters them.
LEVELS = (
    "C1", "C2", "C3", "C4", "C5", "C6", "C7", "T1", "T2", "T3", "T4", "T5", "T6", "T7", "T8", "T9",
    "T10", "T11", "T12", "L1", "L2", "L3", "L4", "L5", "S1", "S2",
)  # fmt: skip
HEIGHTS_MM = np.array([
    16, 20, 17, 16.5, 16, 16, 17.5, 19.5, 20.5, 21, 21.5, 22, 22.5, 23, 23.5, 24.5,
    26, 27.5, 29.5, 33, 34.5, 35.5, 36, 35, 30, 25,
])  # fmt: skip
# Cord diameters at mid-level (mm). C1-T4: PAM50-normalized-metrics (Valošek & Bédard 2024,
# imag_a_00075); below: typical values of the thoracic cord and the lumbar enlargement.
CORD_AP_MM = np.array([
    8.27, 7.76, 7.59, 7.62, 7.47, 7.07, 6.56, 6.29, 6.06, 5.80, 5.55, 5.5, 5.5, 5.6, 5.7, 5.9,
    6.3, 6.9, 7.3, 7.0, 6.5, 6, 6, 6, 6, 6,
])  # fmt: skip
CORD_RL_MM = np.array([
    11.36, 11.73, 12.14, 12.93, 13.03, 12.44, 10.94, 9.41, 8.69, 8.20, 7.73, 7.6, 7.6, 7.6, 7.7, 7.9,
    8.3, 8.8, 9.0, 8.2, 7.2, 6.5, 6, 6, 6, 6,
])  # fmt: skip
# Vertebral body half widths (mm), RL and AP, at C3, T6 and L3, interpolated between.
BODY_ANCHORS = (2, 11, 21)
BODY_HALF_RL_MM = (11.0, 14.0, 22.0)
BODY_HALF_AP_MM = (8.0, 13.0, 17.0)

# Pia and the collagen and veins below and upon it (Reina et al., Anesth Analg 2004).
PIA_MM = (0.12, 0.24)

S_STEP_MM = 1.0
S_RANGE_MM = (-160.0, 660.0)
Z_STEP_MM = 1.0
Z_RANGE_MM = (-340.0, 340.0)
N_ANGLES = 256


class Body(NamedTuple):
    """One drawn person; lengths in mm.

    Attributes
    ----------
    seed : int
        For the textures and partitions that are drawn on the grid.
    z_mm, centre_mm, tangent, s_of_z : ndarray
        Centreline tables over z: (n,), (n, 2) x and y, (n, 3) unit upward tangent, (n,).
    s_mm : ndarray, shape (m,)
        The coordinate of all tables along the cord below.
    cord_a_mm, cord_b_mm : ndarray, shape (m,)
        Semi-axes of the cord, RL and AP.
    outline : ndarray, shape (N_ANGLES,)
        Radius of the cord's section over angle, in units of its semi-axes.
    sac_a_mm, sac_b_mm, sac_u_mm, sac_v_mm, canal_gap_mm, fat_mm : ndarray, shape (m,)
        Dural sac semi-axes, RL and AP offset from the cord, epidural width, extra epidural fat behind.
    sac_form : ndarray, shape (2,)
        How much narrower the sac is behind than in front (-0.1 to 0.45, of its width), and its slant (rad).
    discs_mm : ndarray, shape (n_levels,)
        Position s of disc N (above level N), N = 2 ... ; index 0 holds level C1's top (s = 0).
    conus_mm, pmj_mm : float
        Where the cord ends below, and the pontomedullary junction (negative: above C1).
    has_cord, has_head, has_skull, has_arches, has_bodies, has_roots : bool
        What this body shows; a head without a skull is brain alone, as after brain extraction.
    lesions : ndarray, shape (k, 7)
        Ellipsoids inside the cord: u, v (in semi-axes), s, and their radii; last: 0 lesion, 1 syrinx.
    voids : ndarray, shape (k, 6)
        Ellipsoids without signal about metal: u, v, s and their radii (mm). No cord is labelled there.
    tubes : ndarray, shape (k, 5)
        Vessels, trachea and the like, along the body: u, v, radius u, radius v, tissue index.
    torso : ndarray, shape (8,)
        Half width and depth of neck, shoulders and head, their centre's v, and subcutaneous fat.
    grey : ndarray, shape (6,)
        Grey matter horns: centre u, v and radii u, v in semi-axes, slant (rad), commissure half height.
    tracts : ndarray, shape (2,)
        How far the dorsal columns and the cord's rim look like grey matter, 0 to 0.8.
    murk : ndarray, shape (2,)
        How much of the CSF roots and septa dull, 0 to 0.6, and towards which side (rad; 0 = behind).
    pia_mm : float
        Thickness of the pia about the cord, which is not part of it.
    body_half_mm : ndarray, shape (2, n_levels)
        Half widths of the vertebral bodies, RL and AP.
    disc_half_mm, rim_mm : float
        Half height of the discs; thickness of cortical bone.
    """

    seed: int
    z_mm: Floats
    centre_mm: Floats
    tangent: Floats
    s_of_z: Floats
    s_mm: Floats
    cord_a_mm: Floats
    cord_b_mm: Floats
    outline: Floats
    sac_a_mm: Floats
    sac_b_mm: Floats
    sac_u_mm: Floats
    sac_v_mm: Floats
    sac_form: Floats
    canal_gap_mm: Floats
    fat_mm: Floats
    discs_mm: Floats
    conus_mm: float
    pmj_mm: float
    has_cord: bool
    has_head: bool
    has_skull: bool
    has_arches: bool
    has_bodies: bool
    has_roots: bool
    grey: Floats
    lesions: Floats
    voids: Floats
    tubes: Floats
    torso: Floats
    tracts: Floats
    murk: Floats
    pia_mm: float
    body_half_mm: Floats
    disc_half_mm: float
    rim_mm: float


def draw_body(rng: Generator, s_centre_mm: float | None = None, wide: bool = False) -> Body:
    """Draw a person.

    Parameters
    ----------
    rng : numpy Generator
        The only source of randomness.
    s_centre_mm : float, optional
        Which height of the body lies at z = 0; drawn from the medulla to below the conus,
        the neck most often, if not given.
    wide : bool
        Gentler curves, for fields of view of a whole neck, head or trunk.

    Returns
    -------
    Body
    """
    heights = HEIGHTS_MM * rng.uniform(0.82, 1.15) * rng.normal(1, 0.04, len(LEVELS)).clip(0.88, 1.12)
    tops = np.concatenate([[0.0], np.cumsum(heights)[:-1]])
    conus = float(np.interp(rng.normal(19.6, 0.6), np.arange(len(tops)), tops))
    if s_centre_mm is None:
        s_centre_mm = _draw_height(rng, conus)
    s_mm = np.arange(S_RANGE_MM[0], S_RANGE_MM[1], S_STEP_MM)
    z_mm, centre, tangent, s_of_z = _draw_centreline(rng, s_centre_mm, wide)
    a, b = _draw_cord(rng, s_mm, tops, heights, conus, s_centre_mm)
    sac_a, sac_b, sac_v, gap, fat = _draw_canal(rng, s_mm, a, b, s_centre_mm)
    seed = int(rng.integers(2**31))
    subtle = np.random.default_rng(seed)
    tracts = np.abs(subtle.normal(0, 0.35, 2)).clip(0, 0.8)
    murk = np.array([max(subtle.uniform(-0.6, 0.6), 0), subtle.normal(0, 0.8)])
    # A cord keeps to no middle: it lies nearer one side of a sac that is seldom an ellipse.
    aside = np.tanh(subtle.normal(0, 0.5) + _smooth(subtle, len(s_mm), S_STEP_MM, 70, 0.3))
    sac_form = np.array([subtle.uniform(-0.1, 0.45), subtle.normal(0, 0.07)])
    return Body(
        seed=seed,
        z_mm=z_mm, centre_mm=centre, tangent=tangent, s_of_z=s_of_z, s_mm=s_mm,
        cord_a_mm=a, cord_b_mm=b, outline=_draw_outline(rng),
        sac_a_mm=sac_a, sac_b_mm=sac_b, sac_u_mm=0.8 * (sac_a - a) * aside, sac_v_mm=sac_v, sac_form=sac_form,
        canal_gap_mm=gap, fat_mm=fat,
        discs_mm=tops, conus_mm=conus, pmj_mm=-rng.uniform(20, 33),
        has_cord=bool(rng.random() > 0.03), has_head=bool(rng.random() < 0.9),
        has_skull=bool(rng.random() < 0.85 or s_centre_mm > -20),
        has_arches=bool(rng.random() < 0.85), has_bodies=bool(rng.random() < 0.9),
        has_roots=bool(rng.random() < 0.6),
        grey=np.array([rng.uniform(0.28, 0.42), rng.uniform(-0.05, 0.1), rng.uniform(0.08, 0.16),
                       rng.uniform(0.35, 0.6), rng.uniform(0.05, 0.4), rng.uniform(0.07, 0.16)]),
        lesions=_draw_lesions(rng, s_centre_mm), voids=_draw_voids(rng, s_centre_mm),
        tubes=_draw_tubes(rng),
        torso=np.array([rng.uniform(52, 78), rng.uniform(48, 72), rng.uniform(110, 210), rng.uniform(75, 120),
                        rng.uniform(66, 80), rng.uniform(82, 102), rng.uniform(5, 28), rng.uniform(2, 16)]),
        tracts=tracts, murk=murk, pia_mm=subtle.uniform(*PIA_MM),
        body_half_mm=np.stack([
            np.interp(np.arange(len(LEVELS)), BODY_ANCHORS, BODY_HALF_RL_MM) * rng.uniform(0.85, 1.2),
            np.interp(np.arange(len(LEVELS)), BODY_ANCHORS, BODY_HALF_AP_MM) * rng.uniform(0.85, 1.2),
        ]),
        disc_half_mm=rng.uniform(1.5, 3.6), rim_mm=rng.uniform(0.3, 1.6),
    )  # fmt: skip


def landmarks(body: Body) -> dict[int, float]:
    """Position s (mm) of the discs (SCT numbering: N lies above vertebra N), 50 (PMJ) and 60 (conus)."""
    discs = {n: float(body.discs_mm[n - 1]) for n in range(2, len(LEVELS) + 1)}
    return {50: body.pmj_mm, **discs, 60: body.conus_mm}


def true_area_mm2(body: Body, s_mm: Floats) -> Floats:
    """Cross-sectional area of the cord, perpendicular to its centreline, from the geometry alone.

    ``a(s) * b(s) * 1/2 * integral of outline(angle)^2``; 0 above the foramen magnum, below the conus,
    and everywhere in a body without a cord.
    """
    unit = 0.5 * np.sum(body.outline**2) * (2 * np.pi / N_ANGLES)
    semi = np.interp(s_mm, body.s_mm, body.cord_a_mm) * np.interp(s_mm, body.s_mm, body.cord_b_mm)
    inside = (s_mm >= 0) & (s_mm <= body.conus_mm) & body.has_cord
    return np.where(inside, unit * semi, 0.0)


def _draw_height(rng: Generator, conus_mm: float) -> float:
    part = rng.random()
    if part < 0.14:
        return rng.uniform(-25, 25)
    if part < 0.66:
        return rng.uniform(20, 150)
    if part < 0.86:
        return rng.uniform(140, conus_mm - 40)
    return rng.uniform(conus_mm - 70, conus_mm + 45)


def _smooth(rng: Generator, n: int, step_mm: float, wavelength_mm: float, amplitude: float) -> Floats:
    """A smooth random curve: Gaussian knots a wavelength apart, joined by smooth steps."""
    knots = max(int(n * step_mm / wavelength_mm) + 3, 4)
    values = rng.normal(0, amplitude, knots)
    position = np.linspace(0, knots - 1.001, n)
    index = position.astype(int)
    t = position - index
    t = t * t * (3 - 2 * t)
    return np.asarray(values[index] * (1 - t) + values[np.minimum(index + 1, knots - 1)] * t)


def _draw_centreline(rng: Generator, s_centre_mm: float, wide: bool) -> tuple[Floats, Floats, Floats, Floats]:
    z = np.arange(Z_RANGE_MM[0], Z_RANGE_MM[1], Z_STEP_MM)
    calm = 0.5 if wide else 1.0
    steep = rng.random() < 0.12
    slope_y = rng.uniform(-1.0, 1.0) if steep else rng.normal(0, 0.28)
    slope_x = rng.normal(0, 0.07)
    bow, wave = rng.normal(0, 6.0) * calm, rng.uniform(140, 320)
    phase = rng.uniform(0, 2 * np.pi)
    y = slope_y * calm * z + bow * np.sin(2 * np.pi * z / wave + phase)
    x = slope_x * z + rng.normal(0, 1.5) * np.sin(2 * np.pi * z / rng.uniform(120, 300) + rng.uniform(0, 6.3))
    if rng.random() < 0.08:  # scoliosis
        x = x + rng.uniform(-14, 14) * calm * np.sin(2 * np.pi * z / rng.uniform(160, 300) + phase)
    y = y - np.interp(0, z, y)
    x = x - np.interp(0, z, x)
    dx, dy = np.gradient(x, z), np.gradient(y, z)
    length = np.sqrt(1 + dx**2 + dy**2)
    tangent = np.stack([dx, dy, np.ones_like(z)], axis=1) / length[:, None]
    arc = np.concatenate([[0], np.cumsum(0.5 * (length[1:] + length[:-1]) * Z_STEP_MM)])
    s_of_z = s_centre_mm - (arc - np.interp(0, z, arc))
    return z, np.stack([x, y], axis=1), tangent, s_of_z


def _draw_cord(
    rng: Generator, s: Floats, tops: Floats, heights: Floats, conus_mm: float, s_centre_mm: float
) -> tuple[Floats, Floats]:
    middle = tops + 0.5 * heights
    # Flat in C2-C3 area from 35 to 110 mm2 (the norm is 72 +- 7), so that no prior can hide in the network.
    size = np.sqrt(rng.uniform(33, 112) / 72.0)
    aspect = np.exp(rng.normal(0, 0.09))
    level = rng.normal(1, 0.05, len(middle)).clip(0.85, 1.15)
    a = 0.5 * np.interp(s, middle, CORD_RL_MM * level) * size * aspect
    b = 0.5 * np.interp(s, middle, CORD_AP_MM * level * rng.normal(1, 0.02, len(middle))) * size / aspect
    kernel = np.hanning(21)
    a, b = (np.convolve(np.pad(c, 10, "edge"), kernel / kernel.sum(), "valid") for c in (a, b))
    a = a * (1 + _smooth(rng, len(s), S_STEP_MM, 25, 0.02))
    b = b * (1 + _smooth(rng, len(s), S_STEP_MM, 25, 0.03))
    # The medulla widens above the foramen magnum.
    widen = 1 + rng.uniform(0.2, 0.7) * np.clip(-s / 28, 0, 1) ** 1.3
    a, b = a * widen, b * widen
    # Conus: a taper over 25-50 mm, to a filum of 0.7 mm.
    taper = np.clip((conus_mm - s) / rng.uniform(22, 50), 0, 1) ** rng.uniform(0.4, 0.8)
    a, b = np.maximum(a * taper, 0.7), np.maximum(b * taper, 0.7)
    for _ in range(rng.choice(4, p=[0.75, 0.15, 0.07, 0.03])):  # compression or focal atrophy
        at, width = s_centre_mm + rng.normal(0, 30), rng.uniform(3, 14)
        depth = rng.uniform(0.1, 0.6) * np.exp(-0.5 * ((s - at) / width) ** 2)
        b = np.maximum(b * (1 - depth), np.minimum(b, 1.25))
        a = a * (1 + rng.uniform(-0.3, 0.4) * depth)
    return a, b


def _draw_outline(rng: Generator) -> Floats:
    """The section's radius over angle (0 = right, pi/2 = front) in units of the semi-axes."""
    angle = np.arange(N_ANGLES) * 2 * np.pi / N_ANGLES
    exponent = rng.uniform(1.5, 2.8)
    radius = (np.abs(np.cos(angle)) ** exponent + np.abs(np.sin(angle)) ** exponent) ** (-1 / exponent)

    def bump(at: float, width: float) -> Floats:
        return np.asarray(np.exp(-0.5 * (np.angle(np.exp(1j * (angle - at))) / width) ** 2))

    radius = radius * (1 - rng.uniform(0, 0.12) * bump(np.pi / 2, rng.uniform(0.15, 0.4)))  # median fissure
    radius = radius * (1 - rng.uniform(-0.03, 0.06) * bump(-np.pi / 2, rng.uniform(0.3, 0.7)))  # flat behind
    radius = radius * (1 + rng.normal(0, 0.035) * np.cos(angle - rng.uniform(0, 6.3)))  # asymmetry
    return radius * (1 + rng.normal(0, 0.03) * np.cos(3 * angle + rng.uniform(0, 6.3)))


def _draw_canal(
    rng: Generator, s: Floats, a: Floats, b: Floats, s_centre_mm: float
) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    side = rng.uniform(0.8, 5.5) * (1 + _smooth(rng, len(s), S_STEP_MM, 40, 0.15)).clip(0.5, 1.5)
    front = rng.uniform(0.4, 4.0) * np.exp(_smooth(rng, len(s), S_STEP_MM, 30, 0.3))
    back = rng.uniform(0.4, 4.5) * np.exp(_smooth(rng, len(s), S_STEP_MM, 30, 0.3))
    # The sac follows a cord of normal size, so that it stays wide where the cord is thin.
    floor_a, floor_b = rng.uniform(4.5, 8.0), rng.uniform(3.8, 6.5)
    sac_a = np.maximum(a + side, floor_a)
    half = 0.5 * (2 * b + front + back)
    sac_b = np.maximum(half, floor_b)
    lie = np.tanh(rng.normal(0, 0.8) + _smooth(rng, len(s), S_STEP_MM, 70, 0.4))
    # Slack beyond the cord is shared between front and back by how the person lies.
    sac_v = 0.5 * (front - back) + np.maximum(sac_b - half, 0) * lie
    if rng.random() < 0.15:  # stenosis: the sac closes in on the cord
        at, width = s_centre_mm + rng.normal(0, 25), rng.uniform(3, 10)
        close = 1 - rng.uniform(0.4, 1.0) * np.exp(-0.5 * ((s - at) / width) ** 2)
        sac_b = np.maximum(b + (sac_b - b) * close, b + 0.1)
        sac_v = sac_v * close
        sac_a = a + (sac_a - a) * (0.5 + 0.5 * close)
    gap = rng.uniform(0.0, 1.5) + np.abs(_smooth(rng, len(s), S_STEP_MM, 30, 0.4))
    fat = rng.uniform(0, 3.5) * np.clip(1 + _smooth(rng, len(s), S_STEP_MM, 18, 0.6), 0, 2)
    fat = fat * np.interp(s, [0, 110, 160], [0.3, 0.5, 1.0])
    return sac_a, sac_b, sac_v, gap, fat


def _draw_lesions(rng: Generator, s_centre_mm: float) -> Floats:
    rows = []
    for _ in range(rng.choice(5, p=[0.78, 0.1, 0.06, 0.04, 0.02])):
        syrinx = rng.random() < 0.25
        where = (0.0, 0.0) if syrinx else tuple(rng.uniform(-0.7, 0.7, 2))
        size = (rng.uniform(0.15, 0.6), rng.uniform(0.15, 0.6), rng.uniform(3, 25))
        rows.append([*where, s_centre_mm + rng.normal(0, 25), *size, float(syrinx)])
    return np.array(rows, dtype=float).reshape(-1, 7)


def _draw_voids(rng: Generator, s_centre_mm: float) -> Floats:
    """Screws and plates: behind the cord or in front of it, now and then reaching into it."""
    if rng.random() > 0.05:
        return np.empty((0, 6))
    behind = rng.choice([-1, 1])
    rows = [
        [rng.uniform(-14, 14), behind * rng.uniform(8, 26), s_centre_mm + rng.normal(0, 20),
         *rng.uniform([5, 5, 3], [16, 14, 14])]
        for _ in range(rng.integers(1, 5))
    ]  # fmt: skip
    return np.array(rows)


def _draw_tubes(rng: Generator) -> Floats:
    """Vertical structures: trachea (air), gullet, great vessels, small vessels beside the spine."""
    rows = []
    if rng.random() < 0.8:
        rows.append([rng.normal(0, 3), rng.uniform(34, 55), rng.uniform(5, 10), rng.uniform(4, 9), 0])
    if rng.random() < 0.7:
        rows.append([rng.normal(2, 4), rng.uniform(26, 38), rng.uniform(4, 9), rng.uniform(2, 5), 1])
    for side in (-1, 1):
        rows.append(
            [side * rng.uniform(22, 38), rng.uniform(10, 34), rng.uniform(2, 4.5), rng.uniform(2, 4.5), 2]
        )
        rows.append([side * rng.uniform(26, 46), rng.uniform(8, 34), rng.uniform(2, 8), rng.uniform(2, 6), 3])
        rows.append(
            [side * rng.uniform(12, 19), rng.uniform(2, 10), rng.uniform(1, 2.6), rng.uniform(1, 2.6), 2]
        )
    for _ in range(rng.integers(0, 7)):
        radius = rng.uniform(1, 7)
        rows.append([rng.uniform(-50, 50), rng.uniform(-55, 55), radius, radius * rng.uniform(0.6, 1.6),
                     float(rng.integers(0, 6))])  # fmt: skip
    return np.array(rows, dtype=float)
