"""Area, shape and angle of each slice against exact cylinders."""

from __future__ import annotations

import numpy as np
import pytest
from cord_phantoms import AREA_MM2, SEMI_AP_MM, SEMI_RL_MM, cylinder, direction
from scipy.stats import norm

from softseg_bids.core.cord import Centreline, inspect_slices, measure_areas, measure_slices, trace

SPACINGS = [(1.0, 1.0, 1.0), (0.5, 0.5, 5.0), (0.9, 0.9, 5.0), (2.5, 0.8, 0.8)]
TILTS = [(0.0, 0.0), (20.0, 0.0), (20.0, 20.0), (40.0, 0.0)]
ISO = np.ones(3)


def straight(shape: tuple[int, ...], spacing: np.ndarray, xy_mm: tuple[float, float]) -> Centreline:
    slices = np.arange(shape[2])
    points = np.column_stack([np.full((len(slices), 2), xy_mm), slices * spacing[2]])
    return Centreline(slices, points, np.tile([0.0, 0.0, 1.0], (len(slices), 1)))


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("tilt", TILTS)
def test_area_of_a_tilted_cylinder(spacing: tuple[float, float, float], tilt: tuple[float, float]) -> None:
    soft = cylinder(spacing, tilt, width_mm=30, height_mm=60)
    line = trace(soft, np.array(spacing))
    assert line is not None
    assert len(line.slices) == soft.shape[2]
    table = measure_slices(soft, np.array(spacing), line)
    limit = 0.003 if max(spacing[:2]) > 2 else 0.001
    np.testing.assert_allclose(table["area_mm2"], AREA_MM2, rtol=limit)
    np.testing.assert_allclose(table["angle_ap_deg"], tilt[0], atol=0.1)
    np.testing.assert_allclose(table["angle_rl_deg"], tilt[1], atol=0.1)
    np.testing.assert_allclose(table["length_mm"], spacing[2] / direction(*tilt)[2], rtol=1e-3)


@pytest.mark.parametrize("tilt", TILTS)
def test_shape_is_that_of_the_perpendicular_section(tilt: tuple[float, float]) -> None:
    spacing = np.array([0.5, 0.5, 1.0])
    soft = cylinder((0.5, 0.5, 1.0), tilt, width_mm=30, height_mm=16)
    line = trace(soft, spacing)
    assert line is not None
    table = measure_slices(soft, spacing, line)
    assert np.mean(table["diameter_ap_mm"]) == pytest.approx(2 * SEMI_AP_MM, abs=0.1)
    assert np.mean(table["diameter_rl_mm"]) == pytest.approx(2 * SEMI_RL_MM, abs=0.15)
    eccentricity = np.sqrt(1 - (SEMI_AP_MM / SEMI_RL_MM) ** 2)
    assert np.mean(table["eccentricity"]) == pytest.approx(eccentricity, abs=0.01)
    assert table["solidity"].min() > 0.985


def test_blur_keeps_area_and_does_not_grow_the_shape() -> None:
    from scipy.ndimage import gaussian_filter

    sharp = cylinder((0.5, 0.5, 1.0), width_mm=30, height_mm=16)
    soft = gaussian_filter(sharp, (2.0, 2.0, 0.0)).astype(np.float32)
    spacing = np.array([0.5, 0.5, 1.0])
    line = trace(soft, spacing)
    assert line is not None
    table = measure_slices(soft, spacing, line)
    np.testing.assert_allclose(table["area_mm2"], AREA_MM2, rtol=0.005)
    np.testing.assert_allclose(table["diameter_ap_mm"], 2 * SEMI_AP_MM, atol=0.25)


def test_far_objects_do_not_leak_into_the_area() -> None:
    soft = cylinder((1.0, 1.0, 1.0), width_mm=60, height_mm=20)
    line = trace(soft, ISO)
    assert line is not None
    alone = measure_slices(soft, ISO, line)
    soft[40:44, 28:32, 3:9] = 0.9  # a blob with an edge, 4 mm beside the cord
    soft[38:40, 28:32, 3:9] = 0.3  # nearer to the blob than to the cord
    soft[2:6, 2:6, :] = 0.3
    beside = measure_slices(soft, ISO, line)
    for name, values in alone.items():
        np.testing.assert_allclose(beside[name], values, rtol=1e-6, err_msg=name)


def test_faint_slice_has_area_but_no_shape_and_a_void_has_neither() -> None:
    soft = cylinder((1.0, 1.0, 1.0), width_mm=30, height_mm=30)
    soft[:, :, 10] *= 0.45
    soft[:, :, 20:23] = 0
    line = trace(soft, ISO)
    assert line is not None
    np.testing.assert_array_equal(line.slices, np.arange(30))
    table = measure_slices(soft, ISO, line)
    assert table["area_mm2"][10] == pytest.approx(0.45 * AREA_MM2, rel=0.01)
    for name in ("area_binary_mm2", "diameter_ap_mm", "diameter_rl_mm", "eccentricity", "solidity"):
        assert np.isnan(table[name][10]), name
        assert np.isnan(table[name][20:23]).all(), name
    assert np.isnan(table["area_mm2"][20:23]).all()
    assert np.isfinite(table["length_mm"]).all()


def test_binary_area_counts_voxels_from_one_half() -> None:
    soft = np.zeros((9, 9, 12), dtype=np.float32)
    soft[3:6, 3:6] = 1
    soft[6, 3:6] = 0.49
    table = measure_slices(soft, np.array([1.0, 2.0, 1.0]), straight(soft.shape, ISO, (4.0, 8.0)))
    np.testing.assert_allclose(table["area_binary_mm2"], 18.0)
    np.testing.assert_allclose(table["area_mm2"], 18.0 + 3 * 0.49 * 2, rtol=1e-6)


def test_replaced_tangents_are_used() -> None:
    soft = cylinder((1.0, 1.0, 1.0), width_mm=30, height_mm=12)
    line = trace(soft, ISO)
    assert line is not None
    tilted = np.tile(direction(30.0), (len(line.slices), 1))
    table = measure_slices(soft, ISO, line._replace(tangents=tilted))
    np.testing.assert_allclose(table["area_mm2"], AREA_MM2 * np.cos(np.pi / 6), rtol=1e-3)


def test_areas_alone_are_those_of_the_table() -> None:
    soft = cylinder((1.0, 1.0, 1.0), (20.0, 20.0), width_mm=30, height_mm=12)
    soft[:, :, 4] = 0
    line = trace(soft, ISO)
    assert line is not None
    whole, areas = measure_slices(soft, ISO, line), measure_areas(soft, ISO, line)
    assert set(areas) == {"area_mm2", "area_binary_mm2", "length_mm"}
    for name, values in areas.items():
        np.testing.assert_array_equal(values, whole[name])


def test_inspection_sees_the_border_and_the_pieces() -> None:
    soft = np.zeros((12, 12, 14), dtype=np.float32)
    soft[0:6, 4:8] = 1
    soft[0, :, 3] = 0
    soft[3, :, 5] = 0
    line = straight(soft.shape, ISO, (2.0, 5.5))
    facts = inspect_slices(soft, ISO, line)
    np.testing.assert_array_equal(np.flatnonzero(~facts["touches_edge"]), [3])
    np.testing.assert_array_equal(facts["pieces"], [1, 1, 1, 1, 1, 2] + [1] * 8)


def test_line_over_an_empty_mask_measures_nothing() -> None:
    empty = np.zeros((20, 20, 12), dtype=np.float32)
    table = measure_slices(empty, ISO, straight(empty.shape, ISO, (9.0, 9.0)))
    assert np.isnan(table["area_mm2"]).all()
    assert not inspect_slices(empty, ISO, straight(empty.shape, ISO, (9.0, 9.0)))["touches_edge"].any()


def test_the_edge_is_as_soft_as_its_blur_is_wide():
    spacing, n = np.array([0.25, 0.25, 2.0]), 120
    x, y = (np.arange(n)[:, None] - 59.5) * 0.25, (np.arange(n)[None] - 59.5) * 0.25
    radius, sigma = 5.0, 0.6
    section = norm.cdf((radius - np.hypot(x, y)) / sigma)
    soft = np.repeat(section[:, :, None], 10, axis=2).astype(np.float32)
    facts = inspect_slices(soft, spacing, trace(soft, spacing))
    # The integral of p (1 - p) across a Gaussian edge is sigma / sqrt(pi).
    assert facts["edge_mm2"] == pytest.approx(2 * np.pi * radius * sigma / np.sqrt(np.pi), rel=0.02)
