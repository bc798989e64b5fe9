"""The third network: what level each millimetre of a straightened spine is.

It sees a few sagittal planes along the cord (`image.straight`) and says, row by row: is a disc's
posterior tip here, the joint of C1 and C2, the pontomedullary junction, the conus; where in front
of the cord the tip lies; and which vertebra this is. It does not count: rows that look alike get
alike answers, and `core.labelling` finds the labelling that fits all of them.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from softseg_bids.core.evidence import LEVEL_CLASSES, MARKS, Evidence
from softseg_bids.image.straight import Planes, Ribbon, ribbon, straighten
from softseg_bids.image.volume import Volume

Floats = NDArray[np.float64]

STEP_MM = 1.25
# The medulla lies above the cord's end, lumbar discs below the conus.
ABOVE_MM, BELOW_MM = 60.0, 200.0
TIP_UNIT_MM = 10.0
# Rows that the network learns from, and is shown, at a time; fewer are shown amid as many empty ones as then.
ROWS = 224
# Strides of two rows and more make what it says depend on where a row comes to lie among them: it looks
# this often, from rows odd and even, and its answers are averaged.
LOOKS = 8
# Sparser slices cannot show discs, which are 4 to 10 mm high; the network would name them all the same.
SPARSEST_MM = 4.0
OUTPUTS = len(MARKS) + 1 + LEVEL_CLASSES


class LevelArchitecture(NamedTuple):
    """What must be known to build the network and to feed it; a checkpoint carries it.

    Attributes
    ----------
    channels : tuple of int
        Width of each stage; each after the first halves rows and columns.
    planes_mm : tuple of float
        Where the sagittal planes lie, from the patient's left to right.
    columns : tuple of float
        First column, step and number of columns (mm to the front).
    """

    channels: tuple[int, ...]
    planes_mm: tuple[float, ...]
    columns: tuple[float, ...]

    @property
    def columns_mm(self) -> Floats:
        """Distance of each column from the cord, to the front."""
        first, step, count = self.columns
        return np.asarray(first + step * np.arange(int(count)), dtype=float)

    @property
    def multiple(self) -> int:
        """The number of rows must be a multiple of this."""
        return int(2 ** (len(self.channels) - 1))


LEVELS = LevelArchitecture((16, 32, 48, 64, 96), (-10.0, -5.0, 0.0, 5.0, 10.0), (-30.0, 1.25, 80))


class LevelNet(nn.Module):
    """Planes (n, planes + 1, rows, columns) to logits (n, OUTPUTS, rows)."""

    def __init__(self, architecture: LevelArchitecture) -> None:
        super().__init__()
        widths = architecture.channels
        columns = int(architecture.columns[2])
        self.encoder = nn.ModuleList()
        self.collapse = nn.ModuleList()
        inputs = len(architecture.planes_mm) + 1
        for number, width in enumerate(widths):
            # Columns are halved from the first stage on, rows from the second.
            stride = (1, 2) if number == 0 else (2, 2)
            self.encoder.append(nn.Sequential(_plane(inputs, width, stride), _plane(width, width, (1, 1))))
            columns = (columns + 1) // 2
            self.collapse.append(nn.Conv2d(width, 2 * widths[0] + width // 2, (1, columns)))
            inputs = width
        wide = [2 * widths[0] + width // 2 for width in widths]
        self.deepest = nn.Sequential(_line(wide[-1], wide[-1]), _line(wide[-1], wide[-1]))
        self.decoder = nn.ModuleList(
            nn.Sequential(_line(low + high, low), _line(low, low)) for low, high in pairwise(wide)
        )
        self.head = nn.Conv1d(wide[0], OUTPUTS, kernel_size=1)
        nn.init.constant_(self.head.bias[: len(MARKS)], -3.0)  # type: ignore[index]

    def forward(self, planes: Tensor) -> Tensor:
        """Logits of the marks, tip distance (in 10 mm), logits of the classes; row by row."""
        features, lines = planes, []
        for stage, collapse in zip(self.encoder, self.collapse, strict=True):
            features = stage(features)
            lines.append(torch.nn.functional.leaky_relu(collapse(features)[..., 0], 0.01))
        line = self.deepest(lines.pop())
        for stage in reversed(self.decoder):
            finer = lines.pop()
            longer = torch.nn.functional.interpolate(line, size=finer.shape[-1], mode="linear")
            line = stage(torch.cat([finer, longer], dim=1))
        out: Tensor = self.head(line)
        return out


class _RowNorm(nn.LayerNorm):
    """Normalises the channels of each row on its own: far rows do not change it."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input.movedim(1, -1)).movedim(-1, 1)


def _plane(inputs: int, outputs: int, stride: tuple[int, int]) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel_size=3, stride=stride, padding=1, bias=False),
        nn.InstanceNorm2d(outputs, affine=True),
        nn.LeakyReLU(0.01, inplace=True),
    )


def _line(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv1d(inputs, outputs, kernel_size=5, padding=2, bias=False),
        _RowNorm(outputs),
        nn.LeakyReLU(0.01, inplace=True),
    )


def network_input(planes: Planes) -> NDArray[np.float32]:
    """Planes as the network wants them: normalised where seen, 0 elsewhere, and what was seen.

    Clipped to the 0.5 and 99.5 percentiles, then to mean 0 and standard deviation 1: the one
    normalisation of training and inference. Shape (planes + 1, rows, columns).
    """
    values, seen = planes
    out = np.zeros((values.shape[0] + 1, *values.shape[1:]), dtype=np.float32)
    if seen.any():
        known = values[seen]
        known = np.clip(known, *np.quantile(known[:: max(known.size // 20_000, 1)], [0.005, 0.995]))
        out[:-1][seen] = (known - known.mean()) / max(float(known.std()), 1e-6)
    out[-1] = seen[seen.shape[0] // 2]
    return out


def rows_seen(planes: Planes, columns_mm: Floats) -> NDArray[np.bool_]:
    """Rows of which the middle plane shows cord and the front of the canal."""
    middle = planes.seen[planes.seen.shape[0] // 2]
    return np.asarray(middle[:, (columns_mm > -5) & (columns_mm < 15)].all(axis=1))


def step_along_mm(volume: Volume, line_mm: Floats) -> float:
    """How far apart an image's voxels lie along a line (its first to its last point; mm)."""
    direction = (line_mm[-1] - line_mm[0]) / np.linalg.norm(line_mm[-1] - line_mm[0])
    return float(np.linalg.norm(volume.grid.affine[:3, :3].T @ direction))


def read_levels(
    architecture: LevelArchitecture, network: LevelNet, volume: Volume, line_mm: Floats, device: torch.device
) -> tuple[Ribbon, Evidence]:
    """Evidence for levels along a centreline.

    Parameters
    ----------
    architecture, network
        From a checkpoint.
    volume : Volume
        The image, any orientation.
    line_mm : ndarray, shape (n, 3)
        The cord's centreline, scanner mm, from its upper end down.
    device : torch device

    Returns
    -------
    Ribbon
        Where the rows lie.
    Evidence
        What each row shows; nothing in slices across the cord too far apart (`SPARSEST_MM`) to show a disc.
    """
    where = ribbon(line_mm, STEP_MM, ABOVE_MM, BELOW_MM)
    if step_along_mm(volume, line_mm) > SPARSEST_MM:
        return where, Evidence.nothing(len(where.points_mm))
    planes = straighten(
        volume.array, volume.grid, where, np.asarray(architecture.planes_mm), architecture.columns_mm
    )
    return where, evidence_of(architecture, network, planes, device)


@torch.inference_mode()
def evidence_of(
    architecture: LevelArchitecture, network: LevelNet, planes: Planes, device: torch.device
) -> Evidence:
    """What the rows of straightened planes show of levels."""
    seen = rows_seen(planes, architecture.columns_mm)
    if not seen.any():
        return Evidence.nothing(len(seen))
    first, last = np.flatnonzero(seen)[[0, -1]]
    rows = int(last - first) + 1
    out, weight = np.zeros((OUTPUTS, rows)), np.zeros(rows)
    for window in windows_of(rows):
        there = slice(first + window.start, first + window.stop)
        part = network_input(Planes(planes.values[:, there], planes.seen[:, there]))
        # The middle of a window has seen most of what lies about it.
        inner = np.arange(1, part.shape[1] + 1)
        near = np.minimum(inner, inner[::-1])
        out[:, window] += near * _looked(network, part, architecture.multiple, device)
        weight[window] += near
    return Evidence.from_logits(out / weight, TIP_UNIT_MM, seen, int(first))


def _looked(
    network: LevelNet, part: NDArray[np.float32], multiple: int, device: torch.device
) -> NDArray[np.float32]:
    """The network's mean answer to some rows, shown amid empty ones in several places."""
    rows = part.shape[1]
    offsets, length = offsets_of(rows, multiple)
    looks = [np.pad(part, ((0, 0), (start, length - rows - start), (0, 0))) for start in offsets]
    out = network(torch.from_numpy(np.stack(looks)).to(device)).float().cpu().numpy()
    answers = [each[:, start : start + rows] for each, start in zip(out, offsets, strict=True)]
    return np.asarray(np.mean(answers, axis=0))


def windows_of(rows: int) -> list[slice]:
    """Stretches of `ROWS` that overlap by half or more and cover an image's; all of a shorter one.

    Features are normalised over what is shown at a time: twice the rows of training, and many a
    whole spine's discs stay unnamed.
    """
    spare = max(rows - ROWS, 0)
    starts = np.linspace(0, spare, -(-2 * spare // ROWS) + 1).astype(int)
    return [slice(int(start), min(int(start) + ROWS, rows)) for start in starts]


def offsets_of(rows: int, multiple: int) -> tuple[list[int], int]:
    """Where an image's rows begin in each look, and how many rows there are with the empty ones.

    The beginnings are spread over the empty rows, even and odd in turn.
    """
    length = max(ROWS, rows + 2 * LOOKS)
    length += -length % multiple
    spread = np.linspace(0, length - rows - 1, LOOKS).astype(int)
    return [int(start - start % 2 + n % 2) for n, start in enumerate(spread)], length
