"""softseg-drift finds a planted change of model back, and its exit code says whether it passes."""

from __future__ import annotations

import json
import shutil
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
    stem,
    write_study,
)

from softseg_bids.app.identity import is_model
from softseg_bids.study.doors import drift
from softseg_bids.study.drift import joined, judged, lost_rows, statistics
from softseg_bids.study.running import has_results


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
    """Of T2w alone: the old results hold T1w, too, which was not asked for."""
    [row] = rows_of(drifted / "page" / "drift_verdict.tsv")
    assert row["contrast"] == "T2w" and row["n_lost"] == "0"
    assert {row["contrast"] for row in rows_of(drifted / "page" / "drift_areas.tsv")} == {"T2w"}
    expected = -0.03 * sum(area_mm2(person) for person in PEOPLE) / len(PEOPLE)
    assert float(row["bias_mm2"]) == pytest.approx(expected, rel=2e-3)
    assert float(row["scaling"]) == pytest.approx(0.97, rel=1e-4)
    assert row["verdict"] == "fail" and row["interval_within"] == "false" and row["n_people"] == "3"
    assert row["region"] == "disc-C2C3"


def test_the_summary_is_for_machines_and_the_page_for_people(drifted: Path) -> None:
    said = json.loads((drifted / "page" / "drift_summary.json").read_text())
    assert said["Passed"] is False and said["ToleranceMm2"] == 1.0
    assert said["New"]["Model"].endswith("new.pt") and said["New"]["ModelHash"] != said["Old"]["ModelHash"]
    assert list(said["Contrasts"]) == ["T2w"] and said["Contrasts"]["T2w"]["n_lost"] == 0
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


def test_a_choice_holds_for_both_folders_of_results(drifted: Path, study: Path) -> None:
    """Old: three people and two contrasts; new: T2w alone, and of these one person is asked for."""
    arguments = [study / "out", drifted / "page" / "new", study / "bids", "-o", drifted / "one",
                 "--tolerance", "5", "--participant-label", "sub-02", "--contrasts", "t2W"]  # fmt: skip
    assert drift([str(each) for each in arguments]) == 0
    [row] = rows_of(drifted / "one" / "drift_verdict.tsv")
    assert (row["contrast"], row["n_people"], row["verdict"]) == ("T2w", "1", "pass")
    assert {row["participant_id"] for row in rows_of(drifted / "one" / "drift_areas.tsv")} == {"sub-02"}


def test_a_contrast_that_only_the_new_model_measures_is_told_and_passes(
    drifted: Path, study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [drifted / "page" / "new", study / "out", study / "bids", "-o", drifted / "more",
                 "--tolerance", "5"]  # fmt: skip
    assert drift([str(each) for each in arguments]) == 0
    told = "not judged; no disc-C2C3 was measured by both, 3 images by the new model only"
    assert f"T1w, disc-C2C3: {told}" in capsys.readouterr().err
    verdicts = {row["contrast"]: row for row in rows_of(drifted / "more" / "drift_verdict.tsv")}
    assert verdicts["T1w"]["verdict"] == "not_judged" and verdicts["T2w"]["verdict"] == "pass"
    text = (drifted / "more" / "drift.html").read_text()
    assert '<span class="not_judged">not judged</span>' in text and '<span class="fail">' not in text


def test_a_contrast_that_the_new_model_lost_fails(drifted: Path, study: Path) -> None:
    arguments = [study / "out", drifted / "page" / "new", study / "bids", "-o", drifted / "less",
                 "--tolerance", "5"]  # fmt: skip
    assert drift([str(each) for each in arguments]) == 1
    verdicts = {row["contrast"]: row for row in rows_of(drifted / "less" / "drift_verdict.tsv")}
    lost = verdicts["T1w"]
    assert lost["verdict"] == "fail" and lost["n_lost"] == "3" and verdicts["T2w"]["verdict"] == "pass"
    assert "3 images measured by the old model only" in lost["reason"]
    summary = json.loads((drifted / "less" / "drift_summary.json").read_text())
    assert summary["Passed"] is False and summary["Contrasts"]["T1w"]["bias_mm2"] is None


@pytest.mark.parametrize("choice", [["--participant-label", "09"], ["-m", "FLAIR"]])
def test_results_without_what_was_chosen_end_it_before_anything_runs(
    choice: list[str], study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [checkpoint(tmp_path / "old.pt"), study / "out", study / "bids", "-o", tmp_path / "page"]
    with stand_in() as asked:
        assert drift([*map(str, arguments), *choice]) == 18
    assert asked == []
    said = capsys.readouterr().err
    assert f"holds no results of {choice[1]}; there are sub-01, sub-02, sub-03 and T1w, T2w" in said


@pytest.fixture
def other(study: Path, tmp_path: Path) -> Path:
    """A dataset of the same names, in which one image is another one."""
    bids = Path(shutil.copytree(study / "bids", tmp_path / "bids"))
    shutil.copy(bids / f"{stem('03', 'T2w')}.nii.gz", bids / f"{stem('02', 'T2w')}.nii.gz")
    return bids


@pytest.mark.parametrize("place", [0, 1])
def test_results_of_another_dataset_are_refused_before_anything_runs(
    place: int, study: Path, other: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sides = [checkpoint(tmp_path / "model.pt"), checkpoint(tmp_path / "model.pt")]
    sides[place] = study / "out"
    with stand_in() as asked:
        assert drift([*map(str, sides), str(other), "-o", str(tmp_path / "page")]) == 64
    assert asked == []
    said = capsys.readouterr().err
    assert f"{study / 'out'}: 1 of 6 images are not those of {other}, though of the same name" in said
    assert f"for example {stem('02', 'T2w')}.nii.gz (SourceChecksum " in said
    assert "or the model instead of the folder" in said


def test_of_the_chosen_images_alone(study: Path, other: Path, tmp_path: Path) -> None:
    out = str(study / "out")
    chosen = [out, out, str(other), "-o", str(tmp_path / "page"), "--participant-label", "01", "03"]
    assert drift(chosen) == 0


def test_results_of_other_names_are_refused(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bids = write_study(tmp_path / "bids", PEOPLE[:1], ("T2starw",))
    assert drift([str(study / "out")] * 2 + [str(bids), "-o", str(tmp_path / "page")]) == 64
    assert f"none of its 6 images is in {bids}, for example sub-01/anat/" in capsys.readouterr().err


def test_without_the_images_both_results_must_be_of_the_same(
    study: Path, other: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Their content was dropped (dangling links, as git-annex leaves them), or their sidecars do not say."""
    new = Path(shutil.copytree(study / "out", tmp_path / "new", ignore=shutil.ignore_patterns(".*", "logs")))
    for person in PEOPLE:
        changed = new / f"sub-{person}" / "anat" / f"sub-{person}_label-SC_desc-T2w_probseg.json"
        content = json.loads(changed.read_text())
        changed.write_text(json.dumps(content | {"SourceChecksum": "0" * 16}))
    for path in other.rglob("sub-*_T?w.nii.gz"):
        path.unlink()
        path.symlink_to(tmp_path / "gone")
    arguments = [str(study / "out"), str(new), str(other), "-o", str(tmp_path / "page")]
    assert drift(arguments) == 64
    said = capsys.readouterr().err
    assert "results are not checked against their images" in said
    assert f"{new}: 3 of 6 images are not those of {study / 'out'}" in said
    for path in new.rglob("*_desc-T2w_probseg.json"):
        path.write_text("{}")
    assert drift(arguments) == 0


def test_a_region_that_nobody_measured(
    drifted: Path, study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new = drifted / "page" / "new"
    code = drift([str(new), str(new), str(study / "bids"), "-o", str(drifted / "x"), "--region", "vert-T1"])
    assert (
        code == 64
        and ("--region vert-T1: was not measured by the old model; there are disc-C2C3")
        in capsys.readouterr().err
    )


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
        (["no.pt", "packaged", "."], "neither a model nor a folder of softseg's results"),
        (["packaged", "packaged", "no"], "is not a folder"),
        (["packaged", "packaged", ".", "--tolerance", "0"], "is not a number above 0"),
        (["packaged", "packaged", ".", "--tolerance", "much"], "is not a number above 0"),
        (["packaged", "packaged"], "required: DATA"),
    ],
)
def test_usage(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert drift(arguments) == 64
    assert said in capsys.readouterr().err


def long(
    areas: dict[str, float],
    region: str = "cord",
    coverage: float = 1.0,
    contrast: str = "T2w",
    session: str | None = None,
    run: str | None = None,
) -> pd.DataFrame:
    where = "_".join(part for part in (session, run, contrast) if part)
    return pd.DataFrame(
        [
            {
                "participant_id": person, "session_id": session, "contrast": contrast, "region": region,
                "source_image": f"{person}_{where}", "area_mm2": area, "coverage": coverage,
                "csa_fit": "good", "length_mm": 40.0, "gradient_correction": "unknown", "run": run,
            }
            for person, area in areas.items()
        ]
    )  # fmt: skip


def together(*frames: pd.DataFrame) -> pd.DataFrame:
    return pd.concat(frames, ignore_index=True)


class TestVerdict:
    """Of hand-made areas."""

    def verdict(self, old: pd.DataFrame, new: pd.DataFrame, tolerance: float = 1.0) -> dict[str, object]:
        [row] = self.verdicts(old, new, tolerance)
        return row

    def verdicts(
        self, old: pd.DataFrame, new: pd.DataFrame, tolerance: float = 1.0, region: str = "cord"
    ) -> list[dict[str, object]]:
        areas = joined(old, new)
        areas["lost"] = lost_rows(areas, region)
        return judged(areas, statistics(areas), region, tolerance)

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
        assert lost["verdict"] == "fail" and "1 image measured by the old model only" in str(lost["reason"])
        gained = self.verdict(long(two), long(three))
        assert gained["verdict"] == "pass" and "1 image by the new model only" in str(gained["reason"])

    @pytest.mark.parametrize("other", [{"session": "ses-02"}, {"run": "2"}])
    def test_an_image_lost_in_a_later_session_or_run_fails(self, other: dict[str, str]) -> None:
        first, second = {"a": 70.0, "b": 71.0, "c": 72.0}, {"a": 70.0, "b": 71.0}
        begun = {"session": "ses-01"} if "session" in other else {"run": "1"}
        old = together(long(first, **begun), long(first, **other))  # type: ignore[arg-type]
        new = together(long(first, **begun), long(second, **other))  # type: ignore[arg-type]
        row = self.verdict(old, new)
        assert row["verdict"] == "fail" and row["n_people"] == 3 and row["bias_mm2"] == 0
        assert row["n_lost"] == 1 and "1 image measured by the old model only" in str(row["reason"])
        assert self.verdict(new, old)["verdict"] == "pass"

    def test_a_person_counts_by_an_image_that_both_measured(self) -> None:
        """The new model measures a first session, too: the second is still compared."""
        old = long({"a": 70.0}, session="ses-02")
        new = together(long({"a": 60.0}, session="ses-01"), long({"a": 70.5}, session="ses-02"))
        row = self.verdict(old, new)
        assert row["n_people"] == 1 and row["bias_mm2"] == 0.5 and row["verdict"] == "pass"

    def test_an_image_that_never_showed_the_region_is_missed_all_the_same(self) -> None:
        people = {"a": 70.0, "b": 71.0, "c": 72.0}
        dwi = together(long(people, contrast="DWI"), long(people, "common", contrast="DWI"))
        old = together(long(people, "disc-C2C3"), long(people), dwi)
        new = together(long(people, "disc-C2C3"), long(people))
        gone, kept = self.verdicts(old, new, region="disc-C2C3")
        assert (gone["contrast"], gone["verdict"], gone["n_lost"]) == ("DWI", "fail", 3)
        assert (kept["contrast"], kept["verdict"]) == ("T2w", "pass")
        still, _ = self.verdicts(old, old, region="disc-C2C3")
        assert still["verdict"] == "not_judged" and still["n_lost"] == 0

    def test_too_little_of_a_region_is_no_area(self) -> None:
        three = {"a": 70.0, "b": 71.0, "c": 72.0}
        areas = joined(long(three), long(three, coverage=0.5))
        assert areas["new_area_mm2"].isna().all() and not areas["in_statistics"].any()
