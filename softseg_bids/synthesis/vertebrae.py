"""The spine about the canal: what tells one vertebra from another.

The dens in the ring of C1 and no disc beneath it, discs that differ in height, tilt and health by
level, spinous processes of their own length and slope, ribs from T1 on, and a fused, narrowing
sacrum. What is drawn here comes from a generator of its own (seeded by the body's seed), so that a
body drawn before these details existed is still the same body.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

from softseg_bids.synthesis.body import HEIGHTS_MM, LEVELS, Body, Floats
from softseg_bids.synthesis.geometry import S_FINE_MM, Frame, Layer, along, ellipse, ramp, rows

DETAIL_SEED = 23_456_789
# Level numbers, counted from 0 at C1.
C1, C2, C3, S1 = 0, 1, 2, 24
# The vertebral bodies begin this far in front of the canal; so do the discs' posterior tips.
COLUMN_GAP_MM = 1.0
DENS_HALF_MM = 5.5
# Where no end plate is.
FAR_MM = 1e4
# Shares of people by the state of their discs, and of joints that are grown together.
HEALTHY, WORN, FUSED = 0.45, 0.4, 0.015
# Share of adults in whom the joint between dens and body of C2 is still seen; it looks like a disc.
REMNANT = 0.7

# By level, C1 to S2: half height of the disc above over the body's own (none between C1 and C2);
# reach of the spinous process behind the canal (mm), how far it sinks per mm of reach, and the
# half height of its root over the level's height; reach of the transverse processes and ribs (mm).
_DISC = (0, 0, 0.95, 1.0, 1.0, 1.0, 1.05, 1.0, 0.75, 0.7, 0.7, 0.7, 0.75, 0.8, 0.8, 0.85,
         0.9, 0.95, 1.1, 1.25, 1.45, 1.6, 1.75, 1.8, 1.6, 0.35)  # fmt: skip
_REACH = (4, 21, 13, 13, 15, 21, 29, 31, 31, 31, 31, 31, 31, 31, 31, 30,
          28, 26, 25, 27, 28, 28, 27, 22, 9, 7)  # fmt: skip
_SINK = (0, 0.25, 0.35, 0.35, 0.35, 0.35, 0.4, 0.5, 0.55, 0.6, 0.7, 0.8, 0.8, 0.8, 0.75, 0.6,
         0.45, 0.25, 0.1, 0.05, 0.05, 0.05, 0.05, 0.1, 0.3, 0.3)  # fmt: skip
_ROOT = (0.22, 0.46, *[0.33] * 17, *[0.36] * 5, 0.4, 0.4)
_ASIDE = (12, 9, 9, 9, 9, 10, 12, *[24] * 10, 14, 10, *[18] * 5, 26, 20)
# Tilt of the discs (rise of s per mm to the front): about the mean of each region.
_TILT = (0, 0, 0.10, 0.06, 0.02, 0.0, -0.04, -0.05, *[0.0] * 14, 0.08, 0.12, 0.25, 0.1)


class Spine(NamedTuple):
    """Details of one body's vertebrae, by level (C1 first); lengths in mm.

    Attributes
    ----------
    tilt : ndarray
        How far the disc above the level sinks per mm to the front.
    disc_half_mm : ndarray
        Half height of that disc; 0 where two vertebrae are one.
    bright, dark : ndarray
        How much of its nucleus shows like fluid, and of all of it like ligament.
    reach_mm, sink, root, aside_mm : ndarray
        Spinous and transverse processes, see the tables above.
    dens_top_mm : float
        Where the dens ends above, as position s.
    arch_gap_mm, arch_half_v_mm, arch_half_s_mm : float
        Joint space before the dens, and half sizes of the anterior arch of C1.
    waist_mm : float
        How much narrower the bodies are between their end plates.
    vein : float
        How far the basivertebral veins show.
    remnant : float
        How far the remnant of the joint between dens and body of C2 shows.
    remnant_s_mm, remnant_half_s_mm, remnant_half_v_mm : float
        Where it lies as position s, and its half sizes; its core is like disc in ``remnant_core``.
    remnant_core : bool
    """

    tilt: Floats
    disc_half_mm: Floats
    bright: Floats
    dark: Floats
    reach_mm: Floats
    sink: Floats
    root: Floats
    aside_mm: Floats
    dens_top_mm: float
    arch_gap_mm: float
    arch_half_v_mm: float
    arch_half_s_mm: float
    waist_mm: float
    vein: float
    remnant: float
    remnant_s_mm: float
    remnant_half_s_mm: float
    remnant_half_v_mm: float
    remnant_core: bool


def spine_of(body: Body) -> Spine:
    """Draw a body's vertebral details; the same body always has the same."""
    rng = np.random.default_rng([body.seed, DETAIL_SEED])
    n = len(LEVELS)
    bright, dark, thin = _draw_discs(rng, n)
    size = float(body.discs_mm[-1] / HEIGHTS_MM[:-1].sum())
    half = body.disc_half_mm * np.array(_DISC) * rng.normal(1, 0.08, n).clip(0.8, 1.2) * thin
    half[C3 : S1 + 1] = np.where(rng.random(S1 + 1 - C3) < FUSED, 0.0, half[C3 : S1 + 1])
    return Spine(
        tilt=np.array(_TILT) + rng.normal(0, 0.05) + rng.normal(0, 0.04, n),
        # Discs are at most as high as a third of their vertebra.
        disc_half_mm=np.minimum(half, 0.17 * HEIGHTS_MM * size), bright=bright, dark=dark,
        reach_mm=np.array(_REACH) * size * rng.normal(1, 0.1, n).clip(0.75, 1.3) * rng.uniform(0.85, 1.15),
        sink=np.array(_SINK) * rng.uniform(0.6, 1.3), root=np.array(_ROOT) * rng.uniform(0.85, 1.15),
        aside_mm=np.array(_ASIDE) * rng.uniform(0.8, 1.2),
        dens_top_mm=rng.uniform(-2.0, 4.5), arch_gap_mm=rng.uniform(0.7, 2.2),
        arch_half_v_mm=rng.uniform(2.2, 3.8), arch_half_s_mm=rng.uniform(4.0, 6.5),
        waist_mm=rng.uniform(0.0, 1.6), vein=rng.uniform(0.2, 0.9) if rng.random() < 0.6 else 0.0,
        remnant=rng.uniform(0.3, 1.0) if rng.random() < REMNANT else 0.0,
        remnant_s_mm=body.discs_mm[C2] + rng.uniform(-1.5, 5.0) * size,
        remnant_half_s_mm=rng.uniform(0.7, 2.0), remnant_half_v_mm=rng.uniform(3.0, 7.0),
        remnant_core=bool(rng.random() < 0.5),
    )  # fmt: skip


def _draw_discs(rng: Generator, n: int) -> tuple[Floats, Floats, Floats]:
    """Brightness of the nuclei, darkness, and height of the discs over the healthy one."""
    bright, dark, thin = np.zeros(n), np.zeros(n), np.ones(n)
    state = rng.random()
    if state < HEALTHY:
        bright = rng.uniform(0.15, 0.7) * rng.uniform(0.7, 1.0, n)
    elif state < HEALTHY + WORN:
        bright = rng.uniform(0.0, 0.5) * rng.uniform(0.0, 1.0, n)
        worn = rng.random(n) < rng.uniform(0.1, 0.7)
        bright = np.where(worn, 0.0, bright)
        dark = np.where(worn, rng.uniform(0.2, 0.9, n), 0.0)
        thin = np.where(worn, rng.uniform(0.45, 1.0, n), 1.0)
    return bright, dark, thin


class _Tables(NamedTuple):
    """What each row of the fine tables along s belongs to, for one device."""

    low: Tensor
    high: Tensor
    half_rl: Tensor
    half_ap: Tensor


def vertebra_layers(
    body: Body, near: Frame, edge: float, spacing_mm: tuple[float, float, float]
) -> list[Layer]:
    """Bodies, discs, cortical rims, the ring of C1, posterior arches, ligaments; level by level.

    Parameters
    ----------
    body : Body
    near : Frame
        Coordinates of the voxels.
    edge : float
        Width of edges across the cord (mm).
    spacing_mm : tuple of float
    """
    if not (body.has_bodies or body.has_arches):
        return []
    spine = spine_of(body)
    low_s, high_s = (float(value) for value in near.s.aminmax())
    layers: list[Layer] = []
    if body.has_bodies:
        layers += _column(body, spine, near, edge, max(edge, spacing_mm[2] * 0.7), (low_s, high_s))
        if low_s < body.discs_mm[C2] and high_s > -12:
            layers += _anterior_arch(body, spine, near, edge)
    if body.has_arches:
        layers += _arches(body, spine, near, edge)
    return layers


def _column(
    body: Body, spine: Spine, near: Frame, edge: float, s_edge: float, view: tuple[float, float]
) -> list[Layer]:
    """Vertebral bodies with the dens, and the discs between them."""
    device = near.s.device
    table = _tables(body, spine, device)
    front = near.v - along(near, body, body.sac_b_mm + body.sac_v_mm + body.canal_gap_mm) - COLUMN_GAP_MM
    # A disc turns about its posterior tip, so the tip stays where the landmark is.
    tilt = np.interp(body.s_mm, body.discs_mm, spine.tilt)
    s = near.s - along(near, body, tilt) * front.clamp(-20.0, 45.0)
    row = _row(body, s)
    half_rl, half_ap = table.half_rl[row], table.half_ap[row]
    tall = torch.minimum(s - table.low[row], table.high[row] - s)
    column = ellipse(near.u, front - half_ap, half_rl, half_ap)
    if spine.waist_mm:
        column = column + spine.waist_mm / 6.0 * tall.clamp(0.0, 6.0)
    on_spine = ramp(near.s - spine.dens_top_mm, max(edge, 1.5))
    inside = ramp(-column, edge) * on_spine
    rim = body.rim_mm
    layers = [
        Layer("ligament", ramp(1.5 - column, edge) * on_spine),
        Layer("disc", inside),
        *_discs(body, spine, row, column, tall, inside, view),
        Layer("cortex", ramp(-column + rim * 0.5, edge) * ramp(tall + rim, s_edge) * on_spine),
        Layer("marrow", ramp(-column - rim * 0.5, edge) * ramp(tall, s_edge) * on_spine),
    ]
    if spine.vein and view[1] > body.discs_mm[C3]:
        middle = 0.5 * (table.low[row] + table.high[row])
        flat = ellipse(near.u, front, 5.0, 0.7 * half_ap).clamp_min(-3.0)
        cleft = torch.maximum(flat, (s - middle).abs() - 1.2)
        layers.append(Layer("vein", spine.vein * ramp(-cleft, max(edge, 1.0)) * inside))
    if spine.remnant and view[0] < body.discs_mm[C3] and view[1] > -12:
        layers += _remnant(spine, near.u, front - half_ap, s, inside, edge)
    return layers


def _remnant(spine: Spine, u: Tensor, front: Tensor, s: Tensor, inside: Tensor, edge: float) -> list[Layer]:
    """What is left of the joint between dens and body of C2: a flat lens that ends within the bone."""
    half_v, half_s = spine.remnant_half_v_mm, spine.remnant_half_s_mm
    lens = torch.maximum(ellipse(front, s - spine.remnant_s_mm, half_v, half_s), u.abs() - 5.0)
    layers = [Layer("cortex", spine.remnant * ramp(-lens, edge) * inside)]
    if spine.remnant_core:
        layers.append(Layer("disc", spine.remnant * ramp(-lens - 0.6, edge) * inside))
    return layers


def _discs(
    body: Body, spine: Spine, row: Tensor, column: Tensor, tall: Tensor, inside: Tensor,
    view: tuple[float, float],
) -> list[Layer]:  # fmt: skip
    """What age does to discs: a nucleus like fluid, or all of it dark."""
    seen = (body.discs_mm > view[0] - 10) & (body.discs_mm < view[1] + 10)
    layers = []
    for tissue, amount, inset in (("csf", spine.bright, 3.0), ("ligament", spine.dark, 0.0)):
        if amount[seen].max(initial=0.0) > 0:
            share = _by_disc(body, amount, row.device)[row]
            within = ramp(-column - inset, 2.0) if inset else inside
            layers.append(Layer(tissue, share * within * ramp(-tall - 0.2 * inset, 1.0)))
    return layers


def _anterior_arch(body: Body, spine: Spine, near: Frame, edge: float) -> list[Layer]:
    """The front of C1's ring: an oval before the dens, curving back to the lateral masses."""
    canal = along(near, body, body.sac_b_mm + body.sac_v_mm + body.canal_gap_mm)
    before = COLUMN_GAP_MM + 2 * DENS_HALF_MM + spine.arch_gap_mm + spine.arch_half_v_mm
    middle = max(spine.dens_top_mm, 0.0) + 1.1 * spine.arch_half_s_mm
    v = near.v - canal - before + near.u**2 / 34.0
    oval = ellipse(v, near.s - middle, spine.arch_half_v_mm, spine.arch_half_s_mm)
    wide = ramp(17.0 - near.u.abs(), 2.0)
    return [
        Layer("cortex", ramp(-oval, edge) * wide),
        Layer("marrow", ramp(-oval - max(body.rim_mm, 0.8), edge) * wide),
    ]


def _arches(body: Body, spine: Spine, near: Frame, edge: float) -> list[Layer]:
    """Laminae, spinous and transverse processes, ribs, and the ligaments behind the canal."""
    device = near.s.device
    a = along(near, body, body.sac_a_mm + body.canal_gap_mm)
    b = along(near, body, body.sac_b_mm + body.canal_gap_mm + 0.5 * body.fat_mm)
    v = near.v - along(near, body, body.sac_v_mm - 0.5 * body.fat_mm)
    ring = ellipse(near.u, v, a, b)
    back = -v - b
    # Processes sink backwards: what lies behind belongs to a higher place of the canal.
    sink = along(near, body, np.interp(body.s_mm, body.discs_mm + 8.0, spine.sink))
    s = near.s - sink * back.clamp(0.0, 40.0)
    row = _row(body, s)
    level, top = _levels(body)
    height = np.diff(body.discs_mm, append=body.discs_mm[-1] + 25)[level]
    rise = torch.as_tensor(spine.root[level] * height, dtype=torch.float32, device=device)
    middle = torch.as_tensor(top + 0.55 * height, dtype=torch.float32, device=device)
    bony = ramp(rise[row] - (s - middle[row]).abs(), max(edge, 1.5)) * (near.s > 0)
    behind = ramp(-v + 0.3 * b, edge)
    lamina = ramp(2.6 - (ring - 3.0).abs(), edge) * behind * bony
    reach = torch.as_tensor(spine.reach_mm[level], dtype=torch.float32, device=device)[row]
    # From the laminae backwards; before the canal there are bodies, and no process.
    process = torch.minimum(2.8 - near.u.abs(), torch.minimum(reach + 2.0 - back, back + 3.0))
    aside = torch.as_tensor(0.5 * spine.aside_mm[level], dtype=torch.float32, device=device)[row]
    lateral = torch.minimum(aside - (near.u.abs() - a - 1.0 - aside).abs(), 7.0 - (v - 1.0).abs())
    bone = torch.maximum(ramp(process, edge), ramp(lateral, edge)) * bony
    bone = torch.maximum(bone * ramp(ring - 0.5, edge), lamina)
    core = torch.maximum(
        ramp(torch.maximum(process, lateral) - body.rim_mm, edge) * ramp(ring - 1.5, edge),
        ramp(1.4 - (ring - 3.2).abs(), edge) * behind,
    )
    return [
        Layer("ligament", ramp(2.0 - (ring - 1.6).abs(), edge) * behind * (near.s > 0)),
        Layer("cortex", bone),
        Layer("marrow", core * bony),
    ]


def _fine_s(body: Body) -> Floats:
    return np.arange(body.s_mm[0], body.s_mm[-1], S_FINE_MM)


def _row(body: Body, s: Tensor) -> Tensor:
    return rows(s, float(body.s_mm[0]), S_FINE_MM, len(_fine_s(body)))


def _levels(body: Body) -> tuple[NDArray[np.intp], Floats]:
    """Level of each fine row (0 is C1), and where it begins."""
    level = np.clip(np.searchsorted(body.discs_mm, _fine_s(body)) - 1, 0, len(LEVELS) - 1)
    return level, body.discs_mm[level]


def _tables(body: Body, spine: Spine, device: torch.device) -> _Tables:
    level, _ = _levels(body)
    bottom = np.append(body.discs_mm[1:], FAR_MM)
    low = body.discs_mm + spine.disc_half_mm
    high = bottom - np.append(spine.disc_half_mm[1:], 0.0)
    # The dens is one with the body of C2, and where two vertebrae are one no end plates are seen.
    fused = spine.disc_half_mm == 0
    low = np.where(fused, -FAR_MM, low)
    high = np.where(np.append(fused[1:], True), FAR_MM, high)
    half_rl, half_ap = body.body_half_mm.copy()
    half_rl[C1] = half_ap[C1] = DENS_HALF_MM
    half_ap[S1:] *= (0.85, 0.6)
    columns = (low[level], high[level], half_rl[level], half_ap[level])
    return _Tables(*(torch.as_tensor(c, dtype=torch.float32, device=device) for c in columns))


def _by_disc(body: Body, amount: Floats, device: torch.device) -> Tensor:
    """A value of each disc, along the fine rows: of the disc nearest to the row."""
    between = 0.5 * (body.discs_mm[1:] + body.discs_mm[:-1])
    nearest = np.searchsorted(between, _fine_s(body))
    return torch.as_tensor(amount[nearest], dtype=torch.float32, device=device)
