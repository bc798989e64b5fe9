"""Echoes and diffusion volumes as one image."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from softseg_bids.app.combine import aligned_mean, root_mean_square, slice_shifts, weighted_volumes


def phantom(shape: tuple[int, int, int] = (40, 44, 6)) -> np.ndarray:
    x, y, z = np.meshgrid(*[np.arange(n) for n in shape], indexing="ij")
    blob = np.exp(-((x - 20 - 0.5 * z) ** 2 / 30 + (y - 22) ** 2 / 15))
    return (100 * blob + 20 * np.exp(-((x - 12) ** 2 + (y - 30) ** 2) / 40)).astype(np.float32)


def moved(volume: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    return np.stack([ndimage.shift(volume[..., z], shifts[z], order=3) for z in range(volume.shape[2])], -1)


def test_root_mean_square() -> None:
    volumes = np.array([[[[3.0, 4.0]]]])
    assert root_mean_square(volumes)[0, 0, 0] == pytest.approx(np.sqrt(12.5))


def test_diffusion_weighted_volumes() -> None:
    assert list(weighted_volumes(np.array([0, 5, 200, 800, 1000.0]))) == [3, 4]


def test_no_diffusion_weighted_volume() -> None:
    with pytest.raises(ValueError, match="above 200"):
        weighted_volumes(np.array([0.0, 50.0]))


def test_shifts_are_found_to_a_tenth_of_a_voxel() -> None:
    volume = phantom()
    truth = np.array([[1.3, -0.6]] * 6)
    found = slice_shifts(moved(volume, truth), volume, np.array([1.0, 1.0]))
    np.testing.assert_allclose(found, -truth, atol=0.1)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_alignment_sharpens_the_mean(axis: int) -> None:
    volume = phantom()
    rng = np.random.default_rng(1)
    stack = [moved(volume, np.tile(rng.uniform(-2.5, 2.5, 2), (6, 1))) for _ in range(8)]
    series = np.moveaxis(np.stack(stack, -1), 2, axis)
    mean = np.moveaxis(aligned_mean(series, np.ones(3), axis), axis, 2)
    # Where the mean came to rest is free; how sharp it is, is not.
    sharp, blurred = mean.max(), np.stack(stack, -1).mean(-1).max()
    assert sharp > 0.97 * volume.max() > blurred


def test_still_volumes_are_untouched() -> None:
    volume = phantom()
    np.testing.assert_allclose(aligned_mean(np.stack([volume] * 3, -1), np.ones(3)), volume, rtol=1e-5)


def test_noise_is_not_chased() -> None:
    rng = np.random.default_rng(2)
    noise = rng.normal(size=(30, 30, 4, 5)).astype(np.float32)
    assert aligned_mean(noise, np.ones(3)).shape == (30, 30, 4)
    flat = np.zeros((8, 8, 2, 3), np.float32)
    np.testing.assert_array_equal(aligned_mean(flat, np.ones(3)), 0)
