"""Training examples for the level network: spines, straightened along a cord that is never quite right.

A body is laid nearly straight before it is rendered, so that only what the planes will show needs to
be rendered; one rendering is scanned several times. The straightened planes take the very road of
inference: native voxels, :mod:`softseg_bids.image.straight`, the same normalisation.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import IterableDataset

from softseg_bids.core.evidence import MARKS
from softseg_bids.core.polyline import project
from softseg_bids.image.grid import Grid
from softseg_bids.image.straight import Planes, Ribbon, ribbon, straighten
from softseg_bids.model.levels import (
    ABOVE_MM,
    BELOW_MM,
    LEVELS,
    ROWS,
    SPARSEST_MM,
    STEP_MM,
    TIP_UNIT_MM,
    network_input,
    rows_seen,
)
from softseg_bids.synthesis.adult import disc_tips_mm
from softseg_bids.synthesis.anatomy import Scene, render
from softseg_bids.synthesis.body import Body, Floats, draw_body
from softseg_bids.synthesis.contrast import draw_contrast, paint
from softseg_bids.synthesis.scanner import (
    Acquisition,
    FineGrid,
    acquire,
    displaced_points,
    draw_acquisition,
    fine_grid,
    native_axis,
)
from softseg_bids.synthesis.vertebrae import spine_of

FINE_MM = (2.0, 1.25, 1.5)
# Scans of one rendering.
SCANS = 3
# Standard deviation of the marks along the cord (mm): discs, joint, junction, conus.
SPREAD_MM = (1.5, 2.0, 2.5, 6.0)
# Box about the cord that the planes reach (mm): to the sides, behind, before.
ASIDE_MM, BEHIND_MM, BEFORE_MM = 13.0, 33.0, 73.0
NOTHING = -1


class Targets(NamedTuple):
    """What each row shows.

    Attributes
    ----------
    marks : ndarray, shape (len(MARKS), n)
        1 at a mark, falling off beside it.
    tip : ndarray, shape (n,)
        Distance of the nearest disc's tip before the cord, in 10 mm.
    level : ndarray of int, shape (n,)
        Class of the row, -1 where nothing is seen.
    """

    marks: NDArray[np.float32]
    tip: NDArray[np.float32]
    level: NDArray[np.int64]


class Example(NamedTuple):
    """A straightened scan with its truth; ``where`` its rows, ``planes`` before normalisation."""

    planes: Planes
    where: Ribbon
    targets: Targets
    body: Body


def draw_examples(rng: Generator, count: int = SCANS) -> list[Example]:
    """Draw a body and a view of it, and scan it a few times.

    Parameters
    ----------
    rng : numpy Generator
    count : int
        Scans of the one rendering, each with its own contrast, voxels, field and centreline.
    """
    top, length = _draw_view(rng)
    body = draw_body(rng, s_centre_mm=top + 0.5 * length, wide=True)
    body = nearly_straight(body, rng)
    device = torch.device("cpu")
    box = _box(body, length)
    plan = draw_acquisition(rng, *box)._replace(start_mm=box[0], end_mm=box[1], motion_mm=0.0)
    grid = fine_grid(plan._replace(spacing_mm=FINE_MM, slice_axis=-1), FINE_MM)
    scene = render(body, displaced_points(plan, grid, device), FINE_MM)
    return [_scan(rng, body, plan, grid, scene, box) for _ in range(count)]


def nearly_straight(body: Body, rng: Generator) -> Body:
    """The same person with a straighter cord: what is left of curves is what straightening leaves.

    The brainstem leans, and below the conus the canal turns away from the line that continues
    the cord, as lordosis has it.
    """
    z = body.z_mm
    s = float(np.interp(0.0, z, body.s_of_z)) - z
    offset = body.centre_mm - body.centre_mm.mean(axis=0)
    fit = np.polynomial.polynomial.polyfit(z, offset, 1)
    centre = 0.15 * (offset - np.polynomial.polynomial.polyval(z, fit).T)
    lean, start = rng.normal(0, 0.18), rng.uniform(-6, 18)
    centre[:, 1] += lean * np.logaddexp(0, (start - s) / 4.0) * 4.0
    below = np.clip(s - (body.conus_mm - rng.uniform(5, 40)), 0, 220)
    bend, turn = rng.uniform(-14, 30), rng.uniform(110, 220)
    centre[:, 1] += bend * np.sin(np.pi * below / turn) - rng.normal(0, 0.08) * below
    centre -= [np.interp(0.0, z, column) for column in centre.T]
    slope = np.gradient(centre, z, axis=0)
    tangent = np.column_stack([slope, np.ones_like(z)])
    speed = np.linalg.norm(tangent, axis=1)
    arc = np.concatenate([[0.0], np.cumsum(0.5 * (speed[1:] + speed[:-1]) * np.diff(z))])
    s_of_z = float(np.interp(0.0, z, body.s_of_z)) - (arc - np.interp(0.0, z, arc))
    return body._replace(centre_mm=centre, tangent=tangent / speed[:, None], s_of_z=s_of_z)


def _draw_view(rng: Generator) -> tuple[float, float]:
    """Where a field of view begins (position s) and how long it is."""
    part = rng.random()
    if part < 0.12:  # a head with its neck
        return rng.uniform(-75, -15), rng.uniform(120, 280)
    if part < 0.20:  # a neck from within C2 on: no dens tells which the first body is
        return rng.uniform(12, 32), rng.uniform(80, 260)
    if part < 0.32:  # a neck, often without C1
        return rng.uniform(-30, 45), rng.uniform(55, 260)
    if part < 0.42:  # a small stretch anywhere
        return rng.uniform(-20, 420), rng.uniform(50, 120)
    if part < 0.56:  # the chest
        return rng.uniform(90, 260), rng.uniform(140, 280)
    if part < 0.86:  # the small of the back
        return rng.uniform(300, 430), rng.uniform(150, 280)
    return rng.uniform(-60, 200), rng.uniform(280, 400)  # most of a spine


def _box(body: Body, length_mm: float) -> tuple[Floats, Floats]:
    half = 0.5 * length_mm
    inside = np.abs(body.z_mm) <= half
    low, high = body.centre_mm[inside].min(axis=0), body.centre_mm[inside].max(axis=0)
    start = np.array([low[0] - ASIDE_MM, low[1] - BEHIND_MM, -half])
    return start, np.array([high[0] + ASIDE_MM, high[1] + BEFORE_MM, half])


def _scan(
    rng: Generator,
    body: Body,
    plan: Acquisition,
    grid: FineGrid,
    scene: Scene,
    box: tuple[Floats, Floats],
) -> Example:
    scan = _draw_scan(rng, plan, box)
    contrast = draw_contrast(rng, strength=rng.uniform(0.4, 1.0))
    if rng.random() > 0.1:
        scan = scan._replace(noise=min(scan.noise, 0.5 * contrast.cord_step))
    image = acquire(scan, paint(scene, contrast, FINE_MM), grid).numpy()
    where = ribbon(_draw_line(rng, body, scan), STEP_MM, ABOVE_MM, BELOW_MM)
    planes = straighten(
        image, _native_grid(scan, image.shape), where, np.asarray(LEVELS.planes_mm), LEVELS.columns_mm
    )
    return Example(planes, where, targets_of(body, where, planes), body)


def _draw_scan(rng: Generator, plan: Acquisition, box: tuple[Floats, Floats]) -> Acquisition:
    """Mostly sagittal slices or small voxels, as spines are scanned; the rest as drawn, if dense enough."""
    drawn = draw_acquisition(rng, *box)
    kind = rng.random()
    fine = rng.uniform(0.5, 1.3)
    if kind < 0.5:
        spacing, axis = (rng.uniform(2.0, 4.5), fine, fine * np.exp(rng.normal(0, 0.1))), 0
    elif kind < 0.85:
        spacing, axis = (fine, fine, fine), -1
    else:
        x, y, z = drawn.spacing_mm
        spacing, axis = (x, y, min(z, SPARSEST_MM)), drawn.slice_axis
    start, end = np.array(box[0]), np.array(box[1])
    if rng.random() < 0.3:  # a narrow field before and behind, a short one along the cord
        start[1] += rng.uniform(0, 20)
        end[1] -= rng.uniform(0, 48)
    if rng.random() < 0.3:
        cut = rng.uniform(0, 0.5) * (end[2] - start[2])
        low = rng.uniform(0, cut)
        start[2], end[2] = start[2] + low, end[2] - (cut - low)
    small = np.maximum(spacing, 0.8)
    return drawn._replace(
        spacing_mm=(float(small[0]), float(small[1]), float(small[2])), slice_axis=axis, start_mm=start,
        end_mm=end, rotation=plan.rotation, distortion_mm=0.0, motion_mm=0.0,
    )  # fmt: skip


def _native_grid(scan: Acquisition, shape: tuple[int, ...]) -> Grid:
    affine = np.eye(4)
    affine[:3, :3] = scan.rotation * np.asarray(scan.spacing_mm)
    affine[:3, 3] = scan.rotation @ np.array([native_axis(scan, axis)[0] for axis in range(3)])
    return Grid((shape[0], shape[1], shape[2]), affine)


def _draw_line(rng: Generator, body: Body, scan: Acquisition) -> Floats:
    """The cord's centreline as a segmentation would have it: too short, too long, a little beside."""
    low, high = float(scan.start_mm[2]), float(scan.end_mm[2])
    top = float(np.interp(-rng.normal(0, 7), body.s_of_z[::-1], body.z_mm[::-1]))
    end = float(np.interp(-(body.conus_mm + rng.normal(-8, 8)), -body.s_of_z, body.z_mm))
    high, low = min(high, top), max(low, end)
    if rng.random() < 0.15:  # found only in part
        high -= rng.uniform(0, 0.4) * (high - low)
    if high - low < 20:  # hardly any cord: the canal's line serves
        middle = 0.5 * (float(scan.start_mm[2]) + float(scan.end_mm[2]))
        low, high = middle - 12, middle + 12
    z = np.linspace(high, low, max(int((high - low) / 2), 8))
    line = np.column_stack([*(np.interp(z, body.z_mm, column) for column in body.centre_mm.T), z])
    knots = np.linspace(high, low, max(int((high - low) / 30), 2) + 1)
    for axis, amount in ((0, 0.6), (1, 0.6)):
        error = rng.normal(0, amount, len(knots)) + rng.normal(0, 0.5)
        line[:, axis] += np.interp(z, knots[::-1], error[::-1])
    return line


def marks_mm(body: Body) -> dict[int, Floats]:
    """Where landmarks lie in the body's frame: discs' posterior tips, 50 (junction), 60 (conus), 1 (top)."""
    places = disc_tips_mm(body)
    for value, s in ((1, 0.0), (50, body.pmj_mm), (60, body.conus_mm)):
        z = float(np.interp(-s, -body.s_of_z, body.z_mm))
        places[value] = np.array([*(np.interp(z, body.z_mm, column) for column in body.centre_mm.T), z])
    return places


def targets_of(body: Body, where: Ribbon, planes: Planes) -> Targets:
    """What each row of a ribbon should say about a body."""
    count = len(where.points_mm)
    places = marks_mm(body)
    values = sorted(places)
    points = np.array([places[value] for value in values])
    position, _ = project(points, where.points_mm)
    at = {value: float(position[n]) for n, value in enumerate(values)}
    rows_mm = np.arange(count) * STEP_MM
    seen = rows_seen(planes, LEVELS.columns_mm)
    borders = [at[50], at[1], *(at[n] for n in range(2, 27))]
    level = np.where(seen, np.searchsorted(np.maximum.accumulate(borders), rows_mm, side="right"), NOTHING)
    marks = np.zeros((len(MARKS), count), dtype=np.float32)
    shown = spine_of(body).disc_half_mm > 0
    groups = {
        0: [n for n in range(3, 26) if body.has_bodies and shown[n - 1]],
        1: [2] if body.has_bodies else [],
        2: [50] if body.has_head else [],
        3: [60] if body.has_cord else [],
    }
    tip = np.zeros(count)
    nearest = np.full(count, np.inf)
    for row, group in groups.items():
        for value in group:
            away = np.abs(rows_mm - at[value])
            # A place beyond the line's end belongs to no row.
            if not 0 < at[value] < rows_mm[-1]:
                continue
            marks[row] = np.maximum(marks[row], np.exp(-0.5 * (away / SPREAD_MM[row]) ** 2))
            if row == 0:
                index = round(at[value] / STEP_MM)
                before = (places[value] - where.points_mm[index]) @ where.front[index] / TIP_UNIT_MM
                tip, nearest = np.where(away < nearest, before, tip), np.minimum(away, nearest)
    return Targets(marks * seen, tip.astype(np.float32), level.astype(np.int64))


def as_tensors(rng: Generator, example: Example, rows: int = ROWS) -> tuple[Tensor, ...]:
    """A window of an example as the network is trained on: image, marks, tip, level."""
    seen = np.flatnonzero(example.targets.level >= 0)
    count = len(example.where.points_mm)
    if not len(seen):
        first, last = 0, min(rows, count)
    else:
        first, last = int(seen[0]), int(seen[-1]) + 1
        if last - first > rows:
            first = int(rng.integers(first, last - rows + 1))
            last = first + rows
    planes = Planes(example.planes.values[:, first:last], example.planes.seen[:, first:last])
    spare = rows - (last - first)
    before = int(rng.integers(0, spare + 1)) if spare else 0
    sides = (before, spare - before)
    image = np.pad(network_input(planes), ((0, 0), sides, (0, 0)))
    if rng.random() < 0.5:  # a mirrored body is a body
        image[:-1] = image[-2::-1].copy()
    marks, tip, level = example.targets
    return (
        torch.from_numpy(image),
        torch.from_numpy(np.pad(marks[:, first:last], ((0, 0), sides))),
        torch.from_numpy(np.pad(tip[first:last], sides)),
        torch.from_numpy(np.pad(level[first:last], sides, constant_values=NOTHING)),
    )


class Examples(IterableDataset[tuple[Tensor, ...]]):
    """An endless stream; worker ``w`` of a run with ``seed`` draws the same ones every time."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        torch.set_num_threads(1)
        worker = torch.utils.data.get_worker_info()
        rng = np.random.default_rng([self.seed, 0 if worker is None else worker.id])
        # Scans of one body are dealt out among those of others.
        waiting: list[tuple[Tensor, ...]] = []
        while True:
            while len(waiting) < 8 * SCANS:
                waiting += [as_tensors(rng, example) for example in draw_examples(rng)]
            yield waiting.pop(int(rng.integers(len(waiting))))
