"""Losses between predicted and true cord fractions."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits


def cross_entropy(logits: Tensor, fraction: Tensor, seen: Tensor) -> Tensor:
    """Mean cross-entropy to a soft target over the voxels in view.

    Its minimiser is the expected fraction of each voxel, so that sums of predictions (areas) are
    unbiased however blurred the boundary is.

    Parameters
    ----------
    logits, fraction, seen : Tensor, same shape
        Prediction, target in [0, 1], and 1 where the image was seen.
    """
    each = binary_cross_entropy_with_logits(logits, fraction, reduction="none")
    return (each * seen).sum() / seen.sum().clamp_min(1)


def soft_dice(logits: Tensor, fraction: Tensor, seen: Tensor) -> Tensor:
    """1 - soft Dice, one value a sample averaged; finds rare structures, but sharpens boundaries."""
    predicted, axes = logits.sigmoid() * seen, (1, 2, 3, 4)
    target = fraction * seen
    overlap = (predicted * target).sum(axes)
    return (1 - (2 * overlap + 1) / (predicted.sum(axes) + target.sum(axes) + 1)).mean()
