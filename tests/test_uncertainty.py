import numpy as np
import pytest

from softseg_bids.core.uncertainty import AreaUncertainty, area_sd_mm2, fit


def slices(rng, n=4000):
    return rng.uniform(40, 100, n), rng.uniform(5, 40, n)


def test_the_terms_add_in_squares_and_nan_stays():
    found = area_sd_mm2(np.array([60.0, np.nan]), np.array([10.0, 10.0]), AreaUncertainty(0.05, 0.4, 12.0))
    assert found[0] == pytest.approx(13.0)
    assert np.isnan(found[1])


def test_the_fit_finds_the_coefficients_that_made_the_errors():
    rng = np.random.default_rng(0)
    area, edge = slices(rng, 20_000)
    truth = AreaUncertainty(0.02, 0.15, 0.6)
    error = rng.normal(0, area_sd_mm2(area, edge, truth))
    found = fit(error, area, edge)
    assert found.edge == pytest.approx(truth.edge, rel=0.1)
    sd, true_sd = area_sd_mm2(area, edge, found), area_sd_mm2(area, edge, truth)
    assert np.abs(sd / true_sd - 1).max() < 0.1


def test_heavy_tails_are_covered_all_the_same_and_failures_do_not_count():
    rng = np.random.default_rng(1)
    area, edge = slices(rng)
    error = 0.1 * edge * rng.standard_t(4, len(edge))
    error[:20] = -0.9 * area[:20]
    found = fit(error, area, edge)
    covered = np.abs(error[20:]) <= 1.96 * area_sd_mm2(area, edge, found)[20:]
    assert covered.mean() == pytest.approx(0.95, abs=0.01)


def test_too_few_slices_are_refused():
    with pytest.raises(ValueError, match="at least 50"):
        fit(np.zeros(10), np.ones(10), np.ones(10))
