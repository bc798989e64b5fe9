"""The benchmark's truth against closed forms, brute force, and the generator's own labels."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bench import truth
from bench.strangers import Z_MM, compressed, draw_stranger
from bench.truth import Cord
from softseg_bids.synthesis.anatomy import grid_points, render
from softseg_bids.synthesis.body import Body, draw_body, true_area_mm2

TURNED = np.array([[1.0, 0, 0], [0, np.cos(0.1), -np.sin(0.1)], [0, np.sin(0.1), np.cos(0.1)]])


def cylinder(tilt_deg: float, a_mm: float = 6.0, b_mm: float = 4.0, end_mm: float = 1e4) -> Cord:
    """A straight cord of elliptic section through the origin, leaning to the front."""
    lean = np.tan(np.deg2rad(tilt_deg))
    z = np.arange(-100.0, 101.0)
    tangent = np.array([0.0, lean, 1.0]) / np.hypot(lean, 1)
    s = np.arange(-200.0, 201.0)
    return Cord(
        z_mm=z,
        centre_mm=np.column_stack([0 * z, lean * z]),
        tangent=np.tile(tangent, (len(z), 1)),
        s_of_z=-z * np.hypot(lean, 1),
        s_mm=s,
        a_mm=np.full(len(s), a_mm),
        b_mm=np.full(len(s), b_mm),
        outline=np.ones((1, 64)),
        top_mm=-1e4,
        end_mm=end_mm,
        voids=np.empty((0, 6)),
    )


def axes(
    spacing: tuple[float, float, float], shape: tuple[int, int, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    x, y, z = ((np.arange(n) - 0.5 * (n - 1)) * h for n, h in zip(shape, spacing, strict=True))
    return x, y, z


@pytest.mark.parametrize("tilt", [0.0, 20.0, 40.0])
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.6, 0.6, 5.0)])
def test_a_leaning_cylinder_has_its_volume_and_its_section(
    tilt: float, spacing: tuple[float, float, float]
) -> None:
    cord = cylinder(tilt)
    shape = (round(24 / spacing[0]), round(50 / spacing[1]), round(20 / spacing[2]))
    shares = truth.fractions(cord, axes(spacing, shape), np.eye(3))
    per_slice = shares.sum((0, 1)) * spacing[0] * spacing[1] * np.cos(np.deg2rad(tilt))
    np.testing.assert_allclose(per_slice, 24 * np.pi, rtol=5e-3)
    found = truth.sections(cord, axes(spacing, shape), np.eye(3))
    np.testing.assert_allclose([one.area_mm2 for one in found], 24 * np.pi, rtol=1e-9)
    np.testing.assert_allclose([one.diameter_ap_mm for one in found], 8.0, rtol=1e-9)


def test_fractions_are_those_of_brute_force() -> None:
    rng = np.random.default_rng(5)
    cord = draw_stranger(rng, "bright_csf", (70, 70), (1.5, 1.5), 0.0).cord
    parts = 8
    shares = truth.fractions(cord, axes((1.0, 1.0, 3.0), (18, 18, 2)), TURNED)
    fine = axes((1 / parts, 1 / parts, 1 / parts), (18 * parts, 18 * parts, 6 * parts))
    within = truth.inside(cord, np.stack(np.meshgrid(*fine, indexing="ij"), axis=-1) @ TURNED.T)
    exact = within.reshape(18, parts, 18, parts, 2, 3 * parts).mean((1, 3, 5))
    assert exact.max() == 1 and ((exact > 0.05) & (exact < 0.95)).sum() > 30
    np.testing.assert_allclose(shares, exact, atol=0.01)


def neck(seed: int) -> Body:
    rng = np.random.default_rng(seed)
    while not (body := draw_body(rng, s_centre_mm=70.0)).has_cord or len(body.voids):
        pass
    return body


@pytest.mark.parametrize("seed", [1, 2])
def test_truth_and_the_generators_label_agree(seed: int) -> None:
    body, spacing, shape = neck(seed), (0.5, 0.5, 1.0), (64, 80, 10)
    label = render(body, grid_points(shape, spacing, torch.device("cpu")), spacing).cord.numpy()
    exact = truth.fractions(truth.cord_of(body), axes(spacing, shape), np.eye(3))
    edge = (exact > 0.01) & (exact < 0.99)
    assert label.sum() == pytest.approx(exact.sum(), rel=0.005)
    assert np.abs(label - exact)[edge].mean() < 0.03
    z = axes(spacing, shape)[2]
    s = np.interp(z, body.z_mm, body.s_of_z)
    areas = [one.area_mm2 for one in truth.sections(truth.cord_of(body), axes(spacing, shape), np.eye(3))]
    np.testing.assert_allclose(areas, true_area_mm2(body, s), rtol=0.003)


def test_slices_at_an_end_a_void_or_the_border_are_not_whole() -> None:
    places = axes((1.0, 1.0, 5.0), (30, 40, 8))
    cord = cylinder(0.0)
    assert all(one.is_whole for one in truth.sections(cord, places, np.eye(3)))
    # s grows downwards: the cord ends 4 mm under the middle.
    ended = [one.is_whole for one in truth.sections(cord._replace(end_mm=4.0), places, np.eye(3))]
    assert ended == [False] * 4 + [True] * 4
    void = cord._replace(voids=np.array([[0.0, 0.0, 0.0, 9.0, 9.0, 4.0]]))
    assert [one.is_whole for one in truth.sections(void, places, np.eye(3))] == [True] * 2 + [False] * 4 + [
        True
    ] * 2
    assert truth.fractions(void, places, np.eye(3))[15, 20, 4] < 0.5
    aside = truth.sections(cord._replace(centre_mm=cord.centre_mm + np.array([11.0, 0.0])), places, np.eye(3))
    assert not any(one.is_whole for one in aside)
    tip = cord._replace(a_mm=cord.a_mm * 0.3, b_mm=cord.b_mm * 0.3)
    assert not any(one.is_whole for one in truth.sections(tip, places, np.eye(3)))


def test_distance_is_that_to_the_part_that_is_cord() -> None:
    cord = cylinder(0.0)._replace(end_mm=10.0)
    points = np.array([[3.0, 4.0, 0.0], [0.0, 0.0, -25.0]])
    np.testing.assert_allclose(truth.distance_mm(cord, points), [5.0, 15.0])
    assert np.isinf(truth.distance_mm(cord._replace(end_mm=-2e4), points)).all()


def test_a_stranger_has_the_size_asked_for_and_can_be_pressed() -> None:
    cord = draw_stranger(np.random.default_rng(1), "dark_csf", (50, 50), (1.2, 1.2), 0.0).cord
    areas = truth.area_mm2(cord, np.arange(100.0, 300.0))
    assert 42 < areas.min() < areas.max() < 58
    assert cord.z_mm is Z_MM
    flat = compressed(cord, 3.0, 6.0)
    height = truth.diameter_ap_mm(flat, np.array([200.0])) / truth.diameter_ap_mm(cord, np.array([200.0]))
    b_mm = float(np.interp(200.0, cord.s_mm, cord.b_mm))
    assert float(height[0]) == pytest.approx(1.5 / b_mm, rel=0.01)
