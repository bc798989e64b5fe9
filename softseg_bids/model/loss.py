"""Losses between predicted and true cord fractions."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, huber_loss

# Slices with less cord than this (voxels) have no area to be wrong about.
LEAST_SLICE = 8.0
# Of an area, relative to the mean one: up to here the error's square counts.
SMALL_ERROR = 0.05


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
    return _mean_seen(each, seen)


def soft_dice(logits: Tensor, fraction: Tensor, seen: Tensor) -> Tensor:
    """1 - soft Dice of a whole batch; finds rare structures, but sharpens boundaries.

    Over the batch at once, so that a false cord in an image without one costs as much as any:
    on that image alone the ratio is saturated, and nothing would push it down.
    """
    predicted, target = logits.sigmoid() * seen, fraction * seen
    overlap = (predicted * target).sum()
    return 1 - (2 * overlap + 1) / (predicted.sum() + target.sum() + 1)


def area_error(logits: Tensor, fraction: Tensor, seen: Tensor) -> Tensor:
    """Mean error of the areas of slices across the last axis: what this project measures.

    Areas are in units of the batch's mean: relative to its own truth an unsure area would be least wrong if
    drawn too small. Their error is squared while small, so that a clear edge is drawn where it lies in the
    mean, and counts linearly beyond (Huber): squared, the few hopeless images would decide every step.

    Parameters
    ----------
    logits, fraction, seen : Tensor, shape (n, 1, x, y, z)
        Prediction, target in [0, 1], and 1 where the image was seen.
    """
    measured, true = ((part * seen).sum(dim=(1, 2, 3)) for part in (logits.sigmoid(), fraction))
    shown = true > LEAST_SLICE
    unit = true[shown].mean() if shown.any() else true.new_ones(())
    off = huber_loss(measured[shown] / unit, true[shown] / unit, reduction="sum", delta=SMALL_ERROR)
    return off / max(int(shown.sum()), 1)


def absolute_error(logits: Tensor, fraction: Tensor, seen: Tensor) -> Tensor:
    """Mean of ``|target - predicted|`` over the voxels in view.

    Its minimiser is the median of each voxel's fraction: the right edge of a cord where the truth is
    spread evenly to both sides, but not a fraction wherever it is not. Parameters as :func:`cross_entropy`.
    """
    return _mean_seen((fraction - logits.sigmoid()).abs(), seen)


def squared_error(logits: Tensor, fraction: Tensor, seen: Tensor) -> Tensor:
    """Mean of ``(target - predicted)²`` over the voxels in view.

    Its minimiser is the expected fraction, as that of :func:`cross_entropy`; but its gradient vanishes
    where a prediction is surely wrong. Parameters as there.
    """
    return _mean_seen((fraction - logits.sigmoid()) ** 2, seen)


def adaptive_wing(
    logits: Tensor,
    fraction: Tensor,
    seen: Tensor,
    theta: float = 0.5,
    alpha: float = 2.1,
    omega: float = 8.0,
    epsilon: float = 1.0,
) -> Tensor:
    """Mean Adaptive Wing loss over the voxels in view (Wang, Bo & Fuxin, ICCV 2019, equation 3).

    With y the target, d = |y - predicted| and p = alpha - y::

        d < theta:  omega ln(1 + (d / epsilon)^p)
        else:       A d - C,   A = omega p (theta / epsilon)^(p - 1) / (epsilon (1 + (theta / epsilon)^p)),
                               C = theta A - omega ln(1 + (theta / epsilon)^p)

    The loss of the published contrast-agnostic model (Bédard & Karthik 2025), there summed and, by an
    oversight, without its weight map. It is not calibrated: of a voxel that is cord in 3 cases of 10 its
    minimiser says 0.17, of one in 6 of 10 it says 1. Parameters as :func:`cross_entropy`; the others
    are the paper's.
    """
    distance = (fraction - logits.sigmoid()).abs()
    power = alpha - fraction
    ratio = theta / epsilon
    bend = ratio**power
    slope = omega * power * ratio ** (power - 1) / (epsilon * (1 + bend))
    near = omega * torch.log1p((distance / epsilon) ** power)
    far = slope * (distance - theta) + omega * torch.log1p(bend)
    return _mean_seen(torch.where(distance < theta, near, far), seen)


def _mean_seen(each: Tensor, seen: Tensor) -> Tensor:
    return (each * seen).sum() / seen.sum().clamp_min(1)
