"""The published augmentation, with its faults mended: the affine acts on all three axes and moves by 10 %.

Probabilities and ranges are those of Bédard & Karthik (2025), whose voxels are cubes of 1 mm. On other
voxels turns, scales, shifts and deformations are those of the same millimetres: counted in voxels of 0.75 x
0.75 x 1.5 mm, a turn would be a shear. Image, label and what was seen move together; where the image ends,
nothing was seen.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from monai import transforms

from softseg_bids.model.network import Triple
from softseg_bids.training.dataset import Pair, Spacing

KEYS = ("image", "cord", "seen")
TURN_RAD, SCALE, SHIFT = math.radians(20), 0.2, 0.1


class _AffineGrid(transforms.RandAffineGrid):  # type: ignore[misc]
    """An affine of millimetres about the middle of a grid of voxels, whatever their size."""

    def __init__(self, spacing_mm: Spacing, **ranges: Any) -> None:
        super().__init__(**ranges)
        self.scale = torch.tensor([*spacing_mm, 1.0]).reshape(4, 1, 1, 1)

    def __call__(self, spatial_size: Any, grid: torch.Tensor, **more: Any) -> torch.Tensor:
        moved: torch.Tensor = super().__call__(spatial_size, grid=grid * self.scale, **more)
        return moved / self.scale


class _Elastic(transforms.Rand3DElastic):  # type: ignore[misc]
    """A deformation as smooth, and as large, in millimetres as it is on voxels of 1 mm."""

    sigma: Any
    magnitude: Any

    def __init__(self, spacing_mm: Spacing, **ranges: Any) -> None:
        super().__init__(**ranges)
        self.spacing = torch.tensor(spacing_mm).reshape(3, 1, 1, 1)

    def randomize(self, grid_size: Any) -> None:
        super().randomize(grid_size)
        self.sigma = [self.sigma / float(size) for size in self.spacing]
        # Noise of fewer voxels, within the same millimetres, averages to more.
        self.magnitude = self.magnitude / (self.spacing * self.spacing.prod().sqrt())


def augmentation(window: Triple, spacing_mm: Spacing, seed: int) -> Callable[[Pair], Pair]:
    """A function that changes patches (image at mean 0, deviation 1) at random.

    Parameters
    ----------
    window : tuple of int
        Of the patch, voxels.
    spacing_mm : tuple of float
    seed : int
    """
    spatial = {"mode": ("bilinear",) * 3, "padding_mode": ("border", "zeros", "zeros")}
    shift_mm = tuple(SHIFT * n * size for n, size in zip(window, spacing_mm, strict=True))
    affine = transforms.RandAffined(KEYS, prob=0.9, **spatial)
    affine.rand_affine.rand_affine_grid = _AffineGrid(
        spacing_mm, rotate_range=(TURN_RAD,) * 3, scale_range=(SCALE,) * 3, translate_range=shift_mm
    )
    elastic = transforms.Rand3DElasticd(KEYS, (0, 0), (0, 0), prob=0.5, **spatial)
    elastic.rand_3d_elastic = _Elastic(
        spacing_mm, prob=1.0, sigma_range=(3.5, 5.5), magnitude_range=(25.0, 35.0)
    )
    steps: list[Any] = [
        affine,
        elastic,
        transforms.RandSimulateLowResolutiond(["image"], prob=0.25, zoom_range=(0.5, 1.0)),
        transforms.RandAdjustContrastd(["image"], prob=0.5, gamma=(0.5, 3.0)),
        transforms.RandBiasFieldd(["image"], prob=0.3, degree=3, coeff_range=(0.0, 0.5)),
        transforms.RandGaussianNoised(["image"], prob=0.1, mean=0.0, std=0.1),
        transforms.RandGaussianSmoothd(
            ["image"], prob=0.3, sigma_x=(0.0, 2.0), sigma_y=(0.0, 2.0), sigma_z=(0.0, 2.0)
        ),
        transforms.RandScaleIntensityd(["image"], prob=0.15, factors=(-0.25, 1.0)),
        transforms.RandFlipd(KEYS, prob=0.3),
    ]  # fmt: skip
    chain = transforms.Compose(steps).set_random_state(seed)

    def change(pair: Pair) -> Pair:
        out = chain({name: part[None] for name, part in zip(KEYS, pair, strict=True)})
        image, cord, seen = (torch.as_tensor(out[name])[0].float().contiguous() for name in KEYS)
        # A voxel that is partly beyond the image, or not finite, teaches nothing.
        seen = (seen > 0.999).float() * torch.isfinite(image)
        return Pair(torch.nan_to_num(image), cord.clamp(0, 1), seen)

    return change
