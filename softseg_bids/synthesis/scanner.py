"""What the scanner makes of a body: voxels, slices, blur, noise and artefacts.

An acquisition is drawn as values. Along each axis it samples the rendered body by one matrix:
a slice profile (two-dimensional sequences) or a truncated Fourier kernel (all else), so partial
volume, gaps and ringing are where they are in real images. What displaces tissue (distortion,
motion between slices) is applied to the points *before* the body is rendered: the label moves
with the image.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

from softseg_bids.synthesis.geometry import smooth_noise

Spacing = tuple[float, float, float]
Floats = NDArray[np.float64]
KERNEL_LOBES = 4.0
# The tightest field across the cord that anybody makes, and how near the cord's middle its border may lie.
LEAST_ACROSS_MM, NEAREST_MM = 30.0, 9.0
# From front to back, of diffusion images with a reduced field of view.
REDUCED_MM = (28.0, 45.0)


class Acquisition(NamedTuple):
    """A drawn scan; lengths in mm, signals in units of the painted image.

    Attributes
    ----------
    spacing_mm : tuple of float
        Native voxel size, x y z.
    slice_axis : int
        The axis of a slice profile, or -1 for a three-dimensional sequence.
    thickness : float
        Slice thickness over slice spacing (below 1: a gap).
    blur : tuple of float
        Acquired resolution over voxel size per axis (above 1: interpolated by the scanner).
    window : float
        0 = plain truncation of k-space (strong ringing), 1 = well apodised.
    start_mm, end_mm : ndarray, shape (3,)
        The box that is imaged.
    rotation : ndarray, shape (3, 3)
        Turns the grid's axes into the body's.
    """

    spacing_mm: Spacing
    slice_axis: int
    thickness: float
    blur: tuple[float, float, float]
    window: float
    start_mm: Floats
    end_mm: Floats
    rotation: Floats
    noise: float
    noise_smooth: float
    bias: float
    bias_slope: Floats
    gamma: float
    ghost: float
    ghost_shift: int
    ghost_axis: int
    distortion_mm: float
    motion_mm: float
    sharpen: float
    seed: int


def draw_acquisition(
    rng: Generator,
    start_mm: Floats,
    end_mm: Floats,
    finest_mm: Spacing = (0.0, 0.0, 0.0),
    quality: float = 1.0,
) -> Acquisition:
    """Draw how a box is scanned.

    Parameters
    ----------
    rng : numpy Generator
    start_mm, end_mm : ndarray, shape (3,)
        The box of interest; a quarter of the scans see only a part of it.
    finest_mm : tuple of float
        Smaller voxels are drawn no finer than this along each axis: what looks at the image on a
        much coarser grid cannot tell, and millions of them would be simulated in vain.
    quality : float
        Scales noise and artefacts; 0 is a perfect scanner.
    """
    plane = rng.choice(4, p=[0.36, 0.42, 0.17, 0.05])
    fine, thick = rng.uniform(0.3, 1.25), rng.uniform(2.0, 8.0 if rng.random() < 0.4 else 5.0)
    if plane == 0:
        base = rng.uniform(0.5, 1.35)
        spacing = base * np.exp(rng.normal(0, 0.12, 3))
        slice_axis = -1
    else:
        slice_axis = {1: 2, 2: 0, 3: 1}[int(plane)]
        spacing = np.array([fine, fine, fine]) * (1.0 if slice_axis == 2 else 1.3)
        spacing[slice_axis] = thick if slice_axis == 2 else min(thick, rng.uniform(1.5, 4.5))
        if rng.random() < 0.15:
            slice_axis = -1  # a three-dimensional slab with thick partitions
    spacing = np.maximum(spacing, finest_mm)
    start, end = np.array(start_mm, dtype=float), np.array(end_mm, dtype=float)
    if rng.random() < 0.25:
        start, end = _narrow(rng, start, end, spacing)
    angles = rng.normal(0, [3.0, 3.0, 6.0]) * np.pi / 180
    return Acquisition(
        spacing_mm=(float(spacing[0]), float(spacing[1]), float(spacing[2])),
        slice_axis=slice_axis,
        thickness=rng.uniform(0.7, 1.0) if rng.random() < 0.5 else 1.0,
        blur=tuple(rng.uniform(1.0, 1.6, 3) if rng.random() < 0.5 else np.ones(3)),
        window=rng.uniform(0, 1),
        start_mm=start, end_mm=end, rotation=_rotation(angles),
        noise=quality * (rng.uniform(0, 0.10) if rng.random() < 0.35 else rng.uniform(0, 0.03)),
        noise_smooth=rng.uniform(0, 0.9) if rng.random() < 0.4 else 0.0,
        bias=quality * rng.uniform(0, 0.35), bias_slope=quality * rng.normal(0, 0.006, 3),
        gamma=float(np.exp(quality * rng.normal(0, 0.15))),
        ghost=quality * (rng.uniform(0.02, 0.12) if rng.random() < 0.12 else 0.0),
        ghost_shift=int(rng.integers(8, 40)), ghost_axis=int(rng.integers(0, 2)),
        distortion_mm=quality * (rng.uniform(0.3, 2.5) if rng.random() < 0.12 else 0.0),
        motion_mm=quality * (rng.uniform(0.1, 0.7) if slice_axis == 2 and rng.random() < 0.3 else 0.0),
        sharpen=rng.uniform(0, 0.8) if rng.random() < 0.2 * quality else 0.0,
        seed=int(rng.integers(2**31)),
    )  # fmt: skip


class FineGrid(NamedTuple):
    """The grid a body is rendered on before it is scanned: axis-aligned, covering box and margins."""

    first_mm: Floats
    spacing_mm: Spacing
    shape: tuple[int, int, int]

    def centres(self, axis: int) -> Floats:
        """Positions of the voxel centres along an axis (mm)."""
        return np.asarray(self.first_mm[axis] + np.arange(self.shape[axis]) * self.spacing_mm[axis])


def fine_grid(acquisition: Acquisition, spacing_mm: Spacing) -> FineGrid:
    """Where to render: the imaged box, and as far beyond as a slice or kernel reaches."""
    native = np.asarray(acquisition.spacing_mm)
    fine = np.asarray(spacing_mm)
    margin = (
        np.where(np.arange(3) == acquisition.slice_axis, 0.5 * native, np.minimum(native, 2 * fine)) + fine
    )
    first = acquisition.start_mm - margin + 0.5 * fine
    count = np.ceil((acquisition.end_mm - acquisition.start_mm + 2 * margin) / fine).astype(int)
    return FineGrid(first, spacing_mm, (int(count[0]), int(count[1]), int(count[2])))


def displaced_points(acquisition: Acquisition, grid: FineGrid, device: torch.device) -> Tensor:
    """Body coordinates that the fine grid's voxels see, shape (3, x, y, z), mm."""
    axes = [torch.as_tensor(grid.centres(a), dtype=torch.float32, device=device) for a in range(3)]
    points = torch.stack(torch.meshgrid(*axes, indexing="ij"))
    random = torch.Generator(device=device)
    random.manual_seed(acquisition.seed)
    if acquisition.distortion_mm:
        field = smooth_noise(grid.shape, grid.spacing_mm, 30.0, random)
        points[1] += acquisition.distortion_mm * field
    if acquisition.motion_mm:
        slices = torch.floor(
            (points[2, 0, 0] - float(acquisition.start_mm[2])) / acquisition.spacing_mm[2]
        ).long()
        moves = torch.randn((2, int(slices.max() - slices.min()) + 1), generator=random, device=device)
        points[:2] += acquisition.motion_mm * moves[:, slices - slices.min()][:, None, None, :]
    rotation = torch.as_tensor(acquisition.rotation, dtype=torch.float32, device=device)
    return torch.einsum("ij,jxyz->ixyz", rotation, points)


def native_axis(acquisition: Acquisition, axis: int) -> Floats:
    """Centres of the native voxels along an axis (mm)."""
    step = acquisition.spacing_mm[axis]
    length = acquisition.end_mm[axis] - acquisition.start_mm[axis]
    count = max(round(length / step), 1)
    first = acquisition.start_mm[axis] + 0.5 * (length - (count - 1) * step)
    return np.asarray(first + np.arange(count) * step)


def acquire(acquisition: Acquisition, image: Tensor, grid: FineGrid) -> Tensor:
    """Scan a painted image: its native voxels, with noise and artefacts, shape of the native grid."""
    for axis in range(3):
        kernel = _kernel(acquisition, axis, native_axis(acquisition, axis), grid.centres(axis))
        weights = torch.as_tensor(kernel, dtype=torch.float32, device=image.device)
        image = torch.movedim(torch.tensordot(weights, image, dims=([1], [axis])), 0, axis)
    random = torch.Generator(device=image.device)
    random.manual_seed(acquisition.seed + 1)
    image = _shade(acquisition, image.clamp_min(0), random)
    if acquisition.ghost:
        image = image + acquisition.ghost * torch.roll(image, acquisition.ghost_shift, acquisition.ghost_axis)
    image = _rician(acquisition, image, random)
    if acquisition.sharpen:
        image = (image + acquisition.sharpen * (image - _mean3(image))).clamp_min(0)
    return image.clamp_min(1e-6) ** acquisition.gamma


def _kernel(acquisition: Acquisition, axis: int, centres: Floats, fine: Floats) -> Floats:
    step = acquisition.spacing_mm[axis]
    offset = fine[None, :] - centres[:, None]
    if axis == acquisition.slice_axis:
        # A box with softened edges: half the thickness, edges a tenth of it wide.
        half = 0.5 * step * acquisition.thickness
        edge = max(0.1 * step, 0.5 * float(fine[1] - fine[0]))
        weights = np.clip(0.5 + (half - np.abs(offset)) / edge, 0, 1)
    else:
        width = max(step * acquisition.blur[axis], 1.001 * float(fine[1] - fine[0]))
        t = offset / width
        fade = np.clip(np.abs(t) / KERNEL_LOBES, 0, 1)
        taper = np.cos(0.5 * np.pi * fade) ** (6 * acquisition.window)
        weights = np.sinc(t) * taper
    total = weights.sum(axis=1, keepdims=True)
    return weights / np.where(np.abs(total) < 1e-6, 1, total)


def _shade(acquisition: Acquisition, image: Tensor, random: torch.Generator) -> Tensor:
    shape = tuple(image.shape)
    if not acquisition.bias:
        return image
    field = acquisition.bias * smooth_noise(shape, acquisition.spacing_mm, 60.0, random)
    for axis in range(3):
        ramp = torch.arange(shape[axis], device=image.device) * float(acquisition.spacing_mm[axis])
        ramp = (ramp - ramp.mean()) * float(acquisition.bias_slope[axis])
        field = field + ramp.reshape([-1 if a == axis else 1 for a in range(3)])
    return image * torch.exp(field)


def _rician(acquisition: Acquisition, image: Tensor, random: torch.Generator) -> Tensor:
    if not acquisition.noise:
        return image
    noise = torch.randn((2, *image.shape), generator=random, device=image.device)
    if acquisition.noise_smooth:
        smooth = torch.stack([_mean3(n) for n in noise]) * 3.0
        noise = torch.lerp(noise, smooth, acquisition.noise_smooth)
    noise = noise * acquisition.noise
    return torch.sqrt((image + noise[0]) ** 2 + noise[1] ** 2)


def _mean3(image: Tensor) -> Tensor:
    """Mean over 3 x 3 neighbours in the plane of the first two axes."""
    padded = torch.nn.functional.pad(image.movedim(2, 0)[:, None], (1, 1, 1, 1), mode="replicate")
    return torch.nn.functional.avg_pool2d(padded, 3, stride=1)[:, 0].movedim(0, 2)


def _narrow(rng: Generator, start: Floats, end: Floats, spacing: Floats) -> tuple[Floats, Floats]:
    """A field of view smaller than the box: slabs of a few slices, tight crops about the cord."""
    length = end - start
    least = np.maximum(5 * spacing, [LEAST_ACROSS_MM, LEAST_ACROSS_MM, 0])
    keep = np.maximum(length * rng.uniform([0.5, 0.5, 0.3], 1.0), least)
    keep = np.minimum(keep, length)
    low = start + rng.uniform(0, 1, 3) * (length - keep)
    # The middle, where the cord is, stays in view across.
    low[:2] = start[:2] + np.clip(low[:2] - start[:2], 0.3 * (length - keep)[:2], 0.7 * (length - keep)[:2])
    high = low + keep
    if rng.random() < 0.5:
        # A small field about the cord (the origin) but not centred on it, as in diffusion imaging.
        half = 0.5 * LEAST_ACROSS_MM + rng.uniform(0, 30, 2)
        middle = rng.uniform(-1, 1, 2) * (half - NEAREST_MM)
        tight = np.maximum(low[:2], middle - half), np.minimum(high[:2], middle + half)
        if (tight[1] - tight[0] >= 2 * NEAREST_MM).all():
            low[:2], high[:2] = tight
    return low, high


def reduced_field(rng: Generator, scan: Acquisition) -> Acquisition:
    """The same scan of a field as diffusion imaging excites it: hardly deeper than the canal.

    Parameters
    ----------
    rng : numpy Generator
    scan : Acquisition
        Of a box with the cord at its origin; one that lies beside it stays as it is.
    """
    half = 0.5 * rng.uniform(*REDUCED_MM)
    middle = rng.uniform(-1, 1) * (half - NEAREST_MM)
    start, end = scan.start_mm.copy(), scan.end_mm.copy()
    start[1], end[1] = max(start[1], middle - half), min(end[1], middle + half)
    if end[1] - start[1] < 2 * NEAREST_MM:
        return scan
    return scan._replace(start_mm=start, end_mm=end)


def _rotation(angles: Floats) -> Floats:
    (cx, cy, cz), (sx, sy, sz) = np.cos(angles), np.sin(angles)
    rx = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    ry = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    rz = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return np.asarray(rz @ ry @ rx)
