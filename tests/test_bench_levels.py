"""How found levels are judged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from test_level_network import small_checkpoint

from bench import levels
from bench.level_cases import make, with_other_heights
from bench.levels import Judged, figures, judge, landmark_row, main, tables
from softseg_bids.app.finding import Decision
from softseg_bids.model.weights import DEFAULT

TRUE = {2: 16.0, 3: 36.0, 4: 53.0, 5: 69.0, 6: 85.0, 7: 101.0, 9: 140.0, 22: 400.0, 50: -26.0, 60: 420.0}
NECK = (3, 4, 5)


def shown(flags: tuple[str, ...] = (), **places: float) -> Decision:
    return Decision({int(name[1:]): at for name, at in places.items()}, {}, {}, {}, {}, list(flags), [])


def of_neck(landmarks: tuple[int, ...] = (), flags: tuple[str, ...] = (), **places: float) -> Judged:
    return judge("neck", shown(flags, **places), TRUE, NECK, landmarks, 0.1)


def test_a_label_is_right_within_three_millimetres() -> None:
    row = of_neck(d3=38.0, d4=53.5, d5=73.0)
    assert row.errors_mm == {3: 2.0, 4: 0.5, 5: 4.0} and row.is_wrong and not row.missing


def test_a_numbering_that_is_one_off_is_wrong() -> None:
    row = of_neck(d6=36.0, d7=53.0)
    assert row.is_wrong and row.errors_mm == {6: 49.0, 7: 48.0} and row.missing == [3, 4, 5]


def test_a_label_is_judged_out_of_view_too() -> None:
    assert not of_neck(d9=142.0, d3=36.0).is_wrong
    assert of_neck(d9=130.0, d3=36.0).is_wrong


def test_shares_of_images() -> None:
    rows = [
        of_neck(d3=36.0, d4=53.0, d5=69.0),
        of_neck(d3=53.0),
        judge("lumbar", None, TRUE, (22,), (), 0.1),
        Judged("neck", True, {3: 1.0}, [4, 5], 0.1),
    ]
    assert figures(rows) == pytest.approx((200 / 3, 25, 25, 25, 0))
    assert figures([of_neck(d4=53.0), rows[0]])[3:] == pytest.approx((0, 50))
    text = tables(rows, "abc", True)
    assert (
        "| all | 4 | 66.7 % | 25.0 % | 25.0 % | 25.0 % | 25.0 % | 0.0 % |" in text
        and "| lumbar | 1 | n/a |" in text
    )


def test_what_is_wrong_and_flagged_is_told_apart() -> None:
    rows = [of_neck(d3=53.0), of_neck(flags=("levels_unsure",), d3=53.0), of_neck(d3=36.0, d4=53.0, d5=69.0)]
    assert figures(rows)[2] == pytest.approx(100 / 3)
    assert "| all | 3 | 33.3 % | 33.3 % | 33.3 % | 66.7 % | 0.0 % | 0.0 % |" in tables(rows, "abc", True)


def test_landmarks_have_rows_of_their_own() -> None:
    rows = [
        of_neck((2, 50), d2=17.0, d50=-30.0),
        of_neck((2, 50), d2=15.0),
        of_neck((2, 60), d50=-26.0, d60=429.0),
    ]
    assert rows[0].landmarks_mm == {2: 1.0, 50: 4.0} and not rows[0].is_wrong
    assert landmark_row(rows, 2) == ("C1-C2", "3", "66.7 %", "100.0 %", "1.0 mm", "33.3 %", "0")
    assert landmark_row(rows, 50) == ("PMJ", "2", "0.0 %", "0.0 %", "4.0 mm", "50.0 %", "1")
    # A taper is right within 10 mm.
    assert landmark_row(rows, 60) == ("conus", "1", "100.0 %", "100.0 %", "9.0 mm", "0.0 %", "0")
    assert "| conus | 0 | n/a | n/a | n/a | n/a | 0 |" in tables(rows[:2], "abc", True)


def test_a_third_of_the_spines_have_heights_of_their_own() -> None:
    body = make(0).body
    other = with_other_heights(body, np.random.default_rng(1))
    ratio = np.diff(other.discs_mm) / np.diff(body.discs_mm)
    assert 0.8 < ratio.min() < 0.97 and 1.03 < ratio.max() < 1.2
    assert other.conus_mm == body.conus_mm


def test_truth_is_in_view_and_of_the_body() -> None:
    case = make(1)  # head and neck
    assert case.view == "head and neck" and {2, 50} <= set(case.landmarks_mm) and 3 in case.tips_mm
    heights = [case.landmarks_mm[50][2], case.landmarks_mm[2][2], case.tips_mm[3][2]]
    assert heights == sorted(heights, reverse=True)
    assert 60 not in case.landmarks_mm


def test_an_image_is_drawn_read_and_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(levels, "_model", None, raising=False)
    monkeypatch.setattr(levels, "_levels", None, raising=False)
    levels._prepare(DEFAULT, is_true_line=True)
    row, case = levels.look_and_judge(0), make(0)
    # A plain neck, along its true line: what is shown must be told along the same axis as the truth.
    assert row.view == case.view == "neck" and set(row.errors_mm) >= set(case.tips_mm)
    assert set(row.landmarks_mm) == set(case.landmarks_mm)
    assert not row.is_wrong and not row.missing and not row.flags


def test_without_real_scans_that_is_said(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert "not judged in this run" in levels._real(None, Path("model.pt"), 1)
    assert "make bench-levels REAL=FOLDER" in capsys.readouterr().err
    path = small_checkpoint(tmp_path / "new.pt", with_levels=True)
    assert main(["--model", str(path), "--images", "1", "--real", str(tmp_path)]) == 1
    assert "has no image of acq-full_T2w; check REAL" in capsys.readouterr().err


def test_a_checkpoint_without_levels_cannot_be_judged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = small_checkpoint(tmp_path / "old.pt", with_levels=False)
    assert main(["--model", str(path), "--images", "1", "--processes", "1"]) == 1
    assert "holds no network for levels" in capsys.readouterr().err
