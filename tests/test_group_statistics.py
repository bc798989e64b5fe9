"""The group level end to end, from tables alone: every statistic, its dictionary, and what options do."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from test_group import row, write_session

from softseg_bids.app.cli import main
from softseg_bids.app.columns import LONG, MEASURES
from softseg_bids.app.group_columns import STATISTICS, TABLES
from softseg_bids.app.group_read import people
from softseg_bids.bids import derivatives

REGIONS = ("cord", "vert-C3", "vert-C4", "vert-C2:C3", "common")


def study(
    out: Path,
    people: int = 48,
    sessions: tuple[str | None, ...] = (None,),
    slices: bool = False,
    sites: int = 6,
    only_patients_at: int | None = None,
) -> None:
    """Patients and controls at some sites, three contrasts, T2w twice; some gaps."""
    rng = np.random.default_rng(1)
    shifts = 2 * rng.normal(size=sites)
    for n in range(people):
        who, site = f"{n:03d}", (n // 3) % sites
        patient = n % 3 == 0 or site == only_patients_at
        person = {
            "participant_id": f"sub-{who}", "age": None if n == 5 else str(20 + n % 30),
            "sex": "MF"[n % 2], "pathology": "MS" if patient else "HC",
        }  # fmt: skip
        size = 72 + shifts[site] - 6 * patient + 4 * rng.normal()
        for visit, session in enumerate(sessions):
            rows: list[dict[str, Any]] = []
            for contrast, run in (("T1w", "1"), ("T2w", "1"), ("T2w", "2"), ("MTon", "1")):
                for k, region in enumerate(REGIONS):
                    area = size - visit * (1.0 + patient) + rng.normal()
                    each = row(
                        contrast, region, who, run=run, area_mm2=area, area_binary_mm2=area + 0.3,
                        site=f"S{site}", manufacturer="Siemens", scanner=f"M{site}", software="1",
                        start_mm=20.0 * k, end_mm=20.0 * k + 20.0,
                        session_id=f"ses-{session}" if session else None,
                        coverage=0.5 if n == 7 and region == "vert-C4" else 1.0,
                    )  # fmt: skip
                    name = each["source_image"].replace("_x_", f"_ses-{session}_" if session else "_")
                    rows.append({**each, "source_image": name})
            write(out, who, session, visit, rows, person, slices)


def write(
    out: Path, who: str, session: str | None, visit: int, rows: list[dict[str, Any]],
    person: dict[str, Any], slices: bool,
) -> None:  # fmt: skip
    stems = {each["source_image"]: Path(each["source_image"]).name.rsplit("_", 1)[0] for each in rows}
    cards = {
        each["source_image"]: {
            "key": each["source_image"], "source": each["source_image"], "contrast": each["contrast"],
            "status": "measured", "folder": f"sub-{who}/anat", "stem": stems[each["source_image"]],
        }
        for each in rows
    }  # fmt: skip
    dates = {"acq_time": f"{2020 + visit}-01-01T00:00:00"} if session else {}
    said = {
        "participant": who, "session": session, "missing": [], "participant_row": person,
        "session_row": dates, "images": list(cards.values()),
    }  # fmt: skip
    table = derivatives.session_table(out, who, session)
    derivatives.write_table(table, rows, columns=LONG, extra={"Session": said})
    if slices:
        for card in cards.values():
            write_slices(out, card, visit)


def write_slices(out: Path, card: dict[str, Any], visit: int) -> None:
    """A cord of 70 mm2 with a narrowing at 50 mm, discs every 20 mm; each visit 0.7 mm2 thinner."""
    position = np.arange(100.5, 0, -1.0) + 3.0 * visit
    own = position - 3.0 * visit
    area = 70 + 8 * np.exp(-(((own - 30) / 15) ** 2)) - 30 * np.exp(-(((own - 50) / 4) ** 2)) - 0.7 * visit
    rows = [
        {
            "slice": n, "position_mm": position[n], "level": 2 + own[n] / 20 if own[n] > 0 else None,
            **dict.fromkeys(MEASURES, 1.0), "area_mm2": area[n], "diameter_ap_mm": area[n] / 10,
            "diameter_rl_mm": 10.0, "length_mm": 1.0, "flags": [],
        }
        for n in range(len(position))
    ]  # fmt: skip
    names = ["slice", "position_mm", "level", *MEASURES, "length_mm", "flags"]
    path = out / card["folder"] / f"{card['stem']}_label-SC_desc-{card['contrast']}Perslice_morph.tsv"
    derivatives.write_table(path, rows, columns=names)


def read(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file, delimiter="\t"))


def table(out: Path, name: str, **wanted: str) -> list[dict[str, str]]:
    rows = read(out / f"group_{name}.tsv")
    return [each for each in rows if all(each[key] == value for key, value in wanted.items())]


def group(out: Path, *more: object) -> int:
    return main(["/nowhere", str(out), "group", "--contrast-set", "T1w", "T2w", "MTon", *map(str, more)])


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("out")
    study(folder)
    assert group(folder) == 0
    return folder


C3 = {"region": "vert-C3", "contrast": "T2w"}


class TestEveryTable:
    def test_is_there_and_described(self, out: Path) -> None:
        for name in set(TABLES) - {
            "harmonisation", "compression", "compression_sites", "norms_offset", "change", "change_model",
        }:  # fmt: skip
            rows = table(out, name)
            assert rows, name
            dictionary = json.loads((out / f"group_{name}.json").read_text())
            assert all(dictionary[column]["Description"] for column in rows[0])
            assert {each["statistic"] for each in rows if "statistic" in each} <= set(STATISTICS)
        assert not (out / "group_change.tsv").exists() and not (out / "group_harmonisation.tsv").exists()

    def test_groups_differ_by_what_was_planted(self, out: Path) -> None:
        [found] = table(out, "groups", **C3, statistic="difference")
        assert float(found["ci_low"]) < -6 < float(found["ci_high"])
        assert found["formula"] == "csa ~ pathology + age + sex + (1|site)"
        assert "without age are left out" in found["notes"] and found["versus"] == "HC"

    def test_vendors_are_those_of_controls(self, out: Path) -> None:
        [found] = table(out, "vendors", **C3, statistic="cov_within_site")
        [power] = table(out, "power", **C3, statistic="people_per_group", effect_percent="5")
        assert found["n_people"] == power["n_people"] == "32"

    def test_what_a_session_saw_is_compared_within_it_only(self, out: Path) -> None:
        within = ("variability", "contrasts", "agreement", "rescan")
        between = ("groups", "centres", "vendors", "power", "norms", "profile")
        for names, there in ((within, True), (between, False)):
            for name in names:
                assert bool(table(out, name, region="common")) == there, name
        assert not any(table(out, name, region="cord") for name in between)

    def test_repeats_give_the_noise(self, out: Path) -> None:
        [found] = table(out, "rescan", **C3, statistic="sd_within")
        assert float(found["ci_low"]) < 1.0 < float(found["ci_high"])
        [none] = table(out, "rescan", region="vert-C3", contrast="T1w")
        assert none["estimate"] == "n/a" and "no repeats" in none["notes"]

    def test_everyone_stands_in_the_norms_or_the_ledger(self, out: Path) -> None:
        assert len(table(out, "norms", **C3)) == 47
        [age] = table(out, "missing", status="no covariate")
        assert (age["participant_id"], age["reason"]) == ("sub-005", "age is not known")
        short = table(out, "missing", status="not covered")
        assert {each["participant_id"] for each in short} == {"sub-007"} and "vert-C4 (50 %)" in short[0][
            "region"
        ]

    def test_options_and_notes_are_data(self, out: Path) -> None:
        said = json.loads((out / "group_csa.json").read_text())
        assert said["Options"]["group_column"] == "pathology" and said["Options"]["controls"] == "HC"
        assert said["Options"]["covariates_used"] == ["age", "sex"]
        assert any("without age" in note for note in said["Notes"])


def test_missing_covariates_and_groups_degrade_with_notes(tmp_path: Path) -> None:
    for n in range(4):
        write_session(tmp_path, f"0{n}", [row("T1w", participant=f"0{n}", area_mm2=70.0 + n)])
    assert group(tmp_path) == 0
    notes = json.loads((tmp_path / "group_contrasts.json").read_text())["Notes"]
    assert any("no group column" in note for note in notes)
    assert any("not adjusted for age: there is none" in note for note in notes)
    assert table(tmp_path, "groups") == []
    # Too few controls and sites: the tables hold reasons instead of numbers, and the text says nothing.
    text = (tmp_path / "logs" / "CITATION.md").read_text()
    assert "linear mixed model" not in text
    assert not any(word in text for word in ("Percentiles", "Centres", "Sample sizes", "Groups ("))


def test_harmonised_areas_stand_beside_the_raw(tmp_path: Path) -> None:
    study(tmp_path, 48, sites=2)
    assert group(tmp_path) == 0
    before = table(tmp_path, "csa")
    assert group(tmp_path, "--combat") == 0
    after = table(tmp_path, "csa")
    assert [each["area_mm2"] for each in after] == [each["area_mm2"] for each in before]
    assert sum(each["area_harmonised_mm2"] != "n/a" for each in after) > 400
    assert "vert-C3_T2w_harmonised" in table(tmp_path, "csa_wide")[0]
    assert {each["method"] for each in table(tmp_path, "harmonisation", statistic="shift")} == {
        "location and scale"
    }
    assert group(tmp_path) == 0 and not (tmp_path / "group_harmonisation.tsv").exists()


def test_a_patients_only_site_is_refused_with_everybody_fitted_on(tmp_path: Path) -> None:
    study(tmp_path, 60, sites=3, only_patients_at=2)
    assert group(tmp_path, "--combat", "--combat-fit-on", "all") == 0
    [refused] = table(tmp_path, "harmonisation", statistic="refused")
    assert refused["batch"].startswith("S2") and "0 of its 18 people are controls" in refused["notes"]
    rows = table(tmp_path, "csa", **C3)
    assert {each["site"] for each in rows if each["area_harmonised_mm2"] != "n/a"} == {"S0", "S1"}
    text = (tmp_path / "logs" / "CITATION.md").read_text()
    assert "fitted on everybody, the group being kept" in text and "was refused" in text
    missing = table(tmp_path, "missing", status="refused batch")
    assert len(missing) == 18 * 3 and {each["figures"] for each in missing} == {"harmonisation"}
    assert "cord" not in missing[0]["region"] and "vert-C3" in missing[0]["region"]
    # A difference of the groups is not taken for one of scanners.
    shifts = table(tmp_path, "harmonisation", statistic="shift", **C3)
    assert len(shifts) == 2
    assert not table(tmp_path, "harmonisation", region="common")


def test_combat_needs_to_know_controls(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_session(tmp_path, "01", [row()], participant_row={"pathology": "MS"})
    for fitted in ("controls", "all"):
        assert group(tmp_path, "--combat", "--combat-fit-on", fitted) == 64
        assert "--controls" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (("--group-column", "ward"), "no such column"), (("--controls", "X"), "not in column pathology"),
        (("--norms", "/nowhere.tsv"), "--norms /nowhere.tsv"),
    ],
)  # fmt: skip
def test_options_that_name_what_is_not_there(
    tmp_path: Path, option: tuple[str, str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_session(tmp_path, "01", [row()], participant_row={"pathology": "HC"})
    assert group(tmp_path, *option) == 64
    assert message in capsys.readouterr().err


def test_published_norms_are_hidden_or_bridged(tmp_path: Path) -> None:
    study(tmp_path, 48)
    assert group(tmp_path, "--norms", "published") == 0
    [offset] = table(tmp_path, "norms_offset", region="vert-C3", statistic="offset")
    assert offset["contrast"] == "T2w" and "Imaging Neuroscience" in offset["formula"]
    assert float(offset["ci_low"]) < float(offset["estimate"]) < float(offset["ci_high"])
    assert {each["contrast"] for each in table(tmp_path, "norms")} == {"T2w"}
    lacking = table(tmp_path, "norms_offset", statistic="not_in_table")
    assert {each["contrast"] for each in lacking} == {"T1w", "MTon"}
    assert lacking[0]["notes"] == "the table of norms has no T1w of vert-C3"
    missing = table(tmp_path, "missing", status="no norm", participant_id="sub-001")
    assert {each["contrast"] for each in missing} == {"T1w", "MTon"}
    assert {each["figures"] for each in missing} == {"norms"} and "vert-C3" in missing[0]["region"]


def test_groups_may_be_called_none_and_ages_be_those_of_dicom(tmp_path: Path) -> None:
    """`pathology: none` is a group of controls; an age that is no single number is not known."""
    for n in range(60):
        who, area = f"{n:02d}", 70.0 + n % 7 - 6 * (n % 3 == 0)
        age = "45-50" if n % 6 == 0 else f"0{20 + n % 30}Y"
        person = {"pathology": "MS" if n % 3 == 0 else "none", "age": age, "sex": "MF"[n % 2]}
        rows = [row("T2w", "vert-C3", who, area_mm2=area, coverage=1.0)]
        write_session(tmp_path, who, rows, participant_row=person)
    assert group(tmp_path, "--norms", "published") == 0
    [found] = table(tmp_path, "groups", statistic="difference")
    assert found["versus"] == "none" and found["n_controls"] == "40"
    [offset] = table(tmp_path, "norms_offset", statistic="offset")
    assert offset["n_people"] == "40"
    notes = {each["notes"] for each in table(tmp_path, "norms")}
    assert "age is not known" in notes and any("applied" in note for note in notes)
    ages = table(tmp_path, "missing", status="no covariate")
    assert len(ages) == 10 and {each["reason"] for each in ages} == {"age is not known"}


def test_a_vendor_has_one_name(tmp_path: Path) -> None:
    names = ("SIEMENS", "Siemens", "Siemens Healthineers", "GE MEDICAL SYSTEMS")
    for n in range(16):
        facts = {"manufacturer": names[n % 4], "site": f"S{n % 4}", "area_mm2": 70.0 + n % 5}
        each = row("T2w", "vert-C3", f"{n:02d}", coverage=1.0, **facts)
        write_session(tmp_path, f"{n:02d}", [each], participant_row={"pathology": "HC"})
    assert group(tmp_path) == 0
    rows = table(tmp_path, "vendors", statistic="cov_within_site")
    assert {each["manufacturer"]: each["n_sites"] for each in rows} == {"Siemens": "3", "GE": "1"}
    # The page's plots are drawn from this table.
    assert {each["manufacturer"] for each in table(tmp_path, "csa")} == {"Siemens", "GE"}


def test_a_traveller_is_one_person_of_the_profile(tmp_path: Path) -> None:
    for n in range(8):
        each = row("T2w", "vert-C3", f"{n:02d}", coverage=1.0, area_mm2=70.0 + n, site=f"S{n % 2}")
        own = {"pathology": "HC", "person_id": f"p{n // 2}"}
        write_session(tmp_path, f"{n:02d}", [each], participant_row=own)
    assert group(tmp_path) == 0
    [found] = table(tmp_path, "profile")
    assert found["n_people"] == "4" and float(found["mean_mm2"]) == 73.0


class TestExclusions:
    def test_an_image_leaves_statistics_and_stays_in_the_long_table(self, tmp_path: Path) -> None:
        study(tmp_path, 12)
        listed = tmp_path / "exclude.tsv"
        listed.write_text("file\treason\trater\nsub-001_1_T1w.nii.gz\tmotion\tAB\nsub-999_T1w\t\t\n")
        assert group(tmp_path, "--exclude", listed) == 0
        rows = table(tmp_path, "csa", participant_id="sub-001", contrast="T1w")
        assert {each["excluded"] for each in rows} == {"image"} and len(rows) == len(REGIONS)
        [wide] = table(tmp_path, "csa_wide", participant_id="sub-001")
        assert wide["vert-C3_T1w"] == "n/a" != wide["vert-C3_T2w"]
        [gone] = table(tmp_path, "missing", status="excluded")
        assert gone["reason"] == "motion (by AB)" and gone["figures"] == "all"
        [unknown] = table(tmp_path, "missing", status="unknown exclusion")
        assert unknown["input"] == "sub-999_T1w"

    def test_slices_are_measured_without(self, tmp_path: Path) -> None:
        study(tmp_path, 3, slices=True)
        listed = tmp_path / "exclude.tsv"
        listed.write_text("file\tslices\nsub-001_1_T1w\t75-77\n")
        assert group(tmp_path, "--exclude", listed) == 0
        rows = {
            each["region"]: each for each in table(tmp_path, "csa", participant_id="sub-001", contrast="T1w")
        }
        # Slices 75 to 77 lie at 23.5 to 25.5 mm, in the region from 20 to 40 mm.
        assert float(rows["vert-C3"]["coverage"]) == pytest.approx(17 / 20, abs=1e-6)
        assert {name for name, each in rows.items() if each["excluded"] == "slices"} == {"vert-C3"}
        assert float(rows["vert-C4"]["coverage"]) == 1.0
        [part] = table(tmp_path, "missing", status="slices excluded")
        assert part["region"] == "vert-C3" and not table(
            tmp_path, "missing", status="exclusion without effect"
        )

    @pytest.mark.parametrize(
        ("line", "slices", "reason"),
        [
            ("sub-001_1_T1w\t75-77\t", False, "per-slice table is not in OUT"),
            ("sub-001_1_T1w\t900\t", True, "none of these"),
            ("sub-001_1_T1w\t\tT5", True, "none of these"),
        ],
    )
    def test_what_takes_nothing_out_is_told(
        self, tmp_path: Path, line: str, slices: bool, reason: str
    ) -> None:
        study(tmp_path, 3, slices=slices)
        listed = tmp_path / "exclude.tsv"
        listed.write_text(f"file\tslices\tlevels\n{line}\n")
        assert group(tmp_path, "--exclude", listed) == 0
        [idle] = table(tmp_path, "missing", status="exclusion without effect")
        assert reason in idle["reason"] and idle["input"].endswith("sub-001_1_T1w.nii.gz")
        assert {each["excluded"] for each in table(tmp_path, "csa")} == {"n/a"}
        assert not table(tmp_path, "missing", status="slices excluded")

    def test_levels_of_an_image_without_levels(self, tmp_path: Path) -> None:
        study(tmp_path, 2, slices=True)
        [path] = tmp_path.rglob("*sub-001_1_*T1wPerslice_morph.tsv")
        rows = read(path)
        derivatives.write_table(path, [{**each, "level": None} for each in rows], columns=list(rows[0]))
        listed = tmp_path / "exclude.tsv"
        listed.write_text("file\tlevels\nsub-001_1_T1w\tC4\n")
        assert group(tmp_path, "--exclude", listed, "--compression") == 0
        [idle] = table(tmp_path, "missing", status="exclusion without effect")
        assert "no vertebral levels" in idle["reason"]
        [lost] = table(tmp_path, "missing", status="no profile")
        assert lost["figures"] == "compression" and lost["participant_id"] == "sub-001"

    def test_lists_about_something_else_are_told(self, tmp_path: Path) -> None:
        study(tmp_path, 2)
        listed = tmp_path / "qc_fail.yml"
        listed.write_text("FILES_GMSEG:\n- sub-001_1_T1w.nii.gz\n")
        assert group(tmp_path, "--exclude", listed) == 0
        [idle] = table(tmp_path, "missing", status="exclusion without effect")
        assert "FILES_GMSEG" in idle["reason"] and idle["input"] == "sub-001_1_T1w.nii.gz"

    def test_failed_labels_take_out_levels_only(self, tmp_path: Path) -> None:
        study(tmp_path, 3)
        listed = tmp_path / "qc_fail.yml"
        listed.write_text("FILES_LABEL:\n- sub-001\n")
        assert group(tmp_path, "--exclude", listed) == 0
        [wide] = table(tmp_path, "csa_wide", participant_id="sub-001")
        assert wide["vert-C3_T1w"] == "n/a" != wide["cord_T1w"]

    def test_excluded_slices_are_at_no_visit_measured(self, tmp_path: Path) -> None:
        study(tmp_path, 2, ("A", "B"), slices=True)
        assert group(tmp_path) == 0
        [before] = table(tmp_path, "change", participant_id="sub-001", contrast="T1w", region="stretch")
        listed = tmp_path / "exclude.tsv"
        listed.write_text("file\tslices\nsub-001_ses-A_1_T1w\t42-59\n")
        assert group(tmp_path, "--exclude", listed) == 0
        [found] = table(tmp_path, "change", participant_id="sub-001", contrast="T1w", region="stretch")
        # The narrowing lies in those slices: without it both visits are larger, and differ as before.
        assert float(found["baseline_mm2"]) > float(before["baseline_mm2"]) + 1
        assert float(found["change_mm2"]) == pytest.approx(-0.7, abs=0.1)
        assert float(found["coverage"]) == pytest.approx(float(before["coverage"]) - 18 / 97, abs=0.02)
        # Of 40 to 60 mm, vert-C4, a tenth is left.
        assert table(tmp_path, "change", participant_id="sub-000", contrast="T1w", region="vert-C4")
        assert not table(tmp_path, "change", participant_id="sub-001", contrast="T1w", region="vert-C4")

    def test_compression_is_read_without_excluded_slices(self, tmp_path: Path) -> None:
        study(tmp_path, 3, slices=True)
        listed = tmp_path / "exclude.tsv"
        listed.write_text("file\tslices\tlevels\nsub-000_1_T1w\t45-56\t\nsub-001_1_T1w\t\tC4\n")
        assert group(tmp_path, "--compression", "--exclude", listed) == 0
        rows = table(tmp_path, "compression", contrast="T1w", region="vert-C4")
        minima = {each["participant_id"]: float(each["min_area_mm2"]) for each in rows}
        assert set(minima) == {"sub-000", "sub-002"} and minima["sub-002"] < 45 and minima["sub-000"] > 65
        sites = table(tmp_path, "compression_sites", contrast="T1w")
        assert {each["participant_id"] for each in sites} == {"sub-002"}

    def test_failed_labels_give_no_minima_of_levels(self, tmp_path: Path) -> None:
        study(tmp_path, 2, slices=True)
        listed = tmp_path / "qc_fail.yml"
        listed.write_text("FILES_LABEL:\n- sub-001\n")
        assert group(tmp_path, "--compression", "--exclude", listed) == 0
        assert {each["participant_id"] for each in table(tmp_path, "compression")} == {"sub-000"}
        [site] = table(tmp_path, "compression_sites", contrast="T1w", participant_id="sub-001")
        assert site["level"] == "n/a" and float(site["area_ratio"]) < 0.65


def test_visits_are_compared_over_the_identical_stretch(tmp_path: Path) -> None:
    study(tmp_path, 6, ("A", "B"), slices=True)
    assert group(tmp_path) == 0
    rows = table(tmp_path, "change", contrast="T1w", region="stretch")
    assert len(rows) == 6 and {each["alignment"] for each in rows} == {"midpoint"}
    for each in rows:
        assert float(each["change_mm2"]) == pytest.approx(-0.7, abs=0.1)
        assert float(each["years"]) == pytest.approx(1.0, abs=0.01)
        assert each["annual_ci_low"] == "n/a" and "no repeats to know" in each["notes"]
    assert {each["statistic"] for each in table(tmp_path, "change_model")} >= {"annual_change"}
    # T2w was scanned twice: the noise is known, of the stretch from what the session's images share.
    for region, like, said in (
        ("vert-C3", "vert-C3", ""),
        ("stretch", "common", "over their common stretch"),
    ):
        found = table(tmp_path, "change", contrast="T2w", region=region)
        [sd] = table(tmp_path, "rescan", contrast="T2w", statistic="sd_within", region=like)
        half = stats.t.ppf(0.975, float(sd["df"])) * 2**0.5 * float(sd["estimate"])
        assert len(found) == 6 and all(said in each["notes"] for each in found)
        for each in found:
            low, high, years = (float(each[name]) for name in ("annual_ci_low", "annual_ci_high", "years"))
            assert (low + high) / 2 == pytest.approx(float(each["annual_mm2"]), rel=1e-4)
            assert (high - low) / 2 * years == pytest.approx(half, rel=1e-4)


def test_compression_is_detected_or_given(tmp_path: Path) -> None:
    study(tmp_path, 3, slices=True)
    assert group(tmp_path, "--compression") == 0
    sites = table(tmp_path, "compression_sites", contrast="T1w")
    assert len(sites) == 3
    for site in sites:
        assert float(site["level"]) == pytest.approx(4.5, abs=0.05) and site["site_source"] == "detected"
        assert float(site["area_ratio"]) < 0.65
    given = tmp_path / "sites.tsv"
    given.write_text("participant_id\tsite\nsub-001\tC4-C5\n")
    assert group(tmp_path, "--compression", given) == 0
    [site] = table(tmp_path, "compression_sites", contrast="T1w", participant_id="sub-001")
    assert site["site_source"] == "given"
    assert group(tmp_path) == 0 and not (tmp_path / "group_compression.tsv").exists()


def test_sites_of_nobody_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study(tmp_path, 2, ("A",), slices=True)
    given = tmp_path / "sites.tsv"
    for unknown in ("007\tn/a", "sub-001\tses-B"):
        given.write_text(f"participant_id\tsession_id\tsite\n000\tA\tC4\n{unknown}\tC4\n")
        assert group(tmp_path, "--compression", given) == 64
        assert "no results of sub-00" in capsys.readouterr().err
    # Of those who are there but not chosen nothing is said.
    given.write_text("participant_id\tsite\n000\tC4\n001\tC5\n")
    assert group(tmp_path, "--compression", given, "--participant-label", "001") == 0
    [site] = table(tmp_path, "compression_sites", contrast="T1w")
    assert site["site_source"] == "given"


def test_the_ledger_names_who_has_no_profile_change_or_repeat(tmp_path: Path) -> None:
    study(tmp_path, 2, ("A", "B"), slices=True)
    for path in tmp_path.rglob("sub-001_ses-B_1_*T1wPerslice_morph.tsv"):
        path.unlink()
    listed = tmp_path / "exclude.tsv"
    listed.write_text("file\nsub-000_ses-A_2_T2w\n")
    assert group(tmp_path, "--compression", "--exclude", listed) == 0
    lost = table(tmp_path, "missing", status="not compared", participant_id="sub-001", contrast="T1w")
    assert {each["session_id"] for each in lost} == {"ses-A", "ses-B"}
    assert {each["figures"] for each in lost} == {"change;change_model"}
    [gone] = table(tmp_path, "missing", status="no profile")
    assert (gone["session_id"], gone["contrast"]) == ("ses-B", "T1w")
    [lone] = table(tmp_path, "missing", status="lone repeat")
    assert (lone["participant_id"], lone["session_id"]) == ("sub-000", "ses-A")
    assert lone["figures"] == "rescan" and "vert-C3" in lone["region"]


def test_years_are_each_persons_own() -> None:
    """Some have dates, others one age a session: both are timed."""
    facts = [
        {"participant": who, "session": session, "participant_row": {}, "session_row": said}
        for who, session, said in (
            ("01", "A", {"acq_time": "2020-01-01", "age": "30"}),
            ("01", "B", {"acq_time": "2022-01-01", "age": "33"}),
            ("02", "A", {"age": "40"}),
            ("02", "B", {"age": "41.5"}),
            ("03", "A", {"acq_time": "2020-01-01"}),
            ("03", "B", {}),
        )
    ]
    years = people(facts)["years"]
    assert years[:4].tolist() == pytest.approx([0.0, 2.0, 0.0, 1.5], abs=0.01)
    assert years[4] == 0.0 and np.isnan(years[5])
