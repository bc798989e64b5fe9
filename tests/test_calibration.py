"""Reliability of fractions against hand-worked bins, and the response of areas to size."""

from __future__ import annotations

import numpy as np
import pytest

from softseg_bids.core.calibration import deviation, fraction_bins, reliability
from softseg_bids.stats.response import response


def test_bins_hold_every_voxel_once() -> None:
    predicted = np.array([[0.0, 0.05], [0.95, 1.0]])
    true = np.array([[0.0, 0.2], [0.8, 1.0]])
    bins = fraction_bins(predicted, true)
    assert bins[:, 0].tolist() == [2, 0, 0, 0, 0, 0, 0, 0, 0, 2]
    np.testing.assert_allclose(bins[[0, 9], 1:], [[0.05, 0.2], [1.95, 1.8]])


def test_reliability_of_a_calibrated_and_of_a_stretched_mask() -> None:
    rng = np.random.default_rng(0)
    true = rng.random(20_000)
    assert deviation(reliability(fraction_bins(true, true))) == (0.0, 0.0)
    largest, mean = deviation(reliability(fraction_bins(np.clip(true + 0.1, 0, 1), true)))
    assert largest == pytest.approx(0.1, abs=0.01) and mean == pytest.approx(0.095, abs=0.01)


def test_bins_of_images_add_up() -> None:
    rng = np.random.default_rng(1)
    one, other = rng.random((2, 2, 500))
    whole = fraction_bins(np.r_[one[0], other[0]], np.r_[one[1], other[1]])
    np.testing.assert_allclose(fraction_bins(*one) + fraction_bins(*other), whole)


def test_an_empty_curve_deviates_nowhere() -> None:
    assert deviation(reliability(np.zeros((10, 3)))) == (0.0, 0.0)


def test_response_finds_shrinkage_back() -> None:
    true = np.linspace(40, 110, 12)
    rng = np.random.default_rng(2)
    found = response(np.append(true, np.nan), np.append(0.7 * true + 21 + rng.normal(0, 0.5, 12), 70.0))
    assert found.n == 12
    assert found.slope.low < 0.7 < found.slope.high < 0.75
    assert found.intercept.low < 21 < found.intercept.high


@pytest.mark.parametrize("true", [[70.0, 80.0], [70.0, 70.0, 70.0]])
def test_response_of_too_little(true: list[float]) -> None:
    found = response(np.array(true), np.array(true))
    assert np.isnan(found.slope.estimate) and found.n == len(true)
