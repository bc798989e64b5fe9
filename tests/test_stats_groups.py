"""Groups, centres, norms and sample size on studies of known truth."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from scipy import stats
from statsmodels.stats.power import TTestIndPower, TTestPower

from softseg_bids.stats.centres import POOLED, centres, vendor_variation
from softseg_bids.stats.design import (
    MISSING_GROUP,
    ages,
    build,
    names_in,
    once,
    quoted,
    site_term,
    tidy,
    usable_covariates,
)
from softseg_bids.stats.groups import control_label, differences, group_column
from softseg_bids.stats.norms import PUBLISHED
from softseg_bids.stats.power import people_needed, sample_sizes
from softseg_bids.stats.reference import eligible, from_table, own_controls, published_scope, read_norms
from softseg_bids.stats.vendors import vendor

DIFFERENCE = -6.0


def study(seed: int = 0, people: int = 120, sites: int = 1, **changes: object) -> pd.DataFrame:
    """Controls and patients (6 mm2 smaller) at some sites, 4 mm2 apart; two contrasts, C3 and C4."""
    rng = np.random.default_rng(seed)
    site_effects = 4 * rng.normal(size=sites)
    rows = []
    for n in range(people):
        age, male, patient, site = (
            rng.uniform(20, 50),
            rng.random() < 0.5,
            n % 3 == 0,
            int(rng.integers(sites)),
        )
        size = (
            72 + 4 * male - 0.05 * (age - 40) + DIFFERENCE * patient + site_effects[site] + 5 * rng.normal()
        )
        person = {
            "participant_id": f"sub-{n:03d}", "person_id": f"sub-{n:03d}", "session_id": None, "age": age,
            "sex": "MF"[1 - male], "pathology": "MS" if patient else "HC", "site": f"S{site}",
            "manufacturer": "AB"[site % 2], "csa_fit": "good", "flags": None, "run": None, "acq": None,
            "ce": None, "rec": None,
        }  # fmt: skip
        rows += [
            {
                **person, "region": region, "contrast": contrast, "source_image": f"{n}_{contrast}",
                "area_mm2": size + rng.normal(),
            }
            for contrast in ("T1w", "T2w")
            for region in ("vert-C3", "vert-C4")
        ]  # fmt: skip
    return pd.DataFrame(rows).assign(**changes)


def pick(rows: list[dict[str, Any]], **wanted: Any) -> dict[str, Any]:
    [found] = [row for row in rows if all(row.get(name) == value for name, value in wanted.items())]
    return found


C3 = {"region": "vert-C3", "contrast": "T2w"}


class TestDesign:
    """Covariates as they come from participants.tsv."""

    def test_numbers_and_text(self) -> None:
        assert tidy(pd.Series(["40", "n/a", "41.5", None])).tolist()[::2] == [40.0, 41.5]
        sexes = tidy(pd.Series(["M", "-", "F"]))
        assert sexes.isna().tolist() == [False, True, False] and sexes.tolist()[::2] == ["M", "F"]

    def test_what_is_missing_is_said(self) -> None:
        frame = pd.DataFrame(
            {"age": [1.0, np.nan, np.nan, np.nan], "sex": ["M"] * 4, "height": [1.0, 2, 3, None]}
        )
        kept, notes = usable_covariates(frame, ["age", "sex", "height", "weight"])
        assert kept == ["height"]
        assert "only 1 of 4" in notes[0] and "same for all" in notes[1]
        assert "1 of 4 without height" in notes[2] and "there is none" in notes[3]

    def test_random_terms_of_a_formula(self) -> None:
        design = build(study(sites=6), "area_mm2", ["age", "(1|site)", "(1 | person_id)"])
        assert design.random == ["site", "person_id"] and design.names == ["Intercept", "age"]
        assert build(study(sites=6), "area_mm2", ["(1|site)"]).names == ["Intercept"]

    @pytest.mark.parametrize(
        ("terms", "message"),
        [(["weight"], "weight"), (["(1|ward)"], "no column ward"), (["age +* sex"], "cannot be read")],
    )
    def test_formulas_that_cannot_be_used(self, terms: list[str], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            build(study(), "area_mm2", terms)

    def test_no_complete_row(self) -> None:
        with pytest.raises(ValueError, match="no complete row"):
            build(study(area_mm2=np.nan), "area_mm2", ["age"])

    def test_pythons_own_words_are_names_of_columns(self) -> None:
        frame = study().assign(**{"class": np.arange(480) % 7.0})
        kept, _ = usable_covariates(frame, ["class"])
        assert build(frame, "area_mm2", [quoted(name) for name in kept]).names[1] == 'Q("class")'
        found = pick(differences(frame, "pathology", "HC", ["class"]), **C3, statistic="difference")
        assert found["formula"] == 'csa ~ pathology + Q("class")'

    @pytest.mark.parametrize("term", ["data['age']", "frame.age"])
    def test_variables_of_the_program_are_no_columns(self, term: str) -> None:
        with pytest.raises(ValueError, match=f"name '{term[:4]}"):
            build(study(), "area_mm2", ["sex", term])

    def test_a_group_may_be_called_none(self) -> None:
        groups = pd.Series(["none", "MS", "unknown", "n/a", ""])
        assert tidy(groups, MISSING_GROUP).isna().tolist() == [False, False, False, True, True]
        assert tidy(groups).isna().tolist() == [True, False, True, True, True]
        assert control_label(tidy(groups, MISSING_GROUP)) == "none"

    def test_ages_as_they_are_written(self) -> None:
        found = ages(pd.Series(["030Y", "018M", "45-50", 61.5, "40", "89+", None, "inf", "364d"]))
        assert found.tolist()[:2] == [30.0, 1.5] and found.tolist()[3:5] == [61.5, 40.0]
        assert found.isna().tolist() == [False, False, True, False, False, True, True, True, False]

    @pytest.mark.parametrize(
        ("text", "name"),
        [
            ("SIEMENS", "Siemens"), ("Siemens Healthineers", "Siemens"), ("GE MEDICAL SYSTEMS", "GE"),
            ("General Electric", "GE"), ("Philips Medical Systems", "Philips"), ("UIH", "United Imaging"),
            ("GERMAN  coils", "German Coils"), ("A", "A"),
        ],
    )  # fmt: skip
    def test_names_of_vendors(self, text: str, name: str) -> None:
        assert vendor(text) == name

    def test_few_sites_are_fixed(self) -> None:
        assert site_term(study(sites=6)) == (["(1|site)"], [])
        assert site_term(study(sites=3))[0] == ["C(site)"] and site_term(study())[0] == []


class TestGroups:
    def test_adjusted_difference_is_that_of_least_squares(self) -> None:
        frame = study()
        found = pick(differences(frame, "pathology", "HC"), **C3, statistic="difference")
        part = frame.query("region == 'vert-C3' and contrast == 'T2w'")
        known = smf.ols("area_mm2 ~ C(pathology) + age + sex", part).fit(cov_type="HC3", use_t=True)
        assert found["estimate"] == pytest.approx(known.params["C(pathology)[T.MS]"])
        assert found["se"] == pytest.approx(known.bse["C(pathology)[T.MS]"], rel=0.02)
        assert found["ci_low"] < DIFFERENCE < found["ci_high"]
        assert (found["n_people"], found["n_controls"]) == (40, 80)

    def test_false_discoveries_are_held_over_regions(self) -> None:
        rows = differences(study(), "pathology", "HC")
        pair = [row for row in rows if row["statistic"] == "difference" and row["contrast"] == "T1w"]
        known = stats.false_discovery_control([row["p"] for row in pair])
        assert [row["p_fdr"] for row in pair] == pytest.approx(list(known))

    def test_effect_size_is_the_difference_in_sds(self) -> None:
        found = pick(differences(study(people=600), "pathology", "HC"), **C3, statistic="effect_size")
        assert found["estimate"] == pytest.approx(DIFFERENCE / 26**0.5, abs=0.25)
        assert found["ci_low"] < DIFFERENCE / 26**0.5 < found["ci_high"]

    def test_sites_are_random_from_five(self) -> None:
        found = pick(differences(study(sites=8), "pathology", "HC"), **C3, statistic="difference")
        assert "(1|site)" in found["formula"] and "Satterthwaite" in found["method"]
        assert found["ci_low"] < DIFFERENCE < found["ci_high"]

    def test_a_person_twice_is_a_random_effect(self) -> None:
        frame = study()
        frame["person_id"] = "p" + (frame["participant_id"].str[4:].astype(int) // 2).astype(str)
        found = pick(differences(frame, "pathology", "HC"), **C3, statistic="difference")
        assert "(1|person_id)" in found["formula"]

    def test_the_effect_size_of_people_seen_twice_is_that_of_people_seen_once(self) -> None:
        """Half of the people are there as two participants, whose noise is a fifth of the people's SD."""
        rng = np.random.default_rng(3)
        twice = []
        for _, row in study(people=240).query("region == 'vert-C3' and contrast == 'T2w'").iterrows():
            n = int(row["participant_id"][4:])
            twice += [
                {**row, "participant_id": f"sub-{n}-{k}", "area_mm2": row["area_mm2"] + rng.normal()}
                for k in range(1 + n % 2)
            ]
        frame = pd.DataFrame(twice)
        found = differences(frame, "pathology", "HC")
        size = pick(found, statistic="effect_size")
        once = differences(frame.drop_duplicates("person_id"), "pathology", "HC")
        known = pick(once, statistic="effect_size")
        assert size["estimate"] == pytest.approx(known["estimate"], rel=0.15)
        assert size["ci_low"] < DIFFERENCE / 27**0.5 < size["ci_high"]
        assert size["ci_high"] - size["ci_low"] == pytest.approx(known["ci_high"] - known["ci_low"], rel=0.2)
        difference = pick(found, statistic="difference")
        assert (difference["n_people"], difference["n_controls"]) == (80, 160)

    def test_two_participants_of_one_person_are_no_group_of_people(self) -> None:
        frame = study()
        ill = frame["participant_id"].isin([f"sub-{n:03d}" for n in range(4)])
        frame.loc[ill, "pathology"] = "ALS"
        frame.loc[ill, "person_id"] = "one"
        assert pick(differences(frame, "pathology", "HC"), **C3, group="ALS")["notes"] == "1 people: too few"

    def test_group_and_site_the_same(self) -> None:
        frame = study(sites=2)
        frame["pathology"] = np.where(frame["site"] == "S0", "HC", "MS")
        found = pick(differences(frame, "pathology", "HC"), **C3, statistic="difference")
        assert "the same as the site" in found["notes"] and "estimate" not in found

    def test_an_own_formula(self) -> None:
        found = pick(differences(study(), "pathology", "HC", formula="age"), **C3, statistic="difference")
        assert found["formula"].endswith("+ age")
        whole = differences(study(), "pathology", "HC", formula="pathology + age")
        assert pick(whole, **C3, statistic="difference")["estimate"] == pytest.approx(found["estimate"])
        none = differences(study(), "pathology", "HC", formula="age + np.log(pathology)")
        assert "no estimate" in pick(none, **C3)["notes"]

    def test_names_that_hold_the_groups_name_are_not_the_group(self) -> None:
        frame = study().rename(columns={"pathology": "group"})
        frame["age_group"] = np.where(frame["age"] > 35, "MS", "young")
        found = pick(differences(frame, "group", "HC", formula="age_group"), **C3, statistic="difference")
        assert found["formula"] == "csa ~ group + age_group"
        same = pick(
            differences(frame, "group", "HC", formula="group + age_group"), **C3, statistic="difference"
        )
        part = frame.query("region == 'vert-C3' and contrast == 'T2w'")
        known = smf.ols("area_mm2 ~ group + age_group", part).fit().params["group[T.MS]"]
        assert found["estimate"] == pytest.approx(known) and same["estimate"] == pytest.approx(known)
        assert names_in("C(age_group) + Q('my group') + (1|site)") == {
            "C", "age_group", "Q", "my group", "site",
        }  # fmt: skip

    def test_controls_are_the_reference_wherever_they_stand_in_the_alphabet(self) -> None:
        frame = study()
        frame["pathology"] = frame["pathology"].map({"HC": "healthy", "MS": "ALS"})
        whole = differences(frame, "pathology", "healthy", formula="pathology + age + sex")
        assert pick(whole, **C3, statistic="difference", group="ALS")["estimate"] < 0

    def test_small_groups_are_named_and_left_out(self) -> None:
        frame = study()
        frame.loc[frame["participant_id"] == "sub-001", "pathology"] = "ALS"
        rows = differences(frame, "pathology", "HC")
        assert pick(rows, **C3, group="ALS")["notes"] == "1 people: too few"
        few = differences(frame.query("pathology != 'HC' or participant_id == 'sub-002'"), "pathology", "HC")
        assert "1 controls (HC): too few" in pick(few, **C3, group="MS")["notes"]

    def test_names_of_groups(self) -> None:
        assert group_column(study(), None) == "pathology" and group_column(study(), "diagnosis") is None
        assert control_label(pd.Series(["MS", "Healthy"])) == "Healthy"
        assert control_label(pd.Series(["MS", "x"])) is None
        frame = pd.DataFrame(
            {"pathology": ["HC", "HC"], "group": ["trained", "not"], "diagnosis": [None, None]}
        )
        assert group_column(frame, None) == "group" and group_column(frame, "pathology") == "pathology"
        assert group_column(frame[["pathology", "diagnosis"]], None) == "pathology"
        assert group_column(frame[["diagnosis"]], None) is None
        assert control_label(pd.Series(["MS", "x"]), "x") == "x"


class TestCentres:
    def test_components_of_known_truth(self) -> None:
        rows = centres(study(seed=4, people=300, sites=30))
        site, people = (pick(rows, **C3, statistic=name) for name in ("sd_site", "sd_people"))
        assert site["ci_low"] < 4 < site["ci_high"]
        assert people["estimate"] == pytest.approx(
            np.hypot(26**0.5, abs(DIFFERENCE) * np.sqrt(2 / 9)), rel=0.1
        )
        icc = pick(rows, **C3, statistic="icc_site")
        assert 0 < icc["ci_low"] < icc["estimate"] < icc["ci_high"] < 1

    def test_shrunken_effects_are_smaller(self) -> None:
        rows = [row for row in centres(study(people=60, sites=6)) if row["statistic"] == "site_effect"]
        mine = [row for row in rows if row["region"] == "vert-C3" and row["contrast"] == "T1w"]
        assert sum(row["estimate"] for row in mine) == pytest.approx(0, abs=1e-6)
        assert np.std([row["shrunken"] for row in mine]) < np.std([row["estimate"] for row in mine])

    def test_few_sites_have_no_variance(self) -> None:
        rows = [
            row for row in centres(study(sites=3)) if row["region"] == "vert-C3" and row["contrast"] == "T1w"
        ]
        assert {row["statistic"] for row in rows} == {"site_effect"} and "site is fixed" in rows[0]["notes"]

    def test_repeats_nest_the_participant(self) -> None:
        frame = study(people=60, sites=6)
        again = frame.assign(
            run="2", area_mm2=frame["area_mm2"] + np.random.default_rng(1).normal(size=len(frame))
        )
        rows = centres(pd.concat([frame, again]))
        repeat = pick(rows, **C3, statistic="sd_repeat")
        assert repeat["ci_low"] < 1 / np.sqrt(2) < repeat["ci_high"]
        assert "(1|participant_id)" in repeat["formula"]

    def test_pooled_over_contrasts(self) -> None:
        frame = study(people=300, sites=10)
        lone = frame["participant_id"].str.endswith("7") & (frame["contrast"] == "T1w")
        shifted = frame.assign(area_mm2=frame["area_mm2"] + 9.0 * (frame["contrast"] == "T1w"))[~lone]
        plain, moved = centres(frame[~lone]), centres(shifted)
        for name in ("sd_site", "sd_people"):
            want = {"region": "vert-C3", "contrast": POOLED, "statistic": name}
            assert pick(plain, **want)["estimate"] == pytest.approx(pick(moved, **want)["estimate"], rel=1e-4)

    def test_the_pooled_model_is_the_one_its_formula_names(self) -> None:
        frame = study(seed=4, people=150, sites=15).query("region == 'vert-C3'")
        frame = frame[~(frame["participant_id"].str.endswith("7") & (frame["contrast"] == "T1w"))]
        found = pick(centres(frame), contrast=POOLED, statistic="sd_site")
        assert found["formula"] == "csa ~ age + sex + C(contrast, Sum) + (1|site) + (1|participant_id)"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            known = smf.mixedlm(
                "area_mm2 ~ age + sex + contrast", frame, groups="site", re_formula="1",
                vc_formula={"person": "0 + C(participant_id)"},
            ).fit()  # fmt: skip
        assert found["estimate"] == pytest.approx(known.cov_re.iloc[0, 0] ** 0.5, rel=0.01)
        assert pick(centres(frame), contrast=POOLED, statistic="sd_within_people")["ci_low"] > 0.5

    def test_repeats_do_not_double_the_weight_of_a_contrast(self) -> None:
        frame = study(people=60, sites=6)
        again = frame[frame["contrast"] == "T1w"].assign(run="2")
        single, twice = centres(frame), centres(pd.concat([frame, again]))
        for name in ("sd_site", "sd_people", "sd_within_people", "icc_site"):
            want = {"region": "vert-C3", "contrast": POOLED, "statistic": name}
            assert str(pick(single, **want)) == str(pick(twice, **want))

    def test_intervals_with_noisy_repeats(self) -> None:
        """Repeats that differ by more than people do: the intervals are of the ratio that is estimated."""
        rng = np.random.default_rng(8)
        truth = {"sd_site": 2.5, "sd_people": 2.0, "icc_site": 6.25 / (6.25 + 4.0 + 36.0)}
        held = dict.fromkeys(truth, 0)
        person = np.arange(144)
        base = pd.DataFrame({
            "participant_id": person.astype(str), "person_id": person.astype(str), "session_id": "",
            "site": (person % 12).astype(str), "region": "vert-C3", "contrast": "T2w",
        })  # fmt: skip
        for _ in range(40):
            size = 70 + 2.5 * rng.normal(size=12)[person % 12] + 2.0 * rng.normal(size=144)
            runs = [base.assign(run=run, area_mm2=size + 6.0 * rng.normal(size=144)) for run in ("1", "2")]
            rows = centres(pd.concat(runs), [])
            for name, value in truth.items():
                found = pick(rows, statistic=name)
                held[name] += found["ci_low"] <= value <= found["ci_high"]
        assert min(held.values()) >= 35

    def test_travelling_volunteers_are_no_further_people(self) -> None:
        frame = study(people=60, sites=6)
        abroad = frame[frame["participant_id"] < "sub-010"]
        abroad = abroad.assign(
            participant_id=abroad["participant_id"] + "x", site="S0", area_mm2=abroad["area_mm2"] + 9.0
        )
        whole = pd.concat([frame, abroad], ignore_index=True)
        assert str(centres(whole)) == str(centres(frame))
        assert str(vendor_variation(whole)) == str(vendor_variation(frame))
        planned = [row for row in sample_sizes(whole, whole) if row["statistic"] == "people_per_group"]
        assert planned == [
            row for row in sample_sizes(frame, frame) if row["statistic"] == "people_per_group"
        ]

    def test_the_first_visit_of_a_person_counts(self) -> None:
        frame = pd.DataFrame({
            "participant_id": ["a", "b", "b", "c"], "person_id": ["p", "p", "p", "q"],
            "region": "vert-C3", "contrast": "T2w", "years": [2.0, 0.0, 0.0, np.nan],
        }, index=[5, 5, 6, 7])  # fmt: skip
        assert once(frame)["participant_id"].tolist() == ["b", "b", "c"]
        assert once(frame.drop(columns="years"))["participant_id"].tolist() == ["a", "c"]

    def test_pooled_over_the_contrast_set_only(self) -> None:
        frame = study(people=120, sites=6)
        third = frame[frame["contrast"] == "T1w"].assign(contrast="DWI")
        # A distorted contrast that half of the people have, other sites more than others.
        third = third[third["participant_id"].str[4:].astype(int) % 2 == 0]
        third["area_mm2"] += 10 * (third["site"] == "S0")
        whole = pd.concat([frame, third])
        plain, pooled = centres(frame), centres(whole, contrast_set=["T1w", "T2w", "MTon"])
        want = {"region": "vert-C3", "contrast": POOLED, "statistic": "sd_site"}
        assert pick(pooled, **want)["estimate"] == pytest.approx(pick(plain, **want)["estimate"])
        assert pick(centres(whole), **want)["estimate"] != pytest.approx(pick(plain, **want)["estimate"])
        assert pick(pooled, region="vert-C3", contrast="DWI", statistic="sd_site")["n_people"] == 60
        alone = centres(whole, contrast_set=["T1w"])
        assert not [row for row in alone if row["contrast"] == POOLED]

    def test_one_site(self) -> None:
        assert "1 sites of 2 people" in pick(centres(study()), **C3)["notes"]

    def test_all_people_different_covariates(self) -> None:
        frame = study(people=12, sites=6).assign(age=lambda each: each["participant_id"])
        assert all(
            "no estimate" in row["notes"] or "2 people" in row["notes"] for row in centres(frame, ["age"])
        )

    def test_variation_of_vendors_by_hand(self) -> None:
        areas = {("A1", "A"): [70.0, 74.0], ("A2", "A"): [80.0, 84.0], ("B1", "B"): [60.0]}
        rows = [
            {
                "region": "vert-C3", "contrast": "T2w", "manufacturer": vendor, "site": site,
                "area_mm2": area, "participant_id": f"sub-{area}", "person_id": f"sub-{area}",
            }
            for (site, vendor), values in areas.items()
            for area in values
        ]  # fmt: skip
        found = vendor_variation(pd.DataFrame(rows))
        within, between = (
            pick(found, manufacturer="A", statistic=f"cov_{name}")
            for name in ("within_site", "between_sites")
        )
        sd = np.sqrt(8.0)
        assert within["estimate"] == pytest.approx(100 * np.mean([sd / 72, sd / 82]))
        assert between["estimate"] == pytest.approx(100 * np.std([72, 82], ddof=1) / 77)
        assert "no site with two" in pick(found, manufacturer="B")["notes"]
        spelt = pd.DataFrame(rows).assign(manufacturer=["SIEMENS", "Siemens", "siemens", "SIEMENS", "Ge"])
        assert pick(vendor_variation(spelt), manufacturer="Siemens", statistic="mean")["n_people"] == 4


class TestNorms:
    def test_own_controls_leave_themselves_out(self) -> None:
        frame = study(people=90).query("region == 'vert-C3' and contrast == 'T2w'").reset_index(drop=True)
        healthy = frame["pathology"] == "HC"
        rows = own_controls(frame, healthy).to_dict("records")
        assert [row["participant_id"] for row in rows] == list(frame["participant_id"])
        who = 1  # a control
        others = frame[healthy & (frame.index != who)]
        known = smf.ols("area_mm2 ~ age + sex", others).fit()
        band = known.get_prediction(frame.loc[[who]]).summary_frame()
        assert rows[who]["expected_mm2"] == pytest.approx(band["mean"].iloc[0])
        assert rows[who]["reference_low"] == pytest.approx(band["obs_ci_lower"].iloc[0])
        patient = (
            smf.ols("area_mm2 ~ age + sex", frame[healthy])
            .fit()
            .get_prediction(frame.loc[[0]])
            .summary_frame()
        )
        assert rows[0]["reference_high"] == pytest.approx(patient["obs_ci_upper"].iloc[0])

    def test_few_controls_give_no_norm(self) -> None:
        frame = study(people=20)
        rows = own_controls(frame, frame["pathology"] == "HC").to_dict("records")
        assert {row["notes"] for row in rows} == {"13 controls, 20 are needed"}

    def test_published_norms_are_bridged(self) -> None:
        frame = study(people=200)
        rows, offsets = from_table(
            frame, frame["pathology"] == "HC", published_scope(read_norms(PUBLISHED)), "published"
        )
        offset = pick(offsets, region="vert-C3", statistic="offset")
        part = frame.query("region == 'vert-C3' and contrast == 'T2w' and pathology == 'HC'")
        norm = part["sex"].map({"M": 74.59, "F": 70.21})
        assert offset["estimate"] == pytest.approx((part["area_mm2"] - norm).mean(), abs=1e-6)
        assert {row["contrast"] for row in rows} == {"T2w"}
        mean = np.mean([row["z"] for row in rows if row["participant_id"] in set(part["participant_id"])])
        assert abs(mean) < 0.05
        distance = part["area_mm2"] - norm
        table = read_norms(PUBLISHED).query("level == 'C3'").set_index("sex")
        share = part["sex"].value_counts(normalize=True)
        own = sum((share[sex] * table["csa_mm2_sd"][sex]) ** 2 / table["n"][sex] for sex in "MF")
        assert offset["se"] == pytest.approx(np.sqrt(distance.var() / len(distance) + own))
        assert 50 < offset["df"] < len(distance) + table["n"][["M", "F"]].sum()

    def test_a_table_that_does_not_say_of_how_many_it_is(self, tmp_path: Path) -> None:
        path = tmp_path / "norms.tsv"
        path.write_text("level\tsex\tn\tcsa_mm2_mean\tcsa_mm2_sd\nC3\tall\tn/a\t70\t6\n")
        frame = study(people=90)
        _, offsets = from_table(frame, frame["pathology"] == "HC", read_norms(path), "mine")
        offset = pick(offsets, region="vert-C3", contrast="T1w")
        assert np.isfinite(offset["estimate"]) and np.isnan(offset["ci_low"])

    def test_ages_that_are_text(self) -> None:
        frame = study(people=200)
        frame["age"] = frame["age"].map(lambda age: f"0{age:.0f}Y").astype(object)
        frame.loc[frame["participant_id"] == "sub-003", "age"] = "45-50"
        rows, _ = from_table(frame, frame["pathology"] == "HC", published_scope(read_norms(PUBLISHED)), "p")
        assert pick(rows, participant_id="sub-003", region="vert-C3")["notes"] == "age is not known"
        assert np.isfinite(pick(rows, participant_id="sub-004", region="vert-C3")["z"])

    def test_nobody_is_judged_beyond_the_controls_ages(self) -> None:
        frame = study(people=90).query("region == 'vert-C3' and contrast == 'T2w'").reset_index(drop=True)
        healthy = frame["pathology"] == "HC"
        frame.loc[0, "age"] = 80.0
        assert not healthy[0]
        rows = own_controls(frame, healthy).to_dict("records")
        assert "outside the controls' age, 20-" in rows[0]["notes"]
        assert np.isnan(
            [rows[0][name] for name in ("z", "percentile", "reference_low", "expected_mm2")]
        ).all()
        inside = frame["age"].between(frame["age"][healthy].min(), frame["age"][healthy].max())
        assert [np.isfinite(row["z"]) for row in rows] == inside.tolist()

    def test_published_norms_are_hidden_without_controls(self) -> None:
        frame = study(people=20)
        rows, offsets = from_table(
            frame, frame["pathology"] == "HC", published_scope(read_norms(PUBLISHED)), "p"
        )
        hidden = [row for row in offsets if row["statistic"] == "offset"]
        assert all("hidden: 13 controls" in row["notes"] and "z" not in row for row in [*rows, *hidden])
        lacking = {(row["region"], row["contrast"]) for row in offsets if row not in hidden}
        assert lacking == {("vert-C3", "T1w"), ("vert-C4", "T1w")}

    def test_ages_beyond_the_table(self) -> None:
        frame = study(people=200)
        frame.loc[frame["participant_id"] == "sub-003", "age"] = 60.0
        frame.loc[frame["participant_id"] == "sub-006", "age"] = np.nan
        rows, _ = from_table(frame, frame["pathology"] == "HC", published_scope(read_norms(PUBLISHED)), "p")
        assert pick(rows, participant_id="sub-003", region="vert-C3")["notes"] == "outside the table's ages"
        assert pick(rows, participant_id="sub-006", region="vert-C3")["notes"] == "age is not known"

    def test_scope_of_the_published_table(self) -> None:
        levels = set(published_scope(read_norms(PUBLISHED))["level"])
        assert "T3" in levels and "T4" not in levels and "C2-C3" in levels

    def test_a_table_of_others(self, tmp_path: Path) -> None:
        path = tmp_path / "norms.tsv"
        path.write_text("level\tsex\tn\tcsa_mm2_mean\tcsa_mm2_sd\nC3\tall\t50\t70\t6\n")
        frame = study(people=90)
        rows, _ = from_table(frame, frame["pathology"] == "HC", read_norms(path), "mine")
        assert {row["contrast"] for row in rows} == {"T1w", "T2w"}
        path.write_text("level\tsex\nC3\tall\n")
        with pytest.raises(ValueError, match="csa_mm2_mean"):
            read_norms(path)
        path.write_text("level\tsex\tn\tcsa_mm2_mean\tcsa_mm2_sd\nC3\tF\t50\t70\t6\n")
        rows, _ = from_table(frame, frame["pathology"] == "HC", read_norms(path), "mine")
        assert {
            row["notes"]
            for row in rows
            if row["participant_id"] == frame.query("sex == 'M'")["participant_id"].iloc[0]
        } == {"not in the table"}

    def test_who_is_not_compared(self) -> None:
        frame = study(people=3)
        frame.loc[0, "csa_fit"] = "limited"
        frame.loc[1, "flags"] = "jump;far_from_isocentre"
        frame.loc[2, "region"] = "common"
        kept, why = eligible(frame)
        assert len(kept) == len(frame) - 3 and list(why.index) == [0, 1, 2]


class TestSampleSize:
    @pytest.mark.parametrize(("effect", "sd"), [(3.0, 5.0), (1.0, 5.0), (6.0, 5.0)])
    def test_as_statsmodels(self, effect: float, sd: float) -> None:
        two = TTestIndPower().solve_power(effect / sd, power=0.8, alpha=0.05)
        one = TTestPower().solve_power(effect / sd, power=0.8, alpha=0.05)
        assert people_needed(effect, sd, groups=2) == np.ceil(two)
        assert people_needed(effect, sd, groups=1) == np.ceil(one)

    def test_without_spread_or_without_end(self) -> None:
        assert np.isnan(people_needed(1.0, 0.0, groups=2))
        assert people_needed(1e-6, 1.0, groups=2) == np.inf

    def test_from_controls_and_repeats(self) -> None:
        frame = study().query("pathology == 'HC'")
        again = frame.assign(run="2", area_mm2=frame["area_mm2"] + 1.0)
        rows = sample_sizes(frame, pd.concat([frame, again]))
        found = pick(rows, **C3, statistic="people_per_group", effect_percent=5.0)
        assert found["ci_low"] < found["estimate"] < found["ci_high"]
        change = pick(rows, **C3, statistic="people_for_change", effect_percent=2.0)
        assert change["sd_mm2"] == pytest.approx(1.0)
        assert (
            "too few to plan"
            in pick(sample_sizes(frame.query("participant_id < 'sub-005'"), frame), **C3)["notes"]
        )
