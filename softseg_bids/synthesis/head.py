"""What lies above the first vertebra: brain, brainstem, cerebellum, skull and its base."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from softseg_bids.synthesis.body import Body
from softseg_bids.synthesis.geometry import Far, Frame, Layer, ellipse, ellipsoid, ramp, smooth_noise

BASE_SEED, THROAT_SEED = 34_567_891, 45_678_901
# Views that end nearer to the cord show nothing of the throat.
THROAT_MM = 28.0


def head_layers(body: Body, far: Far, near: Frame, edge: float, random: torch.Generator) -> list[Layer]:
    """Brain, cisterns, brainstem, cerebellum, skull, eyes and sinuses, where the view reaches up."""
    if not body.has_head or float(far.s.min()) > 5:
        return []
    rl, ap, offset = float(body.torso[4]), float(body.torso[5]), float(body.torso[6])
    up = -far.s
    u, v = far.u, far.v
    skull = ellipsoid(u, v - offset, up - 68, rl - 5, ap - 6, 84)
    above = ramp(up + 4, 6.0)
    layers = [
        Layer("skull", ramp(-skull, edge) * above),
        Layer("csf", ramp(-skull - 6.0, edge) * above),
    ]
    folds = smooth_noise(tuple(u.shape), (edge, edge, edge), 8.0, random)
    cerebrum, cerebellum, pons, midbrain = _brain(body, far)
    cortex = cerebrum + 1.3 * folds
    ventricle = ellipsoid(u.abs() - 9, v - offset, up - 85, 6, 26, 9)
    folia = cerebellum + 0.8 * folds
    # Fluid about the brainstem, most of it before the pons; no cerebrum reaches down there.
    cistern = ellipsoid(u, v - 7, body.pmj_mm - far.s - 16, 22, 19, 34)
    fourth = ellipsoid(u, v + 10, up - 34, 7, 4, 13)
    layers += [
        Layer("brain", ramp(-cortex, edge)),
        Layer("white", ramp(-cortex - 4.0 + 2 * folds, edge)),
        Layer("csf", ramp(-ventricle, edge)),
        Layer("csf", ramp(-cistern, edge)),
        *_skull_base(body, far, skull, edge),
        Layer("cerebellum", ramp(-folia, edge) * above),
        Layer("csf", ramp(-fourth, edge)),
        Layer("white", ramp(-torch.minimum(pons, midbrain), edge)),
    ]
    for side in (-1, 1):
        eye = ellipsoid(u - side * 32, v - offset - ap + 18, up - 44, 12, 12, 12)
        layers += [Layer("csf", ramp(-eye, edge)), Layer("dura", ramp(0.8 - eye.abs(), edge))]
    mouth = ellipsoid(u, v - offset - ap + 30, up - 2, 22, 28, 9)
    sinus = ellipsoid(u, v - offset - ap + 26, up - 30, 13, 18, 16)
    throat = ellipsoid(u, v - 40, up + 2, 9, 6, 40)
    layers += [Layer("air", ramp(-torch.minimum(torch.minimum(mouth, sinus), throat), edge))]
    return layers


def throat_layers(body: Body, far: Far, edge: float) -> list[Layer]:
    """Tongue, lower jaw, hyoid bone and the airway behind them: they end in front of C3 to C5."""
    front, low = float(far.v.max()), float(far.s.min())
    if not body.has_head or front < THROAT_MM or low > 110 or float(far.s.max()) < -10:
        return []
    rng = np.random.default_rng([body.seed, THROAT_SEED])
    # Where the hyoid lies depends on how the neck is bent.
    hyoid, gap = rng.normal(0.5 * float(body.discs_mm[3] + body.discs_mm[4]), 8.0), rng.uniform(26.0, 34.0)
    behind = gap + rng.uniform(3.0, 7.0)
    tissue = str(rng.choice(["muscle", "tissue_b", "tissue_c", "fat"]))
    u, v, s = far.u, far.v, far.s
    tongue = ellipsoid(u, v - behind - 30, s - hyoid + 38, 26, 29, rng.uniform(33, 44))
    chin = ellipsoid(u, v - behind - rng.uniform(46, 58), s - hyoid + rng.uniform(8, 22), 14, 6, 11)
    bone = ellipsoid(u, v - behind - rng.uniform(6, 14), s - hyoid, 16, 3.5, 3.5)
    width = rng.uniform(1.0, 5.0)
    drift = 0.12 * (s - hyoid).clamp(-60, 30)
    airway = ellipsoid(u, v - gap - width - drift, s - hyoid + 25, 11, width, rng.uniform(45, 80))
    return [
        Layer(tissue, ramp(-tongue, edge)),
        Layer("cortex", ramp(-torch.minimum(chin, bone), edge)),
        Layer("marrow", ramp(-chin - 1.5, edge)),
        Layer("air", ramp(-airway, edge)),
    ]


def _skull_base(body: Body, far: Far, skull: Tensor, edge: float) -> list[Layer]:
    """Clivus before, occiput behind the foramen magnum, and the face and neck below them."""
    rng = np.random.default_rng([body.seed, BASE_SEED])
    front, back = rng.uniform(9.0, 14.0), -rng.uniform(15.0, 21.0)
    steep, flat = rng.uniform(0.9, 1.5), rng.uniform(0.35, 0.65)
    half_clivus, half_occiput = rng.uniform(3.0, 5.0), rng.uniform(1.2, 3.0)
    height = rng.uniform(1.0, 5.0)
    before, behind = (far.v - front).clamp_min(0.0), (back - far.v).clamp_min(0.0)
    # The base rises to the sella before the foramen, more gently behind it and to the sides.
    floor = height + steep * before.clamp_max(28.0) + flat * behind + 0.25 * (far.u.abs() - 15.0).clamp_min(0)
    slope = torch.where(before > 0, (1 + steep**2) ** 0.5, (1 + flat**2) ** 0.5)
    depth = (-far.s - floor) / slope
    half = torch.where(far.v > 0, half_clivus, half_occiput)
    middle = 0.5 * (front + back)
    hole = ellipse(far.u, far.v - middle, 15.0, front - middle)
    bone = ramp(half - depth.abs(), edge) * ramp(hole, max(edge, 1.0)) * ramp(-skull, edge)
    marrow = ramp(half - 1.2 - depth.abs(), edge) * ramp(hole - 1.0, edge) * (far.v > 0)
    below = ramp(-depth, edge) * ramp(hole, edge) * ramp(-far.s + 4.0, 6.0)
    return [Layer("muscle", below), Layer("cortex", bone), Layer("marrow", marrow * bone)]


def _brain(body: Body, far: Far) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Distance (mm, negative inside) to cerebrum, cerebellum, pons and midbrain."""
    rl, ap, offset = float(body.torso[4]), float(body.torso[5]), float(body.torso[6])
    above_pmj = body.pmj_mm - far.s
    return (
        ellipsoid(far.u, far.v - offset, -far.s - 84, rl - 13, ap - 14, 66),
        ellipsoid(far.u, far.v + 24, -far.s - 30, 48, 25, 23),
        ellipsoid(far.u, far.v - 4, above_pmj - 14, 16, 13, 15),
        ellipsoid(far.u, far.v - 5, above_pmj - 36, 14, 10, 14),
    )


def beyond_brain(body: Body, far: Far, near: Frame, edge: float) -> Tensor:
    """What brain extraction takes away: 1 outside the brain and the medulla, and everywhere below C1."""
    medulla = torch.maximum(torch.sqrt(near.u**2 + near.v**2) - 8.0, near.s + 3.0)
    inside = torch.stack([*_brain(body, far), medulla]).amin(dim=0)
    return ramp(inside, edge)
