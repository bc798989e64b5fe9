"""Outliers, compression, exclusions and the ledger."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from softseg_bids.app.exclusions import Exclusion, read_exclusions
from softseg_bids.app.group_compression import read_sites
from softseg_bids.app.outcome import Stop
from softseg_bids.stats.compression import NARROW, Cord, cord_of, level_minima, ratios, site_level, sites
from softseg_bids.stats.ledger import of_centres, of_groups, of_images, of_people
from softseg_bids.stats.outliers import OTHER_CONTRASTS, SITE, outliers


def images(people: int = 20) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = []
    for n in range(people):
        size = 72 * np.exp(0.08 * rng.normal())
        rows += [
            {
                "participant_id": f"sub-{n:02d}",
                "session_id": None,
                "contrast": contrast,
                "region": "vert-C3",
                "site": "A",
                "source_image": f"{n}_{contrast}",
                "area_mm2": size * np.exp(0.01 * rng.normal()),
            }
            for contrast in ("T1w", "T2w", "T2starw")
        ]
    return pd.DataFrame(rows)


class TestOutliers:
    def test_a_contrast_that_stands_apart(self) -> None:
        frame = images()
        frame.loc[frame["source_image"] == "4_T2w", "area_mm2"] *= 1.15
        found = outliers(frame)
        assert found.index[[OTHER_CONTRASTS in flags for flags in found["flags"]]].tolist() == ["4_T2w"]

    def test_a_person_who_stands_apart_from_the_site(self) -> None:
        frame = images()
        frame.loc[frame["participant_id"] == "sub-03", "area_mm2"] *= 0.55
        found = outliers(frame)
        apart = {name for name, flags in found["flags"].items() if SITE in flags}
        assert apart == {"3_T1w", "3_T2w", "3_T2starw"}
        assert not any(OTHER_CONTRASTS in flags for flags in found["flags"])

    def test_a_known_bias_of_a_contrast_is_no_outlier(self) -> None:
        frame = images()
        frame.loc[frame["contrast"] == "T2w", "area_mm2"] *= 1.2
        assert not any(OTHER_CONTRASTS in flags for flags in outliers(frame)["flags"])

    def test_few_images_have_no_score(self) -> None:
        found = outliers(images(5))
        assert found["z_site"].isna().all() and not any(found["flags"])


def profile(narrow: float = 1.0, at_mm: float = 70.0, step: float = 1.0, length: float = 140.0) -> Cord:
    """A cord of 75 mm2, narrower about one place (a Gaussian of 4 mm); discs every 20 mm from C2."""
    position = np.arange(0.0, length, step)
    share = 1 - (1 - narrow) * np.exp(-(((position - at_mm) / 4) ** 2))
    area = 75 * share
    measures = {"area_mm2": area, "diameter_ap_mm": 8 * share, "diameter_rl_mm": np.full(len(area), 12.0)}
    found = cord_of(position, 2 + position / 20, measures, np.ones(len(area), dtype=bool))
    assert found is not None
    return found


class TestCompression:
    @pytest.mark.parametrize("step", [1.0, 5.0])
    def test_a_narrowing_is_found_and_measured(self, step: float) -> None:
        [site] = sites(profile(0.6, step=step))
        assert site["position_mm"] == pytest.approx(70.0, abs=1) and site["level"] == pytest.approx(
            5.5, abs=0.05
        )
        assert site["area_ratio"] == pytest.approx(0.6, abs=0.02) and site["n_windows"] == 2
        assert site["ap_ratio"] == pytest.approx(0.6, abs=0.02) and site["rl_ratio"] == pytest.approx(1.0)

    def test_a_healthy_cord_has_none(self) -> None:
        assert sites(profile()) == [] and sites(profile(NARROW + 0.05)) == []

    def test_a_slope_is_no_narrowing(self) -> None:
        at = np.arange(0.0, 120.0)
        area = 80 - 0.3 * at
        cord = cord_of(
            at, 2 + at / 20, dict.fromkeys(("area_mm2", "diameter_ap_mm", "diameter_rl_mm"), area), at >= 0
        )
        assert cord is not None and sites(cord) == []
        assert np.nanmax(np.abs(ratios(cord)[70:-70] - 1)) < 0.01

    def test_given_sites(self) -> None:
        deep, outside = sites(profile(0.7), [5.4, 12.0])
        assert deep["site_source"] == "given" and deep["area_ratio"] == pytest.approx(0.7, abs=0.02)
        assert outside["notes"] == "the site was not measured"
        [end] = sites(profile(0.7, at_mm=10.0), [2.5])
        assert end["n_windows"] == 1 and "1 of 2" in end["notes"]

    def test_minima_of_levels_cross_their_borders(self) -> None:
        rows = {row["region"]: row for row in level_minima(profile(0.6, at_mm=60.0, step=5.0))}
        assert rows["vert-C4"]["min_area_mm2"] == rows["vert-C5"]["min_area_mm2"] == pytest.approx(45.0)
        assert rows["vert-C4"]["min_ap_mm"] == pytest.approx(4.8) and rows["vert-C5"]["min_area_level"] == 5.0
        assert rows["vert-C4"]["ap_over_rl"] == pytest.approx(0.4)
        assert rows["vert-C2"]["min_area_mm2"] == pytest.approx(75.0, rel=1e-3)

    def test_nothing_is_filled_in_where_slices_are_missing(self) -> None:
        at = np.arange(0.0, 120.0)
        measures = dict.fromkeys(("area_mm2", "diameter_ap_mm", "diameter_rl_mm"), at + 1.0)
        # Discs every 20 mm: the fourth level is from 40 to 60 mm, and a slice at 20.
        cord = cord_of(at, 2 + at / 20, measures, ((at < 40) | (at >= 60)) & (at != 20))
        assert cord is not None
        found = {row["region"] for row in level_minima(cord)}
        assert found == {"vert-C2", "vert-C3", "vert-C5", "vert-C6", "vert-C7"}
        here = dict(zip(cord.position_mm, cord.measures["area_mm2"], strict=True))
        assert here[20.0] == 21.0 and np.isnan(here[50.0]) and here[60.0] == 61.0
        assert sites(cord, [4.5])[0]["notes"] == "the site was not measured"

    def test_nothing_to_interpolate(self) -> None:
        one = np.array([1.0])
        assert (
            cord_of(one, one, dict.fromkeys(("area_mm2", "diameter_ap_mm", "diameter_rl_mm"), one), one > 0)
            is None
        )

    def test_without_shape_or_levels(self) -> None:
        at = np.arange(0.0, 60.0)
        nothing = np.full(60, np.nan)
        cord = cord_of(
            at,
            2 + at / 20,
            {"area_mm2": at + 50, "diameter_ap_mm": nothing, "diameter_rl_mm": nothing},
            at >= 0,
        )
        assert cord is not None and "min_ap_mm" not in level_minima(cord)[0]
        cord = cord_of(
            at, nothing, {"area_mm2": at + 50, "diameter_ap_mm": at + 1, "diameter_rl_mm": at + 1}, at >= 0
        )
        assert cord is not None and level_minima(cord) == []

    def test_names_of_sites(self, tmp_path: Path) -> None:
        assert (site_level("C5-C6"), site_level("c5/c6"), site_level("C5"), site_level("6.2")) == (
            6.0,
            6.0,
            5.5,
            6.2,
        )
        for wrong in ("C5-C7", "neck"):
            with pytest.raises(ValueError, match="is no site"):
                site_level(wrong)
        path = tmp_path / "sites.tsv"
        path.write_text("participant_id\tsession_id\tsite\nsub-01\tn/a\tC5-C6\nsub-02\tses-A\tC4\n")
        assert read_sites(path) == {"sub-01": [6.0], "sub-02_ses-A": [4.5]}
        path.write_text("participant_id\tsession_id\tsite\n01\t\tC5-C6\n02\tA\tC4\n")
        assert read_sites(path) == {"sub-01": [6.0], "sub-02_ses-A": [4.5]}
        path.write_text('participant_id\tsite\tnote\nsub-01\tC5-C6\t"old\nsub-02\tC4\tnew\n')
        assert read_sites(path) == {"sub-01": [6.0], "sub-02": [4.5]}
        path.write_text("participant_id\tsite\nsub-01\tneck\n")
        with pytest.raises(Stop, match="line 2"):
            read_sites(path)
        path.write_text("who\nsub-01\n")
        with pytest.raises(Stop, match="participant_id and site"):
            read_sites(path)


class TestExclusions:
    def test_a_table(self, tmp_path: Path) -> None:
        path = tmp_path / "exclude.tsv"
        path.write_text(
            "file\tslices\tlevels\treason\trater\tdate\n"
            "sub-01/anat/sub-01_T2w.nii.gz\t10-14,20\tn/a\tmotion\tAB\t2024-05-01\n"
            "sub-02_T1w\t\tC3-C4;T1\t\t\t\nsub-03_T2w.nii.gz\n"
        )
        first, second, third = read_exclusions(path)
        assert (first.slices, first.what, first.said) == (
            ((10, 14), (20, 20)),
            "slices",
            "motion (by AB 2024-05-01)",
        )
        assert (second.levels, second.said) == (((3, 4), (8, 8)), "excluded")
        assert third.what == "image"

    def test_a_quote_is_a_character(self, tmp_path: Path) -> None:
        path = tmp_path / "exclude.tsv"
        path.write_text(
            'file\tslices\treason\nsub-01_T2w\t\t"blurred at C4\nsub-02_T2w\t"10-14,20"\t5" coil\n'
            "sub-03_T2w\t\tghosts\n"
        )
        first, second, third = read_exclusions(path)
        assert (first.reason, second.reason, third.reason) == ('"blurred at C4', '5" coil', "ghosts")
        assert second.slices == ((10, 14), (20, 20))

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("image\nx\n", "column 'file'"),
            ("file\tslices\nx\t4-1\n", "line 2"),
            ("file\tlevels\nx\tX9\n", "line 2"),
            ("file\treason\n\tbad\n", "names no file"),
        ],
    )
    def test_what_cannot_be_read(self, tmp_path: Path, text: str, reason: str) -> None:
        path = tmp_path / "exclude.tsv"
        path.write_text(text)
        with pytest.raises(Stop, match=reason) as stopped:
            read_exclusions(path)
        assert stopped.value.code == 64

    def test_sct_lists(self, tmp_path: Path) -> None:
        path = tmp_path / "qc_fail.yml"
        path.write_text(
            "FILES_SEG:\n- sub-01_T2w.nii.gz\nFILES_LABEL:\n- sub-02\nFILES_GMSEG:\n- sub-03_T2w.nii.gz\n"
        )
        found = read_exclusions(path)
        assert [(each.file, each.what) for each in found] == [
            ("sub-01_T2w.nii.gz", "image"),
            ("sub-02", "labels"),
            ("sub-03_T2w.nii.gz", "nothing"),
        ]
        assert not found[2].concerns("sub-03/anat/sub-03_T2w.nii.gz") and "FILES_GMSEG" in found[2].reason
        path.write_text("- sub-01_T2w.nii.gz\n")
        assert len(read_exclusions(path)) == 1
        for wrong in ("FILES_SEG: 3\n", "a: [b\n"):
            path.write_text(wrong)
            with pytest.raises(Stop, match="not a list of exclusions"):
                read_exclusions(path)

    @pytest.mark.parametrize(
        ("name", "fits"),
        [
            ("sub-01/anat/sub-01_T2w.nii.gz", True),
            ("sub-01_T2w", True),
            ("sub-01_T2w_RPI_r.nii.gz", True),
            ("sub-01", True),
            ("sub-0", False),
            ("sub-01_T1w.nii.gz", False),
            ("sub-02/anat/sub-01_T2w.nii.gz", True),
        ],
    )
    def test_which_image_a_name_is_about(self, name: str, fits: bool) -> None:
        assert Exclusion(name).concerns("sub-01/anat/sub-01_T2w.nii.gz") == fits


def test_the_ledger_says_why_an_image_does_not_enter() -> None:
    rows = [
        ("a", "vert-C3", "good", 0.5, 70.0, None),
        ("a", "vert-C4", "good", 0.2, 70.0, None),
        ("b", "vert-C3", "no", 1.0, 70.0, None),
        ("c", "vert-C3", "limited", 1.0, 70.0, None),
        ("d", "vert-C3", "good", 1.0, 70.0, "image"),
        ("e", "vert-C3", "good", 1.0, 70.0, "slices"),
        ("f", "cord", "good", 0.5, 70.0, None),
        ("g", "vert-C3", "good", 1.0, 70.0, None),
        ("h", "vert-C3", "good", 1.0, 70.0, None),
    ]
    names = ["source_image", "region", "csa_fit", "coverage", "area_mm2", "excluded"]
    frame = pd.DataFrame(rows, columns=names).assign(
        participant_id="sub-01", session_id=None, contrast="T2w", excluded_reason="motion", flags=None
    )
    frame.loc[frame["source_image"] == "h", "flags"] = "jump;far_from_isocentre"
    found = {(row["input"], row["status"]): row for row in of_images(frame, 0.8)}
    assert set(found) == {
        ("a", "not covered"),
        ("b", "coarse"),
        ("c", "limited"),
        ("d", "excluded"),
        ("e", "slices excluded"),
        ("h", "far off"),
    }
    assert found["h", "far off"]["figures"] == ("norms",)
    # Everything that looks at good images only, and everything that looks at regions.
    limited = {"groups", "centres", "vendors", "power", "profile", "norms"}
    assert set(found["c", "limited"]["figures"]) == limited
    assert set(found["a", "not covered"]["figures"]) > limited | {"agreement", "rescan", "harmonisation"}
    [asked] = [row for row in of_images(frame, 0.8, include_limited=True) if row["status"] == "limited"]
    assert asked["figures"] == ("norms",)
    assert found["a", "not covered"]["region"] == "vert-C3 (50 %);vert-C4 (20 %)"
    assert found["d", "excluded"]["reason"] == "motion"


def test_the_ledger_names_people_without_covariates() -> None:
    people = pd.DataFrame({"participant_id": ["sub-01", "sub-02"], "session_id": "", "age": [40.0, np.nan]})
    people["pathology"] = [None, "HC"]
    rows = of_people(people, ["age"], "pathology")
    assert [(row["participant_id"], row["reason"]) for row in rows] == [
        ("sub-02", "age is not known"),
        ("sub-01", "pathology is not known"),
    ]
    assert "centres" in rows[1]["figures"] and "norms" not in rows[1]["figures"]
    people["height"] = [1.8, np.nan]
    own = of_people(people, ["age"], "pathology", "pathology + height")
    figures = {row["reason"].split()[0]: set(row["figures"]) for row in own}
    assert figures["height"] == {"groups"} and "groups" not in figures["age"]


def test_the_ledger_names_who_has_nobody_to_be_compared_with() -> None:
    people = pd.DataFrame({
        "participant_id": [f"sub-{n}" for n in range(7)], "session_id": "",
        "person_id": [f"p{n}" for n in range(7)],
        "site": ["A", "A", "A", "B", None, "A", "A"],
        "manufacturer": ["GE", None, "GE", "GE", "GE", "GE", "GE"],
        "group": ["HC", "HC", "HC", "HC", "MS", "MS", None],
    })  # fmt: skip
    found = {
        (row["participant_id"], row["status"]): row
        for row in [*of_centres(people), *of_groups(people, "group")]
    }
    assert set(found) == {
        ("sub-3", "lone site"), ("sub-4", "no site"), ("sub-1", "no vendor"), ("sub-4", "small group"),
        ("sub-5", "small group"),
    }  # fmt: skip
    assert found["sub-3", "lone site"]["figures"] == ("centres", "vendors")
    assert found["sub-5", "small group"]["reason"] == "2 of group MS, 3 are needed"
    assert of_centres(people.assign(site=None)) == []
    ill = people.assign(group="MS", person_id=["one", "one", "one", "two", "two", "two", "two"])
    lone = of_centres(people.assign(site="A", person_id="one"))
    assert {row["status"] for row in lone} == {"lone site"} and len(lone) == 7
    assert {row["reason"] for row in of_groups(ill, "group")} == {"2 of group MS, 3 are needed"}
