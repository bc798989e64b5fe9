"""The network: a small 3-D U-Net that computes on folded voxels.

Blocks of neighbouring voxels are folded into channels before the first convolution and unfolded
after the last, so that convolutions run on a coarser grid (chosen to be isotropic) while the
output keeps every voxel. Instance normalisation after each convolution makes it indifferent to
the image's intensity scale.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

Triple = tuple[int, int, int]


class Architecture(NamedTuple):
    """What must be known to build a network and to feed it; a checkpoint carries it.

    Attributes
    ----------
    fold : tuple of int
        Voxels along each axis that become channels.
    channels : tuple of int
        Width of each stage; every stage after the first halves the grid.
    spacing_mm : tuple of float
        The grid of the input (RL, AP, SI).
    window : tuple of int
        The patch it was trained on; the sliding window of inference.
    scaling : tuple of float
        Slope and offset of its logits on the way to an image's voxels (`model.edges`), fitted after training.
    """

    fold: Triple
    channels: tuple[int, ...]
    spacing_mm: tuple[float, float, float]
    window: Triple
    scaling: tuple[float, float] = (1.0, 0.0)


# Near the cord: fine across it, coarse along it, isotropic (1.5 mm) once folded.
SEGMENTER = Architecture((2, 2, 1), (16, 32, 64, 128), (0.75, 0.75, 1.5), (48, 48, 32))
# The whole field of view: where is a cord at all?
LOCATOR = Architecture((2, 2, 2), (12, 24, 48, 96), (2.5, 2.5, 2.5), (48, 64, 64))


def normalise(patch: Tensor) -> Tensor:
    """Clip a patch to its 0.2 and 99.8 percentiles, then to mean 0 and standard deviation 1.

    The one normalisation of training and inference; a constant patch becomes 0.
    """
    sample = patch.flatten()[:: max(patch.numel() // 50_000, 1)]
    last = sample.numel() - 1
    low, high = (sample.kthvalue(1 + round(share * last)).values for share in (0.002, 0.998))
    clipped = patch.clamp(low, high)
    deviation = clipped.std()
    return (clipped - clipped.mean()) / deviation.clamp_min(1e-6)


class _InstanceNorm(nn.InstanceNorm3d):
    """Instance normalisation that keeps channels last in memory and can be fused by a compiler.

    PyTorch's own copies its input to channels first and back, a sixth of a training step on a CPU.
    """

    def forward(self, input: Tensor) -> Tensor:
        variance, mean = torch.var_mean(input, dim=(2, 3, 4), correction=0, keepdim=True)
        scale = torch.rsqrt(variance + self.eps) * self.weight.reshape(1, -1, 1, 1, 1)
        return torch.addcmul(self.bias.reshape(1, -1, 1, 1, 1) - mean * scale, input, scale)


class FoldedUNet(nn.Module):
    """Image (n, 1, x, y, z) to logits of the cord fraction, same shape.

    Each axis of the input must be a multiple of ``fold * 2 ** (len(channels) - 1)``.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        widths = architecture.channels
        self.fold = architecture.fold
        cells = self.fold[0] * self.fold[1] * self.fold[2]
        self.encoder = nn.ModuleList([_stage(cells, widths[0])])
        for narrow, wide in pairwise(widths):
            self.encoder.append(nn.Sequential(_convolution(narrow, wide, stride=2), _convolution(wide, wide)))
        self.up = nn.ModuleList()
        self.decoder = nn.ModuleList()
        for narrow, wide in zip(widths[-2::-1], widths[:0:-1], strict=True):
            self.up.append(nn.ConvTranspose3d(wide, narrow, kernel_size=2, stride=2))
            self.decoder.append(_stage(2 * narrow, narrow))
        self.head = nn.Conv3d(widths[0], cells, kernel_size=1)
        # Cord is rare: begin by expecting none, or the first steps only learn that.
        nn.init.constant_(self.head.bias, -3.0)  # type: ignore[arg-type]

    def forward(self, image: Tensor) -> Tensor:
        """Logits; their sigmoid is the cord fraction, bounded in [0, 1] voxel by voxel."""
        features = fold(image, self.fold)
        skips = []
        for stage in self.encoder:
            features = stage(features)
            skips.append(features)
        skips.pop()
        for up, stage in zip(self.up, self.decoder, strict=True):
            features = stage(torch.cat([up(features), skips.pop()], dim=1))
        return unfold(self.head(features), self.fold)


def fold(image: Tensor, blocks: Triple) -> Tensor:
    """Move blocks of voxels into channels: (n, c, x, y, z) to (n, c * bx*by*bz, x/bx, y/by, z/bz)."""
    n, c, x, y, z = image.shape
    bx, by, bz = blocks
    split = image.reshape(n, c, x // bx, bx, y // by, by, z // bz, bz)
    return split.permute(0, 1, 3, 5, 7, 2, 4, 6).reshape(n, c * bx * by * bz, x // bx, y // by, z // bz)


def unfold(features: Tensor, blocks: Triple) -> Tensor:
    """The inverse of :func:`fold`, to one channel per ``bx*by*bz`` of the input."""
    n, c, x, y, z = features.shape
    bx, by, bz = blocks
    split = features.reshape(n, c // (bx * by * bz), bx, by, bz, x, y, z)
    return split.permute(0, 1, 5, 2, 6, 3, 7, 4).reshape(n, -1, x * bx, y * by, z * bz)


def _stage(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(_convolution(inputs, outputs), _convolution(outputs, outputs))


def _convolution(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv3d(inputs, outputs, kernel_size=3, stride=stride, padding=1, bias=False),
        _InstanceNorm(outputs, affine=True),
        nn.LeakyReLU(0.01, inplace=True),
    )
