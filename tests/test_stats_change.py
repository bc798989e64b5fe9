"""Change over time: profiles brought together, a moved scan, people and groups."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage

from softseg_bids.app.columns import MEASURES
from softseg_bids.app.group_profiles import read_slices
from softseg_bids.app.group_tables import best_images
from softseg_bids.app.group_visits import _identical, comparable, visits
from softseg_bids.bids import derivatives
from softseg_bids.core.cord import measure_slices, trace
from softseg_bids.core.levels import arc_mm
from softseg_bids.core.midpoint import Profile, Shift, midpoint, pooled, shift_between, shift_of_labels
from softseg_bids.core.quality import slice_flags
from softseg_bids.stats.change import changes, slopes, without_rate
from softseg_bids.stats.estimate import Interval

SPACING = np.array([1.0, 1.0, 1.0])


def shape_mm2(height_mm: np.ndarray) -> np.ndarray:
    """A cord with a cervical enlargement, thin below."""
    return 70 + 14 * np.exp(-(((height_mm - 8) / 16) ** 2)) - 0.25 * np.clip(-height_mm, 0, None)


class TestShift:
    def profile(self, start: float, length: float = 110.0, noise: float = 0.0, step: float = 1.0) -> Profile:
        at = np.arange(start, start + length, step)
        area = shape_mm2(at - 60) * np.exp(
            noise * np.random.default_rng(int(start) + 99).normal(size=len(at))
        )
        return Profile(at, np.column_stack([area, np.sqrt(area)]))

    def moved(self, profile: Profile, by: float, factor: float = 1.0) -> Profile:
        return Profile(profile.position_mm - by, factor * profile.features)

    @pytest.mark.parametrize("by", [-37.3, -5.0, 0.0, 12.6])
    def test_shape_finds_the_shift(self, by: float) -> None:
        found = shift_between(self.profile(0), self.moved(self.profile(8, 100), by))
        assert found is not None and found.shift_mm == pytest.approx(by, abs=0.1)

    def test_atrophy_is_no_shift(self) -> None:
        found = shift_between(self.profile(0), self.moved(self.profile(0), 6.0, 0.8))
        assert found is not None and found.shift_mm == pytest.approx(6.0, abs=0.1)

    def test_the_error_is_what_is_seen(self) -> None:
        rng = np.random.default_rng(0)
        plain = self.profile(0)
        found = []
        for _ in range(25):
            noisy = Profile(
                plain.position_mm, plain.features * np.exp(0.03 * rng.normal(size=plain.features.shape))
            )
            shift = shift_between(plain, noisy)
            assert shift is not None
            found.append(shift)
        seen = np.std([shift.shift_mm for shift in found])
        said = np.mean([shift.error_mm for shift in found])
        assert seen / 3 < said < 6 * seen

    def test_a_straight_tube_says_nothing(self) -> None:
        at = np.arange(0.0, 100.0)
        tube = Profile(at, np.full((100, 2), 70.0))
        found = shift_between(tube, tube)
        assert found is not None and not found.error_mm < 1e3
        assert pooled([found]) is None or found.error_mm > 1e3

    def test_too_short_to_compare(self) -> None:
        assert shift_between(self.profile(0), self.profile(200, 110)) is None

    def test_labels_and_pooling(self) -> None:
        labels = shift_of_labels({3: 40.0, 4: 60.0}, {3: 35.0, 4: 56.0, 5: 70.0})
        assert labels is not None and labels.shift_mm == 4.5
        assert shift_of_labels({3: 1.0}, {4: 1.0}) is None and pooled([]) is None
        mean = pooled([Shift(0.0, 1.0), Shift(3.0, 2.0), Shift(9.0, np.inf)])
        assert mean is not None and mean.shift_mm == pytest.approx(0.6)

    def test_the_middle_is_nobodys(self) -> None:
        assert midpoint([0.0, 4.0]) == [-2.0, 2.0]


def soft_tube() -> np.ndarray:
    """Cord fractions of a bent tube of varying area, by supersampling in the plane."""
    x = (np.arange(64 * 4) + 0.5) / 4 - 32
    soft = np.empty((64, 64, 130), dtype=np.float32)
    for k in range(130):
        height = k - 64.5
        radius = np.sqrt(float(shape_mm2(np.array([height]))[0]) / np.pi)
        centre = 4 * np.cos(height / 35)
        inside = (x[:, None] ** 2 + (x[None] - centre) ** 2) < radius**2
        soft[:, :, k] = inside.reshape(64, 4, 64, 4).mean(axis=(1, 3))
    return soft


def turned(soft: np.ndarray, angle_deg: float, by_mm: float) -> np.ndarray:
    """The same scan moved along the cord and nodded, on the same voxels."""
    a = np.deg2rad(angle_deg)
    rotation = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    middle = 0.5 * (np.array(soft.shape) - 1)
    offset = middle - rotation @ middle + rotation @ np.array([0.0, 0.0, by_mm])
    return np.clip(ndimage.affine_transform(soft, rotation, offset, order=1), 0, 1)


def write_slices(path: Path, soft: np.ndarray) -> tuple[float, float]:
    """The per-slice table of a mask, as the participant level writes it; its extent."""
    line = trace(soft, SPACING)
    assert line is not None
    measures = measure_slices(soft, SPACING, line)
    flags = slice_flags(measures, 1.0)
    position = arc_mm(line.points_mm[::-1])[::-1]
    rows = [
        {
            "slice": int(line.slices[n]),
            "position_mm": position[n],
            "level": None,
            **{name: measures[name][n] for name in (*MEASURES, "length_mm")},
            "flags": flags[n],
        }
        for n in range(len(line.slices))
    ]
    names = ["slice", "position_mm", "level", *MEASURES, "length_mm", "flags"]
    derivatives.write_table(path, rows, columns=names)
    return float(position.min()), float(position.max())


@pytest.fixture(scope="module")
def moved_scans(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("slices")
    soft = soft_tube()
    scans = {"still": soft, "up": turned(soft, 10.0, 5.0), "down": turned(soft, -10.0, -5.0)}
    paths = {name: folder / f"{name}_morph.tsv" for name in scans}
    for name, array in scans.items():
        write_slices(paths[name], array)
    return paths


def best_of(sessions: list[str], **changes: Any) -> pd.DataFrame:
    rows = [
        {
            "person_id": "p",
            "participant_id": "sub-01",
            "session_id": name,
            "contrast": "T2w",
            "region": "cord",
            "source_image": name,
            "start_mm": 0.0,
            "end_mm": 100.0,
            "coverage": 1.0,
            "area_mm2": 70.0,
            "years": float(n),
            "scanner": "A",
            "software": "1",
            "flags": None,
            "visit": f"sub-01/{name}",
            "acquisition": "plane-iso",
        }
        for n, name in enumerate(sessions)
    ]
    return pd.DataFrame(rows).assign(**changes)


@pytest.mark.parametrize("pair", [("still", "up"), ("still", "down"), ("up", "down")])
def test_one_scan_moved_has_not_changed(moved_scans: dict[str, Path], pair: tuple[str, str]) -> None:
    found, lost = visits(best_of(list(pair)), moved_scans)
    assert lost == []
    assert set(found["region"]) == {"stretch"} and set(found["alignment"]) == {"midpoint"}
    first, second = found["area_mm2"]
    assert abs(second / first - 1) <= 0.005


def test_regions_are_labelled_once(moved_scans: dict[str, Path]) -> None:
    """Two sessions whose labels differ by 4 mm are measured between the same limits."""
    best = best_of(["still", "up"])
    level = best.assign(region="vert-C3", start_mm=[30.0, 41.0], end_mm=[50.0, 61.0])
    found, _ = visits(pd.concat([best, level]), moved_scans)
    region = found[found["region"] == "vert-C3"]
    assert abs(region["area_mm2"].iloc[1] / region["area_mm2"].iloc[0] - 1) <= 0.01


def test_images_that_share_no_axis_are_aligned_alone(moved_scans: dict[str, Path]) -> None:
    found, _ = visits(best_of(["still", "up"], flags="not_shared"), moved_scans)
    assert set(found["alignment"]) == {"midpoint"}


def test_what_cannot_be_aligned_stays_as_labelled(moved_scans: dict[str, Path], tmp_path: Path) -> None:
    short = tmp_path / "short_morph.tsv"
    lines = moved_scans["up"].read_text().splitlines()
    short.write_text("\n".join([lines[0], *lines[1:3]]) + "\n")
    best = best_of(["still", "up"])
    level = best.assign(region="pmj-50", area_mm2=[70.0, 69.0])
    found, lost = visits(pd.concat([best, level]), {**moved_scans, "up": short})
    assert found["area_mm2"].tolist() == [70.0, 69.0] and set(found["alignment"]) == {"labels"}
    assert {each["region"] for each in lost} == {"stretch"} and "cannot be aligned" in lost[0]["reason"]
    found, lost = visits(best, {**moved_scans, "up": short})
    assert found.empty and [each["session_id"] for each in lost] == ["still", "up"]
    assert "no region is labelled" in lost[0]["reason"]


def test_one_session_or_no_tables_have_no_change(moved_scans: dict[str, Path]) -> None:
    found, lost = visits(best_of(["still"]), moved_scans)
    assert found.empty and lost == []
    found, lost = visits(best_of(["still", "up"]), {})
    assert found.empty and {each["input"] for each in lost} == {"still", "up"}
    assert all("per-slice table" in each["reason"] and "change" in each["figures"] for each in lost)


def test_a_visit_without_its_table_leaves_the_other_alone(moved_scans: dict[str, Path]) -> None:
    found, lost = visits(best_of(["still", "up"]), {"still": moved_scans["still"]})
    reasons = {each["input"]: each["reason"] for each in lost}
    assert found.empty and "no other visit" in reasons["still"] and "per-slice table" in reasons["up"]


def test_what_visits_share_too_little_of_is_told(moved_scans: dict[str, Path], tmp_path: Path) -> None:
    """A visit that shows 15 mm of cord, and a region that half of it shows."""
    short = tmp_path / "short_morph.tsv"
    lines = moved_scans["up"].read_text().splitlines()
    short.write_text("\n".join([lines[0], *lines[40:55]]) + "\n")
    best = best_of(["still", "up"])
    level = best.assign(region="vert-C3", start_mm=30.0, end_mm=60.0)
    views = {name: read_slices(path) for name, path in (("still", moved_scans["still"]), ("up", short))}
    found, why = _identical(
        pd.concat([best, level]).assign(visit=["still", "up"] * 2),
        {name: (slices, Shift(0.0, 0.1)) for name, slices in views.items() if slices is not None},
    )
    reasons = {region: reason for reason, regions in why.items() for region in regions}
    assert found == [] and "less than 80%" in reasons["vert-C3"] and "20 mm" in reasons["stretch"]


def scans_of(session: str, **acquisitions: tuple[str, float]) -> list[dict[str, Any]]:
    """An image of each acquisition (plane and length in mm) of one session."""
    return [
        {
            "participant_id": "sub-01", "session_id": session, "contrast": "T2w", "region": region,
            "acq": acq, "ce": None, "rec": None, "plane": plane, "source_image": f"{session}_{acq}",
            "run": None, "length_mm": length, "coverage": 1.0, "csa_fit": "good", "area_mm2": 70.0,
            "gradient_correction": "none",
        }
        for acq, (plane, length) in acquisitions.items()
        for region in ("cord", "vert-C3")
    ]  # fmt: skip


PEOPLE = pd.DataFrame(
    {
        "participant_id": ["sub-01"] * 2, "session_id": ["A", "B"], "person_id": ["sub-01"] * 2,
        "years": [0.0, 1.0],
    }
)  # fmt: skip


def test_visits_are_of_one_acquisition_where_there_is_one() -> None:
    long = pd.DataFrame(
        [*scans_of("A", sag=("sag", 200.0), ax=("ax", 60.0)), *scans_of("B", ax=("ax", 60.0))]
    )
    best = best_images(long)
    assert set(best.loc[best["region"] == "cord", "source_image"]) == {"A_sag", "B_ax"}
    found = comparable(long, best, PEOPLE)
    assert set(found["source_image"]) == {"A_ax", "B_ax"} and set(found["acquisition"]) == {"acq-ax plane-ax"}


def test_visits_of_two_acquisitions_stay_and_are_told() -> None:
    long = pd.DataFrame([*scans_of("A", sag=("sag", 200.0)), *scans_of("B", ax=("ax", 60.0))])
    found = comparable(long, best_images(long), PEOPLE)
    assert found["acquisition"].nunique() == 2
    # Nobody else's images are touched, and who came once is in no change.
    assert comparable(long, best_images(long), PEOPLE[:1]).empty


def cohort(people: int = 40, times: int = 3, noise: float = 1.0, slope_sd: float = 0.3) -> pd.DataFrame:
    """Controls lose 0.2 mm2 a year, patients 1.2."""
    rng = np.random.default_rng(5)
    rows = []
    for n in range(people):
        patient = n % 2 == 1
        level, slope = 72 + 6 * rng.normal(), -0.2 - 1.0 * patient + slope_sd * rng.normal()
        rows += [
            {
                "person_id": f"p{n}",
                "participant_id": f"sub-{n}",
                "session_id": f"ses-{visit}",
                "contrast": "T2w",
                "region": "vert-C3",
                "years": float(visit),
                "area_mm2": level + slope * visit + noise * rng.normal(),
                "scanner": "A",
                "software": "1",
                "coverage": 1.0,
                "shift_error_mm": 0.5,
                "group": "MS" if patient else "HC",
            }
            for visit in range(times)
        ]
    return pd.DataFrame(rows)


def pick(rows: list[dict[str, Any]], **wanted: Any) -> dict[str, Any]:
    [found] = [row for row in rows if all(row.get(name) == value for name, value in wanted.items())]
    return found


class TestChanges:
    def pair(self, **second: Any) -> list[dict[str, Any]]:
        frame = cohort(1, 2)
        frame["area_mm2"] = [70.0, 68.6]
        for name, value in second.items():
            frame.loc[1, name] = value
        return changes(frame, {("vert-C3", "T2w"): Interval(0.5, df=20.0)})

    def test_by_hand(self) -> None:
        [row] = self.pair(years=2.0)
        assert (row["change_mm2"], row["change_percent"]) == pytest.approx((-1.4, -2.0))
        assert (row["annual_mm2"], row["annual_percent"]) == pytest.approx((-0.7, -1.0))
        assert row["ci_high"] - row["change_mm2"] == pytest.approx(2.086 * np.sqrt(2) * 0.5, rel=1e-3)
        assert row["flags"] == [] and row["notes"] == ""

    def test_scanner_and_software_are_flagged(self) -> None:
        assert self.pair(scanner="B", software="2")[0]["flags"] == ["scanner_changed", "software_changed"]

    def test_another_acquisition_is_flagged(self) -> None:
        frame = cohort(1, 2).assign(acquisition=["plane-sag", "plane-ax"])
        [row] = changes(frame, {})
        assert row["flags"] == ["acquisition_changed"]

    def test_without_dates_or_close_together(self) -> None:
        [row] = self.pair(years=np.nan)
        assert np.isnan(row["annual_mm2"]) and "no dates" in row["notes"]
        assert "less than a month" in self.pair(years=0.01)[0]["notes"]

    def test_without_repeats_there_is_no_interval(self) -> None:
        [row] = changes(cohort(1, 2), {})
        assert np.isnan(row["ci_low"]) and "no repeats" in row["notes"]

    def test_one_visit_is_no_change(self) -> None:
        assert changes(cohort(3, 1), {}) == []


class TestSlopes:
    @pytest.mark.parametrize(("people", "times"), [(60, 3), (60, 2), (12, 3)])
    def test_groups_and_their_difference(self, people: int, times: int) -> None:
        rows = slopes(cohort(people, times), "group", "HC")
        for group, truth in (("HC", -0.2), ("MS", -1.2)):
            found = pick(rows, group=group, statistic="annual_change")
            assert found["ci_low"] < truth < found["ci_high"]
        difference = pick(rows, statistic="difference")
        assert difference["ci_low"] < -1.0 < difference["ci_high"] and difference["versus"] == "HC"
        assert ("(time|person)" in difference["formula"]) == (times == 3)
        assert "jackknife" in difference["method"]

    def test_two_visits_of_a_year_are_the_mean_difference(self) -> None:
        frame = cohort(40, 2)
        found = pick(slopes(frame), statistic="annual_change")
        wide = frame.pivot(index="person_id", columns="years", values="area_mm2")
        own = wide[1.0] - wide[0.0]
        assert found["estimate"] == pytest.approx(own.mean(), abs=1e-6)
        assert found["se"] == pytest.approx(own.std() / np.sqrt(40), rel=1e-4)

    def test_a_change_of_scanner_is_counted(self) -> None:
        frame = cohort(12, 2).assign(acquisition="plane-iso")
        assert pick(slopes(frame), statistic="annual_change")["notes"] == ""
        frame.loc[[1, 3], "scanner"] = "B"
        said = pick(slopes(frame), statistic="annual_change")["notes"]
        assert said == "scanner changed between visits of 2 of 12 people"

    @pytest.mark.parametrize(
        ("years", "sessions", "reason"),
        [
            ([0.0, np.nan], {"ses-0", "ses-1"}, "not known"),
            ([0.0, 0.01], {"ses-0", "ses-1"}, "less than a month"),
            ([0.0, np.nan, 2.0], {"ses-1"}, "date of the visit"),
            ([0.0, 1.0], set(), ""),
        ],
    )
    def test_who_has_no_rate_is_told(self, years: list[float], sessions: set[str], reason: str) -> None:
        lost = without_rate(cohort(1, len(years)).assign(years=years))
        assert {each["session_id"] for each in lost} == sessions
        assert all(reason in each["reason"] and each["figures"] == ("change_model",) for each in lost)

    def test_too_few(self) -> None:
        assert "too few" in pick(slopes(cohort(2, 3)), statistic="annual_change")["notes"]
        assert "too few" in pick(slopes(cohort(10, 1)), statistic="annual_change")["notes"]
