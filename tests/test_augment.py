"""The augmentation: what moves together, by how much, and in which unit."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
import torch
from monai import transforms
from scipy.spatial.transform import Rotation

from softseg_bids.training.augment import augmentation
from softseg_bids.training.dataset import Pair

CUBES, OURS_MM = (1.0, 1.0, 1.0), (0.75, 0.75, 1.5)


def test_the_augmentation_moves_image_label_and_view_together() -> None:
    grid = torch.meshgrid(*[torch.arange(32.0) - 15.5] * 3, indexing="ij")
    ball = (sum(axis**2 for axis in grid) < 100).float()
    seen = torch.ones_like(ball)
    sizes, agreements = [], []
    for seed in range(12):
        image, cord, view = augmentation((32, 32, 32), CUBES, seed)(Pair(6 * ball - 1, ball, seen))
        assert image.isfinite().all() and 0 <= cord.min() <= cord.max() <= 1
        assert set(np.unique(view)) <= {0.0, 1.0}
        sizes.append(float(cord.sum()))
        chosen = view > 0
        agreements.append(abs(float(np.corrcoef(image[chosen], cord[chosen])[0, 1])))
    assert np.std(sizes) > 0.05 * np.mean(sizes)
    assert np.median(agreements) > 0.8
    again = [augmentation((32, 32, 32), CUBES, 5)(Pair(ball, ball, seen)).image for _ in range(2)]
    assert torch.equal(again[0], again[1])


class Moved(NamedTuple):
    """Where an augmentation takes its voxels from, in voxels of the patch about its middle."""

    matrix: np.ndarray
    offset: np.ndarray
    residual: np.ndarray

    @property
    def is_affine(self) -> bool:
        return float(self.residual.max()) < 0.01


def moved(window: tuple[int, int, int], spacing_mm: tuple[float, float, float], seed: int) -> Moved:
    """Ramps along the axes show it: trilinear interpolation leaves them as they are."""
    axes = np.meshgrid(*[np.arange(n) - (n - 1) / 2 for n in window], indexing="ij")
    rows, residuals = [], []
    for axis in axes:
        ramp = torch.from_numpy(0.5 + axis / 200).float()
        changed = augmentation(window, spacing_mm, seed)(Pair(ramp, ramp, torch.ones(window)))
        chosen = changed.seen.numpy() > 0
        known = np.column_stack([*(axis[chosen] for axis in axes), np.ones(chosen.sum())])
        values = 200 * (changed.cord.numpy()[chosen].astype(float) - 0.5)
        row = np.linalg.lstsq(known, values, rcond=None)[0]
        rows.append(row)
        residuals.append((values - known @ row).std())
    found = np.array(rows)
    return Moved(found[:, :3], found[:, 3], np.array(residuals))


@pytest.mark.parametrize("spacing_mm", [CUBES, OURS_MM])
def test_the_augmentation_turns_about_three_axes_and_shifts_by_a_tenth_in_millimetres(
    spacing_mm: tuple[float, float, float],
) -> None:
    """Up to 20 degrees without shear, 20 % of scale, and 10 % of the patch; of no axis nearly nothing."""
    window, size = (32, 28, 24), np.array(spacing_mm)
    found = [one for seed in range(24) if (one := moved(window, spacing_mm, seed)).is_affine]
    assert len(found) > 6
    turns, scales, shifts = [], [], []
    for one in found:
        matrix, offset = size[:, None] * one.matrix / size, size * one.offset
        # A flip inverts all axes.
        matrix = matrix * np.sign(np.linalg.det(matrix))
        scale = np.linalg.norm(matrix, axis=0)
        turn = matrix / scale
        np.testing.assert_allclose(turn.T @ turn, np.eye(3), atol=2e-3)
        turns.append(Rotation.from_matrix(turn).as_euler("XYZ", degrees=True))
        scales.append(scale)
        shifts.append(turn.T @ offset / (size * window))
    for drawn, most in ((np.array(turns), 20), (np.array(scales) - 1, 0.2), (np.array(shifts), 0.1)):
        largest = np.abs(drawn).max(axis=0)
        assert (largest > 0.5 * most).all() and (largest <= 1.01 * most).all()


def test_deformations_are_as_large_in_millimetres_on_any_voxels() -> None:
    def typical_mm(spacing_mm: tuple[float, float, float]) -> np.ndarray:
        window = tuple(round(32 / size) for size in spacing_mm)
        found = [moved(window, spacing_mm, seed) for seed in range(16)]  # type: ignore[arg-type]
        bent = [one.residual * spacing_mm for one in found if not one.is_affine]
        assert len(bent) > 4
        return np.sqrt(np.mean(np.square(bent), axis=0))

    np.testing.assert_allclose(typical_mm(OURS_MM), typical_mm(CUBES), rtol=0.25)


def test_on_voxels_of_one_millimetre_the_augmentation_is_the_published_one() -> None:
    window = (32, 32, 32)
    pair = Pair(
        torch.zeros(window),
        torch.rand(window, generator=torch.Generator().manual_seed(0)),
        torch.ones(window),
    )
    ways = {"mode": "bilinear", "padding_mode": "zeros"}
    kinds = set()
    for seed in range(6):
        theirs = transforms.Compose(
            [
                transforms.RandAffined(
                    ["cord"], prob=0.9, rotate_range=(np.deg2rad(20),) * 3, scale_range=(0.2,) * 3,
                    translate_range=(3.2,) * 3, **ways,
                ),
                transforms.Rand3DElasticd(["cord"], (3.5, 5.5), (25, 35), prob=0.5, **ways),
            ]
        ).set_random_state(seed)({"cord": pair.cord[None]})["cord"][0]  # fmt: skip
        ours = augmentation(window, CUBES, seed)(pair).cord
        flipped = not torch.allclose(ours, torch.as_tensor(theirs), atol=1e-5)
        torch.testing.assert_close(
            ours, torch.as_tensor(theirs.flip(0, 1, 2) if flipped else theirs), atol=1e-5, rtol=0
        )
        kinds.add(flipped)
    assert kinds == {False, True}
