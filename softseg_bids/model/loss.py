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
    """1 - soft Dice of a whole batch; finds rare structures, but sharpens boundaries.

    Over the batch at once, so that a false cord in an image without one costs as much as any:
    on that image alone the ratio is saturated, and nothing would push it down.
    """
    predicted, target = logits.sigmoid() * seen, fraction * seen
    overlap = (predicted * target).sum()
    return 1 - (2 * overlap + 1) / (predicted.sum() + target.sum() + 1)
