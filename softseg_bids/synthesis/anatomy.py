"""What is where: a :class:`~softseg_bids.synthesis.body.Body` rendered on a grid of points.

The result is a :class:`Scene`: layers to paint one over the other (a tissue and how much of
each voxel it covers), and the exact cord fraction. Edges are ramps as wide as a voxel along
their normal, which is the partial volume of a locally flat boundary.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from softseg_bids.synthesis.body import N_ANGLES, Body

TISSUES = (
    "air", "muscle", "fat", "organ", "vessel", "vein", "marrow", "disc", "cortex", "ligament",
    "epidural", "dura", "csf", "root", "white", "grey", "lesion", "syrinx", "brain", "skull", "tissue_a",
    "tissue_b", "tissue_c", "tissue_d", "gullet", "cerebellum",
)  # fmt: skip
INDEX = {name: number for number, name in enumerate(TISSUES)}
# Steps of the dense tables along the cord and along z; the second sets where the cord is.
S_FINE_MM = 0.1
Z_FINE_MM = 0.02
# The nearest point of the centreline lies at most this far above or below what is rendered.
REACH_MM = 80.0
TUBE_TISSUES = ("air", "gullet", "vessel", "vein", "tissue_a", "fat")


class Layer(NamedTuple):
    """A tissue painted over what lies below: ``alpha`` in [0, 1] is how much of each voxel it covers."""

    tissue: str
    alpha: Tensor


class Scene(NamedTuple):
    """A rendered body.

    Attributes
    ----------
    base : Tensor of int64
        Index in ``TISSUES`` of the background of each voxel.
    layers : list of Layer
        Painted in this order.
    cord : Tensor
        Cord fraction of each voxel, 0 above the foramen magnum and below the conus: the label.
    along_mm : Tensor
        The coordinate s of each voxel.
    """

    base: Tensor
    layers: list[Layer]
    cord: Tensor
    along_mm: Tensor


class _Frame(NamedTuple):
    """Coordinates of every voxel relative to the cord; ``row`` is its row in the tables along s."""

    u: Tensor
    v: Tensor
    s: Tensor
    row: Tensor
    tangent: Tensor


class _Far(NamedTuple):
    """Sheared coordinates of every voxel, for what lies far from the cord."""

    u: Tensor
    v: Tensor
    s: Tensor


def grid_points(
    shape: tuple[int, int, int], spacing_mm: tuple[float, float, float], device: torch.device
) -> Tensor:
    """Centres of an axis-aligned grid about the origin, in mm, shape (3, x, y, z)."""
    axes = [
        (torch.arange(n, device=device, dtype=torch.float32) - 0.5 * (n - 1)) * h
        for n, h in zip(shape, spacing_mm, strict=True)
    ]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))


def render(body: Body, points_mm: Tensor, spacing_mm: tuple[float, float, float]) -> Scene:
    """Render a body at voxel centres.

    Parameters
    ----------
    body : Body
    points_mm : Tensor, shape (3, x, y, z)
        Voxel centres in the body's frame (x right, y front, z up), possibly displaced by an
        acquisition's distortion or motion.
    spacing_mm : tuple of float
        Voxel size, for the width of the edges.

    Returns
    -------
    Scene
    """
    random = torch.Generator(device=points_mm.device)
    random.manual_seed(body.seed)
    near = _near_frame(body, points_mm)
    far = _far_frame(body, points_mm)
    edge = float(np.prod(spacing_mm) ** (1 / 3))
    layers = [
        *_trunk(body, far, edge),
        *_tubes(body, far, edge),
        *_vertebrae(body, near, edge, spacing_mm),
        *_head(body, far, near, edge, random),
        *_canal(body, near, edge),
    ]
    cord = cord_fraction(body, near, spacing_mm)
    visible = 0.0 if not body.has_cord else 1.0
    # Above the pontomedullary junction the pons takes over: no tube runs on through the brain.
    layers += _cord_tissues(body, near, cord * visible * _ramp(near.s - body.pmj_mm + 8.0, 4.0), edge)
    above = _ramp(near.s, edge)  # 1 below the plane of the foramen magnum
    below = _ramp(body.conus_mm - near.s, edge)
    label = cord * visible * above * below
    for u, v, s, ru, rv, rs in body.voids:
        void = _ramp(-_ellipsoid(near.u - u, near.v - v, near.s - s, ru, rv, rs), edge)
        layers.append(Layer("air", void))
        label = label * (1 - void)
    if body.has_head and not body.has_skull:
        beyond = _beyond_brain(body, far, near, edge)
        layers.append(Layer("air", beyond))
        label = label * (1 - beyond)
    return Scene(_partition(far, spacing_mm, random), [x for x in layers if _seen(x)], label, near.s)


def cord_fraction(body: Body, near: _Frame, spacing_mm: tuple[float, float, float]) -> Tensor:
    """Fraction of each voxel inside the cord's outline (medulla and filum included).

    The outline is an implicit function of the normalised polar coordinates of the section; its
    distance is first order, and the ramp is as wide as the voxel's standard deviation along the
    normal asks for (a uniform ramp of the same variance as the projected box).
    """
    a, b = _along(near, body, body.cord_a_mm), _along(near, body, body.cord_b_mm)
    p, q = near.u / a, near.v / b
    radius = torch.sqrt(p * p + q * q).clamp_min(1e-4)
    angle = torch.atan2(q, p) * (N_ANGLES / (2 * np.pi))
    outline = torch.as_tensor(body.outline, dtype=torch.float32, device=near.u.device)
    slope = (torch.roll(outline, -1) - torch.roll(outline, 1)) * (N_ANGLES / (4 * np.pi))
    limit, turn = _cyclic(angle, outline), _cyclic(angle, slope)
    f = radius / limit - 1
    # Gradient of f in (p, q), then in mm along u, v.
    radial, tangential = 1 / limit, -turn / limit**2
    gu = (radial * p - tangential * q) / radius / a
    gv = (radial * q + tangential * p) / radius / b
    steep = torch.sqrt(gu * gu + gv * gv)
    distance = f / steep
    nu, nv = gu / steep, gv / steep
    # e1, e2 span the perpendicular plane: e1 is x made perpendicular to the tangent, e2 completes it.
    tx, ty, tz = near.tangent
    e1x = torch.sqrt((1 - tx * tx).clamp_min(1e-6))
    e1y, e1z = -tx * ty / e1x, -tx * tz / e1x
    e2y, e2z = tz / e1x, -ty / e1x
    hx, hy, hz = spacing_mm
    width = torch.sqrt(
        (nu * e1x * hx) ** 2 + ((nu * e1y + nv * e2y) * hy) ** 2 + ((nu * e1z + nv * e2z) * hz) ** 2
    )
    return _ramp(-distance - width**2 / (24 * torch.sqrt(a * b)), width)


def _ramp(inside_mm: Tensor, width_mm: Tensor | float) -> Tensor:
    return (0.5 + inside_mm / width_mm).clamp(0, 1)


def _seen(layer: Layer) -> bool:
    return bool(layer.alpha.max() > 0)


def _cyclic(position: Tensor, table: Tensor) -> Tensor:
    floor = torch.floor(position)
    index = floor.long() % table.shape[0]
    return torch.lerp(table[index], table[(index + 1) % table.shape[0]], position - floor)


def _rows(position: Tensor, start: float, step: float, count: int) -> Tensor:
    """Nearest row of a dense table: with steps this fine, interpolation would only cost time."""
    return ((position - start) * (1 / step) + 0.5).long().clamp_(0, count - 1)


def _dense(table: np.ndarray, at: np.ndarray, step: float, device: torch.device) -> Tensor:
    """Columns of a table over ``at``, interpolated to a fine step; shape (columns, rows)."""
    fine = np.arange(at[0], at[-1], step)
    columns = np.stack([np.interp(fine, at, column) for column in np.atleast_2d(table.T)])
    return torch.as_tensor(columns, dtype=torch.float32, device=device)


def _along(near: _Frame, body: Body, table: np.ndarray) -> Tensor:
    return _dense(table, body.s_mm, S_FINE_MM, near.s.device)[0][near.row]


def _s_rows(body: Body, s: Tensor) -> Tensor:
    count = len(np.arange(body.s_mm[0], body.s_mm[-1], S_FINE_MM))
    return _rows(s, float(body.s_mm[0]), S_FINE_MM, count)


def _near_frame(body: Body, points: Tensor) -> _Frame:
    """Coordinates perpendicular to the centreline: two Newton steps to its nearest point."""
    columns = np.concatenate([body.centre_mm, body.tangent, body.s_of_z[:, None]], axis=1)
    x, y, z0 = points
    near = (body.z_mm > float(z0.min()) - REACH_MM) & (body.z_mm < float(z0.max()) + REACH_MM)
    start = float(body.z_mm[near][0])
    tables = _dense(columns[near], body.z_mm[near], Z_FINE_MM, points.device)
    count = tables.shape[1]
    z = z0
    for _ in range(2):
        row = _rows(z, start, Z_FINE_MM, count)
        cx, cy, tx, ty, tz = (tables[k][row] for k in range(5))
        z = z + ((x - cx) * tx + (y - cy) * ty + (z0 - z) * tz) * tz
    row = _rows(z, start, Z_FINE_MM, count)
    cx, cy, tx, ty, tz, s = (tables[k][row] for k in range(6))
    dx, dy, dz = x - cx, y - cy, z0 - z
    e1x = torch.sqrt((1 - tx * tx).clamp_min(1e-6))
    u = dx * e1x - (dy * tx * ty + dz * tx * tz) / e1x
    v = (dy * tz - dz * ty) / e1x
    return _Frame(u, v, s, _s_rows(body, s), torch.stack([tx, ty, tz]))


def _far_frame(body: Body, points: Tensor) -> _Far:
    """Sheared coordinates at the same height: no folding far from a curved centreline."""
    x, y, z = points
    columns = np.concatenate([body.centre_mm, body.s_of_z[:, None]], axis=1)
    tables = _dense(columns, body.z_mm, Z_FINE_MM, points.device)
    row = _rows(z, float(body.z_mm[0]), Z_FINE_MM, tables.shape[1])
    s = tables[2][row]
    return _Far(x - tables[0][row], y - tables[1][row], s)


def _ellipse(u: Tensor, v: Tensor, a: Tensor | float, b: Tensor | float) -> Tensor:
    """First-order signed distance (mm, negative inside) to an ellipse about the origin."""
    p, q = u / a, v / b
    f = torch.sqrt(p * p + q * q).clamp_min(1e-4)
    g = torch.sqrt((p / a) ** 2 + (q / b) ** 2) / f
    return (f - 1) / g.clamp_min(1e-4)


def _ellipsoid(u: Tensor, v: Tensor, w: Tensor, a: float, b: float, c: float) -> Tensor:
    p, q, r = u / a, v / b, w / c
    f = torch.sqrt(p * p + q * q + r * r).clamp_min(1e-4)
    g = torch.sqrt((p / a) ** 2 + (q / b) ** 2 + (r / c) ** 2) / f
    return (f - 1) / g.clamp_min(1e-5)


def smooth_noise(shape: tuple[int, ...], spacing_mm: tuple[float, float, float], scale_mm: float,
                 random: torch.Generator) -> Tensor:  # fmt: skip
    """A smooth random field of about unit variance, features about ``scale_mm`` wide."""
    small = [max(int(np.ceil(n * h / scale_mm)) + 2, 2) for n, h in zip(shape, spacing_mm, strict=True)]
    coarse = torch.randn((1, 1, *small), generator=random, device=random.device)
    field = torch.nn.functional.interpolate(coarse, size=tuple(shape), mode="trilinear", align_corners=True)
    return field[0, 0] * 1.6


def _partition(far: _Far, spacing_mm: tuple[float, float, float], random: torch.Generator) -> Tensor:
    """Muscle in the middle of random smooth regions: what surrounds a spine is never one grey value."""
    shape = tuple(far.u.shape)
    large = smooth_noise(shape, spacing_mm, 26.0, random)
    small = smooth_noise(shape, spacing_mm, 9.0, random)
    names = ["muscle", "tissue_a", "tissue_b", "fat", "tissue_c", "tissue_d", "organ"]
    order = torch.as_tensor([INDEX[n] for n in names], device=far.u.device)
    bin_large = ((large * 1.2 + 2.0).clamp(0, 3.99)).long()
    base = order[bin_large]
    base = torch.where(small > 1.5, INDEX["fat"], base)
    return torch.where(small < -1.6, order[4 + bin_large.clamp(max=2)], base)


def _trunk(body: Body, far: _Far, edge: float) -> list[Layer]:
    """Skin and the air beyond: neck, shoulders below C7, head above C1."""
    neck_rl, neck_ap, chest_rl, chest_ap, head_rl, head_ap, offset, fat = (float(v) for v in body.torso)
    shoulder = torch.sigmoid((far.s - float(body.discs_mm[7])) / 12.0)
    head = torch.sigmoid((-far.s - 8.0) / 10.0) * float(body.has_head)
    half_rl = neck_rl + (chest_rl - neck_rl) * shoulder + (head_rl - neck_rl) * head
    half_ap = neck_ap + (chest_ap - neck_ap) * shoulder + (head_ap - neck_ap) * head
    crown = (1 - ((-far.s - 60).clamp(0, 95) / 95) ** 2).clamp_min(1e-3).sqrt()
    half_rl, half_ap = half_rl * crown, half_ap * crown
    depth = -_ellipse(far.u, far.v - offset, half_rl, half_ap)
    return [Layer("fat", _ramp(fat - depth, edge)), Layer("air", _ramp(-depth, edge))]


def _tubes(body: Body, far: _Far, edge: float) -> list[Layer]:
    layers = []
    # Most of them pass outside a narrow view.
    low_u, high_u, low_v, high_v = (float(e) for e in (*far.u.aminmax(), *far.v.aminmax()))
    for number, (u, v, a, b, tissue) in enumerate(body.tubes):
        reach_u, reach_v = a + 3.0 + edge, b + 2.1 + edge
        if not (low_u - reach_u < u < high_u + reach_u and low_v - reach_v < v < high_v + reach_v):
            continue
        drift = 3.0 * torch.sin(far.s / (23.0 + 3 * number) + number)
        distance = _ellipse(far.u - u - drift, far.v - v - 0.7 * drift, float(a), float(b))
        layers.append(Layer(TUBE_TISSUES[int(tissue)], _ramp(-distance, edge)))
    return layers


def _vertebrae(body: Body, near: _Frame, edge: float, spacing_mm: tuple[float, float, float]) -> list[Layer]:
    """Bodies, discs, cortical rims, posterior arches, ligaments; level by level at its real height."""
    discs = torch.as_tensor(body.discs_mm, dtype=torch.float32, device=near.s.device)
    height = torch.diff(discs, append=discs[-1:] + 25)
    level = (torch.searchsorted(discs, near.s.contiguous()) - 1).clamp(0, len(discs) - 1)
    # Distance along s to the nearest disc plane, positive inside the level.
    into = near.s - discs[level]
    to_disc = torch.minimum(into, height[level] - into)
    on_spine = (near.s > 0).float()
    half = torch.as_tensor(body.body_half_mm, dtype=torch.float32, device=near.s.device)
    half_rl, half_ap = half[0][level], half[1][level]
    # C1 has no body: the dens of C2 stands there, narrow.
    dens = level == 0
    half_rl = torch.where(dens, 5.5, half_rl)
    half_ap = torch.where(dens, 5.5, half_ap)
    canal_front = _along(near, body, body.sac_b_mm + body.sac_v_mm + body.canal_gap_mm)
    centre_v = canal_front + half_ap + 1.0
    column = _ellipse(near.u, near.v - centre_v, half_rl, half_ap)
    layers: list[Layer] = []
    if body.has_bodies:
        s_edge = max(edge, spacing_mm[2] * 0.7)
        tall = torch.where(dens, 6.0, to_disc - body.disc_half_mm)
        marrow = _ramp(-column, edge) * on_spine
        layers += [
            Layer("ligament", _ramp(1.5 - column, edge) * on_spine),
            Layer("disc", marrow),
            Layer(
                "cortex",
                _ramp(-column + body.rim_mm * 0.5, edge) * _ramp(tall + body.rim_mm, s_edge) * on_spine,
            ),
            Layer("marrow", _ramp(-column - body.rim_mm * 0.5, edge) * _ramp(tall, s_edge) * on_spine),
        ]
    if body.has_arches:
        a = _along(near, body, body.sac_a_mm + body.canal_gap_mm)
        b = _along(near, body, body.sac_b_mm + body.canal_gap_mm + 0.5 * body.fat_mm)
        v = near.v - _along(near, body, body.sac_v_mm - 0.5 * body.fat_mm)
        ring = _ellipse(near.u, v, a, b)
        middle = into / height[level]
        bony = _ramp((0.33 - (middle - 0.55).abs()) * height[level], max(edge, 1.5)) * on_spine
        behind = _ramp(-v + 0.3 * b, edge)
        lamina = _ramp(2.6 - (ring - 3.0).abs(), edge) * behind * bony
        reach = 14.0 + 12.0 * (level % 3 == 1).float() + 8.0 * (level == 6).float()
        process = torch.minimum(2.8 - near.u.abs(), reach - (-v - b - 2.0).abs())
        lateral = torch.minimum(6.0 - (near.u.abs() - a - 7.0).abs(), 7.0 - (v - 1.0).abs())
        spine = torch.maximum(_ramp(process, edge), _ramp(lateral, edge)) * bony
        spine = torch.maximum(spine * _ramp(ring - 0.5, edge), lamina)
        core = (
            torch.maximum(
                _ramp(torch.maximum(process, lateral) - body.rim_mm, edge) * _ramp(ring - 1.5, edge),
                _ramp(1.4 - (ring - 3.2).abs(), edge) * behind,
            )
            * bony
        )
        layers += [
            Layer("ligament", _ramp(2.0 - (ring - 1.6).abs(), edge) * behind * on_spine),
            Layer("cortex", spine),
            Layer("marrow", core),
        ]
    return layers


def _canal(body: Body, near: _Frame, edge: float) -> list[Layer]:
    """Epidural space, dura, CSF and the roots in it."""
    a, b = _along(near, body, body.sac_a_mm), _along(near, body, body.sac_b_mm)
    v = near.v - _along(near, body, body.sac_v_mm)
    gap = _along(near, body, body.canal_gap_mm)
    fat = _along(near, body, body.fat_mm)
    below_skull = _ramp(near.s + 30.0, 20.0)
    sac = _ellipse(near.u, v, a, b)
    outer = _ellipse(near.u, v + 0.5 * fat, a + gap, b + gap + 0.5 * fat)
    layers = [
        Layer("epidural", _ramp(-outer, edge) * below_skull),
        Layer("dura", _ramp(0.4 - sac, edge) * below_skull),
        Layer("csf", _ramp(-sac, edge) * below_skull),
    ]
    dullness, side = (float(value) for value in body.murk)
    if dullness:
        dull = torch.sigmoid((near.u * np.sin(side) - near.v * np.cos(side)) / 1.5)
        layers.append(Layer("root", dullness * dull * _ramp(-sac, edge) * below_skull))
    if body.has_roots:
        layers.append(Layer("root", _roots(body, near, edge) * _ramp(-sac, edge) * below_skull))
    return layers


def _roots(body: Body, near: _Frame, edge: float) -> Tensor:
    """Roots beside the cord; below the conus the cauda equina, settled towards the back."""
    a, b = _along(near, body, body.cord_a_mm), _along(near, body, body.cord_b_mm)
    wave = 0.8 * torch.sin(near.s / 5.0 + body.seed % 7)
    across = near.u.abs()
    beside = torch.maximum(
        _ramp(-_ellipse(across - a - 1.3, near.v - 0.5 * b + wave, 1.3, 0.45), edge),
        _ramp(-_ellipse(across - a - 1.0, near.v + 0.6 * b + wave, 1.1, 0.5), edge),
    ) * (near.s > 0)
    if body.conus_mm - float(near.s.max()) > 20:
        return beside
    sac_a, sac_b = _along(near, body, body.sac_a_mm), _along(near, body, body.sac_b_mm)
    v = near.v - _along(near, body, body.sac_v_mm)
    strands = torch.zeros_like(near.u)
    for number in range(7):
        angle = -np.pi * (0.08 + 0.14 * number)
        sway = 0.1 * torch.sin(near.s / 17.0 + number)
        at_u, at_v = (0.65 * np.cos(angle) + sway) * sac_a, (0.6 * np.sin(angle) + 0.1 + sway) * sac_b
        strands = torch.maximum(strands, _ramp(-_ellipse(near.u - at_u, v - at_v, 1.2, 0.8), edge))
    return torch.maximum(beside, strands * _ramp(near.s - body.conus_mm + 25, 20.0))


def _cord_tissues(body: Body, near: _Frame, cord: Tensor, edge: float) -> list[Layer]:
    """White matter, the grey H, lesions and syrinx: all of them cord."""
    a, b = _along(near, body, body.cord_a_mm), _along(near, body, body.cord_b_mm)
    p, q = near.u / a, near.v / b
    at_u, at_v, ru, rv, slant, bar = (float(value) for value in body.grey)
    du, dv = p.abs() - at_u, q - at_v
    hu, hv = du * np.cos(slant) - dv * np.sin(slant), du * np.sin(slant) + dv * np.cos(slant)
    scale = torch.minimum(a, b)
    horns = _ellipse(hu, hv, ru, rv) * scale
    bridge = torch.maximum(p.abs() - at_u, q.abs() - bar) * scale
    grey = _ramp(-torch.minimum(horns, bridge), edge) * (near.s > -15)
    dorsal, rim = (float(value) for value in body.tracts)
    wedge = dorsal * torch.sigmoid((-q - 1.2 * p.abs()) * 7)
    outer = rim * ((torch.sqrt(p * p + q * q) - 0.55) / 0.35).clamp(0, 1)
    layers = [
        Layer("white", cord),
        Layer("grey", torch.maximum(wedge, outer) * cord),
        Layer("grey", grey * cord),
    ]
    for lesion in body.lesions:
        lu, lv, ls, ra, rb, rs, syrinx = (float(value) for value in lesion)
        distance = _ellipsoid(p - lu, q - lv, (near.s - ls), ra, rb, rs) * scale
        layers.append(Layer("syrinx" if syrinx else "lesion", _ramp(-distance, edge) * cord))
    return layers


def _head(body: Body, far: _Far, near: _Frame, edge: float, random: torch.Generator) -> list[Layer]:
    """Brain, cisterns, brainstem, cerebellum, skull, eyes and sinuses, where the view reaches up."""
    if not body.has_head or float(far.s.min()) > 5:
        return []
    rl, ap, offset = float(body.torso[4]), float(body.torso[5]), float(body.torso[6])
    up = -far.s
    u, v = far.u, far.v
    skull = _ellipsoid(u, v - offset, up - 68, rl - 5, ap - 6, 84)
    above = _ramp(up + 4, 6.0)
    layers = [
        Layer("skull", _ramp(-skull, edge) * above),
        Layer("csf", _ramp(-skull - 6.0, edge) * above),
    ]
    folds = smooth_noise(tuple(u.shape), (edge, edge, edge), 8.0, random)
    cerebrum, cerebellum, pons, midbrain = _brain(body, far)
    cortex = cerebrum + 1.3 * folds
    ventricle = _ellipsoid(u.abs() - 9, v - offset, up - 85, 6, 26, 9)
    folia = cerebellum + 0.8 * folds
    fourth = _ellipsoid(u, v + 10, up - 34, 7, 4, 13)
    layers += [
        Layer("brain", _ramp(-cortex, edge)),
        Layer("white", _ramp(-cortex - 4.0 + 2 * folds, edge)),
        Layer("csf", _ramp(-ventricle, edge)),
        Layer("cerebellum", _ramp(-folia, edge) * above),
        Layer("csf", _ramp(-fourth, edge)),
        Layer("white", _ramp(-torch.minimum(pons, midbrain), edge)),
    ]
    for side in (-1, 1):
        eye = _ellipsoid(u - side * 32, v - offset - ap + 18, up - 44, 12, 12, 12)
        layers += [Layer("csf", _ramp(-eye, edge)), Layer("dura", _ramp(0.8 - eye.abs(), edge))]
    mouth = _ellipsoid(u, v - offset - ap + 30, up - 2, 22, 28, 9)
    sinus = _ellipsoid(u, v - offset - ap + 26, up - 30, 13, 18, 16)
    throat = _ellipsoid(u, v - 40, up + 2, 9, 6, 40)
    layers += [Layer("air", _ramp(-torch.minimum(torch.minimum(mouth, sinus), throat), edge))]
    return layers


def _brain(body: Body, far: _Far) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Distance (mm, negative inside) to cerebrum, cerebellum, pons and midbrain."""
    rl, ap, offset = float(body.torso[4]), float(body.torso[5]), float(body.torso[6])
    above_pmj = body.pmj_mm - far.s
    return (
        _ellipsoid(far.u, far.v - offset, -far.s - 84, rl - 13, ap - 14, 66),
        _ellipsoid(far.u, far.v + 24, -far.s - 30, 48, 25, 23),
        _ellipsoid(far.u, far.v - 4, above_pmj - 14, 16, 13, 15),
        _ellipsoid(far.u, far.v - 5, above_pmj - 36, 14, 10, 14),
    )


def _beyond_brain(body: Body, far: _Far, near: _Frame, edge: float) -> Tensor:
    """What brain extraction takes away: 1 outside the brain and the medulla, and everywhere below C1."""
    medulla = torch.maximum(torch.sqrt(near.u**2 + near.v**2) - 8.0, near.s + 3.0)
    inside = torch.stack([*_brain(body, far), medulla]).amin(dim=0)
    return _ramp(inside, edge)
