"""softseg-drift finds a planted change of model back, and its exit code says whether it passes."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from study_phantoms import (
    PEOPLE,
    area_mm2,
    checkpoint,
    rows_of,
    shared_study,
    stand_in,
)

from softseg_bids.study.doors import drift
from softseg_bids.study.drift import joined, judged, statistics
from softseg_bids.study.running import has_results, is_model


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shared_study(tmp_path_factory)


@pytest.fixture(scope="module")
def drifted(study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The new model says 0.97 of what the old one said; the old one's results are there already."""
    folder = tmp_path_factory.mktemp("drift")
    new = checkpoint(folder / "new.pt", "0.97")
    arguments = [study / "out", new, study / "bids", "-o", folder / "page", "--nprocs", "1", "-m", "T2w"]
    with stand_in() as asked:
        assert drift([str(each) for each in arguments]) == 1
    assert asked == [str(new)] * len(PEOPLE)
    return folder


def test_the_planted_drift_is_found_back(drifted: Path) -> None:
    verdicts = {row["contrast"]: row for row in rows_of(drifted / "page" / "drift_verdict.tsv")}
    lost = verdicts.pop("T1w")  # the new model was not run on T1w
    assert lost["verdict"] == "fail" and "3 measured by the old model only" in lost["reason"]
    [row] = verdicts.values()
    expected = -0.03 * sum(area_mm2(person) for person in PEOPLE) / len(PEOPLE)
    assert float(row["bias_mm2"]) == pytest.approx(expected, rel=2e-3)
    assert float(row["scaling"]) == pytest.approx(0.97, rel=1e-4)
    assert row["verdict"] == "fail" and row["interval_within"] == "false" and row["n_people"] == "3"
    assert row["region"] == "disc-C2C3"


def test_the_summary_is_for_machines_and_the_page_for_people(drifted: Path) -> None:
    said = json.loads((drifted / "page" / "drift_summary.json").read_text())
    assert said["Passed"] is False and said["ToleranceMm2"] == 1.0
    assert said["New"]["Model"].endswith("new.pt") and said["New"]["ModelHash"] != said["Old"]["ModelHash"]
    assert said["Contrasts"]["T1w"]["bias_mm2"] is None
    text = (drifted / "page" / "drift.html").read_text()
    assert "Not validated in patients" in text and '<span class="fail">fail</span>' in text
    assert said["New"]["ModelHash"] in text and "data:image/svg+xml" in text


def test_within_the_tolerance_it_passes_without_running_anything(drifted: Path, study: Path) -> None:
    new = drifted / "page" / "new"
    assert has_results(new) and not is_model(new)
    arguments = [new, new, study / "bids", "-o", drifted / "same", "--tolerance", "0.01"]
    with stand_in() as asked:
        assert drift([str(each) for each in arguments]) == 0
    assert asked == []
    assert "Both are the same model." in (drifted / "same" / "drift.html").read_text()
    [row] = rows_of(drifted / "same" / "drift_verdict.tsv")
    assert row["verdict"] == "pass" and float(row["bias_mm2"]) == 0


def test_a_region_that_nobody_measured(
    drifted: Path, study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new = drifted / "page" / "new"
    code = drift([str(new), str(new), str(study / "bids"), "-o", str(drifted / "x"), "--region", "vert-T1"])
    assert code == 64 and "--region vert-T1: was not measured; there are disc-C2C3" in capsys.readouterr().err


def test_a_model_that_sees_nothing(study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    blind = checkpoint(tmp_path / "blind.pt", "blind")
    arguments = [study / "out", blind, study / "bids", "-o", tmp_path / "page", "--nprocs", "1",
                 "-m", "T2w", "--participant-label", "01"]  # fmt: skip
    with stand_in():
        assert drift([str(each) for each in arguments]) == 65
    assert "no area was measured by both models" in capsys.readouterr().err


def test_the_app_s_own_errors_end_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    model = checkpoint(tmp_path / "model.pt")
    arguments = [model, model, tmp_path / "empty", "-o", tmp_path / "page"]
    assert drift([str(each) for each in arguments]) == 66
    said = capsys.readouterr().err
    assert f"{model}: could not be run over {tmp_path / 'empty'}; see above" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["no.pt", "packaged", "."], "neither a checkpoint nor a folder of softseg's results"),
        (["packaged", "packaged", "no"], "is not a folder"),
        (["packaged", "packaged", ".", "--tolerance", "0"], "is not a number above 0"),
        (["packaged", "packaged", ".", "--tolerance", "much"], "is not a number above 0"),
        (["packaged", "packaged"], "required: DATA"),
    ],
)
def test_usage(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert drift(arguments) == 64
    assert said in capsys.readouterr().err


def long(areas: dict[str, float], region: str = "cord", coverage: float = 1.0) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "participant_id": person, "session_id": None, "contrast": "T2w", "region": region,
                "source_image": f"{person}_T2w", "area_mm2": area, "coverage": coverage, "csa_fit": "good",
                "length_mm": 40.0, "gradient_correction": "unknown", "run": None,
            }
            for person, area in areas.items()
        ]
    )  # fmt: skip


class TestVerdict:
    """Of hand-made areas."""

    def verdict(self, old: pd.DataFrame, new: pd.DataFrame, tolerance: float = 1.0) -> dict[str, object]:
        areas = joined(old, new)
        [row] = judged(areas, statistics(areas), "cord", tolerance)
        return row

    def test_a_small_bias_of_many_people_is_certain(self) -> None:
        old = {f"sub-{n}": 70.0 + n for n in range(10)}
        row = self.verdict(
            long(old), long({name: area + 0.5 + 0.01 * (area % 2) for name, area in old.items()})
        )
        assert row["verdict"] == "pass" and row["interval_within"] and row["n_people"] == 10

    def test_large_differences_that_cancel_pass_but_are_not_certain(self) -> None:
        old = {f"sub-{n}": 70.0 for n in range(4)}
        new = {f"sub-{n}": 70.0 + (9, -9, 8, -8)[n] for n in range(4)}
        row = self.verdict(long(old), long(new))
        assert row["verdict"] == "pass" and not row["interval_within"]

    def test_two_people_are_judged_without_an_interval(self) -> None:
        row = self.verdict(long({"a": 70.0, "b": 71.0}), long({"a": 73.0, "b": 74.0}))
        assert row["verdict"] == "fail" and row["bias_mm2"] == 3 and "too few people" in str(row["reason"])

    def test_a_lost_area_fails_and_a_gained_one_does_not(self) -> None:
        three = {"a": 70.0, "b": 71.0, "c": 72.0}
        two = {"a": 70.0, "b": 71.0}
        lost = self.verdict(long(three), long(two))
        assert lost["verdict"] == "fail" and "1 measured by the old model only" in str(lost["reason"])
        gained = self.verdict(long(two), long(three))
        assert gained["verdict"] == "pass" and "1 by the new model only" in str(gained["reason"])

    def test_too_little_of_a_region_is_no_area(self) -> None:
        three = {"a": 70.0, "b": 71.0, "c": 72.0}
        areas = joined(long(three), long(three, coverage=0.5))
        assert areas["new_area_mm2"].isna().all() and not areas["in_statistics"].any()
