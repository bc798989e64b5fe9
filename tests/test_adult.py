"""Healthy adults among the drawn bodies."""

from __future__ import annotations

import numpy as np
import pytest

from softseg_bids.synthesis.adult import (
    C2_C3_AREA_MM2,
    COLUMN_GAP_MM,
    disc_tips_mm,
    draw_adult,
    mean_area_mm2,
)
from softseg_bids.synthesis.body import Body, true_area_mm2

VIEW = (48.0, 45.0)


@pytest.fixture(scope="module")
def body() -> Body:
    return draw_adult(np.random.default_rng(3), *VIEW)


@pytest.mark.parametrize("seed", range(4))
def test_adults_are_ordinary_in_view(seed: int) -> None:
    body = draw_adult(np.random.default_rng(seed), *VIEW)
    areas = true_area_mm2(body, np.arange(3.0, 93.0))
    c2_c3 = mean_area_mm2(body, body.discs_mm[1], body.discs_mm[3])
    assert C2_C3_AREA_MM2[0] <= c2_c3 <= C2_C3_AREA_MM2[1]
    assert areas.min() > 0.8 * areas.max() / 1.2
    assert len(body.lesions) == 0 and body.has_cord
    inside = np.abs(body.z_mm) <= 45
    assert body.tangent[inside, 2].min() > np.cos(np.deg2rad(17.1))


def test_one_seed_gives_one_adult() -> None:
    first, second = (draw_adult(np.random.default_rng(9), *VIEW) for _ in range(2))
    np.testing.assert_array_equal(first.cord_a_mm, second.cord_a_mm)
    assert first.seed == second.seed


def test_mean_area_of_a_uniform_cord_is_that_of_its_outline(body: Body) -> None:
    ellipse = body._replace(
        outline=np.ones_like(body.outline),
        cord_a_mm=np.full_like(body.s_mm, 6.0),
        cord_b_mm=np.full_like(body.s_mm, 4.0),
    )
    assert mean_area_mm2(ellipse, 10.0, 60.0) == pytest.approx(np.pi * 24)


def test_mean_area_of_a_growing_cord_is_that_of_its_middle(body: Body) -> None:
    grown = body._replace(cord_a_mm=2 + 0.01 * (body.s_mm + 200), cord_b_mm=np.full_like(body.s_mm, 4.0))
    assert mean_area_mm2(grown, 20.0, 40.0) == pytest.approx(float(true_area_mm2(grown, np.array(30.0))))


def test_disc_tips_lie_at_their_heights_in_front_of_the_canal(body: Body) -> None:
    for value, tip in disc_tips_mm(body).items():
        if value > 6:
            continue
        # The nearest point of the centreline is at the disc's position s.
        line = np.column_stack([body.centre_mm, body.z_mm])
        away = np.linalg.norm(line - tip, axis=1)
        assert body.s_of_z[away.argmin()] == pytest.approx(body.discs_mm[value - 1], abs=1.5)
        front = np.interp(
            body.discs_mm[value - 1], body.s_mm, body.sac_b_mm + body.sac_v_mm + body.canal_gap_mm
        )
        assert away.min() == pytest.approx(front + COLUMN_GAP_MM, abs=0.3)
        assert tip[1] > np.interp(tip[2], body.z_mm, body.centre_mm[:, 1])
