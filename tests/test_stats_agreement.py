"""Variability, agreement and scan-rescan against hand-worked tables and closed forms."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from softseg_bids.stats.agreement import agreement, bland_altman, icc
from softseg_bids.stats.estimate import Interval, mean_interval, noncentrality_interval
from softseg_bids.stats.rescan import NO_REPEATS, rescan
from softseg_bids.stats.variability import contrast_effects, spread

# Six people, four raters: the classical table of Shrout & Fleiss (1979), whose ICCs are published.
SHROUT_FLEISS = np.array(
    [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], dtype=float
)
NAMES = ["T1w", "T2w", "T2starw"]


def study(seed: int = 0, people: int = 40, noise: float = 1.0, drop: float = 0.0) -> pd.DataFrame:
    """Areas with known contrast biases -1, 0, 2."""
    rng = np.random.default_rng(seed)
    rows = []
    for n in range(people):
        size = 72 + 7 * rng.normal()
        for name, bias in zip(NAMES, (-1.0, 0.0, 2.0), strict=True):
            if rng.random() >= drop:
                area = size + bias + noise * rng.normal()
                rows.append((f"sub-{n:02d}", None, f"sub-{n:02d}", name, "vert-C3", area, area + 0.5))
    names = ["participant_id", "session_id", "person_id", "contrast", "region", "area_mm2", "area_binary_mm2"]
    return pd.DataFrame(rows, columns=names)


def pick(rows: list[dict[str, Any]], **wanted: Any) -> dict[str, Any]:
    [found] = [row for row in rows if all(row.get(name) == value for name, value in wanted.items())]
    return found


def test_icc_of_the_published_table() -> None:
    second, third = icc(SHROUT_FLEISS)
    assert (second.estimate, third.estimate) == pytest.approx((0.29, 0.71), abs=0.005)
    # The published interval, 0.02 to 0.76, is approximate; the generalised one is a little wider.
    assert second.low < 0.05 and 0.7 < second.high < 0.9 and icc(SHROUT_FLEISS)[0] == second
    assert (third.low, third.high) == pytest.approx((0.342, 0.946), abs=0.001)


def test_icc_needs_a_complete_table() -> None:
    with pytest.raises(ValueError, match="complete table"):
        icc(np.array([[1.0, np.nan], [2.0, 3.0]]))
    with pytest.raises(ValueError, match="1 by 4"):
        icc(SHROUT_FLEISS[:1])


def test_bland_altman_by_hand() -> None:
    first, second = np.array([70.0, 72, 75, 80]), np.array([69.0, 73, 73, 78])
    found = bland_altman(first, second)
    difference = first - second
    assert (found.bias.estimate, found.sd.estimate) == pytest.approx((1.0, difference.std(ddof=1)))
    assert found.upper.estimate - found.lower.estimate == pytest.approx(2 * 1.96 * difference.std(ddof=1))
    assert found.lower.low < found.lower.estimate < found.lower.high < found.bias.estimate
    half = found.bias.high - 1.0
    assert half == pytest.approx(stats.t.ppf(0.975, 3) * difference.std(ddof=1) / 2)


def test_limits_of_agreement_keep_their_confidence() -> None:
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(400):
        upper = bland_altman(rng.normal(1.0, 2.0, 12), np.zeros(12)).upper
        hits += upper.low <= 1.0 + 1.96 * 2.0 <= upper.high
    assert 0.92 <= hits / 400 <= 0.98


def test_limits_of_many_pairs_join_those_of_fewer() -> None:
    rng = np.random.default_rng(2)
    wide = [bland_altman(rng.normal(size=n), np.zeros(n)).upper for n in (1000, 1002)]
    assert wide[0].high - wide[0].low == pytest.approx(wide[1].high - wide[1].low, rel=0.06)
    small, large = noncentrality_interval(5.0, 999.0), noncentrality_interval(5.0, 1001.0)
    assert small == pytest.approx(large, abs=0.01)


def test_equal_values_have_no_slope() -> None:
    assert np.isnan(bland_altman(np.zeros(4), np.zeros(4)).slope.estimate)


def test_agreement_rows() -> None:
    rows = agreement(study(drop=0.1), NAMES)
    bias = pick(rows, contrast="T1w", versus="T2w", statistic="bias")
    assert bias["ci_low"] < -1.0 < bias["ci_high"]
    binary = pick(rows, contrast="T2w binary", statistic="bias")
    assert binary["estimate"] == pytest.approx(0.5)
    whole = pick(rows, statistic="icc_2_1")
    complete = study(drop=0.1).groupby("person_id").size().eq(3).sum()
    assert whole["n_people"] == complete and "left out" in whole["notes"]


def test_images_of_one_session_are_compared() -> None:
    first = study(0, people=20).assign(session_id="ses-B", years=0.0)
    later = study(1, people=20).assign(session_id="ses-A", years=1.0)
    later["area_mm2"] -= 10.0
    # Eight people have no T1w at their first visit; tables may come in any order.
    whole = pd.concat([later, first[(first["contrast"] != "T1w") | (first["person_id"] >= "sub-08")]])
    rows = agreement(whole, NAMES)
    one = first.pivot(index="person_id", columns="contrast", values="area_mm2")
    two = later.pivot(index="person_id", columns="contrast", values="area_mm2")
    table = pd.concat([two[two.index < "sub-08"], one[one.index >= "sub-08"]])
    found = pick(rows, contrast="T1w", versus="T2w", statistic="bias")
    assert (
        found["estimate"] == pytest.approx((table["T1w"] - table["T2w"]).mean()) and found["n_people"] == 20
    )
    # The first visit has both of these.
    found = pick(rows, contrast="T2w", versus="T2starw", statistic="bias")
    assert found["estimate"] == pytest.approx((one["T2w"] - one["T2starw"]).mean())
    second, _ = icc(table[NAMES].to_numpy())
    assert pick(rows, statistic="icc_2_1")["estimate"] == pytest.approx(second.estimate)
    undated = agreement(whole.drop(columns="years"), NAMES)
    found = pick(undated, contrast="T1w", versus="T2w", statistic="bias")
    assert found["estimate"] == pytest.approx((two["T1w"] - two["T2w"]).mean())


def test_too_few_for_agreement_is_said() -> None:
    rows = agreement(study(people=2), NAMES)
    assert pick(rows, contrast="T1w", versus="T2w")["notes"] == "2 people have both"
    assert "2 people have all 3" in pick(rows, statistic="icc_2_1")["notes"]


@pytest.mark.parametrize("people", [6, 40])
def test_contrast_effects_find_the_planted_biases(people: int) -> None:
    rows = contrast_effects(study(people=people, drop=0.1), NAMES)
    for name, bias in zip(NAMES, (-1.0, 0.0, 2.0), strict=True):
        found = pick(rows, contrast=name, statistic="bias")
        assert found["ci_low"] < bias - 1 / 3 < found["ci_high"]
        assert "jackknife" in found["method"]
    within = pick(rows, statistic="sd_within_people")
    assert within["ci_low"] < 1.0 < within["ci_high"]
    between = pick(rows, statistic="sd_between_people")
    assert between["ci_low"] < 7.0 < between["ci_high"]


def test_balanced_bias_is_the_mean_difference() -> None:
    frame = study()
    wide = frame.pivot(index="person_id", columns="contrast", values="area_mm2")
    found = pick(contrast_effects(frame, NAMES), contrast="T1w", statistic="bias")
    own = wide["T1w"] - wide.mean(axis=1)
    known = mean_interval(own.to_numpy())
    assert (found["estimate"], found["se"]) == pytest.approx((known.estimate, known.error), rel=1e-6)


def test_a_contrast_of_one_person_leaves_the_models_own_errors() -> None:
    frame = study(people=12)
    lone = frame[(frame["contrast"] != "T2starw") | (frame["participant_id"] == "sub-03")]
    assert "Satterthwaite" in pick(contrast_effects(lone, NAMES), contrast="T1w", statistic="bias")["method"]


def visits(people: int = 20) -> pd.DataFrame:
    """Two visits of each, which differ by 3 mm2 (SD) beyond the people's 7 and the images' 1."""
    rng = np.random.default_rng(2)
    frame = study(people=people)
    again = frame.assign(session_id="ses-B")
    both = pd.concat([frame.assign(session_id="ses-A"), again], ignore_index=True)
    visit = both.groupby(["participant_id", "session_id"], sort=False).ngroup().to_numpy()
    both["area_mm2"] += 3 * rng.normal(size=visit.max() + 1)[visit] + 0.1 * rng.normal(size=len(both))
    return both


def test_several_sessions_of_a_person() -> None:
    rows = contrast_effects(visits(), NAMES)
    for name, truth in (
        ("sd_between_people", 7.0),
        ("sd_within_people", 1.0),
        ("share_between_people", 0.98),
    ):
        found = pick(rows, statistic=name)
        assert found["ci_low"] < truth < found["ci_high"]
        assert found["ci_low"] < found["estimate"] < found["ci_high"]
        assert "sessions within people" in found["method"]


def test_sessions_of_one_contrast_each_have_no_intervals() -> None:
    frame = study()
    apart = frame.assign(session_id="ses-" + frame["contrast"])
    found = pick(contrast_effects(apart, NAMES), statistic="sd_between_people")
    assert "no intervals: too few rows" in found["notes"] and np.isnan(found["ci_low"])
    assert found["estimate"] > 0


def test_two_participants_of_one_person_are_two_sessions() -> None:
    """As in `agreement.VISIT`: without session ids, the participants tell the visits apart."""
    frame = visits()
    named = frame.assign(
        participant_id=frame["participant_id"] + frame["session_id"].str[-1], session_id=None
    )
    for name in ("sd_between_people", "sd_within_people", "share_between_people"):
        one, other = (pick(contrast_effects(each, NAMES), statistic=name) for each in (frame, named))
        assert str(one) == str(other)


def test_one_contrast_has_no_model() -> None:
    frame = study()
    [row] = contrast_effects(frame[frame["contrast"] == "T1w"], NAMES)
    assert "too few for a model" in row["notes"] and "estimate" not in row


def test_the_cord_as_a_whole_is_never_compared_between_contrasts() -> None:
    frame = study().assign(region="cord")
    assert contrast_effects(frame, NAMES) == [] and spread(frame, NAMES) == []
    assert {row["statistic"] for row in agreement(frame, NAMES)} <= {
        "bias", "limit_low", "limit_high", "sd_difference", "slope",
    }  # fmt: skip


def repeats() -> pd.DataFrame:
    same = {"session_id": None, "contrast": "T2w", "acq": None, "ce": None, "rec": None, "region": "vert-C3"}
    runs = [
        ("a", "1", 70.0),
        ("a", "2", 72.0),
        ("b", "1", 60.0),
        ("b", "2", 61.0),
        ("b", "3", 62.0),
        ("c", "1", 80.0),
    ]
    return pd.DataFrame(
        [{"participant_id": who, "run": run, "area_mm2": area, **same} for who, run, area in runs]
    )


def test_rescan_by_hand() -> None:
    rows = rescan(repeats())
    sd = pick(rows, statistic="sd_within")
    assert sd["estimate"] == pytest.approx(np.sqrt((2.0 + 2.0) / 3))
    assert (sd["df"], sd["n_people"], sd["n_images"]) == (3, 2, 5)
    change = pick(rows, statistic="minimum_detectable_change")
    assert change["estimate"] == pytest.approx(1.96 * np.sqrt(2) * sd["estimate"])
    assert pick(rows, statistic="cov_within")["estimate"] == pytest.approx(100 * sd["estimate"] / 65.0)


def test_other_reconstructions_are_no_repeats() -> None:
    frame = repeats()
    frame["rec"] = frame["run"]
    [row] = rescan(frame)
    assert row["notes"] == NO_REPEATS and "estimate" not in row


def test_an_interval_without_degrees_of_freedom() -> None:
    assert np.isnan(Interval.t(1.0, 1.0, 0).low) and np.isnan(Interval.sd(1.0, 0).low)
    assert np.isnan(mean_interval(np.array([3.0])).low)
