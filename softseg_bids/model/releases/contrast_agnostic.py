"""The contrast-agnostic model of Bédard & Karthik (2025), releases v2.x, run as published.

Its road: right-posterior-inferior axes, 1 mm by quadratic splines, a window of 64 x 192 mm in the axial
plane about the middle of the image, padded to multiples of 32, normalised to mean 0 and standard
deviation 1, windows of 64 x 192 x 320 blended by Gaussian weights at half overlap, and the positive part
of the output divided by its maximum. Values under 0.1 are set to 0.

Two things differ. Where the cord would lie outside the middle 64 x 192 mm, the window is moved the
shortest way that has it inside. And the way back to the image's own voxels integrates where those are
larger, instead of sampling points.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from softseg_bids.image.grid import Array, Floats, Grid, canonical, cropped, like_stored, resample
from softseg_bids.image.volume import Volume
from softseg_bids.model.releases.plainconv import PlainConvUNet
from softseg_bids.model.sliding import sliding_window_inference

WINDOW = (64, 192, 320)
SPACING_MM = (1.0, 1.0, 1.0)
DIVISIBLE_BY = 32
FAINT = 0.1
# The cord's centre keeps this far from the window's side, in the axial plane.
MARGIN_MM = 15.0
# What the file's network ends in: published ones in a ReLU over its maximum, ours in a sigmoid.
NORMALISED_RELU, SIGMOID = "normalised-relu", "sigmoid"


class ContrastAgnostic(NamedTuple):
    """A network of this family, on a device.

    Attributes
    ----------
    network : PlainConvUNet
    window : tuple of int
        Right-left, anterior-posterior, superior-inferior.
    ending : str
        :data:`NORMALISED_RELU` or :data:`SIGMOID`.
    device : torch device
    """

    network: PlainConvUNet
    window: tuple[int, int, int]
    ending: str
    device: torch.device


class Prepared(NamedTuple):
    """What the network is shown, on axes that run to the right, to the back and downwards.

    ``array`` is normalised; ``grid`` says where it lies, on canonical axes (flip both back to use it).
    """

    array: Array
    grid: Grid


@torch.inference_mode()
def segment_as_published(model: ContrastAgnostic, volume: Volume, cord_mm: Floats | None = None) -> Array:
    """Cord fraction of every voxel of an image.

    Parameters
    ----------
    model : ContrastAgnostic
    volume : Volume
    cord_mm : ndarray, shape (n, 3), optional
        Where the cord is known to be (scanner mm); without it the window stays in the middle.

    Returns
    -------
    ndarray of float32, shape volume.grid.shape
        In [0, 1].
    """
    turned, grid = canonical(volume.array, volume.grid)
    shown = prepare(np.asarray(turned, dtype=np.float32), grid, model.window, cord_mm)
    soft = infer(model, shown.array)[:, ::-1, ::-1]
    native = to_native(np.ascontiguousarray(soft), shown.grid, grid)
    return np.ascontiguousarray(like_stored(np.clip(native, 0, 1), volume.grid), dtype=np.float32)


def prepare(
    array: Array, grid: Grid, window: tuple[int, int, int] = WINDOW, cord_mm: Floats | None = None
) -> Prepared:
    """Bring a canonical image to what the network is shown."""
    backwards = np.ascontiguousarray(array[:, ::-1, ::-1])
    fine = _at_spacing(backwards, grid.spacing_mm)
    where = _spaced_grid(grid, fine.shape)
    starts, sizes = _in_plane(fine.shape, window, where, cord_mm)
    kept = _cut(fine, starts, sizes)
    spare = [-n % DIVISIBLE_BY for n in kept.shape]
    kept = np.pad(kept, [(n // 2, n - n // 2) for n in spare], mode="edge")
    starts = [start - n // 2 for start, n in zip(starts, spare, strict=True)]
    deviation = float(kept.std())
    normalised = (kept - kept.mean()) / (deviation if deviation > 0 else 1.0)
    # The same box counted from the front and from below: the affine's axes are canonical.
    first = np.array([starts[0], *(where.shape[a] - starts[a] - kept.shape[a] for a in (1, 2))])
    shape = (int(kept.shape[0]), int(kept.shape[1]), int(kept.shape[2]))
    return Prepared(normalised.astype(np.float32), cropped(where, first, shape))


def infer(model: ContrastAgnostic, shown: Array) -> Array:
    """Run the network over what :func:`prepare` made; cord fraction on the same grid and axes."""
    image = torch.from_numpy(shown)[None, None].to(model.device)
    out = sliding_window_inference(image, model.window, 1, model.network, overlap=0.5, mode="gaussian")
    if model.ending == SIGMOID:
        soft = out.sigmoid()
    else:
        soft = torch.relu(out)
        soft = soft / soft.max() if float(soft.max()) > 0 else soft
    soft[soft < FAINT] = 0
    found: Array = soft[0, 0].float().cpu().numpy()
    return found


def to_native(soft: Array, source: Grid, target: Grid) -> Array:
    """Bring fractions to a parallel grid: copied where voxels are the same, else :func:`resample`."""
    first = source.to_index(target.to_world(np.zeros(3)))
    same_size = np.allclose(source.spacing_mm, target.spacing_mm, atol=1e-3)
    if not (same_size and np.allclose(first, np.round(first), atol=1e-2)):
        return resample(soft, source, target, outside="zero")
    starts = [int(n) for n in np.round(first)]
    return _cut(soft, starts, list(target.shape))


def _at_spacing(array: Array, spacing_mm: NDArray[np.floating]) -> Array:
    """Sample at 1 mm from the first voxel's centre on, by quadratic splines: as in training, no average."""
    scale = np.asarray(SPACING_MM) / spacing_mm
    if np.allclose(scale, 1.0, atol=1e-4):
        return array
    shape = tuple(
        int(np.round((n - 1) * h / s + 1))
        for n, h, s in zip(array.shape, spacing_mm, SPACING_MM, strict=True)
    )
    out = ndimage.affine_transform(array.astype(float), scale, output_shape=shape, order=2, mode="nearest")
    return np.asarray(out, dtype=np.float32)


def _spaced_grid(grid: Grid, shape: tuple[int, ...]) -> Grid:
    """The canonical grid of what :func:`_at_spacing` made: it begins at the right, back and upper ends."""
    old, new = grid.spacing_mm, np.asarray(SPACING_MM)
    if np.allclose(old, new, atol=1e-4):
        return grid
    directions = grid.affine[:3, :3] / old
    # Voxel centres, mm along the axes: the last canonical voxel of axes 1 and 2 keeps its place.
    last = (np.asarray(grid.shape) - 1) * old
    first = np.array([0.0, *(last[a] - (shape[a] - 1) * new[a] for a in (1, 2))])
    affine = np.eye(4)
    affine[:3, :3] = directions * new
    affine[:3, 3] = grid.affine[:3, 3] + directions @ first
    return Grid((shape[0], shape[1], shape[2]), affine)


def _in_plane(
    shape: tuple[int, ...], window: tuple[int, int, int], where: Grid, cord_mm: Floats | None
) -> tuple[list[int], list[int]]:
    """First voxel and size of what is kept: the window's width in the plane, everything along the cord."""
    # Narrower images are first padded in equal parts, then cut about the middle.
    starts = [-((w - n) // 2) if n < w else n // 2 - w // 2 for n, w in zip(shape[:2], window, strict=False)]
    sizes = [*window[:2], shape[2]]
    if cord_mm is not None:
        index = where.to_index(cord_mm)
        index[:, 1] = shape[1] - 1 - index[:, 1]
        for axis in (0, 1):
            starts[axis] += _shift(index[:, axis], starts[axis], window[axis])
    return [*starts, 0], sizes


def _shift(cord: Floats, start: int, width: int) -> int:
    """The shortest move of a window that keeps a margin about the cord (or has its middle inside)."""
    low, high = float(cord.min()) - MARGIN_MM, float(cord.max()) + MARGIN_MM
    if high - low > width:
        return int(np.round(0.5 * (low + high) - 0.5 * (width - 1))) - start
    return int(np.floor(min(low - start, 0)) + np.ceil(max(high - (start + width - 1), 0)))


def _cut(array: Array, starts: list[int], sizes: list[int]) -> Array:
    """A box of an array, with zeros where it reaches beyond."""
    out = np.zeros(sizes, dtype=np.float32)
    inner, outer = [], []
    for start, size, n in zip(starts, sizes, array.shape, strict=True):
        low, high = max(start, 0), min(start + size, n)
        outer.append(slice(low, max(high, low)))
        inner.append(slice(low - start, max(high, low) - start))
    out[tuple(inner)] = array[tuple(outer)]
    return out
