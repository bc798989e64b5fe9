"""Find the cord on a coarse grid of the whole field of view, then segment around it, or say there is none."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from softseg_bids.core.cord import Centreline, keep_cord, trace
from softseg_bids.image.grid import Array, Grid, canonical, like_stored, line_world, resample, respaced
from softseg_bids.image.volume import DataError, Volume
from softseg_bids.model.along import BATCH, segment_along
from softseg_bids.model.checkpoint import load_checkpoint
from softseg_bids.model.edges import to_voxels
from softseg_bids.model.network import Architecture, FoldedUNet, normalise
from softseg_bids.model.releases.release import Release, is_release, load_release, segment_released
from softseg_bids.model.sliding import sliding_window_inference
from softseg_bids.model.weights import DEFAULT

# The shortest cord that counts (10 mm) at the thinnest section there is (20 mm2); noise yields less.
LEAST_CORD_MM3 = 200.0


class Model(NamedTuple):
    """Both networks of a checkpoint, on a device."""

    locator: tuple[Architecture, FoldedUNet]
    segmenter: tuple[Architecture, FoldedUNet]
    device: torch.device


def load_model(path: Path | None = None, device: str = "auto") -> Model | Release:
    """Load a checkpoint or another's release onto a device ("auto", "cpu", "cuda[:n]").

    Without ``path`` the packaged one. What a path is, the file itself says (`releases.release`).

    Raises
    ------
    DataError
        If the checkpoint cannot be used or the device does not exist.
    """
    place = device_of(device)
    if path is not None and is_release(path):
        return load_release(path, place)
    return load_own(path or DEFAULT, place)


def load_own(path: Path, place: torch.device) -> Model:
    """Load one of our checkpoints; raises as :func:`load_model`."""
    networks = load_checkpoint(path, place)
    return Model(networks["locator"], networks["segmenter"], place)


def device_of(name: str) -> torch.device:
    """The device meant by "auto", "cpu" or "cuda[:n]".

    Raises
    ------
    DataError
        If it does not exist.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise DataError(f"device {name}: no CUDA device is available here; use --device cpu")
    return torch.device(name)


@torch.inference_mode()
def segment(model: Model | Release, volume: Volume) -> Array:
    """Cord fraction of every voxel of an image.

    Parameters
    ----------
    model : Model or Release
    volume : Volume
        Any contrast, resolution and orientation.

    Returns
    -------
    ndarray of float32, shape volume.grid.shape
        In [0, 1], on the image's own voxels (integrated where they are larger than the network's);
        all zero where no cord was found.
    """
    turned, grid = canonical(volume.array, volume.grid)
    array = np.ascontiguousarray(turned, dtype=np.float32)
    if not isinstance(model, Model):
        device = model.device
        return segment_released(model, volume, lambda: _cord_points(load_own(DEFAULT, device), array, grid))
    found = segment_fine(model, array, grid)
    if found is None:
        return np.zeros(volume.grid.shape, dtype=np.float32)
    native = to_voxels(*found, grid, model.segmenter[0].scaling)
    return np.ascontiguousarray(like_stored(native, volume.grid), dtype=np.float32)


@torch.inference_mode()
def segment_fine(model: Model, array: Array, grid: Grid) -> tuple[Array, Grid] | None:
    """Cord fraction on the segmenter's grid in a box about the cord, and that grid; None without a cord.

    Parameters
    ----------
    model : Model
    array : ndarray of float32, shape grid.shape
        Canonical axes.
    grid : Grid
    """
    points_mm = _cord_points(model, array, grid)
    if points_mm is None:
        return None
    soft, fine = segment_along(model.segmenter, model.device, array, grid, points_mm)
    # Again, along the cord found so: windows a little beside it move areas by up to 4 %, and from now on the
    # same ones come back.
    if (line := trace(keep_cord(soft, fine.spacing_mm), fine.spacing_mm)) is not None:
        soft, fine = segment_along(model.segmenter, model.device, array, grid, line_world(line, fine))
    return soft, fine


def _cord_points(model: Model, array: Array, grid: Grid) -> NDArray[np.float64] | None:
    """The cord's centreline in scanner mm as the locator sees it, or None."""
    line, coarse = locate(model, array, grid)
    return None if line is None else line_world(line, coarse)


def locate(model: Model, array: Array, grid: Grid) -> tuple[Centreline | None, Grid]:
    """The cord's centreline on the locator's grid (frame mm), or None; and that grid."""
    architecture, network = model.locator
    coarse = respaced(grid, architecture.spacing_mm)
    image = torch.from_numpy(resample(array, grid, coarse)).to(model.device)
    padded, inner = _padded(image, architecture.window)

    def fraction(windows: Tensor) -> Tensor:
        logits: Tensor = network(torch.stack([normalise(w) for w in windows]))
        return logits.sigmoid()

    found = sliding_window_inference(
        padded[None, None], architecture.window, BATCH, fraction, overlap=0.375, mode="gaussian"
    )
    soft = found[0, 0][inner].cpu().numpy()
    spacing = coarse.spacing_mm
    kept = keep_cord(soft, spacing)
    if (kept >= 0.5).sum() * spacing.prod() < LEAST_CORD_MM3:
        return None, coarse
    return trace(kept, spacing), coarse


def _padded(image: Tensor, window: tuple[int, int, int]) -> tuple[Tensor, tuple[slice, slice, slice]]:
    """Extend an image by its border to at least the window's size; and where it lies in the result."""
    lacks = [max(w - n, 0) for w, n in zip(window, image.shape, strict=True)]
    before = [lack // 2 for lack in lacks]
    sides = [side for lack, b in zip(lacks[::-1], before[::-1], strict=True) for side in (b, lack - b)]
    padded = torch.nn.functional.pad(image[None, None], sides, mode="replicate")[0, 0]
    x, y, z = (slice(b, b + n) for b, n in zip(before, image.shape, strict=True))
    return padded, (x, y, z)
