"""Training pairs: a random body, scanned at random, seen on the network's grid.

The image takes the very road of inference: native voxels, then
:func:`softseg_bids.core.respace.axis_weights` to the network's grid, then the same normalisation.
The label is the exact cord fraction there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from softseg_bids.core.respace import axis_weights
from softseg_bids.model.network import normalise
from softseg_bids.synthesis.anatomy import render
from softseg_bids.synthesis.body import draw_body
from softseg_bids.synthesis.contrast import draw_contrast, paint
from softseg_bids.synthesis.scanner import (
    acquire,
    displaced_points,
    draw_acquisition,
    fine_grid,
    native_axis,
    reduced_field,
)

# Shares of the wide fields of view that show no cord, or hardly any: beside the spine, a head
# from above the foramen magnum, and an empty phantom full of noise.
AWAY, HEAD, NOTHING = 0.12, 0.15, 0.05
# Most scans show the step from CSF to cord above the noise (standard deviation over step);
# where it drowns, only the mean of all cords could be learnt.
MOST_NOISE, DROWNED = 0.5, 0.04
# Share of diffusion images with a reduced field of view: the cord nearly fills it, and little else is seen.
REDUCED = 0.6
Spacing = tuple[float, float, float]
Shape = tuple[int, int, int]


class Pair(NamedTuple):
    """One training example on the network's grid, each of shape ``shape``, float32.

    ``image`` is normalised; ``cord`` the fraction in [0, 1]; ``seen`` is 1 inside the field of
    view and 0 where the image was extended beyond it.
    """

    image: Tensor
    cord: Tensor
    seen: Tensor


def draw_pair(
    rng: np.random.Generator, shape: Shape, spacing_mm: Spacing, device: torch.device, wide: bool = False
) -> Pair:
    """Draw one pair.

    Parameters
    ----------
    rng : numpy Generator
    shape, spacing_mm : tuple
        The network's patch and grid.
    device : torch device
        Where to render.
    wide : bool
        A field of view for the coarse network: the cord anywhere in it, or not at all.
    """
    size = np.asarray(shape) * np.asarray(spacing_mm)
    # Where the cord passes relative to the patch; wide fields hold it anywhere.
    reach = np.array([0.28, 0.30, 0.0]) if wide else np.array([0.17, 0.17, 0.0])
    centre = rng.uniform(-1, 1, 3) * reach * size
    if wide and rng.random() < AWAY:
        centre = centre + np.array([rng.choice([-1, 1]) * size[0], 0, 0])
    start, end = centre - 0.5 * size, centre + 0.5 * size
    head = wide and rng.random() < HEAD
    body = draw_body(rng, s_centre_mm=rng.uniform(-130, -30) if head else None, wide=wide)
    half = (0.5 * spacing_mm[0], 0.5 * spacing_mm[1], 0.5 * spacing_mm[2])
    scan = draw_acquisition(rng, start, end, finest_mm=half)
    contrast = draw_contrast(rng)
    if contrast.name == "DWI" and rng.random() < REDUCED:
        scan = reduced_field(rng, scan)
    grid = fine_grid(scan, spacing_mm)
    scene = render(body, displaced_points(scan, grid, device), spacing_mm)
    if rng.random() > DROWNED:
        scan = scan._replace(noise=min(scan.noise, MOST_NOISE * contrast.cord_step))
    painted, cord = paint(scene, contrast, spacing_mm), scene.cord
    if wide and rng.random() < NOTHING:
        scan = scan._replace(noise=rng.uniform(0.02, 1.0))
        painted, cord = torch.full_like(painted, rng.uniform(0, 0.5)), torch.zeros_like(cord)
    image = acquire(scan, painted, grid)
    seen = torch.ones((1, 1, 1), device=device)
    for axis in range(3):
        target = start[axis] + (np.arange(shape[axis]) + 0.5) * spacing_mm[axis]
        image = _to_axis(
            image, axis, native_axis(scan, axis), target, scan.spacing_mm[axis], spacing_mm[axis], "edge"
        )
        cord = _to_axis(cord, axis, grid.centres(axis), target, spacing_mm[axis], spacing_mm[axis], "zero")
        inside = (target > scan.start_mm[axis]) & (target < scan.end_mm[axis])
        inside_axis = torch.as_tensor(inside, dtype=torch.float32, device=device)
        seen = seen * inside_axis.reshape([-1 if a == axis else 1 for a in range(3)])
    return Pair(normalise(image), cord.clamp(0, 1), seen)


def _to_axis(
    values: Tensor, axis: int, source: np.ndarray, target: np.ndarray, h_in: float, h_out: float, outside: str
) -> Tensor:
    shift = (target[0] - source[0]) / h_in
    weights = axis_weights(len(source), len(target), h_out / h_in, shift, outside)  # type: ignore[arg-type]
    matrix = torch.as_tensor(weights, dtype=torch.float32, device=values.device)
    return torch.movedim(torch.tensordot(matrix, values, dims=([1], [axis])), 0, axis)


class Pairs(IterableDataset[tuple[Tensor, Tensor, Tensor]]):
    """An endless stream of pairs; worker ``w`` of a run with ``seed`` draws the same ones every time."""

    def __init__(self, shape: Shape, spacing_mm: Spacing, seed: int, wide: bool) -> None:
        self.shape, self.spacing_mm, self.seed, self.wide = shape, spacing_mm, seed, wide

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        torch.set_num_threads(1)
        worker = torch.utils.data.get_worker_info()
        rng = np.random.default_rng([self.seed, 0 if worker is None else worker.id])
        while True:
            pair = draw_pair(rng, self.shape, self.spacing_mm, torch.device("cpu"), self.wide)
            yield pair.image[None], pair.cord[None], pair.seen[None]


def endless(
    pairs: Pairs, count: int, workers: int, device: torch.device
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Image, cord and seen of ``count`` pairs at a time, each of shape (count, 1, x, y, z), without end.

    Workers draw on processors, ahead of what is learnt; an accelerator draws for itself.
    """
    if device.type != "cuda":
        ahead = 8 if workers else None
        yield from DataLoader(pairs, batch_size=count, num_workers=workers, prefetch_factor=ahead)
    rng = np.random.default_rng([pairs.seed, 0])
    while True:
        drawn = [draw_pair(rng, pairs.shape, pairs.spacing_mm, device, pairs.wide) for _ in range(count)]
        yield stacked(drawn)


def stacked(pairs: Sequence[Pair]) -> tuple[Tensor, Tensor, Tensor]:
    """Image, cord and seen of some pairs, each of shape (n, 1, x, y, z)."""
    image, cord, seen = (torch.stack(parts)[:, None] for parts in zip(*pairs, strict=True))
    return image, cord, seen
