"""A result folder of nnU-Net v2 (plans.json, dataset.json, fold_*/checkpoint_final.pth), run as it would.

Its road: the orientation its authors trained on, cropping to what is not zero, the normalisation and the
voxel size of its plans by cubic splines (slice by slice where voxels are very long), overlapping
windows with Gaussian weights, the logits averaged over folds. Differences: sums are kept in single
precision (nnU-Net's in half), nothing is mirrored, and the fraction of the cord's class (softmax; sigmoid
for regions) is the result, brought to the image's voxels by integration where those are larger.
"""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from softseg_bids.image.grid import Array, Grid, canonical, like_stored, oriented, unoriented
from softseg_bids.image.volume import DataError, Volume
from softseg_bids.model.releases.contrast_agnostic import to_native
from softseg_bids.model.releases.nnunet_plan import Plan, plan_of, read_json
from softseg_bids.model.releases.plainconv import PlainConvUNet, build
from softseg_bids.model.releases.reading import read_checkpoint

# Voxels this much longer than wide are resampled slice by slice.
LONG_VOXELS = 3.0
WEIGHTS = ("checkpoint_final.pth", "checkpoint_best.pth")


class NnUNet(NamedTuple):
    """The folds of a result folder, on a device."""

    plan: Plan
    folds: tuple[PlainConvUNet, ...]
    device: torch.device


def load_nnunet(folder: Path, device: torch.device) -> NnUNet:
    """Read a result folder.

    Raises
    ------
    DataError
        If a file is missing or damaged, or the network is none of those that can be run here.
    """
    plans, dataset = (read_json(folder / name) for name in ("plans.json", "dataset.json"))
    files = [found for fold in sorted(folder.glob("fold_*")) if (found := _weights_in(fold))]
    if not files:
        raise DataError(f"{folder}: has no fold_*/checkpoint_final.pth; unpack the whole release")
    contents = [read_checkpoint(path) for path in files]
    try:
        configuration = str(contents[0]["init_args"]["configuration"])
        plan = plan_of(folder, plans, dataset, configuration)
        folds = tuple(build(content["network_weights"]).to(device) for content in contents)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        reason = f"{error.args[0]} is missing" if isinstance(error, KeyError) else str(error)
        if isinstance(error, DataError):
            raise
        raise DataError(
            f"{folder}: cannot be run here ({reason}); only 3-D PlainConvUNet configurations can"
        ) from error
    return NnUNet(plan, folds, device)


def segment_with_nnunet(model: NnUNet, volume: Volume) -> Array:
    """Cord fraction of every voxel, float32 in [0, 1], shape volume.grid.shape."""
    turned, grid = canonical(volume.array, volume.grid)
    image, where = prepare(np.asarray(turned, dtype=np.float32), grid, model.plan)
    soft = _from_network_axes(infer(model, image), model.plan)
    native = to_native(np.ascontiguousarray(soft), where, grid)
    return np.ascontiguousarray(like_stored(np.clip(native, 0, 1), volume.grid), dtype=np.float32)


def prepare(array: Array, grid: Grid, plan: Plan) -> tuple[Array, Grid]:
    """Bring a canonical image to what the network is shown (on its axes), and where that lies.

    Returns
    -------
    ndarray of float32
        Normalised, on the network's axes.
    Grid
        Of it, turned back to canonical axes.
    """
    turned = _to_network_axes(array, plan)
    spacing = _to_network_order(grid.spacing_mm, plan)
    inside = ndimage.binary_fill_holes(turned != 0)
    box = ndimage.find_objects(inside.astype(np.uint8))[0]
    kept = _normalised(turned[box], inside[box], plan)
    shape = tuple(round(h / s * n) for h, s, n in zip(spacing, plan.spacing_mm, kept.shape, strict=True))
    resized = resize(kept, shape, spacing, np.asarray(plan.spacing_mm))
    # The resized box covers the same millimetres, whatever rounding did to its voxels.
    marks = np.zeros(turned.shape, dtype=bool)
    marks[box] = True
    back = _from_network_axes(marks, plan)
    low = np.array([np.flatnonzero(back.any(axis=tuple({0, 1, 2} - {a})))[0] for a in range(3)])
    size = np.array([back.any(axis=tuple({0, 1, 2} - {a})).sum() for a in range(3)])
    new = np.array(_from_network_axes(np.broadcast_to(np.uint8(0), shape), plan).shape)
    affine = grid.affine.copy()
    affine[:3, :3] = grid.affine[:3, :3] * (size / new)
    affine[:3, 3] = grid.to_world(low - 0.5 + 0.5 * size / new)
    return resized, Grid((int(new[0]), int(new[1]), int(new[2])), affine)


@torch.inference_mode()
def infer(model: NnUNet, image: Array) -> Array:
    """Fraction of the cord's class on the network's grid."""
    lacks = [max(p - n, 0) for p, n in zip(model.plan.patch, image.shape, strict=True)]
    padded = np.pad(image, [(n // 2, n - n // 2) for n in lacks])
    data = torch.from_numpy(padded).to(model.device)
    weight = _gaussian(model.plan.patch, model.device)
    logits = torch.stack([_logits(network, data, weight) for network in model.folds]).mean(dim=0)
    soft = torch.sigmoid(logits) if model.plan.regions else torch.softmax(logits, dim=0)
    inner = tuple(slice(n // 2, n // 2 + size) for n, size in zip(lacks, image.shape, strict=True))
    found: Array = soft[model.plan.channel][inner].float().cpu().numpy()
    return found


def resize(
    image: Array, shape: tuple[int, ...], old_mm: NDArray[np.floating], new_mm: NDArray[np.floating]
) -> Array:
    """Cubic spline onto another number of voxels of the same box; nearest across very long voxels."""
    if image.shape == shape:
        return image
    axis = _long_axis(old_mm)
    if axis is None:
        axis = _long_axis(new_mm)
    if axis is None:
        return _zoomed(image, shape)
    slices = np.moveaxis(image, axis, 0)
    in_plane = tuple(n for a, n in enumerate(shape) if a != axis)
    flat = np.stack([_zoomed(part, in_plane) for part in slices])
    position = len(flat) / shape[axis] * (np.arange(shape[axis]) + 0.5) - 0.5
    # As ndimage's nearest neighbour rounds: halves upwards.
    chosen = np.clip(np.floor(position + 0.5).astype(int), 0, len(flat) - 1)
    return np.ascontiguousarray(np.moveaxis(flat[chosen], 0, axis), dtype=np.float32)


def _zoomed(image: Array, shape: tuple[int, ...]) -> Array:
    zoom = [n / m for n, m in zip(shape, image.shape, strict=True)]
    out = ndimage.zoom(image.astype(float), zoom, order=3, mode="nearest", grid_mode=True)
    # A spline overshoots; nothing becomes brighter or darker than the image.
    return np.asarray(np.clip(out, image.min(), image.max()), dtype=np.float32)


def _long_axis(spacing_mm: NDArray[np.floating]) -> int | None:
    longest = np.flatnonzero(np.asarray(spacing_mm) == np.max(spacing_mm))
    is_long = np.max(spacing_mm) / np.min(spacing_mm) > LONG_VOXELS
    return int(longest[0]) if is_long and len(longest) == 1 else None


def _logits(network: PlainConvUNet, data: Tensor, weight: Tensor) -> Tensor:
    total, mass = None, torch.zeros_like(data)
    steps = [_steps(n, p) for n, p in zip(data.shape, weight.shape, strict=True)]
    for start in product(*steps):
        window = tuple(slice(a, a + n) for a, n in zip(start, weight.shape, strict=True))
        values = network(data[window][None, None])[0] * weight
        if total is None:
            total = torch.zeros((len(values), *data.shape), device=data.device)
        total[(slice(None), *window)] += values
        mass[window] += weight
    assert total is not None
    return total / mass


def _steps(size: int, patch: int) -> list[int]:
    """First voxels of windows that overlap by half or more and end with the image."""
    count = int(np.ceil((size - patch) / (0.5 * patch))) + 1
    return [int(np.round((size - patch) / max(count - 1, 1) * number)) for number in range(count)]


def _gaussian(patch: tuple[int, int, int], device: torch.device) -> Tensor:
    """Weights of a window, highest in the middle (standard deviation an eighth of it)."""
    point = np.zeros(patch)
    point[tuple(n // 2 for n in patch)] = 1
    weight = ndimage.gaussian_filter(point, [n / 8 for n in patch], mode="constant")
    weight *= 10 / weight.max()
    # nnU-Net's are in half precision, where the smallest ones vanish and become the least that is left.
    weight = weight.astype(np.float16).astype(np.float32)
    weight[weight == 0] = weight[weight > 0].min()
    return torch.from_numpy(weight).to(device)


def _normalised(image: Array, inside: NDArray[np.bool_], plan: Plan) -> Array:
    image = image.astype(np.float32)
    if plan.scheme == "NoNormalization":
        return image
    if plan.scheme == "RescaleTo01Normalization":
        return np.asarray((image - image.min()) / max(float(np.ptp(image)), 1e-8), dtype=np.float32)
    if plan.scheme == "CTNormalization":
        clipped = np.clip(image, plan.intensities["percentile_00_5"], plan.intensities["percentile_99_5"])
        return np.asarray(
            (clipped - plan.intensities["mean"]) / max(plan.intensities["std"], 1e-8), dtype=np.float32
        )
    counted = image[inside] if plan.masked else image
    scaled = (image - counted.mean()) / max(float(counted.std()), 1e-8)
    return np.asarray(np.where(inside, scaled, image) if plan.masked else scaled, dtype=np.float32)


def _to_network_axes(array: NDArray[Any], plan: Plan) -> NDArray[Any]:
    return np.ascontiguousarray(oriented(array, plan.orientation).transpose(plan.axes))


def _from_network_axes(array: NDArray[Any], plan: Plan) -> NDArray[Any]:
    return unoriented(array.transpose(np.argsort(plan.axes)), plan.orientation)


def _to_network_order(values: NDArray[np.floating], plan: Plan) -> NDArray[np.float64]:
    """Spacings of the canonical axes in the order of the network's."""
    canonical_axes = ["RL" if c in "RL" else "AP" if c in "AP" else "IS" for c in plan.orientation]
    ordered = np.array([values[("RL", "AP", "IS").index(name)] for name in canonical_axes], dtype=float)
    return ordered[list(plan.axes)]


def _weights_in(fold: Path) -> Path | None:
    return next((fold / name for name in WEIGHTS if (fold / name).is_file()), None)
