"""From the network's grid to the image's voxels: sharp again, as large as before."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import centred_grid, cylinder
from scipy.special import expit

from bench.scaling import Edges, cross_entropy, fitted
from softseg_bids.image.grid import Array, cropped, resample
from softseg_bids.image.volume import DataError, Volume
from softseg_bids.model import predict
from softseg_bids.model.checkpoint import load_checkpoint, save_checkpoint
from softseg_bids.model.edges import to_voxels
from softseg_bids.model.network import SEGMENTER, Architecture, FoldedUNet
from softseg_bids.training.recipes import architecture_of, recipe_of

SCALING = (1.6, 0.1)
FINE = centred_grid((40, 40, 12), (0.75, 0.75, 1.5))


def as_learnt(radius_mm: float) -> Array:
    """A cord on the network's grid as its training targets show it: once interpolated, half a voxel aside."""
    aside = cropped(FINE, np.array([0.5, 0.5, 0.0]), FINE.shape)
    return np.clip(resample(cylinder(aside, radius_mm), aside, FINE, outside="zero"), 0, 1)


@pytest.mark.parametrize("spacing_mm", [(0.5, 0.5, 0.5), (1.0, 1.0, 1.0), (0.7, 0.7, 5.0)])
@pytest.mark.parametrize(("radius_mm", "within"), [(2.0, 0.06), (3.0, 0.03), (5.0, 0.015)])
def test_edges_are_sharper_than_interpolated_and_areas_right(
    spacing_mm: tuple[float, float, float], radius_mm: float, within: float
) -> None:
    shape = [int(15 / h) for h in spacing_mm]
    grid = centred_grid((shape[0], shape[1], shape[2]), spacing_mm)
    soft, true = as_learnt(radius_mm), cylinder(grid, radius_mm)
    plain, found = resample(soft, FINE, grid, outside="zero"), to_voxels(soft, FINE, grid, SCALING)
    assert np.abs(found - true).mean() < 0.75 * np.abs(plain - true).mean()
    assert found.sum() == pytest.approx(true.sum(), rel=within)


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
    for seed in range(10):
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


def test_a_fit_needs_images() -> None:
    with pytest.raises(ValueError, match="0 images can be judged"):
        fitted([])


def test_the_end_of_a_doubtful_cord_is_not_worn_away() -> None:
    soft = np.zeros(FINE.shape, dtype=np.float32)
    soft[10:30, 10:30, :6] = 0.7
    found = to_voxels(soft, FINE, FINE, (1.0, 0.0))
    plain = resample(soft, FINE, FINE, outside="zero")
    np.testing.assert_allclose(found[20, 20], plain[20, 20], atol=0.01)


def test_an_image_is_segmented_with_the_scaling_of_its_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    grid = centred_grid((30, 30, 18))
    monkeypatch.setattr(predict, "segment_fine", lambda model, array, grid: (as_learnt(5.0), FINE))
    volume = Volume(np.zeros(grid.shape, dtype=np.float32), grid)
    scaled = SEGMENTER._replace(scaling=(2.0, 0.3))
    network = FoldedUNet(scaled)
    model = predict.Model((SEGMENTER, network), (scaled, network), torch.device("cpu"))
    np.testing.assert_array_equal(
        predict.segment(model, volume), to_voxels(as_learnt(5.0), FINE, grid, (2.0, 0.3))
    )


@pytest.mark.parametrize("scaling", [None, (1.0, 0.0, 0.0)])
def test_a_checkpoint_may_lack_a_scaling_but_not_half_of_it(tmp_path: Path, scaling: object) -> None:
    small = Architecture((2, 2, 2), (2, 2), (4.0, 4.0, 4.0), (16, 16, 16))
    path = tmp_path / "model.pt"
    save_checkpoint(path, {r: (small, FoldedUNet(small).state_dict()) for r in ("locator", "segmenter")}, {})
    content = torch.load(path, weights_only=True)
    fields = content["networks"]["segmenter"]["architecture"]
    del fields["scaling"]
    if scaling is not None:
        fields["scaling"] = scaling
    torch.save(content, path)
    if scaling is None:
        assert load_checkpoint(path, torch.device("cpu"))["segmenter"][0].scaling == (1.0, 0.0)
    else:
        with pytest.raises(DataError, match="its segmenter is incomplete"):
            load_checkpoint(path, torch.device("cpu"))
