"""From the network's grid to the image's voxels: sharp again, as large as before."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import centred_grid, cylinder
from scipy.special import expit

from bench.scaling import Edges, cross_entropy, fitted
from softseg_bids.image.grid import Array, cropped, resample
from softseg_bids.model.edges import to_voxels
from softseg_bids.model.network import SEGMENTER
from softseg_bids.training.recipes import architecture_of, recipe_of

SCALING = (1.6, 0.1)
FINE = centred_grid((40, 40, 12), (0.75, 0.75, 1.5))


def as_learnt(radius_mm: float) -> Array:
    """A cord on the network's grid as its training targets show it: once interpolated, half a voxel aside."""
    aside = cropped(FINE, np.array([0.5, 0.5, 0.0]), FINE.shape)
    return np.clip(resample(cylinder(aside, radius_mm), aside, FINE, outside="zero"), 0, 1)


@pytest.mark.parametrize("spacing_mm", [(0.5, 0.5, 0.5), (1.0, 1.0, 1.0), (0.7, 0.7, 5.0)])
@pytest.mark.parametrize("radius_mm", [3.0, 5.0])
def test_edges_are_sharper_than_interpolated_and_areas_right(
    spacing_mm: tuple[float, float, float], radius_mm: float
) -> None:
    shape = [int(15 / h) for h in spacing_mm]
    grid = centred_grid((shape[0], shape[1], shape[2]), spacing_mm)
    soft, true = as_learnt(radius_mm), cylinder(grid, radius_mm)
    plain, found = resample(soft, FINE, grid, outside="zero"), to_voxels(soft, FINE, grid, SCALING)
    assert np.abs(found - true).mean() < 0.75 * np.abs(plain - true).mean()
    assert found.sum() == pytest.approx(true.sum(), rel=0.03)


def test_fractions_stay_fractions_and_nothing_lies_beyond_the_grid() -> None:
    wide = centred_grid((60, 60, 30))
    found = to_voxels(as_learnt(5.0), FINE, wide, SCALING)
    assert found.shape == wide.shape and found.dtype == np.float32
    assert found.min() >= 0 and found.max() <= 1
    outside = np.abs(wide.to_world(np.argwhere(np.ones(wide.shape)).astype(float))).max(axis=1) > 16
    assert not found.reshape(-1)[outside].any()
    assert to_voxels(np.zeros(FINE.shape, dtype=np.float32), FINE, wide, SCALING).max() < 1e-3


def test_what_the_network_doubts_stays_doubtful() -> None:
    flat = np.full(FINE.shape, 0.5, dtype=np.float32)
    inner = cropped(FINE, np.array([10, 10, 4]), (20, 20, 4))
    found = to_voxels(flat, FINE, inner, SCALING)
    np.testing.assert_allclose(found, found.flat[0])
    assert 0.5 <= found.flat[0] < 0.55


def test_the_fit_gives_back_how_logits_were_scaled() -> None:
    grid = centred_grid((12, 12, 6))
    made = []
    for seed in range(3):
        logits = np.random.default_rng(seed).normal(0, 2, grid.shape).astype(np.float32)
        near = np.abs(logits) < 3
        true = resample(expit(1.8 * logits + 0.25), grid, grid, outside="zero")[near]
        made.append(Edges(logits, grid, grid, near, true.astype(float)))
    slope, offset = fitted(made)
    assert slope == pytest.approx(1.8, abs=0.02) and offset == pytest.approx(0.25, abs=0.02)
    assert cross_entropy(made, (slope, offset)) < cross_entropy(made, (1.0, 0.0))


def test_networks_that_are_trained_on_leave_the_scaling_of_others_behind() -> None:
    scaled = SEGMENTER._replace(scaling=(1.6, 0.1))
    recipe = recipe_of("folded", None, scaled)
    assert architecture_of(recipe, scaled).scaling == (1.0, 0.0)
