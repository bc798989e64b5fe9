"""Segment in windows that follow the cord, and go on with it beyond where it was located."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from softseg_bids.core.cord import keep_cord, trace
from softseg_bids.image.grid import Array, Grid, cropped, resample, respaced
from softseg_bids.model.network import Architecture, normalise

Floats = NDArray[np.float64]

# The coarse cord may end early where the image is poor; the fine network looks this far beyond.
BEYOND_MM = 20.0
# It goes on from there if it saw the cord this far beyond, in sections of at least the thinnest cord.
FURTHER_MM, LEAST_SECTION_MM2 = 10.0, 20.0
# The direction of a line's end is that of its last part, no steeper than 45 degrees.
END_MM, STEEPEST = 15.0, 1.0
# Windows follow the cord: it may drift this far across before the next one is centred anew.
DRIFT_MM = 6.0
# Windows of one pass. On a CPU, PyTorch keeps its fast convolutions from a small window that comes alone
# and takes five times as long.
BATCH = 8


class Window(NamedTuple):
    """Cord fraction of one window, and the voxel of the fine grid where it begins."""

    start: NDArray[np.integer]
    fraction: Tensor


def segment_along(
    segmenter: tuple[Architecture, nn.Module],
    device: torch.device,
    array: Array,
    grid: Grid,
    points_mm: Floats,
) -> tuple[Array, Grid]:
    """Cord fraction along a centreline, and along the cord where it goes on beyond the line's ends.

    Parameters
    ----------
    segmenter : tuple
        Architecture and network.
    device : torch device
    array : ndarray of float32, shape grid.shape
        Any intensities, canonical axes.
    grid : Grid
    points_mm : ndarray, shape (n, 3)
        The line, upwards, in scanner mm.

    Returns
    -------
    ndarray of float32
        In [0, 1], on the network's grid, in a box about the line.
    Grid
        Of that box.
    """
    architecture, network = segmenter
    fine = respaced(grid, architecture.spacing_mm)
    further = [fine.to_index(points_mm)]
    low, high = further[0][0, 2], further[0][-1, 2]
    windows: list[Window] = []
    while further:
        for line in further:
            windows += _look(architecture, network, device, array, grid, fine, line)
        soft, box, first = _blended(windows, fine)
        further, low, high = _further(soft, box, first, low, high)
    return soft, box


@torch.inference_mode()
def _look(
    architecture: Architecture,
    network: nn.Module,
    device: torch.device,
    array: Array,
    grid: Grid,
    fine: Grid,
    line: Floats,
) -> list[Window]:
    """What the network sees in windows along a line (voxel indices of the fine grid)."""
    window = np.asarray(architecture.window)
    centres = _window_centres(line, np.asarray(architecture.spacing_mm), window, fine.shape[2])
    starts = np.round(centres - 0.5 * (window - 1)).astype(int)
    low, box = _box(starts, window, fine)
    image = torch.from_numpy(resample(array, grid, box)).to(device)
    seen: list[Window] = []
    for some in np.array_split(starts, -(-len(starts) // BATCH)):
        blocks = ([slice(int(a), int(a + n)) for a, n in zip(s - low, window, strict=True)] for s in some)
        patches = torch.stack([normalise(image[x, y, z]) for x, y, z in blocks])
        seen += map(Window, some, network(patches[:, None]).sigmoid()[:, 0])
    return seen


def _blended(windows: list[Window], fine: Grid) -> tuple[Array, Grid, NDArray[np.integer]]:
    """Windows blended with Gaussian weights, the grid of the box that holds them, and where that begins."""
    shape = tuple(windows[0].fraction.shape)
    low, box = _box(np.array([window.start for window in windows]), np.asarray(shape), fine)
    weight = _gaussian(shape, windows[0].fraction.device)
    total = torch.zeros(box.shape, device=weight.device)
    mass = torch.full_like(total, 1e-9)
    for window in windows:
        x, y, z = (slice(int(a), int(a + n)) for a, n in zip(window.start - low, shape, strict=True))
        total[x, y, z] += window.fraction * weight
        mass[x, y, z] += weight
    return (total / mass).cpu().numpy(), box, low


def _box(
    starts: NDArray[np.integer], window: NDArray[np.integer], fine: Grid
) -> tuple[NDArray[np.integer], Grid]:
    low, high = starts.min(axis=0), starts.max(axis=0) + window
    return low, cropped(fine, low, (int(high[0] - low[0]), int(high[1] - low[1]), int(high[2] - low[2])))


def _further(
    soft: Array, box: Grid, first: NDArray[np.integer], low: float, high: float
) -> tuple[list[Floats], float, float]:
    """Lines (voxels of the fine grid) where the cord goes on beyond the slices followed so far; and these."""
    spacing = box.spacing_mm
    step = FURTHER_MM / spacing[2]
    sections_mm2 = np.where(soft >= 0.5, soft, 0).sum(axis=(0, 1)) * spacing[0] * spacing[1]
    at = np.flatnonzero(sections_mm2 >= LEAST_SECTION_MM2) + first[2]
    if not at.size or (at[0] > low - step and at[-1] < high + step):
        return [], low, high
    line = trace(keep_cord(soft, spacing), spacing)
    if line is None:
        return [], low, high
    points = line.points_mm / spacing + first
    further = []
    if points[0, 2] <= low - step:
        further.append(points[points[:, 2] <= low])
        low = points[0, 2]
    if points[-1, 2] >= high + step:
        further.append(points[points[:, 2] >= high])
        high = points[-1, 2]
    return further, low, high


def _window_centres(line: Floats, spacing_mm: Floats, window: NDArray[np.integer], top: int) -> Floats:
    """Centres (voxel indices) of windows along a line: half a window apart, closer where it is steep."""
    line = _lengthened(line, spacing_mm)
    low, high = max(line[0, 2], 0.0), min(line[-1, 2], top - 1.0)
    half = 0.5 * (window[2] - 1)
    if high - low <= window[2]:
        heights = [0.5 * (low + high)]
    else:
        heights = [low + half]
        while heights[-1] < high - half:
            heights.append(min(heights[-1] + _stride(line, heights[-1], spacing_mm, window), high - half))
    return np.array([[*(np.interp(h, line[:, 2], line[:, axis]) for axis in (0, 1)), h] for h in heights])


def _lengthened(line: Floats, spacing_mm: Floats) -> Floats:
    """The line, straight on beyond both ends."""
    beyond, part = BEYOND_MM / spacing_mm[2], END_MM / spacing_mm[2]
    down = _slope(line[line[:, 2] <= line[0, 2] + part], spacing_mm)
    up = _slope(line[line[:, 2] >= line[-1, 2] - part], spacing_mm)
    return np.vstack([line[0] - beyond * down, line, line[-1] + beyond * up])


def _slope(points: Floats, spacing_mm: Floats) -> Floats:
    """Voxels across per voxel upwards, no steeper than the steepest cord."""
    way = points[-1] - points[0]
    steepest = STEEPEST * spacing_mm[2] / spacing_mm
    return np.clip(way / max(way[2], 1e-6), -steepest, steepest) if way[2] > 0 else np.array([0.0, 0.0, 1.0])


def _stride(line: Floats, height: float, spacing_mm: Floats, window: NDArray[np.integer]) -> float:
    ahead = height + 0.5 * float(window[2])
    drift: float = max(
        abs(np.interp(ahead, line[:, 2], line[:, a]) - np.interp(height, line[:, 2], line[:, a]))
        * spacing_mm[a]
        for a in (0, 1)
    )
    return 0.5 * float(window[2]) / max(1.0, drift / DRIFT_MM)


def _gaussian(window: tuple[int, ...], device: torch.device) -> Tensor:
    """Blending weights, highest in the middle (standard deviation an eighth of the window)."""
    axes = [
        torch.exp(-0.5 * ((torch.arange(n, device=device) - 0.5 * (n - 1)) / (0.125 * n)) ** 2)
        for n in window
    ]
    return torch.einsum("x,y,z->xyz", *axes).clamp_min(1e-4)
