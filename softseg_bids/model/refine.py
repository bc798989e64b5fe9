"""A second look at the edge: the image as fractions between its surroundings (0) and its cord (1).

A first estimate of the cord is good enough to say how bright cord and surroundings are nearby. An
image rescaled by these two looks alike in every contrast, bright cord or dark, and near the edge it
nearly is the fraction sought, since a voxel of partial volume is a mixture of the two. A small
network corrects what that mixture leaves out: noise, blur, and what else lies beside the cord.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool3d

from softseg_bids.model.network import Architecture, FoldedUNet, Triple, fold, unfold

Spacing = tuple[float, float, float]

# How far brightness is gathered (standard deviation): more than a cord's radius, less than a vertebra.
REACH_MM = 4.0
# Voxels across, in plane: cord and surroundings are taken one voxel off the estimated edge, surroundings
# up to two; the cord may be up to three beyond it.
OFF, AROUND, NEAR = (3, 3, 1), (5, 5, 1), (7, 7, 1)
# Every look starts from the one before, so that an estimate far off can still come home.
LOOKS = 4
# Rescaled values beyond these say no more than that the voxel is neither.
LEAST, MOST = -1.5, 2.5
WIDTHS = (24, 48)
# An estimate is not believed beyond the second: a voxel it missed must be able to come back.
FARTHEST_LOGIT, BOLDEST_LOGIT = 8.0, 2.5


def relative(image: Tensor, estimate: Tensor, spacing_mm: Spacing) -> tuple[Tensor, Tensor]:
    """Rescale an image between its surroundings and its cord, as an estimate of the cord shows them.

    Parameters
    ----------
    image, estimate : Tensor, shape (n, 1, x, y, z)
        Any intensities (RL, AP, SI); cord fraction in [0, 1].
    spacing_mm : tuple of float

    Returns
    -------
    Tensor, shape (n, 2, x, y, z)
        ``(image - surroundings) / (cord - surroundings)``, clipped, 0 where no cord is near; and s / (s + 3)
        of the step s between both in standard deviations of the cord, in [0, 1).
    Tensor of bool, shape (n, 1, x, y, z)
        Where the cord may be: the estimate and three voxels around it in plane.
    """
    narrow, wide, wider, near = (
        -_pooled(-estimate, OFF), _pooled(estimate, OFF), _pooled(estimate, AROUND), _pooled(estimate, NEAR)
    )  # fmt: skip
    core = (2 * narrow - 1).clamp_min(0)
    ring = (2 * wider - 1).clamp_min(0) * (1 - 2 * wide).clamp_min(0)
    inside, sum_inside, squares = _gathered(
        torch.cat([core, core * image, core * image**2], dim=1), spacing_mm
    )
    cord = sum_inside / inside.clamp_min(1e-9)
    deviation = (squares / inside.clamp_min(1e-9) - cord**2).clamp_min(1e-6).sqrt()
    off = (image - cord) / deviation
    # Fluid may be thin, with ligament and bone right behind it: what lies on the other side of the cord's
    # brightness than most of the ring is not the fluid.
    side = torch.where((ring * off.tanh()).sum(dim=(2, 3, 4), keepdim=True) >= 0, 1.0, -1.0)
    ring = ring * (3 * side * off).sigmoid()
    around, sum_around = _gathered(torch.cat([ring, ring * image], dim=1), spacing_mm)
    surroundings = sum_around / around.clamp_min(1e-9)
    step = (side * (surroundings - cord)).clamp_min(1e-2)
    scaled = (1 - side * (image - cord) / step).clamp(LEAST, MOST)
    clear = step / deviation
    known = (inside > 1e-6) & (around > 1e-6)
    return torch.cat([scaled, clear / (clear + 3)], dim=1) * known, near > 0.5


def _pooled(estimate: Tensor, size: Triple) -> Tensor:
    return max_pool3d(estimate, size, stride=1, padding=(size[0] // 2, size[1] // 2, size[2] // 2))


def _gathered(parts: Tensor, spacing_mm: Spacing) -> tuple[Tensor, ...]:
    """Sums over a Gaussian neighbourhood, one matrix an axis; a channel each."""
    for axis, spacing in enumerate(spacing_mm, start=2):
        at = torch.arange(parts.shape[axis], device=parts.device, dtype=parts.dtype) * spacing
        near = torch.exp(-0.5 * ((at[:, None] - at[None]) / REACH_MM) ** 2) * (spacing / REACH_MM)
        parts = torch.movedim(torch.tensordot(parts, near, dims=([axis], [0])), -1, axis)
    return parts.split(1, dim=1)  # type: ignore[no-untyped-call, no-any-return]


class Refiner(nn.Module):
    """Rescaled image, clearness and estimate (n, 3, x, y, z), and the estimate's logits, to better logits.

    Nothing is normalised here: the values mean something.
    """

    def __init__(self, blocks: Triple, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.fold = blocks
        cells = blocks[0] * blocks[1] * blocks[2]
        narrow, wide = widths
        self.near = nn.Sequential(_convolution(3 * cells, narrow), _convolution(narrow, narrow))
        self.far = nn.Sequential(
            _convolution(narrow, wide, stride=2),
            _convolution(wide, wide),
            nn.ConvTranspose3d(wide, narrow, kernel_size=2, stride=2),
        )
        self.join = nn.Sequential(_convolution(narrow, narrow), _convolution(narrow, narrow))
        self.head = nn.Conv3d(narrow, cells, kernel_size=1)
        # Begins with the estimate, and what a voxel's own brightness says: half cord where it lies half way.
        self.trust = nn.Parameter(torch.tensor([1.0, 5.0]))
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]

    def forward(self, seen: Tensor, logits: Tensor) -> Tensor:
        near = self.near(fold(seen, self.fold))
        change = unfold(self.head(self.join(near + self.far(near))), self.fold)
        scaled, clear = seen[:, :1], seen[:, 1:2]
        said = (scaled.clamp(0, 1) - 0.5) * clear
        return change + self.trust[0] * logits.clamp(-BOLDEST_LOGIT, BOLDEST_LOGIT) + self.trust[1] * said


class Cascade(nn.Module):
    """A first network and the looks after it, as one: image (n, 1, x, y, z) to logits, same shape."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.spacing_mm = architecture.spacing_mm
        self.first = FoldedUNet(architecture)
        self.refiner = Refiner(architecture.fold, architecture.refine)

    def forward(self, image: Tensor) -> Tensor:
        """Logits of the last look; their sigmoid is the cord fraction, bounded in [0, 1] voxel by voxel."""
        logits: Tensor = self.first(image)
        for _ in range(LOOKS):
            logits = self.look(image, logits)
        return logits

    def look(self, image: Tensor, logits: Tensor) -> Tensor:
        """Better logits near the cord that others show; no gradient goes through those."""
        with torch.no_grad():
            before = logits.clamp(-FARTHEST_LOGIT, FARTHEST_LOGIT)
            estimate = before.sigmoid()
            scaled, near = relative(image, estimate, self.spacing_mm)
            seen = torch.cat([scaled, estimate], dim=1).contiguous(memory_format=torch.channels_last_3d)
        return torch.where(near, self.refiner(seen, before), before)


Network = FoldedUNet | Cascade


def build(architecture: Architecture) -> Network:
    """The network of an architecture: with further looks where it has widths for them."""
    return Cascade(architecture) if architecture.refine else FoldedUNet(architecture)


def _convolution(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv3d(inputs, outputs, kernel_size=3, stride=stride, padding=1), nn.LeakyReLU(0.01, inplace=True)
    )
