"""Mixed models against statsmodels, closed forms and the exact intervals of balanced designs."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from scipy import stats

from softseg_bids.stats import nested
from softseg_bids.stats.estimate import DRAW_SEED, DRAWS
from softseg_bids.stats.mixed import Random, fit
from softseg_bids.stats.one_way import MOST_GROUPS, one_way, ratio_interval, variance_interval

GROUPS, EACH = 20, 5


def data(seed: int = 0, groups: int = GROUPS, sd: float = 3.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    codes = np.repeat(np.arange(groups), EACH)
    x = rng.normal(size=len(codes))
    y = 70 + 2 * x + sd * rng.normal(size=groups)[codes] + rng.normal(size=len(codes))
    return y, np.column_stack([np.ones_like(x), x]), codes


def test_random_intercept_as_statsmodels() -> None:
    y, design, codes = data()
    found = fit(y, design, [Random(codes)])
    frame = pd.DataFrame({"y": y, "x": design[:, 1]})
    known = smf.mixedlm("y ~ x", frame, groups=codes).fit(reml=True)
    assert found.coefficients == pytest.approx(known.fe_params.to_numpy(), abs=1e-4)
    assert np.sqrt(np.diag(found.covariance)) == pytest.approx(known.bse_fe.to_numpy(), rel=1e-4)
    assert found.random_sds[0] == pytest.approx(known.cov_re.to_numpy()[0, 0] ** 0.5, rel=1e-3)
    assert found.residual_sd == pytest.approx(known.scale**0.5, rel=1e-3)
    known_effects = np.array([known.random_effects[n].iloc[0] for n in range(GROUPS)])
    assert found.effects[0][:, 0] == pytest.approx(known_effects, abs=1e-3)


def test_random_slope_as_statsmodels() -> None:
    y, design, codes = data()
    y = y + 0.7 * np.random.default_rng(5).normal(size=GROUPS)[codes] * design[:, 1]
    found = fit(y, design, [Random(codes, design)])
    frame = pd.DataFrame({"y": y, "x": design[:, 1]})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        known = smf.mixedlm("y ~ x", frame, groups=codes, re_formula="~x").fit(reml=True)
    assert found.random_covariances[0] == pytest.approx(known.cov_re.to_numpy(), rel=0.01, abs=0.01)
    assert found.coefficients == pytest.approx(known.fe_params.to_numpy(), abs=1e-3)


def test_nested_terms_as_variance_components_of_statsmodels() -> None:
    rng = np.random.default_rng(3)
    person = np.repeat(np.arange(60), 3)
    site = person // 10
    y = 70 + 2 * rng.normal(size=6)[site] + 3 * rng.normal(size=60)[person] + rng.normal(size=180)
    found = fit(y, np.ones((180, 1)), [Random(site), Random(person)])
    frame = pd.DataFrame({"y": y, "person": person, "site": site})
    known = smf.mixedlm("y ~ 1", frame, groups="site", re_formula="1", vc_formula={"p": "0 + C(person)"})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        known = known.fit(reml=True)
    assert found.random_sds == pytest.approx(
        [known.cov_re.iloc[0, 0] ** 0.5, known.vcomp[0] ** 0.5], rel=0.01
    )
    assert found.residual_sd == pytest.approx(known.scale**0.5, rel=0.01)


def test_large_and_small_systems_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    y, design, codes = data()
    dense = fit(y, design, [Random(codes // 4), Random(codes)])
    monkeypatch.setattr("softseg_bids.stats.mixed.DENSE_BELOW", 1)
    sparse = fit(y, design, [Random(codes // 4), Random(codes)])
    assert sparse.deviance == pytest.approx(dense.deviance, abs=1e-6)
    assert sparse.coefficients == pytest.approx(dense.coefficients, abs=1e-5)


def test_without_random_terms_it_is_least_squares() -> None:
    y, design, _ = data()
    known = smf.ols("y ~ x", pd.DataFrame({"y": y, "x": design[:, 1]})).fit()
    found = fit(y, design).interval(np.array([0.0, 1.0]))
    assert (found.low, found.high) == pytest.approx(tuple(known.conf_int().loc["x"]))
    assert (found.df, found.p) == pytest.approx((known.df_resid, known.pvalues["x"]))


def test_no_difference_between_groups_is_a_variance_of_zero() -> None:
    y, _, codes = data(sd=0.0)
    y = y - np.array([y[codes == n].mean() for n in range(GROUPS)])[codes]
    found = fit(y, np.ones((len(y), 1)), [Random(codes)])
    assert found.random_sds == [0.0]
    assert found.degrees_of_freedom(np.ones(1)) == found.df_residual


def test_degrees_of_freedom_of_a_balanced_mean_are_those_of_its_groups() -> None:
    y, _, codes = data()
    found = fit(y, np.ones((len(y), 1)), [Random(codes)])
    assert found.degrees_of_freedom(np.ones(1)) == pytest.approx(GROUPS - 1, rel=1e-3)


def test_total_variance_of_a_balanced_design() -> None:
    y, _, codes = data()
    found = fit(y, np.ones((len(y), 1)), [Random(codes)])
    table = y.reshape(GROUPS, EACH)
    between, within = EACH * table.mean(axis=1).var(ddof=1), table.var(axis=1, ddof=1).mean()
    parts = np.array([between / EACH, within * (1 - 1 / EACH)])
    variance, df = found.total_variance([0])
    assert variance == pytest.approx(parts.sum(), rel=1e-4)
    known = parts.sum() ** 2 / (parts**2 / [GROUPS - 1, GROUPS * (EACH - 1)]).sum()
    assert df == pytest.approx(known, rel=0.01)
    variance, df = found.total_variance()
    assert (variance, df) == pytest.approx((within, GROUPS * (EACH - 1)), rel=0.01)


def test_jackknife_is_leaving_one_out() -> None:
    y, design, codes = data()
    found = fit(y, design, [Random(codes)])
    ratio = (found.random_sds[0] / found.residual_sd) ** 2
    inverse = np.linalg.inv(np.eye(len(y)) + ratio * (codes[:, None] == codes))
    each = []
    for n in range(GROUPS):
        kept = codes != n
        x, v = design[kept], inverse[np.ix_(kept, kept)]
        each.append(np.linalg.solve(x.T @ v @ x, x.T @ v @ y[kept]))
    change = np.array(each) - np.mean(each, axis=0)
    known = (GROUPS - 1) / GROUPS * change.T @ change
    assert found.robust(codes) == pytest.approx(known, rel=1e-6)


def test_jackknife_over_single_rows_is_hc3() -> None:
    y, design, _ = data()
    known = smf.ols("y ~ x", pd.DataFrame({"y": y, "x": design[:, 1]})).fit(cov_type="HC3").bse
    found = fit(y, design).robust(np.arange(len(y)))
    assert found is not None
    assert np.sqrt(np.diag(found)) == pytest.approx(known.to_numpy(), rel=0.01)


def test_jackknife_needs_every_coefficient_twice() -> None:
    y, design, codes = data()
    once = np.column_stack([design, codes == 3]).astype(float)
    assert fit(y, once).robust(codes) is None


def test_too_few_rows_and_dependent_columns_are_refused() -> None:
    y, design, _ = data()
    with pytest.raises(ValueError, match="2 rows cannot determine 2"):
        fit(y[:2], design[:2])
    with pytest.raises(ValueError, match="depend on each other"):
        fit(y, np.column_stack([design, design.sum(axis=1)]))


def test_exact_interval_of_a_balanced_design() -> None:
    y, _, codes = data()
    parts = one_way(y, np.ones((len(y), 1)), codes)
    means = y.reshape(GROUPS, EACH).mean(axis=1)
    between, within = EACH * means.var(ddof=1), parts.sse / parts.df
    assert parts.df == GROUPS * (EACH - 1)
    low, high = (
        (between / within / stats.f.ppf(at, GROUPS - 1, parts.df) - 1) / EACH for at in (0.975, 0.025)
    )
    assert ratio_interval(parts) == pytest.approx((low, high))
    wide = [
        ((GROUPS - 1) * between / stats.chi2.ppf(at, GROUPS - 1) - within) / EACH for at in (0.975, 0.025)
    ]
    assert variance_interval(parts) == pytest.approx(wide)


def test_exact_interval_starts_at_zero() -> None:
    y, _, codes = data(sd=0.0)
    assert ratio_interval(one_way(y, np.ones((len(y), 1)), codes))[0] == 0.0


def test_many_groups_need_no_eigenvalues() -> None:
    y, design, codes = data(groups=MOST_GROUPS + 1)
    low, high = variance_interval(one_way(y, design, codes))
    assert low < 9.0 < high and high / low < 1.3


def test_groups_of_one_cannot_be_told_from_noise() -> None:
    with pytest.raises(ValueError, match="too few rows"):
        one_way(np.arange(5.0), np.ones((5, 1)), np.arange(5))


def test_draws_of_a_balanced_nested_design() -> None:
    """Sums of squares by hand: 8 sites of 5 people, each of them scanned three times."""
    rng = np.random.default_rng(4)
    table = 2 * rng.normal(size=(8, 1, 1)) + 3 * rng.normal(size=(8, 5, 1)) + rng.normal(size=(8, 5, 3))
    site, person = np.repeat(np.arange(8), 15), np.repeat(np.arange(40), 3)
    y, design = 70 + table.ravel(), np.ones((120, 1))
    model = fit(y, design, [Random(site), Random(person)])
    found, df = nested.variances(y, design, site, person, model)
    people, sites = table.mean(axis=2), table.mean(axis=(1, 2))
    squares = [
        15 * sites.var() * 8, 3 * ((people - sites[:, None]) ** 2).sum(),
        ((table - people[:, :, None]) ** 2).sum(),
    ]  # fmt: skip
    chi = np.random.default_rng(DRAW_SEED).chisquare([7, 32, 80], size=(DRAWS, 3))
    a, b, e = (np.array(squares) / chi).T
    assert df == 80
    assert found == pytest.approx(np.column_stack([(a - b) / 15, (b - e) / 3, e]), rel=1e-3, abs=1e-6)
    share = nested.interval(0.3, found, lambda a, b, e: a / (a + b + e))
    assert 0 <= share.low < 0.3 < share.high < 1


def test_fixed_effects_of_sites_take_their_degrees_of_freedom() -> None:
    """A covariate that is the same for a whole site leaves one site fewer to tell sites apart."""
    rng = np.random.default_rng(6)
    site, person = np.repeat(np.arange(10), 8), np.repeat(np.arange(40), 2)
    size = np.repeat(rng.normal(size=10), 8)
    y = 70 + 5 * size + 2 * rng.normal(size=10)[site] + rng.normal(size=40)[person] + rng.normal(size=80)
    design = np.column_stack([np.ones(80), size])
    model = fit(y, design, [Random(site), Random(person)])
    draws, _ = nested.variances(y, design, site, person, model)
    plain = fit(y - design @ model.coefficients, design[:, :1], [Random(site), Random(person)])
    fewer, _ = nested.variances(y - design @ model.coefficients, design[:, :1], site, person, plain)
    assert np.quantile(draws[:, 0], 0.975) > np.quantile(fewer[:, 0], 0.975)


def test_three_variances_need_repeats() -> None:
    y, design, codes = data()
    single = np.arange(len(y))
    with pytest.raises(ValueError, match="three nested variances"):
        nested.variances(y, design, codes, single, fit(y, design, [Random(codes), Random(single)]))
