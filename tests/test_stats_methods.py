"""Tests between methods against scipy's and hand-worked numbers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from softseg_bids.stats.agreement import scaling
from softseg_bids.stats.methods import repeated_measures, signed_ranks

CONTRASTS = ("T1w", "T2w", "MTon")


def test_bonferroni_multiplies_by_the_number_of_pairs() -> None:
    rng = np.random.default_rng(0)
    base = rng.normal(70, 5, 10)
    values = pd.DataFrame({"a": base, "b": base + 1 + rng.normal(0, 0.1, 10), "c": base})
    rows = {(row["method"], row["versus"]): row for row in signed_ranks(values)}
    assert set(rows) == {("a", "b"), ("a", "c"), ("b", "c")}
    expected = stats.wilcoxon(values["a"] - values["b"]).pvalue
    assert rows["a", "b"]["p"] == pytest.approx(expected) and expected < 0.01
    assert rows["a", "b"]["p_corrected"] == pytest.approx(3 * expected)
    assert rows["a", "b"]["estimate"] == pytest.approx(-1, abs=0.15)
    assert rows["a", "c"]["p_corrected"] == 1.0 and "equal" in rows["a", "c"]["notes"]


def test_too_few_people_are_told() -> None:
    values = pd.DataFrame({"a": [1.0, 2.0, np.nan], "b": [2.0, 3.0, 4.0]})
    [row] = signed_ranks(values)
    assert "p" not in row and row["n_people"] == 2 and "no test" in row["notes"]
    [row] = signed_ranks(pd.DataFrame({"a": [1.0, 2, 3, 4], "b": [2.0, 4, 6, 8]}))
    assert "no difference can have" in row["notes"]


def areas(shift: float, people: int = 8) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    rows = [
        {
            "participant_id": f"sub-{n}",
            "contrast": contrast,
            "area_mm2": 70 + n + shift * k + rng.normal(0, 1),
        }
        for n in range(people)
        for k, contrast in enumerate(CONTRASTS)
    ]
    return pd.DataFrame(rows)


def test_repeated_measures_is_the_two_way_analysis() -> None:
    frame = areas(1.0)
    found = repeated_measures(frame, "area_mm2", CONTRASTS)
    table = frame.pivot(index="participant_id", columns="contrast", values="area_mm2").to_numpy()
    n, k = table.shape
    between = n * ((table.mean(axis=0) - table.mean()) ** 2).sum() / (k - 1)
    rest = table - table.mean(axis=0) - table.mean(axis=1, keepdims=True) + table.mean()
    f = between / ((rest**2).sum() / ((n - 1) * (k - 1)))
    assert found["f_value"] == pytest.approx(f)
    assert (found["df"], found["df_error"]) == (2, 14)
    assert found["p"] == pytest.approx(stats.f.sf(f, 2, 14))


def test_repeated_measures_of_incomplete_people() -> None:
    frame = areas(1.0).iloc[1:]
    found = repeated_measures(frame, "area_mm2", CONTRASTS)
    assert found["n_people"] == 7 and found["notes"].startswith("1 people")
    one = repeated_measures(frame[frame["contrast"] == "T1w"], "area_mm2", CONTRASTS)
    assert "f_value" not in one and "no analysis" in one["notes"]
    frame["area_mm2"] = 70.0
    assert repeated_measures(frame, "area_mm2", CONTRASTS)["p"] == 1.0


def test_scaling_is_its_own_reverse() -> None:
    rng = np.random.default_rng(3)
    second = rng.uniform(50, 90, 20)
    first = 1.05 * second * np.exp(rng.normal(0, 0.01, 20))
    factor, back = scaling(first, second), scaling(second, first)
    assert factor.low < 1.05 < factor.high and factor.p < 1e-6
    assert factor.estimate * back.estimate == pytest.approx(1)
    assert factor.low * back.high == pytest.approx(1)
