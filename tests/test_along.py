"""Segmentation follows the cord beyond where it was located, and ends where the cord does."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from softseg_bids.image.grid import Array, Floats, Grid
from softseg_bids.model.along import BATCH, segment_along
from softseg_bids.model.network import Architecture

CPU = torch.device("cpu")
ARCHITECTURE = Architecture((1, 1, 1), (4, 8), (1.0, 1.0, 2.0), (32, 32, 16))
SPACING_MM = np.array([1.5, 1.5, 3.0])
RADIUS_MM = 5.0


class Brightness(nn.Module):
    """A network that takes what is bright for cord, and tells how many windows it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[int] = []

    @property
    def windows(self) -> int:
        return sum(self.batches)

    def forward(self, image: Tensor) -> Tensor:
        self.batches.append(len(image))
        # In a window without any contrast normalised values are noise: nothing is bright there.
        return 20 * (image - 1.0)


def rod(shape: tuple[int, int, int], slope: float, low_mm: float, high_mm: float) -> tuple[Array, Grid]:
    """A bright rod from one height to another, so many mm to the right for each mm upwards."""
    affine = np.diag([*SPACING_MM, 1.0])
    affine[:3, 3] = -0.5 * (np.array(shape) - 1) * SPACING_MM
    grid = Grid(shape, affine)
    x, y, z = np.moveaxis(grid.to_world(np.moveaxis(np.indices(shape), 0, -1).astype(float)), -1, 0)
    inside = ((x - slope * z) ** 2 + y**2 < RADIUS_MM**2) & (z > low_mm) & (z < high_mm)
    return inside.astype(np.float32), grid


def line(slope: float, low_mm: float, high_mm: float) -> Floats:
    z = np.linspace(low_mm, high_mm, 20)
    return np.stack([slope * z, np.zeros_like(z), z], axis=1)


def heights(soft: Array, box: Grid) -> tuple[float, float]:
    """Lowest and highest scanner z with cord."""
    at = np.argwhere(soft >= 0.5)
    z = box.to_world(at.astype(float))[:, 2]
    return float(z.min()), float(z.max())


@pytest.mark.parametrize("slope", [0.0, 0.5, -0.9])
def test_a_cord_located_in_part_is_followed_to_both_ends(slope: float) -> None:
    array, grid = rod((140, 30, 50), slope, -70.0, 60.0)
    soft, box = segment_along((ARCHITECTURE, Brightness()), CPU, array, grid, line(slope, -10.0, 10.0))
    low, high = heights(soft, box)
    assert low == pytest.approx(-70, abs=3)
    assert high == pytest.approx(60, abs=3)


def test_a_cord_located_in_full_is_looked_at_once() -> None:
    array, grid = rod((40, 30, 50), 0.0, -70.0, 60.0)
    counts = []
    for shown in (line(0.0, -66.0, 56.0), line(0.0, -10.0, 10.0)):
        network = Brightness()
        segment_along((ARCHITECTURE, network), CPU, array, grid, shown)
        counts.append(network.windows)
    # All 150 mm of the image, in windows of 32 mm of which half overlaps.
    assert counts[0] == 9
    assert counts[1] <= 2.5 * counts[0]


def test_windows_come_several_at_a_time_and_none_alone() -> None:
    array, grid = rod((40, 30, 50), 0.0, -70.0, 60.0)
    network = Brightness()
    segment_along((ARCHITECTURE, network), CPU, array, grid, line(0.0, -66.0, 56.0))
    assert network.batches == [5, 4]
    assert max(network.batches) <= BATCH


def test_it_goes_no_further_than_the_image() -> None:
    array, grid = rod((40, 30, 20), 0.0, -1000.0, 1000.0)
    soft, box = segment_along((ARCHITECTURE, Brightness()), CPU, array, grid, line(0.0, -5.0, 5.0))
    low, high = heights(soft, box)
    assert -35 < low < -26
    assert 26 < high < 35


def test_what_lies_beyond_a_wide_gap_is_not_looked_for() -> None:
    upper, grid = rod((40, 30, 60), 0.0, 40.0, 80.0)
    lower, _ = rod((40, 30, 60), 0.0, -80.0, -20.0)
    soft, box = segment_along((ARCHITECTURE, Brightness()), CPU, upper + lower, grid, line(0.0, -60.0, -25.0))
    assert heights(soft, box)[1] == pytest.approx(-20, abs=3)
