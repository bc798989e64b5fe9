"""What a synthetic body truly is: sections and voxel fractions from its geometry, without core.

A cord is a star-shaped section swept along a smooth centreline. Nothing here knows how the generator
renders it: distances are found by Newton's method in double precision, voxel fractions by asking 8 x 8 x 8
points of each voxel whether they are inside.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from softseg_bids.synthesis.body import Body

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

PARTS = 8
# A slice of less true area (the tip of the conus) has no relative error worth a mean.
LEAST_AREA_MM2 = 15.0
# Thick voxels are split so that no part is longer than this before its edge is looked for.
LONGEST_PART_MM = 1.0


class Cord(NamedTuple):
    """The geometry of a cord, in its body's frame (mm; x right, y front, z up).

    Attributes
    ----------
    z_mm, centre_mm, tangent, s_of_z : ndarray
        The centreline over z: (n,), (n, 2) x and y, (n, 3) unit and upward, (n,) length along it.
    s_mm, a_mm, b_mm : ndarray, shape (m,)
        Semi-axes (RL, AP) over the length s along the cord.
    outline : ndarray, shape (m, k) or (1, k)
        Radius of the section over angle (0 = right, a quarter turn = front) in units of the
        semi-axes, at each s or everywhere the same.
    top_mm, end_mm : float
        The cord lies between these values of s.
    voids : ndarray, shape (k, 6)
        Ellipsoids without signal, that belong to no cord: offset to the right and front, s, their radii (mm).
    """

    z_mm: Floats
    centre_mm: Floats
    tangent: Floats
    s_of_z: Floats
    s_mm: Floats
    a_mm: Floats
    b_mm: Floats
    outline: Floats
    top_mm: float
    end_mm: float
    voids: Floats


class Section(NamedTuple):
    """What one slice of an image truly shows.

    Attributes
    ----------
    area_mm2, diameter_ap_mm : float
        Of the section perpendicular to the cord, mean over the slice.
    centre_mm : ndarray, shape (3,)
        Where the centreline crosses it, in the image's axes.
    is_whole : bool
        The cord runs through the whole slice, with its whole section in view, and is no tip.
    """

    area_mm2: float
    diameter_ap_mm: float
    centre_mm: Floats
    is_whole: bool


def cord_of(body: Body) -> Cord:
    """The geometry of one of the generator's bodies."""
    return Cord(
        z_mm=body.z_mm,
        centre_mm=body.centre_mm,
        tangent=body.tangent,
        s_of_z=body.s_of_z,
        s_mm=body.s_mm,
        a_mm=body.cord_a_mm,
        b_mm=body.cord_b_mm,
        outline=np.asarray(body.outline)[None],
        top_mm=0.0,
        end_mm=body.conus_mm if body.has_cord else 0.0,
        voids=body.voids,
    )


def area_mm2(cord: Cord, s_mm: Floats) -> Floats:
    """Area of the perpendicular section: ``a b / 2`` times the integral of the squared outline."""
    unit = 0.5 * (cord.outline**2).mean(axis=1) * 2 * np.pi
    table = cord.a_mm * cord.b_mm * unit
    return np.where(_within(cord, s_mm), np.interp(s_mm, cord.s_mm, table), 0.0)


def diameter_ap_mm(cord: Cord, s_mm: Floats) -> Floats:
    """Extent of the perpendicular section from back to front."""
    height = cord.outline * np.sin(_angles(cord))
    extent = height.max(axis=1) - height.min(axis=1)
    return np.asarray(np.interp(s_mm, cord.s_mm, cord.b_mm * extent), dtype=float)


def inside(cord: Cord, points_mm: Floats) -> Mask:
    """Whether points (..., 3) of the body's frame lie in the cord."""
    local = _local(cord, points_mm.reshape(-1, 3))
    return np.asarray(_depth(cord, local.u, local.v, local.s) >= 0).reshape(points_mm.shape[:-1])


def fractions(
    cord: Cord, axes_mm: tuple[Floats, Floats, Floats], rotation: Floats, parts: int = PARTS
) -> NDArray[np.float32]:
    """Share of each voxel of a grid that is cord, by asking 8 (``parts``) points along each of its axes.

    Voxels thicker than a millimetre are asked in as many more parts, so that an edge that runs
    through them slantwise is resolved as finely as any other.

    Parameters
    ----------
    cord : Cord
    axes_mm : three ndarrays
        Voxel centres along each (evenly spaced) axis of the image.
    rotation : ndarray, shape (3, 3)
        Turns the image's axes into the body's.
    """
    spacing = np.array([axis[1] - axis[0] if len(axis) > 1 else 1.0 for axis in axes_mm])
    split = np.ceil(spacing / LONGEST_PART_MM - 1e-6).astype(int)
    fine = [
        (axis[:, None] + h * ((np.arange(n) + 0.5) / n - 0.5)).ravel()
        for axis, h, n in zip(axes_mm, spacing, split, strict=True)
    ]
    size = spacing / split
    out = np.zeros([len(axis) for axis in fine], dtype=np.float32)
    near = _near(cord, fine, rotation)
    if len(near):
        points = np.stack([axis[near[:, k]] for k, axis in enumerate(fine)], axis=1)
        local = _local(cord, points @ rotation.T)
        depth = _depth(cord, local.u, local.v, local.s)
        # How far from the centre of a voxel the edge may pass and still meet it.
        reach = 0.5 * np.linalg.norm(size) * _steepest(cord)
        out[tuple(near[depth > reach].T)] = 1.0
        steps = (np.arange(parts) + 0.5) / parts - 0.5
        offsets = np.stack(np.meshgrid(*[steps * h for h in size], indexing="ij"), axis=-1).reshape(-1, 3)
        offsets = offsets @ rotation.T
        mixed = np.flatnonzero(np.abs(depth) <= reach)
        for chunk in np.array_split(mixed, len(mixed) // 1000 + 1):
            # Within a voxel the frame hardly turns: a curve of 50 mm radius leaves it by 0.003 mm.
            u, v, s = np.einsum("nij,kj->ink", local.axes[chunk], offsets)
            within = _depth(
                cord,
                local.u[chunk, None] + u,
                local.v[chunk, None] + v,
                local.s[chunk, None] + s,
            )
            out[tuple(near[chunk].T)] = (within >= 0).mean(axis=1)
    shape = [n for axis, pieces in zip(axes_mm, split, strict=True) for n in (len(axis), pieces)]
    return np.asarray(out.reshape(shape).mean(axis=(1, 3, 5)), dtype=np.float32)


def sections(cord: Cord, axes_mm: tuple[Floats, Floats, Floats], rotation: Floats) -> list[Section]:
    """What each slice (third axis) of an image shows; parameters as in :func:`fractions`."""
    line = np.column_stack([cord.centre_mm, cord.z_mm]) @ rotation
    order = np.argsort(line[:, 2])
    line, s_of, along = line[order], cord.s_of_z[order], (cord.tangent @ rotation)[order]
    heights, step = axes_mm[2], float(axes_mm[2][1] - axes_mm[2][0]) if len(axes_mm[2]) > 1 else 1.0
    low = np.array([axis[0] - 0.5 * (axis[1] - axis[0]) for axis in axes_mm[:2]])
    high = np.array([axis[-1] + 0.5 * (axis[1] - axis[0]) for axis in axes_mm[:2]])
    found = []
    for height in heights:
        planes = height + step * (np.arange(9) - 4) / 9
        s = np.interp(planes, line[:, 2], s_of)
        area = area_mm2(cord, s)
        centre = np.array([*(np.interp(height, line[:, 2], line[:, axis]) for axis in (0, 1)), height])
        upward = float(np.interp(height, line[:, 2], along[:, 2]))
        half = max(float(np.interp(s[4], cord.s_mm, c)) for c in (cord.a_mm, cord.b_mm))
        # The slice's plane meets the cord over this much of its length, beside its own thickness.
        lean = half * np.sqrt(max(1 - upward**2, 0.0)) / upward + 0.5 * step / 9 / upward
        in_view = (centre[:2] - low).min() > half + 1 and (high - centre[:2]).min() > half + 1
        whole = s.min() - lean > cord.top_mm and s.max() + lean < cord.end_mm
        whole &= all(abs(float(s[4]) - void[2]) > void[5] + lean + step for void in cord.voids)
        found.append(
            Section(
                float(area.mean()),
                float(diameter_ap_mm(cord, s).mean()),
                centre,
                bool(in_view and whole and area.min() >= LEAST_AREA_MM2),
            )
        )
    return found


def distance_mm(cord: Cord, points_mm: Floats) -> Floats:
    """Distance of points (n, 3) to the centreline of the cord, its ends included; infinite without one."""
    part = (cord.s_of_z >= cord.top_mm) & (cord.s_of_z <= cord.end_mm)
    line = np.column_stack([cord.centre_mm, cord.z_mm])[part]
    if not len(line):
        return np.full(len(points_mm), np.inf)
    return np.asarray(
        np.concatenate(
            [
                np.linalg.norm(chunk[:, None] - line[None], axis=2).min(axis=1)
                for chunk in np.array_split(points_mm, max(len(points_mm) // 2000, 1))
            ]
        )
    )


class Edge(NamedTuple):
    """Where points lie to the side of a cord.

    Attributes
    ----------
    depth_mm : ndarray, shape (n,)
        Distance from the side, first order: exact on it and for round cords; positive inside.
    angle : ndarray, shape (n,)
        Around the cord, rad: 0 is right, a quarter turn front.
    s_mm : ndarray, shape (n,)
        Along it.
    """

    depth_mm: Floats
    angle: Floats
    s_mm: Floats


def edge_of(cord: Cord, points_mm: Floats) -> Edge:
    """Where points (n, 3) of the body's frame lie to the side of a cord; its ends and voids do not count."""
    local = _local(cord, points_mm)
    a, b = _even(cord.s_mm, np.column_stack([cord.a_mm, cord.b_mm]), local.s)
    p, q = local.u / a, local.v / b
    radius, angle = np.maximum(np.hypot(p, q), 1e-6), np.arctan2(q, p)
    limit = _outline_at(cord, local.s, angle)
    step = 2 * np.pi / cord.outline.shape[1]
    turn = (_outline_at(cord, local.s, angle + step) - _outline_at(cord, local.s, angle - step)) / (2 * step)
    # The gradient of limit - radius over (u, v): of unit length per millimetre once divided by.
    radial, around = -1.0, turn / radius
    steep = np.hypot((radial * p - around * q) / radius / a, (radial * q + around * p) / radius / b)
    return Edge((limit - radius) / steep, angle, local.s)


def _within(cord: Cord, s_mm: Floats) -> Mask:
    return np.asarray((s_mm >= cord.top_mm) & (s_mm <= cord.end_mm) & (cord.end_mm > cord.top_mm))


def _angles(cord: Cord) -> Floats:
    count = cord.outline.shape[1]
    return np.asarray(np.arange(count) * 2 * np.pi / count)


class _Local(NamedTuple):
    """Points seen from the cord: to its right and front, and along it; and those three directions."""

    u: Floats
    v: Floats
    s: Floats
    axes: Floats


def _local(cord: Cord, points_mm: Floats) -> _Local:
    """Coordinates of points (n, 3) about the nearest point of the centreline (Newton's method)."""
    x, y, z0 = points_mm.T
    table = np.column_stack([cord.centre_mm, cord.tangent, cord.s_of_z])
    z = z0
    for _ in range(3):
        cx, cy, tx, ty, tz, s = _even(cord.z_mm, table, z)
        z = z + ((x - cx) * tx + (y - cy) * ty + (z0 - z) * tz) * tz
    cx, cy, tx, ty, tz, s = _even(cord.z_mm, table, z)
    length = np.sqrt(1 - tx * tx)
    right = np.stack([length, -tx * ty / length, -tx * tz / length], axis=1)
    front = np.stack([np.zeros_like(tz), tz / length, -ty / length], axis=1)
    off = np.stack([x - cx, y - cy, z0 - z], axis=1)
    # s grows downwards, the tangent points up.
    axes = np.stack([right, front, -np.stack([tx, ty, tz], axis=1)], axis=1)
    return _Local((off * right).sum(1), (off * front).sum(1), s, axes)


def _depth(cord: Cord, u: Floats, v: Floats, s: Floats) -> Floats:
    """How deep points lie in the cord: positive inside, and about millimetres near its edge."""
    unit = np.column_stack([cord.a_mm, cord.b_mm])
    a, b = _even(cord.s_mm, unit, s)
    p, q = u / a, v / b
    depth = (_outline_at(cord, s, np.arctan2(q, p)) - np.sqrt(p * p + q * q)) * np.minimum(a, b)
    # Beyond its ends there is no cord, wherever across.
    depth = np.minimum(depth, np.minimum(s - cord.top_mm, cord.end_mm - s))
    for right, front, at, *radii in cord.voids:
        far = np.sqrt(
            ((u - right) / radii[0]) ** 2 + ((v - front) / radii[1]) ** 2 + ((s - at) / radii[2]) ** 2
        )
        depth = np.minimum(depth, (far - 1) * min(radii))
    return np.asarray(depth)


def _even(at: Floats, table: Floats, position: Floats) -> Floats:
    """Rows of a table over evenly spaced places, interpolated; shape (columns, *position.shape)."""
    where = np.clip((position - at[0]) / (at[1] - at[0]), 0, len(at) - 1.001)
    row = where.astype(np.intp)
    share = (where - row)[..., None]
    return np.moveaxis(table[row] * (1 - share) + table[row + 1] * share, -1, 0)


def _outline_at(cord: Cord, s_mm: Floats, angle: Floats) -> Floats:
    count = cord.outline.shape[1]
    position = angle * (count / (2 * np.pi))
    column = np.floor(position).astype(np.intp)
    share = position - column
    row: NDArray[np.intp] | int = 0
    if len(cord.outline) > 1:
        step = cord.s_mm[1] - cord.s_mm[0]
        row = np.clip(np.rint((s_mm - cord.s_mm[0]) / step).astype(np.intp), 0, len(cord.s_mm) - 1)
    left, right = cord.outline[row, column % count], cord.outline[row, (column + 1) % count]
    return np.asarray(left * (1 - share) + right * share)


def _steepest(cord: Cord) -> float:
    """The most that depth can change per millimetre: more than 1 where the outline is no circle."""
    turn = np.abs(np.roll(cord.outline, -1, axis=1) - cord.outline) * cord.outline.shape[1] / (2 * np.pi)
    return float(np.sqrt(1 + np.quantile(turn / cord.outline, 0.98) ** 2))


def _near(cord: Cord, axes_mm: list[Floats], rotation: Floats) -> NDArray[np.intp]:
    """Indices (n, 3) of the voxels of a grid that may meet the cord."""
    line = np.column_stack([cord.centre_mm, cord.z_mm]) @ rotation
    order = np.argsort(line[:, 2])
    line, s_of, upward = line[order], cord.s_of_z[order], (cord.tangent @ rotation)[order, 2]
    found = []
    for k, height in enumerate(axes_mm[2]):
        s = float(np.interp(height, line[:, 2], s_of))
        if not cord.top_mm - 25 < s < cord.end_mm + 25:
            continue
        cx, cy = (np.interp(height, line[:, 2], line[:, axis]) for axis in (0, 1))
        nearby = np.abs(cord.s_mm - s) < 25
        widest = np.maximum(cord.a_mm, cord.b_mm)[nearby].max() * cord.outline.max()
        reach = (widest + 2) / max(float(np.interp(height, line[:, 2], upward)), 0.3)
        i = np.flatnonzero(np.abs(axes_mm[0] - cx) < reach)
        j = np.flatnonzero(np.abs(axes_mm[1] - cy) < reach)
        if len(i) and len(j):
            grid = np.meshgrid(i, j, [k], indexing="ij")
            found.append(np.stack([part.ravel() for part in grid], axis=1))
    return np.concatenate(found) if found else np.empty((0, 3), dtype=np.intp)
