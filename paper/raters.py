"""Raters who draw binary masks: each contrast's boundary a little too far out or in, never twice alike.

A rater sees the boundary of one contrast where it is not: by a fixed offset, the same in every person.
Beside it there is noise, smooth along the edge and new in every slice, and the outermost slices are
drawn in part. Nothing else of the truth is changed.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from bench.truth import Cord, edge_of

Floats = NDArray[np.float64]

# Millimetres outwards, evenly from -0.3 to 0.3; in the order of the areas that one binary model a
# contrast gave in the paper, from DWI (63.7 mm²) to T2*w (79.2 mm²).
OFFSET_MM = {"DWI": -0.30, "T1w": -0.18, "GRET1w": -0.06, "MTon": 0.06, "T2w": 0.18, "T2starw": 0.30}


class Hand(NamedTuple):
    """How steadily a rater draws; standard deviations in mm.

    Attributes
    ----------
    wobble_mm : float
        Of the boundary, smooth around the cord and along it.
    jitter_mm : float
        Of the whole boundary of a slice, outwards.
    slip_mm : float
        Of a slice's place, to each side.
    skip : bool
        Whether end slices are left out or drawn in part.
    """

    wobble_mm: float = 0.12
    jitter_mm: float = 0.08
    slip_mm: float = 0.12
    skip: bool = True


STEADY = Hand(0.0, 0.0, 0.0, skip=False)
# Waves of the boundary: around the cord up to this often, and along it no shorter.
MOST_WAVES, SHORTEST_MM = 4, 10.0
# A slice is seen as the mean of planes at most this far apart.
PLANES_MM = 1.0
# At either end this much of the image is left out at most, and of the slice then this share is drawn.
MOST_LEFT_MM, DRAWN = 4.0, (0.3, 0.7)


def draw_mask(
    cord: Cord,
    axes_mm: tuple[Floats, Floats, Floats],
    rotation: Floats,
    offset_mm: float,
    rng: Generator,
    hand: Hand | None = None,
) -> NDArray[np.uint8]:
    """The binary mask of an image as one rater draws it.

    Parameters
    ----------
    cord : Cord
        The true geometry.
    axes_mm : three ndarrays
        Voxel centres along each (evenly spaced) axis of the image.
    rotation : ndarray, shape (3, 3)
        Turns the image's axes into the body's.
    offset_mm : float
        By which the boundary is moved outwards everywhere.
    rng : numpy Generator
        The only source of randomness.
    hand : Hand, optional

    Returns
    -------
    ndarray of uint8, shape (x, y, z)
    """
    hand = hand or Hand()
    slices = len(axes_mm[2])
    wave = _waves(rng, hand.wobble_mm)
    outwards = offset_mm + rng.normal(0, 1, slices) * hand.jitter_mm
    slips = rng.normal(0, 1, (slices, 2)) * hand.slip_mm
    height = float(axes_mm[2][1] - axes_mm[2][0])
    planes = max(1, int(np.ceil(height / PLANES_MM - 1e-6)))
    mask = np.zeros([len(axis) for axis in axes_mm], dtype=np.uint8)
    for number, z in enumerate(axes_mm[2]):
        depth = np.zeros(mask.shape[:2])
        for part in (np.arange(planes) + 0.5) / planes - 0.5:
            x, y = (axis - slip for axis, slip in zip(axes_mm[:2], slips[number], strict=True))
            points = np.stack(np.meshgrid(x, y, [z + part * height], indexing="ij"), axis=-1)
            edge = edge_of(cord, points.reshape(-1, 3) @ rotation.T)
            depth += (edge.depth_mm + wave(edge.angle, edge.s_mm)).reshape(mask.shape[:2])
        mask[:, :, number] = depth / planes + outwards[number] > 0
    return _with_ends(mask, height, rng) if hand.skip else mask


class _Waves(NamedTuple):
    """A smooth random function of the angle around the cord and the length along it."""

    around: Floats
    along: Floats
    phase: Floats
    size: Floats

    def __call__(self, angle: Floats, s_mm: Floats) -> Floats:
        total = np.zeros_like(angle)
        for k, f, phase, size in zip(*self, strict=True):
            if size:
                total += size * np.cos(k * angle + f * s_mm + phase)
        return total


def _waves(rng: Generator, sd_mm: float) -> _Waves:
    count = 12
    around = rng.integers(1, MOST_WAVES + 1, count).astype(float)
    along = rng.uniform(-1, 1, count) * 2 * np.pi / SHORTEST_MM
    size = np.full(count, sd_mm * np.sqrt(2 / count))
    return _Waves(around, along, rng.uniform(0, 2 * np.pi, count), size)


def _with_ends(mask: NDArray[np.uint8], height_mm: float, rng: Generator) -> NDArray[np.uint8]:
    """Some slices left out at either end, and of the next one only a part drawn, from one side."""
    out = mask.copy()
    for last, towards in ((0, 1), (mask.shape[2] - 1, -1)):
        left = int(rng.uniform(0, MOST_LEFT_MM) / height_mm)
        share, angle = rng.uniform(*DRAWN), rng.uniform(0, 2 * np.pi)
        for number in range(left):
            out[:, :, last + towards * number] = 0
        part = out[:, :, last + towards * left]
        where = np.argwhere(part)
        if len(where):
            across = where @ [np.cos(angle), np.sin(angle)]
            part[tuple(where[across > np.quantile(across, share)].T)] = 0
    return out
