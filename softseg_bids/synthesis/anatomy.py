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
from softseg_bids.synthesis.geometry import (
    Far,
    Frame,
    Layer,
    along,
    ellipse,
    ellipsoid,
    far_frame,
    near_frame,
    ramp,
    smooth_noise,
)
from softseg_bids.synthesis.head import beyond_brain, head_layers, throat_layers
from softseg_bids.synthesis.vertebrae import vertebra_layers

TISSUES = (
    "air", "muscle", "fat", "organ", "vessel", "vein", "marrow", "disc", "cortex", "ligament",
    "epidural", "dura", "csf", "root", "white", "grey", "lesion", "syrinx", "brain", "skull", "tissue_a",
    "tissue_b", "tissue_c", "tissue_d", "gullet", "cerebellum", "pia",
)  # fmt: skip
INDEX = {name: number for number, name in enumerate(TISSUES)}
TUBE_TISSUES = ("air", "gullet", "vessel", "vein", "tissue_a", "fat")


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
    near = near_frame(body, points_mm)
    far = far_frame(body, points_mm)
    edge = float(np.prod(spacing_mm) ** (1 / 3))
    layers = [
        *_trunk(body, far, edge),
        *_tubes(body, far, edge),
        *throat_layers(body, far, edge),
        *vertebra_layers(body, near, edge, spacing_mm),
        *head_layers(body, far, near, edge, random),
        *_canal(body, near, edge),
    ]
    depth, width = _cord_depth(body, near, spacing_mm)
    cord, coated = ramp(depth, width), ramp(depth + body.pia_mm, width)
    visible = 0.0 if not body.has_cord else 1.0
    # Above the pontomedullary junction the pons takes over: no tube runs on through the brain.
    shown = visible * ramp(near.s - body.pmj_mm + 8.0, 4.0)
    # Of what the cord leaves of a voxel.
    layers.append(Layer("pia", shown * (coated - cord) / (1 - shown * cord).clamp_min(1e-3)))
    layers += _cord_tissues(body, near, cord * shown, edge)
    above = ramp(near.s, edge)  # 1 below the plane of the foramen magnum
    below = ramp(body.conus_mm - near.s, edge)
    label = cord * visible * above * below
    for u, v, s, ru, rv, rs in body.voids:
        void = ramp(-ellipsoid(near.u - u, near.v - v, near.s - s, ru, rv, rs), edge)
        layers.append(Layer("air", void))
        label = label * (1 - void)
    if body.has_head and not body.has_skull:
        beyond = beyond_brain(body, far, near, edge)
        layers.append(Layer("air", beyond))
        label = label * (1 - beyond)
    return Scene(_partition(far, spacing_mm, random), [x for x in layers if _seen(x)], label, near.s)


def cord_fraction(body: Body, near: Frame, spacing_mm: tuple[float, float, float]) -> Tensor:
    """Fraction of each voxel inside the cord's outline (medulla and filum included)."""
    return ramp(*_cord_depth(body, near, spacing_mm))


def _cord_depth(body: Body, near: Frame, spacing_mm: tuple[float, float, float]) -> tuple[Tensor, Tensor]:
    """How deep each voxel lies inside the cord's outline, and how wide its edge is there (mm).

    The outline is an implicit function of the normalised polar coordinates of the section; its
    distance is first order, and the ramp is as wide as the voxel's standard deviation along the
    normal asks for (a uniform ramp of the same variance as the projected box).
    """
    a, b = along(near, body, body.cord_a_mm), along(near, body, body.cord_b_mm)
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
    return -distance - width**2 / (24 * torch.sqrt(a * b)), width


def _seen(layer: Layer) -> bool:
    return bool(layer.alpha.max() > 0)


def _cyclic(position: Tensor, table: Tensor) -> Tensor:
    floor = torch.floor(position)
    index = floor.long() % table.shape[0]
    return torch.lerp(table[index], table[(index + 1) % table.shape[0]], position - floor)


def _partition(far: Far, spacing_mm: tuple[float, float, float], random: torch.Generator) -> Tensor:
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


def _trunk(body: Body, far: Far, edge: float) -> list[Layer]:
    """Skin and the air beyond: neck, shoulders below C7, head above C1."""
    neck_rl, neck_ap, chest_rl, chest_ap, head_rl, head_ap, offset, fat = (float(v) for v in body.torso)
    shoulder = torch.sigmoid((far.s - float(body.discs_mm[7])) / 12.0)
    head = torch.sigmoid((-far.s - 8.0) / 10.0) * float(body.has_head)
    half_rl = neck_rl + (chest_rl - neck_rl) * shoulder + (head_rl - neck_rl) * head
    half_ap = neck_ap + (chest_ap - neck_ap) * shoulder + (head_ap - neck_ap) * head
    crown = (1 - ((-far.s - 60).clamp(0, 95) / 95) ** 2).clamp_min(1e-3).sqrt()
    half_rl, half_ap = half_rl * crown, half_ap * crown
    depth = -ellipse(far.u, far.v - offset, half_rl, half_ap)
    return [Layer("fat", ramp(fat - depth, edge)), Layer("air", ramp(-depth, edge))]


def _tubes(body: Body, far: Far, edge: float) -> list[Layer]:
    layers = []
    # Most of them pass outside a narrow view.
    low_u, high_u, low_v, high_v = (float(e) for e in (*far.u.aminmax(), *far.v.aminmax()))
    for number, (u, v, a, b, tissue) in enumerate(body.tubes):
        reach_u, reach_v = a + 3.0 + edge, b + 2.1 + edge
        if not (low_u - reach_u < u < high_u + reach_u and low_v - reach_v < v < high_v + reach_v):
            continue
        drift = 3.0 * torch.sin(far.s / (23.0 + 3 * number) + number)
        distance = ellipse(far.u - u - drift, far.v - v - 0.7 * drift, float(a), float(b))
        layers.append(Layer(TUBE_TISSUES[int(tissue)], ramp(-distance, edge)))
    return layers


def _canal(body: Body, near: Frame, edge: float) -> list[Layer]:
    """Epidural space, dura, CSF and the roots in it."""
    a, b, u, v = _in_sac(body, near)
    gap = along(near, body, body.canal_gap_mm)
    fat = along(near, body, body.fat_mm)
    below_skull = ramp(near.s + 30.0, 20.0)
    sac = ellipse(u, v, a, b)
    outer = ellipse(u, v + 0.5 * fat, a + gap, b + gap + 0.5 * fat)
    layers = [
        Layer("epidural", ramp(-outer, edge) * below_skull),
        Layer("dura", ramp(0.4 - sac, edge) * below_skull),
        Layer("csf", ramp(-sac, edge) * below_skull),
    ]
    dullness, side = (float(value) for value in body.murk)
    if dullness and body.has_cord:
        dull = torch.sigmoid((near.u * np.sin(side) - near.v * np.cos(side)) / 1.5)
        layers.append(Layer("root", dullness * dull * ramp(-sac, edge) * below_skull))
    if body.has_roots:
        layers.append(Layer("root", _roots(body, near, edge) * ramp(-sac, edge) * below_skull))
    return layers


def _in_sac(body: Body, near: Frame) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Semi-axes of the dural sac (mm), and coordinates in which it is the ellipse that they span."""
    a, b = along(near, body, body.sac_a_mm), along(near, body, body.sac_b_mm)
    narrowing, slant = (float(value) for value in body.sac_form)
    u, v = near.u - along(near, body, body.sac_u_mm), near.v - along(near, body, body.sac_v_mm)
    u, v = u * np.cos(slant) + v * np.sin(slant), v * np.cos(slant) - u * np.sin(slant)
    return a, b, u / (1 + narrowing * (v / b).clamp(-1, 1)), v


def _roots(body: Body, near: Frame, edge: float) -> Tensor:
    """Roots beside the cord; below the conus the cauda equina, settled towards the back."""
    a, b = along(near, body, body.cord_a_mm), along(near, body, body.cord_b_mm)
    wave = 0.8 * torch.sin(near.s / 5.0 + body.seed % 7)
    across = near.u.abs()
    beside = torch.maximum(
        ramp(-ellipse(across - a - 1.3, near.v - 0.5 * b + wave, 1.3, 0.45), edge),
        ramp(-ellipse(across - a - 1.0, near.v + 0.6 * b + wave, 1.1, 0.5), edge),
    ) * (near.s > 0)
    if body.conus_mm - float(near.s.max()) > 20:
        return beside
    sac_a, sac_b, u, v = _in_sac(body, near)
    strands = torch.zeros_like(near.u)
    for number in range(7):
        angle = -np.pi * (0.08 + 0.14 * number)
        sway = 0.1 * torch.sin(near.s / 17.0 + number)
        at_u, at_v = (0.65 * np.cos(angle) + sway) * sac_a, (0.6 * np.sin(angle) + 0.1 + sway) * sac_b
        strands = torch.maximum(strands, ramp(-ellipse(u - at_u, v - at_v, 1.2, 0.8), edge))
    return torch.maximum(beside, strands * ramp(near.s - body.conus_mm + 25, 20.0))


def _cord_tissues(body: Body, near: Frame, cord: Tensor, edge: float) -> list[Layer]:
    """White matter, the grey H, lesions and syrinx: all of them cord."""
    a, b = along(near, body, body.cord_a_mm), along(near, body, body.cord_b_mm)
    p, q = near.u / a, near.v / b
    at_u, at_v, ru, rv, slant, bar = (float(value) for value in body.grey)
    du, dv = p.abs() - at_u, q - at_v
    hu, hv = du * np.cos(slant) - dv * np.sin(slant), du * np.sin(slant) + dv * np.cos(slant)
    scale = torch.minimum(a, b)
    horns = ellipse(hu, hv, ru, rv) * scale
    bridge = torch.maximum(p.abs() - at_u, q.abs() - bar) * scale
    grey = ramp(-torch.minimum(horns, bridge), edge) * (near.s > -15)
    dorsal, rim = (float(value) for value in body.tracts)
    wedge = dorsal * torch.sigmoid((-q - 1.2 * p.abs()) * 7)
    outer = rim * ((torch.sqrt(p * p + q * q) - 0.55) / 0.35).clamp(0, 1)
    # A second coat over a voxel that the cord fills in part would cover more of it than the cord does.
    whole = (cord > 0.99).float()
    layers = [
        Layer("white", cord),
        Layer("grey", torch.maximum(wedge, outer) * whole),
        Layer("grey", grey * whole),
    ]
    for lesion in body.lesions:
        lu, lv, ls, ra, rb, rs, syrinx = (float(value) for value in lesion)
        distance = ellipsoid(p - lu, q - lv, (near.s - ls), ra, rb, rs) * scale
        layers.append(Layer("syrinx" if syrinx else "lesion", ramp(-distance, edge) * whole))
    return layers
