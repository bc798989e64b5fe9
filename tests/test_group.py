"""The group level, from tables alone."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from softseg_bids.app.cli import main
from softseg_bids.app.columns import LONG
from softseg_bids.app.group import best_images, variability
from softseg_bids.bids import derivatives

NUMBERS: dict[str, Any] = {
    "area_mm2": 70.0,
    "coverage": 1.0,
    "length_mm": 30.0,
    "n_slices": 30,
    "area_sd_mm2": 1.0,
}


def row(
    contrast: str = "T2w", region: str = "vert-C3", participant: str = "01", **more: Any
) -> dict[str, Any]:
    name = f"sub-{participant}_{more.get('acq', 'x')}_{more.get('run', '1')}_{contrast}.nii.gz"
    source = f"sub-{participant}/anat/{name}"
    return {
        "participant_id": f"sub-{participant}", "contrast": contrast, "region": region, "csa_fit": "good",
        "source_image": source, "model_hash": "abc", "version": "1", "status": "measured", **NUMBERS, **more,
    }  # fmt: skip


def write_session(out: Path, participant: str, rows: list[dict[str, Any]], **facts: Any) -> None:
    cards = {each["source_image"]: each for each in rows}
    said = {
        "participant": participant, "session": None, "missing": [], "participant_row": {}, "session_row": {},
        "images": [
            {"key": source, "source": source, "contrast": each["contrast"], "status": each["status"]}
            for source, each in cards.items()
        ],
        **facts,
    }  # fmt: skip
    table = derivatives.session_table(out, participant, None)
    derivatives.write_table(table, rows, columns=LONG, extra={"Session": said})


def read(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file, delimiter="\t"))


def group(out: Path, *more: str) -> int:
    return main(["/nowhere", str(out), "group", *more])


def test_wide_has_a_column_a_region_and_contrast(tmp_path: Path) -> None:
    write_session(
        tmp_path, "01", [row("T1w"), row("T2w", coverage=0.79), row("T2w", "cord", area_mm2=68.0)],
        participant_row={"participant_id": "sub-01", "age": "40", "sex": None},
    )  # fmt: skip
    write_session(tmp_path, "02", [row("T2w", participant="02", area_mm2=75.5)])
    assert group(tmp_path) == 0
    first, second = read(tmp_path / "group_csa_wide.tsv")
    assert (first["age"], first["vert-C3_T1w"], first["vert-C3_T2w"], first["cord_T2w"]) == (
        "40",
        "70",
        "n/a",
        "68",
    )
    assert (second["vert-C3_T2w"], second["age"]) == ("75.5", "n/a")
    assert len(read(tmp_path / "group_csa.tsv")) == 4
    for name in ("csa", "csa_wide", "variability", "missing", "qc"):
        assert (tmp_path / f"group_{name}.json").is_file()


def test_variability_over_the_declared_set() -> None:
    frame = pd.DataFrame(
        [
            row("T1w", area_mm2=70.0),
            row("T2w", area_mm2=74.0),
            row("T2starw", area_mm2=72.0),
            row("DWI", area_mm2=60.0),
        ]
    ).reindex(columns=LONG)
    [found] = variability(best_images(frame), ("T1w", "T2w", "T2starw", "MTon"))
    assert found["members"] == ["T1w", "T2w", "T2starw"]
    assert (found["mean_mm2"], found["sd_mm2"], found["range_mm2"]) == pytest.approx((72.0, 2.0, 4.0))
    assert found["cv_percent"] == pytest.approx(100 * 2 / 72)
    assert found["dwi_mm2"] == 60.0


def test_one_contrast_has_no_spread() -> None:
    frame = pd.DataFrame([row("T1w")]).reindex(columns=LONG)
    [found] = variability(best_images(frame), ("T1w", "T2w"))
    assert found["n_contrasts"] == 1 and found["cv_percent"] is None


class TestBestImages:
    """Which of several images of one contrast enters statistics."""

    def best(self, *rows: dict[str, Any]) -> str:
        frame = best_images(pd.DataFrame(list(rows)).reindex(columns=LONG))
        assert len(frame) == 1
        return str(frame["acq"].iloc[0])

    def test_the_one_that_covers_most(self) -> None:
        assert self.best(row(acq="a", coverage=0.85), row(acq="b", coverage=0.99)) == "b"

    def test_then_the_one_with_gradient_correction(self) -> None:
        first, second = row(acq="a", gradient_correction="none"), row(acq="b", gradient_correction="3D")
        assert self.best(first, second) == "b"

    def test_then_the_first_run(self) -> None:
        assert self.best(row(acq="b", run="2"), row(acq="a", run="1")) == "a"

    def test_of_whole_cords_the_longest(self) -> None:
        short = row(acq="a", region="cord", length_mm=40.0)
        assert self.best(short, row(acq="b", region="cord", length_mm=90.0, coverage=0.9)) == "b"

    def test_coarse_pixels_never(self) -> None:
        assert self.best(row(acq="a", csa_fit="no"), row(acq="b", csa_fit="limited")) == "b"


def test_the_ledger_names_what_is_missing(tmp_path: Path) -> None:
    lost = {
        "input": "sub-01/anat/sub-01_T1w.nii.gz",
        "contrast": "T1w",
        "status": "failed",
        "reason": "damaged",
    }
    write_session(
        tmp_path, "01", [row("T2w"), row("MTon", "cord", status="no_cord", area_mm2=None)], missing=[lost]
    )
    assert group(tmp_path) == 0
    found = {(each["contrast"], each["status"]) for each in read(tmp_path / "group_missing.tsv")}
    assert found == {("T1w", "failed"), ("MTon", "no_cord"), ("T2starw", "absent"), ("GRET1w", "absent")}


def test_a_session_without_any_measurement(tmp_path: Path) -> None:
    write_session(tmp_path, "01", [])
    assert group(tmp_path) == 0
    assert read(tmp_path / "group_csa.tsv") == []
    assert len(read(tmp_path / "group_csa_wide.tsv")) == 1


def test_the_contrast_set_can_be_declared(tmp_path: Path) -> None:
    write_session(tmp_path, "01", [row("T1w"), row("FLAIR", area_mm2=71.0), row("T2w", area_mm2=90.0)])
    assert group(tmp_path, "--contrast-set", "T1w", "FLAIR") == 0
    [found] = read(tmp_path / "group_variability.tsv")
    assert (found["members"], found["range_mm2"]) == ("T1w;FLAIR", "1")


@pytest.mark.parametrize("name", ["model_hash", "version"])
def test_different_models_are_not_pooled(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_session(tmp_path, "01", [row()])
    write_session(tmp_path, "02", [row(participant="02", **{name: "other"})])
    assert group(tmp_path) == 64
    assert "other" in capsys.readouterr().err
    assert group(tmp_path, "--allow-mixed") == 0


def test_nothing_to_pool(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert group(tmp_path) == 66
    assert "participant level first" in capsys.readouterr().err


def test_chosen_participants(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_session(tmp_path, "01", [row()])
    write_session(tmp_path, "02", [row(participant="02")])
    assert group(tmp_path, "--participant-label", "sub-02") == 0
    assert {each["participant_id"] for each in read(tmp_path / "group_csa.tsv")} == {"sub-02"}
    assert group(tmp_path, "--participant-label", "09") == 18
    assert "01, 02" in capsys.readouterr().err


def test_chosen_sessions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for session in ("A", "B"):
        rows = [row(session_id=f"ses-{session}", area_mm2=70.0 + (session == "B"))]
        said: dict[str, Any] = {"participant": "01", "session": session, "missing": [], "images": []}
        said |= {"participant_row": {}, "session_row": {}}
        table = derivatives.session_table(tmp_path, "01", session)
        derivatives.write_table(table, rows, columns=LONG, extra={"Session": said})
    assert group(tmp_path, "--session-label", "ses-B") == 0
    assert [each["area_mm2"] for each in read(tmp_path / "group_csa.tsv")] == ["71"]
    assert [each["session_id"] for each in read(tmp_path / "group_csa_wide.tsv")] == ["ses-B"]
    assert group(tmp_path, "--session-label", "C") == 18
    assert "no results of ses-C; it has A, B" in capsys.readouterr().err


def test_the_site_is_of_the_column_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, place in (("01", "east"), ("02", "n/a")):
        rows = [row(participant=name, site="first")]
        write_session(tmp_path, name, rows, participant_row={"centre": place})
    assert group(tmp_path) == 0
    assert {each["site"] for each in read(tmp_path / "group_csa.tsv")} == {"first"}
    assert group(tmp_path, "--site-column", "centre") == 0
    assert [each["site"] for each in read(tmp_path / "group_csa.tsv")] == ["east", "n/a"]
    assert group(tmp_path, "--site-column", "ward") == 64
    assert (
        "--site-column ward: no such column of participants.tsv; there are centre" in capsys.readouterr().err
    )


def test_options_that_choose_scans_are_of_the_participant_level(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_session(tmp_path, "01", [row()])
    chosen = tmp_path / "filter.json"
    chosen.write_text("{}")
    for option in (("--contrasts", "T2w"), ("--bids-filter-file", str(chosen))):
        assert group(tmp_path, *option) == 64
        assert f"{option[0]} chooses scans" in capsys.readouterr().err
    assert not (tmp_path / "group_csa.tsv").exists()


def test_text_that_looks_like_numbers_stays_text(tmp_path: Path) -> None:
    write_session(tmp_path, "01", [row(run="01", model_hash="012345678901")])
    assert group(tmp_path) == 0
    [found] = read(tmp_path / "group_csa.tsv")
    assert (found["run"], found["model_hash"]) == ("01", "012345678901")
