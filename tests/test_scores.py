"""Scores against hand-worked numbers and a naive reference."""

from __future__ import annotations

import numpy as np
import pytest

from softseg_bids.core.scores import (
    _surface,
    area_errors_mm2,
    binarise,
    dice,
    relative_volume_error,
    slices_with_mask,
    soft_dice,
    surface_distance,
)

SPACING = np.array([1.0, 0.5, 2.0])


def box(x: slice, y: slice, z: slice) -> np.ndarray:
    mask = np.zeros((20, 24, 8), dtype=np.float32)
    mask[x, y, z] = 1
    return mask


LEFT = box(slice(4, 10), slice(4, 12), slice(1, 7))
RIGHT = box(slice(6, 12), slice(4, 12), slice(1, 7))
EMPTY = np.zeros_like(LEFT)


def test_dice_of_shifted_boxes() -> None:
    assert dice(LEFT, RIGHT) == pytest.approx(4 / 6)
    assert dice(LEFT, LEFT) == 1
    assert dice(LEFT, EMPTY) == 0
    assert np.isnan(dice(EMPTY, EMPTY))
    assert dice(0.6 * LEFT, LEFT) == 1
    assert dice(0.4 * LEFT, LEFT) == 0


def test_soft_dice_is_one_for_equal_masks_only() -> None:
    rng = np.random.default_rng(0)
    soft = rng.random(LEFT.shape).astype(np.float32)
    assert soft_dice(soft, soft) == pytest.approx(1)
    assert soft_dice(0.5 * soft, soft) == pytest.approx(2 * 0.5 / 1.25, rel=1e-6)
    assert soft_dice(LEFT, RIGHT) == pytest.approx(dice(LEFT, RIGHT))
    assert np.isnan(soft_dice(EMPTY, EMPTY))


def test_volume_error_has_a_sign() -> None:
    assert relative_volume_error(0.9 * LEFT, LEFT) == pytest.approx(-0.1)
    assert relative_volume_error(np.maximum(LEFT, RIGHT), LEFT) == pytest.approx(8 / 6 - 1)
    assert np.isnan(relative_volume_error(LEFT, EMPTY))


def test_area_error_of_each_slice() -> None:
    reference = LEFT.copy()
    reference[:, :, 6] = 0
    error = area_errors_mm2(0.5 * LEFT, reference, SPACING)
    np.testing.assert_allclose(error, [np.nan, *[-12.0] * 5, 12.0, np.nan])


def test_scores_restricted_to_manual_slices() -> None:
    reference = RIGHT.copy()
    reference[:, :, 4:] = 0
    manual = slices_with_mask(reference)
    np.testing.assert_array_equal(np.flatnonzero(manual), [1, 2, 3])
    assert dice(LEFT, reference) < dice(LEFT, reference, manual) == pytest.approx(4 / 6)
    assert soft_dice(LEFT, reference, manual) == pytest.approx(4 / 6)
    assert relative_volume_error(LEFT, reference, manual) == 0
    within = surface_distance(LEFT, reference, SPACING, manual)
    np.testing.assert_allclose(within, surface_distance(LEFT[:, :, manual], reference[:, :, manual], SPACING))
    assert surface_distance(LEFT, reference, SPACING).percentile_95_mm > within.percentile_95_mm


def naive(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    def surface(mask: np.ndarray) -> np.ndarray:
        padded = np.pad(mask >= 0.5, ((1, 1), (1, 1), (0, 0)))
        core = padded[1:-1, 1:-1]
        inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
        return np.argwhere(core & ~inner) * SPACING

    a, b = surface(one), surface(other)
    apart = np.linalg.norm(a[:, None] - b[None], axis=2)
    return np.r_[apart.min(axis=1), apart.min(axis=0)]


def test_surface_distance_agrees_with_brute_force() -> None:
    rng = np.random.default_rng(4)
    one = LEFT * (rng.random(LEFT.shape) > 0.1)
    other = RIGHT * (rng.random(LEFT.shape) > 0.1)
    distances = naive(one, other)
    found = surface_distance(one, other, SPACING)
    assert found.mean_mm == pytest.approx(distances.mean())
    assert found.percentile_95_mm == pytest.approx(np.percentile(distances, 95))
    assert surface_distance(other, one, SPACING) == pytest.approx(found)


def test_hausdorff_is_that_of_the_worse_direction() -> None:
    rng = np.random.default_rng(5)
    other = LEFT * (rng.random(LEFT.shape) > 0.4)
    found = surface_distance(LEFT, other, SPACING).hausdorff_95_mm
    distances = naive(LEFT, other)
    there = len(np.argwhere(_surface(LEFT >= 0.5)))
    ways = [np.percentile(distances[:there], 95), np.percentile(distances[there:], 95)]
    assert found == pytest.approx(max(ways)) and abs(ways[0] - ways[1]) > 0.1


def test_binarise_cuts_at_half() -> None:
    soft = np.array([[[0.0, 0.4999, 0.5, 1.0]]], dtype=np.float32)
    hard = binarise(soft)
    assert hard.dtype == np.float32
    np.testing.assert_array_equal(hard, [[[0, 0, 1, 1]]])
    np.testing.assert_array_equal(binarise(hard), hard)


def test_surface_distance_of_equal_and_of_empty_masks() -> None:
    assert surface_distance(LEFT, LEFT, SPACING) == (0, 0, 0)
    assert np.isnan(surface_distance(LEFT, EMPTY, SPACING)).all()
    assert np.isnan(surface_distance(EMPTY, LEFT, SPACING)).all()


def test_one_longer_mask_is_farther_by_its_length() -> None:
    longer = LEFT.copy()
    longer[4:10, 4:12, 7] = 1
    found = surface_distance(longer, LEFT, SPACING)
    rim = 2 * (6 + 8) - 4
    assert found.mean_mm == pytest.approx(rim * 2.0 / (rim * 13))
