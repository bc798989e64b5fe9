"""Which objects are kept as cord."""

from __future__ import annotations

import numpy as np
import pytest
from cord_phantoms import cylinder
from scipy.ndimage import gaussian_filter

from softseg_bids.core.pieces import cord_threshold, keep_cord

ISO = np.ones(3)


def blob(shape: tuple[int, ...], centre: tuple[float, float, float], radius: float) -> np.ndarray:
    grid = np.indices(shape)
    distance = np.sqrt(sum((g - c) ** 2 for g, c in zip(grid, centre, strict=True)))
    return np.clip(radius + 0.5 - distance, 0, 1).astype(np.float32)


@pytest.fixture(scope="module")
def cord() -> np.ndarray:
    soft = gaussian_filter(cylinder((1.0, 1.0, 1.0), (15.0, 5.0), 120, 60, finer=4), 0.7)
    return np.where(soft > 1e-3, soft, np.float32(0))


def test_a_lone_cord_keeps_its_values_and_its_edge(cord: np.ndarray) -> None:
    kept = keep_cord(cord, ISO)
    np.testing.assert_array_equal(kept[cord >= 0.02], cord[cord >= 0.02])
    assert kept.dtype == np.float32


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.5, 0.5, 5.0)])
def test_perfect_cylinders_pass_whole(spacing: tuple[float, float, float]) -> None:
    soft = cylinder(spacing, (20.0, 20.0), 60, 30, finer=4)
    np.testing.assert_array_equal(keep_cord(soft, np.array(spacing)), soft)


@pytest.mark.parametrize("centre", [(14, 25, 60), (50, 60, 20), (12, 70, 118), (50, 12, 2)])
def test_objects_beside_the_cord_are_dropped(cord: np.ndarray, centre: tuple[float, float, float]) -> None:
    other = blob(cord.shape, centre, 7)
    assert not ((other > 0) & (cord > 0.1)).any()
    np.testing.assert_array_equal(keep_cord(np.maximum(cord, other), ISO) > 0, keep_cord(cord, ISO) > 0)


def test_a_long_tube_beside_the_cord_loses_to_the_longer_one(cord: np.ndarray) -> None:
    both = cord.copy()
    both[5:10, 5:10, 20:100] = 1
    np.testing.assert_array_equal(keep_cord(both, ISO), keep_cord(cord, ISO))


def test_metal_void_is_bridged_and_stays_empty(cord: np.ndarray) -> None:
    void = cord.copy()
    void[:, :, 40:80] = 0
    void[10:16, 30:36, 50:56] = 1  # a streak beside the line within the void
    kept = keep_cord(void, ISO)
    assert not kept[:, :, 44:76].any()
    np.testing.assert_array_equal(kept[:, :, :40], keep_cord(cord, ISO)[:, :, :40])
    np.testing.assert_array_equal(kept[:, :, 80:], keep_cord(cord, ISO)[:, :, 80:])


def test_small_crumbs_far_beyond_the_end_are_dropped(cord: np.ndarray) -> None:
    short = cord.copy()
    short[:, :, 60:] = 0
    crumb = short.copy()
    crumb[:, :, 105:109] = cord[:, :, 105:109]  # on the line, but 4 mm of it after 45
    np.testing.assert_array_equal(keep_cord(crumb, ISO), keep_cord(short, ISO))


def test_forked_mask_keeps_one_branch() -> None:
    soft = np.zeros((60, 30, 60), dtype=np.float32)
    for z in range(60):
        soft[26:35, 10:18, z] = 1
        if 20 <= z < 40:
            x = 26 - int((z - 20) * 0.9)
            soft[max(x - 5, 0) : x, 12:16, z] = 1
    kept = keep_cord(soft, ISO)
    assert (kept[26:35, 10:18] == 1).all()
    assert not kept[:22, :, 30:].any()


def test_a_fragment_of_the_cord_is_kept(cord: np.ndarray) -> None:
    cut = cord.copy()
    middle = int(np.round(np.average(np.arange(cord.shape[0]), weights=cord[:, :, 60].sum(axis=1))))
    bridge = cut[middle - 1 : middle + 1, :, 60:62]
    bridge[:] = np.minimum(bridge, 0.2)  # two halves in two slices
    np.testing.assert_array_equal(keep_cord(cut, ISO) > 0.1, cut > 0.1)


def test_a_thin_faint_stretch_in_thick_slices_is_kept() -> None:
    spacing = np.array([1.0, 1.0, 5.0])
    soft = cylinder((1.0, 1.0, 5.0), (10.0, 0.0), 80, 40, finer=4)
    soft[:, :, 6:9] *= 0.45
    np.testing.assert_array_equal(keep_cord(soft, spacing) >= 0.1, soft >= 0.1)
    soft[:, :, 6:9] *= 0.25  # so faint that it is a void
    assert not keep_cord(soft, spacing)[:, :, 6:9].any()


def test_a_dropped_object_in_a_faint_slice_stays_out() -> None:
    soft = cylinder((1.0, 1.0, 5.0), (0.0, 0.0), 80, 60, finer=4)
    soft[:, :, 7] *= 0.45
    soft[38:42, 28:32, 7] = 0.9
    kept = keep_cord(soft, np.array([1.0, 1.0, 5.0]))
    assert kept[30, 30, 7] > 0.4
    assert not kept[38:42, 28:32, 7].any()


def test_threshold_follows_a_faint_cord() -> None:
    soft = cylinder((1.0, 1.0, 1.0), (0.0, 0.0), 40, 30, finer=4)
    assert cord_threshold(soft, ISO) == 0.5
    assert cord_threshold(0.8 * soft, ISO) == 0.5
    assert cord_threshold(0.4 * soft, ISO) == pytest.approx(0.2)
    assert cord_threshold(0.15 * soft, ISO) == np.inf
    np.testing.assert_array_equal(keep_cord(0.4 * soft, ISO) > 0.1, 0.4 * soft > 0.1)


def test_nothing_stays_nothing() -> None:
    assert not keep_cord(np.zeros((5, 6, 30), dtype=np.float32), ISO).any()
