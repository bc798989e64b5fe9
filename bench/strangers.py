"""Bodies that training never draws: a third of the synthetic benchmark.

Nothing but the scanner is shared with `softseg_bids.synthesis`. Sections are Fourier outlines and squared
or pinched superellipses that change along the cord, the cord is striped, chequered or blotched, the canal
is a rounded box, the vertebrae are boxes, what lies about is a mosaic of straight-edged cells with rods in
it, textures have power-law spectra, and the signals follow no sequence. What makes it a spine is kept: a
cord in fluid, in a canal, behind a column of blocks.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.ndimage import zoom
from scipy.spatial import cKDTree

from bench.truth import Cord, Floats, fractions
from softseg_bids.synthesis.scanner import FineGrid

Image = NDArray[np.float32]

N_ANGLES = 180
Z_MM = np.arange(-200.0, 200.0, 1.0)
# About the cord only: the mosaic has a seed per this volume.
CELL_MM = (14.0, 30.0)


class Stranger(NamedTuple):
    """A drawn body of the held-out kind; lengths in mm, signals about 0 to 1.

    Attributes
    ----------
    seed : int
        Of mosaic and textures.
    cord : Cord
    canal : tuple of float
        Gap between cord and canal at the sides and in front and behind, and the box's exponent.
    block : tuple of float
        Half width, depth, height and gap of the blocks in front; depth of those behind.
    signal : dict of str to float
        Of cord, csf, shell, block, plate, arch.
    pattern : str
        What the cord's inside looks like: plain, stripes, checks, blobs, core or cross.
    pattern_mm, pattern_step : float
        Its size, and its amplitude as a share of the cord's signal.
    steepness : float
        Exponent of the textures' power spectrum (0 white, 3 cloudy).
    """

    seed: int
    cord: Cord
    canal: tuple[float, float, float]
    block: tuple[float, float, float, float, float]
    signal: dict[str, float]
    pattern: str
    pattern_mm: float
    pattern_step: float
    steepness: float


def draw_stranger(
    rng: Generator,
    contrast: str,
    area_mm2: tuple[float, float],
    aspect: tuple[float, float],
    conus_share: float,
) -> Stranger:
    """Draw a body; ``contrast`` is one of those of :func:`_draw_signals`."""
    cord = _draw_cord(rng, rng.uniform(*area_mm2), rng.uniform(*aspect), rng.random() < conus_share)
    return Stranger(
        seed=int(rng.integers(2**31)),
        cord=cord,
        canal=(rng.uniform(1.0, 5.0), rng.uniform(1.0, 4.0), rng.uniform(4, 12)),
        block=(rng.uniform(9, 18), rng.uniform(14, 26), rng.uniform(5, 13), rng.uniform(1.5, 4),
               rng.uniform(4, 20)),
        signal=_draw_signals(rng, contrast),
        pattern=str(rng.choice(["plain", "stripes", "checks", "blobs", "core", "cross"])),
        pattern_mm=rng.uniform(1.5, 5.0),
        pattern_step=rng.uniform(0.05, 0.25),
        steepness=rng.uniform(0.5, 3.0),
    )  # fmt: skip


def compressed(cord: Cord, ap_mm: float, width_mm: float) -> Cord:
    """The cord pressed flat at its middle, to a given AP semi-axis times two."""
    deep = np.exp(-0.5 * ((cord.s_mm - 200.0) / width_mm) ** 2)
    target = 0.5 * ap_mm / float(np.interp(200.0, cord.s_mm, cord.b_mm))
    b = cord.b_mm * (1 - (1 - min(target, 1.0)) * deep)
    return cord._replace(b_mm=b, a_mm=cord.a_mm * (1 + 0.15 * deep))


def paint(stranger: Stranger, grid: FineGrid, points_mm: Floats, rotation: Floats) -> Image:
    """Signal on a fine grid, before any scanner.

    Parameters
    ----------
    stranger : Stranger
    grid : FineGrid
    points_mm : ndarray, shape (3, x, y, z)
        Body coordinates of its voxels.
    rotation : ndarray, shape (3, 3)
        Turns the grid's axes into the body's.
    """
    rng = np.random.default_rng(stranger.seed)
    cord, value = stranger.cord, stranger.signal
    edge = float(np.prod(grid.spacing_mm) ** (1 / 3))
    x, y, z = (axis.astype(np.float32) for axis in points_mm)
    u = x - np.interp(z, cord.z_mm, cord.centre_mm[:, 0]).astype(np.float32)
    v = y - np.interp(z, cord.z_mm, cord.centre_mm[:, 1]).astype(np.float32)
    s = np.interp(z, cord.z_mm, cord.s_of_z).astype(np.float32)
    image = _mosaic(rng, grid)
    image = _with_rods(rng, image, u, v, z, edge)
    side, ahead, power = stranger.canal
    a = np.interp(s, cord.s_mm, cord.a_mm).astype(np.float32) * 1.1 + side
    b = np.interp(s, cord.s_mm, cord.b_mm).astype(np.float32) * 1.1 + ahead
    half, depth, height, gap, behind = stranger.block
    phase = np.abs((s % (2 * (height + gap))) - height - gap)
    block = np.maximum(np.abs(u) - half, np.abs(v - b - 2.5 - 0.5 * depth) - 0.5 * depth)
    image = _blend(image, value["plate"], _ramp(-block, edge))
    image = _blend(image, value["block"], _ramp(-np.maximum(block + 0.8, phase - height), edge))
    arch = np.maximum(np.abs(u) - a - 4, np.abs(v + b + 2.5 + 0.5 * behind) - 0.5 * behind)
    image = _blend(image, value["arch"], _ramp(-np.maximum(arch, phase - 0.6 * height), edge))
    box = ((np.abs(u) / a) ** power + (np.abs(v) / b) ** power) ** (1 / power)
    wall = (box - 1) * np.minimum(a, b)
    image = _blend(image, value["shell"], _ramp(1.5 - wall, edge))
    image = _blend(image, value["csf"], _ramp(-wall, edge))
    image = image * (1 + 0.12 * rng.uniform(0.2, 1.0) * _texture(rng, grid, stranger.steepness))
    inner = value["cord"] * (1 + stranger.pattern_step * _pattern(stranger, rng, u, v, s, grid))
    axes = (grid.centres(0), grid.centres(1), grid.centres(2))
    return np.asarray(_blend(image, inner, fractions(cord, axes, rotation, parts=3)), dtype=np.float32).clip(
        0, None
    )


def _draw_cord(rng: Generator, area: float, aspect: float, has_conus: bool) -> Cord:
    # A flexible rod: its direction turns at a rate that is itself a random wave.
    z = Z_MM
    slope = np.zeros((len(z), 2))
    for axis, most in ((0, 0.15), (1, 0.45)):
        wave = rng.uniform(60, 200)
        slope[:, axis] = rng.uniform(-most, most) + 0.5 * most * np.sin(
            2 * np.pi * z / wave + rng.uniform(0, 6.3)
        )
    centre = np.cumsum(slope, axis=0)
    centre -= centre[len(z) // 2]
    tangent = np.column_stack([slope, np.ones(len(z))])
    length = np.linalg.norm(tangent, axis=1)
    arc = np.cumsum(length) - np.cumsum(length)[len(z) // 2]
    s = np.arange(-60.0, 460.0, 1.0)
    outline = _draw_outline(rng, len(s))
    unit = 0.5 * (outline**2).mean(axis=1) * 2 * np.pi
    swell = 1 + 0.08 * np.sin(2 * np.pi * s / rng.uniform(40, 120) + rng.uniform(0, 6.3))
    b = np.sqrt(area * swell / (unit * aspect))
    end = 1e4
    if has_conus:
        end = 200.0 + rng.uniform(5, 40)
        b = b * np.clip((end - s) / rng.uniform(20, 40), 0.05, 1) ** 0.6
    return Cord(
        z_mm=z, centre_mm=centre, tangent=tangent / length[:, None], s_of_z=200.0 - arc, s_mm=s,
        a_mm=b * aspect, b_mm=b, outline=outline, top_mm=-1e4, end_mm=end, voids=np.empty((0, 6)),
    )  # fmt: skip


def _draw_outline(rng: Generator, count: int) -> Floats:
    """An outline at either end, morphed into each other along the cord; shape (count, N_ANGLES)."""
    angle = np.arange(N_ANGLES) * 2 * np.pi / N_ANGLES
    ends = []
    for _ in range(2):
        if rng.random() < 0.5:  # squared or pinched beyond what training draws
            n = rng.uniform(1.15, 1.4) if rng.random() < 0.5 else rng.uniform(3.0, 5.0)
            radius = (np.abs(np.cos(angle)) ** n + np.abs(np.sin(angle)) ** n) ** (-1 / n)
        else:
            radius = np.ones(N_ANGLES)
        for lobes in range(2, 7):
            size = rng.normal(0, 0.16) / lobes
            radius = radius * (1 + np.clip(size, -0.12, 0.12) * np.cos(lobes * angle + rng.uniform(0, 6.3)))
        ends.append(radius)
    share = 0.5 + 0.5 * np.sin(np.arange(count) / rng.uniform(15, 60))[:, None]
    return np.asarray(ends[0] * share + ends[1] * (1 - share))


def _draw_signals(rng: Generator, contrast: str) -> dict[str, float]:
    """Signals of a sequence that does not exist, of a named kind."""
    cord = rng.uniform(0.25, 0.8)
    step = rng.uniform(0.15, 0.6)
    csf = {
        "bright_csf": cord + step,
        "dark_csf": cord - step,
        "bright_cord": 0.3 * cord,
        "faint_csf": cord * (1 + rng.choice([-1, 1]) * rng.uniform(0.02, 0.2)),
    }.get(contrast, cord + rng.choice([-1, 1]) * step)
    names = ("shell", "block", "plate", "arch")
    others = dict(zip(names, rng.uniform(0.05, 1.0, len(names)), strict=True))
    if contrast == "inverted_bone":
        others |= {"plate": rng.uniform(0.8, 1.1), "block": rng.uniform(0.02, 0.15)}
    if contrast in ("flat_surround", "bright_cord"):
        level = rng.uniform(0.05, 0.3)
        others = {name: level * rng.uniform(0.9, 1.1) for name in names}
    return {"cord": cord, "csf": max(float(csf), 0.02), **others}


def _mosaic(rng: Generator, grid: FineGrid) -> Image:
    """Cells with straight edges, each of one grey; drawn at 2 mm and repeated."""
    coarse = np.maximum(np.asarray(grid.spacing_mm), 2.0)
    shape = np.ceil(np.asarray(grid.shape) * grid.spacing_mm / coarse).astype(int)
    size = shape * coarse
    cell = rng.uniform(*CELL_MM)
    seeds = rng.uniform(-0.1, 1.1, (max(int(np.prod(size * 1.2) / cell**3), 4), 3)) * size
    index = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), axis=-1)
    _, nearest = cKDTree(seeds).query(index * coarse)
    values = rng.uniform(0.03, 1.0, len(seeds)).astype(np.float32)[nearest]
    places = [
        np.minimum((np.arange(n) * h / c).astype(int), m - 1)
        for n, h, c, m in zip(grid.shape, grid.spacing_mm, coarse, shape, strict=True)
    ]
    return np.asarray(values[np.ix_(*places)], dtype=np.float32)


def _with_rods(rng: Generator, image: Image, u: Image, v: Image, z: Image, edge: float) -> Image:
    """Straight slanted rods of every size, some beside the spine: none of them is the cord."""
    for _ in range(rng.integers(3, 9)):
        angle, far = rng.uniform(0, 2 * np.pi), rng.uniform(18, 55)
        lean = rng.uniform(-0.4, 0.4, 2)
        radius = rng.uniform(1, 8)
        off = np.hypot(u - far * np.cos(angle) - lean[0] * z, v - far * np.sin(angle) - lean[1] * z)
        image = _blend(image, rng.uniform(0, 1), _ramp(radius - off, edge))
    return image


def _texture(rng: Generator, grid: FineGrid, steepness: float) -> Image:
    """Noise of unit variance whose power falls with frequency by an exponent; at 1.5 mm or coarser."""
    coarse = np.maximum(np.asarray(grid.spacing_mm), 1.5)
    shape = [max(int(n * h / c) + 1, 2) for n, h, c in zip(grid.shape, grid.spacing_mm, coarse, strict=True)]
    frequency = np.sqrt(
        sum(f**2 for f in np.meshgrid(*[np.fft.fftfreq(n, c) for n, c in zip(shape, coarse, strict=True)],
                                      indexing="ij"))
    )  # fmt: skip
    spectrum = np.fft.fftn(rng.standard_normal(shape)) / (frequency + 0.02) ** (0.5 * steepness)
    field = np.real(np.fft.ifftn(spectrum))
    field = (field - field.mean()) / field.std()
    return np.asarray(
        zoom(field, np.asarray(grid.shape) / shape, order=1, mode="nearest", grid_mode=True), dtype=np.float32
    )


def _pattern(stranger: Stranger, rng: Generator, u: Image, v: Image, s: Image, grid: FineGrid) -> Image:
    """The inside of the cord: an image of about -1 to 1."""
    size, turn = stranger.pattern_mm, rng.uniform(0, np.pi)
    one, other = u * np.cos(turn) + v * np.sin(turn), v * np.cos(turn) - u * np.sin(turn)
    if stranger.pattern == "stripes":
        return np.asarray(np.sin(np.pi * one / size), dtype=np.float32)
    if stranger.pattern == "checks":
        return np.asarray(
            np.sign(
                np.sin(np.pi * one / size) * np.sin(np.pi * other / size) * np.sin(np.pi * s / (3 * size))
            )
        )
    if stranger.pattern == "blobs":
        return np.clip(_texture(rng, grid, 2.0), -2, 2)
    if stranger.pattern == "core":
        return np.asarray(np.sign(size - np.hypot(u, v)))
    if stranger.pattern == "cross":
        return np.asarray(np.sign(0.3 * size - np.minimum(np.abs(one), np.abs(other))))
    return np.zeros_like(u)


def _blend(below: Image, above: Image | float, share: Image) -> Image:
    return np.asarray(below + (above - below) * share, dtype=np.float32)


def _ramp(inside_mm: Image, width_mm: float) -> Image:
    return np.asarray(np.clip(0.5 + inside_mm / width_mm, 0, 1))
