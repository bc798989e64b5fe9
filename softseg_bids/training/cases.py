"""Training examples from labelled images: cut out about the cord, on the network's own grid.

An image takes the very road of inference (`releases.contrast_agnostic.prepare`, or `image.grid.resample`
and `network.normalise`); its label is integrated onto the same voxels. Slices without a label count as
not seen.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from softseg_bids.core.softtruth import slice_centres
from softseg_bids.image.grid import Array, Grid, cropped, resample, respaced
from softseg_bids.image.sampling import mean_over_voxels
from softseg_bids.image.volume import DataError
from softseg_bids.model.network import normalise
from softseg_bids.model.releases.contrast_agnostic import prepare
from softseg_bids.training.dataset import Pair
from softseg_bids.training.recipes import PLAIN, Recipe

# Patches are centred on the cord to within this share of their size.
JITTER = 0.12
LEAST_LABELLED = 0.01


class Case(NamedTuple):
    """One labelled image on the network's grid and axes.

    Attributes
    ----------
    name : str
    image : ndarray of float32
        Not yet normalised as a patch.
    cord : ndarray of float32
        Fraction in [0, 1].
    seen : ndarray of float32
        1 inside the image, in labelled slices.
    centres : ndarray, shape (n, 3)
        Voxels: the label's centre in each slice that has one.
    """

    name: str
    image: Array
    cord: Array
    seen: Array
    centres: NDArray[np.float64]


def case_of(name: str, image: Array, label: Array, grid: Grid, recipe: Recipe) -> Case:
    """Bring a canonical image and its label to the network's grid.

    Parameters
    ----------
    image, label : ndarray, shape grid.shape
        The label soft or binary, in [0, 1]; slices without any of it are not learnt from.

    Raises
    ------
    DataError
        If the label is empty.
    """
    labelled = np.asarray(label.any(axis=(0, 1)))
    if not labelled.any():
        raise DataError(f"{name}: its label is empty; remove it, or draw the cord")
    known = np.broadcast_to(labelled.astype(np.float32), label.shape)
    where = np.argwhere(label > 0)
    corners = grid.to_world(where[[0, -1]].astype(float))
    centres = slice_centres(label, grid.spacing_mm)[labelled] / grid.spacing_mm[:2]
    line_mm = grid.to_world(np.column_stack([centres, np.flatnonzero(labelled)]))
    if recipe.name == PLAIN:
        shown = prepare(image, grid, recipe.window, line_mm)
        box, values = shown.grid, shown.array
        cord = mean_over_voxels(label, grid, box, lambda points: points)
        seen = _inside(box, grid) * (mean_over_voxels(known, grid, box, lambda points: points) > 0.999)
        cord, seen = cord[:, ::-1, ::-1], seen[:, ::-1, ::-1]
    else:
        fine = respaced(grid, recipe.spacing_mm)
        index = fine.to_index(np.concatenate([line_mm, corners]))
        reach = 0.5 * np.asarray(recipe.window) * (1 + 2 * JITTER)
        low = np.floor(index.min(axis=0) - reach).astype(int)
        size = np.ceil(index.max(axis=0) + reach).astype(int) - low + 1
        box = cropped(fine, low, (int(size[0]), int(size[1]), int(size[2])))
        values = resample(image, grid, box)
        cord = np.clip(resample(label, grid, box, outside="zero"), 0, 1)
        seen = _inside(box, grid) * (resample(known, grid, box, outside="zero") > 0.999)
    cord, seen = np.ascontiguousarray(cord, dtype=np.float32), np.ascontiguousarray(seen, dtype=np.float32)
    middle = slice_centres(cord, np.ones(3))
    chosen = np.flatnonzero(np.isfinite(middle[:, 0]) & (seen.max(axis=(0, 1)) > 0))
    if not chosen.size:
        raise DataError(f"{name}: its label lies out of the field of view; draw it on the image itself")
    return Case(
        name,
        np.ascontiguousarray(values, dtype=np.float32),
        cord,
        seen,
        np.column_stack([middle[chosen], chosen]),
    )


def cut_patch(case: Case, recipe: Recipe, rng: np.random.Generator | None, place: float = 0.5) -> Pair:
    """A patch about the cord, not normalised.

    Parameters
    ----------
    rng : numpy Generator or None
        None: no jitter, at ``place`` (0 to 1) along the label.
    """
    window = np.asarray(recipe.window)
    if rng is None:
        centre = case.centres[round(place * (len(case.centres) - 1))]
    else:
        centre = case.centres[rng.integers(len(case.centres))] + rng.uniform(-JITTER, JITTER, 3) * window
    start = np.round(centre - 0.5 * (window - 1)).astype(int)
    parts = [_window(part, start, window) for part in (case.image, case.cord, case.seen)]
    inside = _window(np.ones_like(case.seen), start, window, edge=False)
    return Pair(parts[0], parts[1] * inside, parts[2] * inside)


def normalised(pair: Pair, recipe: Recipe) -> Pair:
    """The patch as the network wants it, by the normalisation of inference."""
    if recipe.name == PLAIN:
        image = pair.image - pair.image.mean()
        deviation = image.std(correction=0)
        return pair._replace(image=image / deviation if float(deviation) > 0 else image)
    return pair._replace(image=normalise(pair.image))


def _inside(box: Grid, grid: Grid) -> Array:
    """1 where voxels of a box lie within another grid."""
    points = np.stack(np.meshgrid(*[np.arange(n, dtype=float) for n in box.shape], indexing="ij"), axis=-1)
    index = grid.to_index(box.to_world(points))
    return np.asarray(
        ((index >= -0.5) & (index <= np.array(grid.shape) - 0.5)).all(axis=-1), dtype=np.float32
    )


def _window(
    array: Array, start: NDArray[np.integer], window: NDArray[np.integer], edge: bool = True
) -> Tensor:
    """A box of an array that may reach beyond it; there its border, or nothing."""
    index = [np.arange(a, a + n) for a, n in zip(start, window, strict=True)]
    clipped = [np.clip(i, 0, n - 1) for i, n in zip(index, array.shape, strict=True)]
    out = array[np.ix_(*clipped)]
    if not edge:
        beyond = [i != c for i, c in zip(index, clipped, strict=True)]
        out = out * ~(beyond[0][:, None, None] | beyond[1][None, :, None] | beyond[2][None, None])
    return torch.from_numpy(np.ascontiguousarray(out, dtype=np.float32))
