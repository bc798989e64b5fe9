"""Coordinates about the cord, and the few shapes that all tissues are made of.

Edges are ramps as wide as a voxel along their normal, which is the partial volume of a locally
flat boundary.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from softseg_bids.synthesis.body import Body

# Steps of the dense tables along the cord and along z; the second sets where the cord is.
S_FINE_MM = 0.1
Z_FINE_MM = 0.02
# The nearest point of the centreline lies at most this far above or below what is rendered.
REACH_MM = 80.0


class Layer(NamedTuple):
    """A tissue painted over what lies below: ``alpha`` in [0, 1] is how much of each voxel it covers."""

    tissue: str
    alpha: Tensor


class Frame(NamedTuple):
    """Coordinates of every voxel relative to the cord; ``row`` is its row in the tables along s."""

    u: Tensor
    v: Tensor
    s: Tensor
    row: Tensor
    tangent: Tensor


class Far(NamedTuple):
    """Sheared coordinates of every voxel, for what lies far from the cord."""

    u: Tensor
    v: Tensor
    s: Tensor


def ramp(inside_mm: Tensor, width_mm: Tensor | float) -> Tensor:
    return (0.5 + inside_mm / width_mm).clamp(0, 1)


def rows(position: Tensor, start: float, step: float, count: int) -> Tensor:
    """Nearest row of a dense table: with steps this fine, interpolation would only cost time."""
    return ((position - start) * (1 / step) + 0.5).long().clamp_(0, count - 1)


def dense(table: np.ndarray, at: np.ndarray, step: float, device: torch.device) -> Tensor:
    """Columns of a table over ``at``, interpolated to a fine step; shape (columns, rows)."""
    fine = np.arange(at[0], at[-1], step)
    columns = np.stack([np.interp(fine, at, column) for column in np.atleast_2d(table.T)])
    return torch.as_tensor(columns, dtype=torch.float32, device=device)


def along(near: Frame, body: Body, table: np.ndarray) -> Tensor:
    return dense(table, body.s_mm, S_FINE_MM, near.s.device)[0][near.row]


def s_rows(body: Body, s: Tensor) -> Tensor:
    count = len(np.arange(body.s_mm[0], body.s_mm[-1], S_FINE_MM))
    return rows(s, float(body.s_mm[0]), S_FINE_MM, count)


def near_frame(body: Body, points: Tensor) -> Frame:
    """Coordinates perpendicular to the centreline: two Newton steps to its nearest point."""
    columns = np.concatenate([body.centre_mm, body.tangent, body.s_of_z[:, None]], axis=1)
    x, y, z0 = points
    near = (body.z_mm > float(z0.min()) - REACH_MM) & (body.z_mm < float(z0.max()) + REACH_MM)
    start = float(body.z_mm[near][0])
    tables = dense(columns[near], body.z_mm[near], Z_FINE_MM, points.device)
    count = tables.shape[1]
    z = z0
    for _ in range(2):
        row = rows(z, start, Z_FINE_MM, count)
        cx, cy, tx, ty, tz = (tables[k][row] for k in range(5))
        z = z + ((x - cx) * tx + (y - cy) * ty + (z0 - z) * tz) * tz
    row = rows(z, start, Z_FINE_MM, count)
    cx, cy, tx, ty, tz, s = (tables[k][row] for k in range(6))
    dx, dy, dz = x - cx, y - cy, z0 - z
    e1x = torch.sqrt((1 - tx * tx).clamp_min(1e-6))
    u = dx * e1x - (dy * tx * ty + dz * tx * tz) / e1x
    v = (dy * tz - dz * ty) / e1x
    return Frame(u, v, s, s_rows(body, s), torch.stack([tx, ty, tz]))


def far_frame(body: Body, points: Tensor) -> Far:
    """Sheared coordinates at the same height: no folding far from a curved centreline."""
    x, y, z = points
    columns = np.concatenate([body.centre_mm, body.s_of_z[:, None]], axis=1)
    tables = dense(columns, body.z_mm, Z_FINE_MM, points.device)
    row = rows(z, float(body.z_mm[0]), Z_FINE_MM, tables.shape[1])
    s = tables[2][row]
    return Far(x - tables[0][row], y - tables[1][row], s)


def ellipse(u: Tensor, v: Tensor, a: Tensor | float, b: Tensor | float) -> Tensor:
    """First-order signed distance (mm, negative inside) to an ellipse about the origin."""
    p, q = u / a, v / b
    f = torch.sqrt(p * p + q * q).clamp_min(1e-4)
    g = torch.sqrt((p / a) ** 2 + (q / b) ** 2) / f
    return (f - 1) / g.clamp_min(1e-4)


def ellipsoid(u: Tensor, v: Tensor, w: Tensor, a: float, b: float, c: float) -> Tensor:
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
