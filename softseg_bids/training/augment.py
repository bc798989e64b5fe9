"""The published augmentation, with its faults mended: the affine acts on all three axes and moves by 10 %.

Probabilities and ranges are those of Bédard & Karthik (2025). Image, label and what was seen move
together; where the image ends, nothing was seen.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from monai import transforms

from softseg_bids.training.dataset import Pair

KEYS = ("image", "cord", "seen")
TURN_RAD, SCALE, SHIFT = math.radians(20), 0.2, 0.1


def augmentation(window: tuple[int, int, int], seed: int) -> Callable[[Pair], Pair]:
    """A function that changes patches (image at mean 0, deviation 1) at random."""
    spatial = {"mode": ("bilinear",) * 3, "padding_mode": ("border", "zeros", "zeros")}
    shift = tuple(SHIFT * n for n in window)
    steps: list[Any] = [
        transforms.RandAffined(
            KEYS, prob=0.9, rotate_range=(TURN_RAD,) * 3, scale_range=(SCALE,) * 3, translate_range=shift,
            **spatial,
        ),
        transforms.Rand3DElasticd(
            KEYS, prob=0.5, sigma_range=(3.5, 5.5), magnitude_range=(25.0, 35.0), **spatial
        ),
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
