"""ComBat against the numbers of other programs, and who may be harmonised at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from softseg_bids.stats.combat import combat
from softseg_bids.stats.harmonise import batch_names, harmonise

DATA = {
    name: array.astype(float)
    for name, array in np.load(Path(__file__).parent / "data" / "combat.npz").items()
}
BATCH = DATA["batch"].astype(np.intp)
REGIONS = [f"vert-C{n}" for n in range(1, 8)]


class TestNumbersOfOthers:
    """Simulated areas through sva, neuroCombat and longcombat-py."""

    def test_sva(self) -> None:
        found = combat(DATA["values"], BATCH, DATA["covariates"])
        assert found.bayes
        assert np.abs(found.values - DATA["sva"]).max() < 1e-3

    def test_neurocombat_without_bayes(self) -> None:
        found = combat(DATA["values"], BATCH, DATA["covariates"], bayes=False)
        assert np.abs(found.values - DATA["neuro_plain"]).max() < 1e-4

    def test_sva_with_gaps(self) -> None:
        values = DATA["values"].copy()
        values[[2, 19, 39], 0] = np.nan
        values[:4, 4] = np.nan
        found = combat(values, BATCH, DATA["covariates"])
        assert (np.isnan(found.values) == np.isnan(values)).all()
        # sva divides by n - 1 as soon as there are gaps; with gaps and without are one formula here.
        assert np.nanmax(np.abs(found.values - DATA["sva_gaps"])) < 0.2

    @pytest.mark.parametrize("bayes", [True, False])
    def test_longcombat(self, bayes: bool) -> None:
        found = combat(
            DATA["long_values"],
            DATA["long_batch"].astype(np.intp),
            DATA["long_time"][:, None],
            people=DATA["long_person"].astype(np.intp),
            bayes=bayes,
        )
        known = DATA["long_bayes" if bayes else "long_plain"]
        assert np.abs(found.values - known).max() < 1e-3


def test_a_fit_on_some_rows_leaves_the_others_their_effect() -> None:
    """Patients 8 mm2 smaller, all at one scanner's side of the mix: fitted on controls, they stay so."""
    rng = np.random.default_rng(2)
    batch = np.repeat([0, 1], 60).astype(np.intp)
    patient = np.arange(120) % 3 == 0
    patient[60:] &= np.arange(60) < 20
    values = 72 + 5 * rng.normal(size=(120, 3)) + 4.0 * batch[:, None] - 8.0 * patient[:, None]
    found = combat(values, batch, np.zeros((120, 0)), ~patient).values
    moved = found[~patient & (batch == 1)].mean() - found[~patient & (batch == 0)].mean()
    assert abs(moved) < 1e-6
    assert found[patient].mean() - found[~patient].mean() == pytest.approx(-8.0, abs=1.5)


def test_a_batch_without_a_feature_keeps_its_gap() -> None:
    values = DATA["values"].copy()
    values[BATCH == 2, 3] = np.nan
    found = combat(values, BATCH, DATA["covariates"])
    assert np.isnan(found.values[BATCH == 2, 3]).all() and np.isfinite(found.values[BATCH == 0, 3]).all()
    values[BATCH == 1, 3] = np.nan
    assert np.isnan(combat(values, BATCH, DATA["covariates"]).values[:, 3]).all()


def test_too_little_to_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="two rows of each batch"):
        combat(DATA["values"], BATCH, DATA["covariates"], least=1)
    with pytest.raises(ValueError, match="no feature has 50 rows"):
        combat(DATA["values"], BATCH, DATA["covariates"], least=50)


def study(people: int = 30, **changes: object) -> pd.DataFrame:
    """Three scanners with known shifts; every person has two contrasts and some regions."""
    rng = np.random.default_rng(3)
    rows = []
    for n in range(3 * people):
        site = n % 3
        person = {"age": float(20 + n % 40), "sex": "MF"[(n // 3) % 2], "group": "HC"}
        for region in REGIONS[:2]:
            for contrast in ("T1w", "T2w"):
                area = (
                    72
                    + 4 * (person["sex"] == "M")
                    - 0.1 * person["age"]
                    + (0.0, 5.0, -3.0)[site]
                    + rng.normal()
                )
                rows.append(
                    {
                        "participant_id": f"sub-{n:03d}",
                        "person_id": f"sub-{n:03d}",
                        "session_id": None,
                        "region": region,
                        "contrast": contrast,
                        "area_mm2": area,
                        "source_image": f"{n}_{contrast}",
                        "site": f"S{site}",
                        "scanner": "Prisma",
                        "software": "VE11",
                        **person,
                    }
                )
    return pd.DataFrame(rows).assign(**changes)


def everyone(frame: pd.DataFrame) -> pd.Series:
    return pd.Series(True, index=frame.index)


def test_scanner_shifts_are_taken_out_and_sex_stays() -> None:
    frame = study()
    found = harmonise(frame, everyone(frame))
    whole = frame.assign(session_id="").merge(
        found.areas, on=["participant_id", "session_id", "region", "contrast"]
    )
    assert len(whole) == len(frame)
    means = whole.groupby("site")["area_harmonised_mm2"].mean()
    assert np.ptp(means) < 0.5 < np.ptp(whole.groupby("site")["area_mm2"].mean())
    by_sex = whole.groupby("sex")["area_harmonised_mm2"].mean()
    assert by_sex["M"] - by_sex["F"] == pytest.approx(4.0, abs=0.5)
    assert {row["method"] for row in found.rows} == {"location and scale"}
    assert "fewer than 10" in found.rows[0]["notes"]


def test_a_site_of_patients_only_is_refused() -> None:
    frame = study()
    frame.loc[frame["site"] == "S2", "group"] = "MS"
    found = harmonise(frame, frame["group"] == "HC")
    [refusal] = [row for row in found.rows if row["statistic"] == "refused"]
    assert refusal["batch"].startswith("S2") and refusal["n_fit"] == 0
    assert "0 of its 30 people" in refusal["notes"]
    assert not set(frame.loc[frame["site"] == "S2", "participant_id"]) & set(found.areas["participant_id"])


def test_a_site_of_patients_only_is_refused_whoever_is_fitted_on() -> None:
    frame = study()
    frame.loc[frame["site"] == "S2", "group"] = "MS"
    found = harmonise(frame, everyone(frame), ("age", "sex", "group"), controls=frame["group"] == "HC")
    [refusal] = [row for row in found.rows if row["statistic"] == "refused"]
    assert refusal["batch"].startswith("S2") and refusal["n_fit"] == 30
    assert refusal["notes"] == "0 of its 30 people are controls, 10 are needed"
    assert not set(frame.loc[frame["site"] == "S2", "participant_id"]) & set(found.areas["participant_id"])


def test_a_feature_of_few_controls_is_refused_there() -> None:
    frame = study()
    order = frame["participant_id"].str[4:].astype(int)
    frame.loc[(frame["site"] == "S1") & (order % 2 == 0), "group"] = "MS"
    healthy = frame["group"] == "HC"
    lost = healthy & (frame["site"] == "S1") & (frame["region"] == "vert-C2") & (order % 4 == 1)
    kept = frame[~lost]
    found = harmonise(kept, everyone(kept), controls=healthy[~lost])
    refused = [row for row in found.rows if row["statistic"] == "refused"]
    assert {(row["region"], row["batch"][:2]) for row in refused} == {("vert-C2", "S1")}
    assert "10 of each are needed" in refused[0]["notes"] and refused[0]["n_fit"] > 10
    areas = found.areas.merge(kept[["source_image", "site"]].drop_duplicates())
    assert not ((areas["site"] == "S1") & (areas["region"] == "vert-C2")).any()


def test_sessions_of_one_person_are_not_several_people() -> None:
    frame = study()
    rare = (frame["site"] == "S1") & (frame["region"] == "vert-C2") & (frame["participant_id"] >= "sub-025")
    first = frame[~rare]
    both = pd.concat([first.assign(session_id=f"ses-{n}") for n in (1, 2)], ignore_index=True)
    found = harmonise(both, everyone(both))
    refused = [row for row in found.rows if row["statistic"] == "refused"]
    assert {(row["region"], row["batch"][:2], row["n_fit"]) for row in refused} == {("vert-C2", "S1", 8)}


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [("age", 80.0, "age 80-80 does not overlap"), ("sex", "M", "all of one sex")],
)
def test_confounded_scanners_are_refused(column: str, value: object, reason: str) -> None:
    frame = study()
    frame.loc[frame["site"] == "S1", column] = value
    found = harmonise(frame, everyone(frame))
    [refusal] = [row for row in found.rows if row["statistic"] == "refused"]
    assert refusal["batch"].startswith("S1") and reason in refusal["notes"]


def test_one_scanner_alone_is_not_harmonised() -> None:
    frame = study().query("site == 'S0'")
    found = harmonise(frame, everyone(frame))
    assert found.areas.empty and "two are needed" in found.rows[-1]["notes"]


def test_unnamed_scanners_are_refused() -> None:
    frame = study(site="", scanner=None, software=None)
    assert set(batch_names(frame)) == {""}
    assert "neither scanner nor software" in harmonise(frame, everyone(frame)).rows[0]["notes"]


def test_a_feature_too_rare_at_a_scanner_is_refused_there() -> None:
    frame = study()
    rare = (frame["site"] == "S1") & (frame["region"] == "vert-C2")
    kept = frame[~rare | (frame["participant_id"] < "sub-020")]
    found = harmonise(kept, everyone(kept))
    refused = {(row["region"], row["batch"][:2]) for row in found.rows if row["statistic"] == "refused"}
    assert refused == {("vert-C2", "S1")}


def test_sessions_make_it_longitudinal() -> None:
    first = study()
    both = pd.concat([first.assign(session_id="ses-1"), first.assign(session_id="ses-2")], ignore_index=True)
    found = harmonise(both, everyone(both))
    assert {row["method"] for row in found.rows} == {"longitudinal location and scale"}
    assert len(found.areas) == len(both)


def test_nothing_left_to_fit() -> None:
    frame = study()
    only = {"S0": ("vert-C1", "T1w"), "S1": ("vert-C1", "T2w"), "S2": ("vert-C2", "T1w")}
    kept = [only[row.site] == (row.region, row.contrast) for row in frame.itertuples()]
    found = harmonise(frame[kept], everyone(frame[kept]))
    assert found.areas.empty and "no feature has 10 rows" in found.rows[-1]["notes"]


def visits(upgraded: int = 24, people: int = 36, loss: float = 3.0, **changes: object) -> pd.DataFrame:
    """Two visits two years apart at three sites, whose people lose area; some come to a new scanner then."""
    rng = np.random.default_rng(5)
    rows = []
    for n in range(people):
        size = 72 + 5 * rng.normal()
        for visit in (0, 1):
            new = visit == 1 and n < upgraded
            area = size - loss * visit + 2.0 * new + 0.3 * rng.normal()
            rows.append({
                "participant_id": f"sub-{n:02d}", "person_id": f"p{n}", "session_id": f"ses-{visit}",
                "region": "vert-C3", "contrast": "T2w", "area_mm2": area, "source_image": f"{n}_{visit}",
                "site": "S", "scanner": "new" if new else "old", "software": "1", "age": 30.0 + n % 20,
                "sex": "MF"[n % 2], "years": 2.0 * visit, "group": "HC",
            })  # fmt: skip
    return pd.DataFrame(rows).assign(**changes)


def lost(frame: pd.DataFrame, areas: pd.DataFrame) -> pd.Series:
    """What each person loses between the visits, harmonised."""
    table = areas.pivot_table(index="participant_id", columns="session_id", values="area_harmonised_mm2")
    return table["ses-0"] - table["ses-1"]


class TestTime:
    """What people lose with the years is no effect of the scanners that change with them."""

    @pytest.mark.parametrize("years", [True, False])
    def test_a_loss_is_kept(self, years: bool) -> None:
        frame = visits() if years else visits().drop(columns="years")
        found = harmonise(frame, everyone(frame))
        assert lost(frame, found.areas).mean() == pytest.approx(3.0, abs=0.4)
        shifts = [row["estimate"] for row in found.rows if row["statistic"] == "shift"]
        assert np.ptp(shifts) == pytest.approx(2.0, abs=0.5)
        assert ("order is kept as time" in found.rows[0]["notes"]) != years

    def test_each_group_keeps_its_own(self) -> None:
        frame = visits(people=60, upgraded=40)
        ill = frame["person_id"].str[1:].astype(int) % 3 == 0
        frame["group"] = np.where(ill, "MS", "HC")
        frame["area_mm2"] -= 4.0 * (ill & (frame["session_id"] == "ses-1"))
        found = harmonise(frame, everyone(frame), ("age", "group"), controls=~ill, group="group")
        loss = lost(frame, found.areas)
        of_ill = loss.index.isin(frame.loc[ill, "participant_id"])
        assert loss[of_ill].mean() == pytest.approx(7.0, abs=0.5)
        assert loss[~of_ill].mean() == pytest.approx(3.0, abs=0.5)

    def test_a_scanner_that_came_with_the_second_visit_is_refused(self) -> None:
        frame = visits(upgraded=36)
        found = harmonise(frame, everyone(frame))
        assert found.areas.empty
        reasons = [row["notes"] for row in found.rows[:2]]
        assert all("not to be told from time" in reason and "0 people" in reason for reason in reasons)

    def test_controls_who_came_once_say_nothing_of_time(self) -> None:
        frame = visits(people=60, upgraded=20)
        number = frame["person_id"].str[1:].astype(int)
        frame["scanner"] = np.where(number // 2 % 2 == 0, "old", "new")
        healthy = number >= 20
        frame = frame[~healthy | (frame["session_id"] == "ses-0")]
        found = harmonise(frame, healthy[frame.index])
        assert {row["method"] for row in found.rows} == {"location and scale"}
        raw = frame.pivot_table(index="participant_id", columns="session_id", values="area_mm2").dropna()
        assert lost(frame, found.areas).dropna().mean() == pytest.approx(
            (raw["ses-0"] - raw["ses-1"]).mean(), abs=0.5
        )

    def test_a_traveller_is_one_person(self) -> None:
        frame = study()
        frame["person_id"] = "p" + (frame["participant_id"].str[4:].astype(int) // 3).astype(str)
        found = harmonise(frame, everyone(frame))
        assert {row["method"] for row in found.rows} == {"longitudinal location and scale"}
        fewer = frame[frame["site"] != "S2"]
        both = pd.concat([fewer, frame[frame["site"] == "S2"].assign(person_id="one")])
        [refused] = [row for row in harmonise(both, everyone(both)).rows if row["statistic"] == "refused"]
        assert refused["batch"].startswith("S2") and "1 of its 1 people" in refused["notes"]


class TestOverlap:
    """Batches are compared with those that are harmonised, and one person does not stretch an age range."""

    def test_a_refused_batch_is_no_company(self) -> None:
        frame = study()
        old = frame["site"] != "S0"
        frame.loc[old, "age"] += 60.0
        # The only others as old as the people of S1 are those of S2, of whom none is a control.
        frame.loc[frame["site"] == "S2", "group"] = "MS"
        more = study().assign(site="S3").query("participant_id < 'sub-045'")
        more = more.assign(participant_id=more["participant_id"] + "x", person_id=more["person_id"] + "x")
        whole = pd.concat([frame, more], ignore_index=True)
        found = harmonise(whole, everyone(whole), controls=whole["group"] == "HC")
        refused = {row["batch"][:2]: row["notes"] for row in found.rows if row["statistic"] == "refused"}
        assert set(refused) == {"S1", "S2"} and "does not overlap" in refused["S1"]

    def test_refusals_go_on_until_nothing_changes(self) -> None:
        frame = study()
        frame["age"] = frame["age"] % 20 + frame["site"].map({"S0": 20.0, "S1": 60.0, "S2": 60.0})
        frame.loc[frame["site"] == "S2", "sex"] = "F"
        more = frame[frame["site"] == "S0"].assign(site="S3")
        more = more.assign(participant_id=more["participant_id"] + "x", person_id=more["person_id"] + "x")
        whole = pd.concat([frame, more], ignore_index=True)
        found = harmonise(whole, everyone(whole))
        refused = {row["batch"][:2]: row["notes"] for row in found.rows if row["statistic"] == "refused"}
        assert set(refused) == {"S1", "S2"} and "does not overlap" in refused["S1"]
        assert set(whole.loc[whole["source_image"].isin(found.areas["source_image"]), "site"]) >= {"S0", "S3"}

    def test_one_old_person_covers_nothing(self) -> None:
        frame = study().query("site != 'S2'")
        frame.loc[frame["site"] == "S1", "age"] += 50.0
        first = frame["participant_id"] == frame.loc[frame["site"] == "S0", "participant_id"].iloc[0]
        frame.loc[first, "age"] = 120.0
        refused = [
            row for row in harmonise(frame, everyone(frame)).rows if "does not overlap" in row["notes"]
        ]
        assert {row["batch"][:2] for row in refused} == {"S0", "S1"}
