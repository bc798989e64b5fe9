"""The benchmark's figures: a perfect answer scores perfectly, a wrong one by as much as it is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_bench_truth import axes, cylinder

from bench import accuracy, judging, real, report, scores, truth, uncertainty
from bench.halfway import halfway_ratio
from bench.images import Case, Spec
from bench.judging import Judged
from bench.real import Agreement, Seen
from bench.speed import Timing, compare
from softseg_bids.bids.dataset import Scan
from softseg_bids.image.grid import Grid
from softseg_bids.image.volume import DataError, Volume
from softseg_bids.model.weights import DEFAULT, area_uncertainty

SPACING, SHAPE = (0.8, 0.8, 2.0), (40, 50, 24)
AREA_MM2 = 24 * np.pi


def case(tilt_deg: float = 15.0) -> Case:
    """A leaning cylinder, its own fractions as the image."""
    cord, places = cylinder(tilt_deg), axes(SPACING, SHAPE)
    affine = np.diag([*SPACING, 1.0])
    affine[:3, 3] = [place[0] for place in places]
    shares = truth.fractions(cord, places, np.eye(3))
    return Case(
        spec=Spec(7, "familiar", "T2w", "iso 1 mm", "none", "neck"), array=shares, grid=Grid(SHAPE, affine),
        plane="iso", noise=0.05, blur_mm=0.9, cnr=10.0, step=0.5,
        sections=truth.sections(cord, places, np.eye(3)), fraction=shares, cord=cord, rotation=np.eye(3),
    )  # fmt: skip


def judged(monkeypatch: pytest.MonkeyPatch, answer: np.ndarray) -> Judged:
    monkeypatch.setattr(judging, "segment", lambda model, volume: answer.astype(np.float32))
    return judging.judge(None, case())  # type: ignore[arg-type]


def test_the_truth_itself_scores_perfectly(monkeypatch: pytest.MonkeyPatch) -> None:
    one = judged(monkeypatch, case().array)
    assert one.image["dice"] == 1 and one.image["n_missed"] == 0 and one.image["stray_mm"] == 0
    assert one.image["area_mm2"] == pytest.approx(AREA_MM2, rel=0.004)
    assert one.image["true_mm2"] == pytest.approx(AREA_MM2, rel=1e-6)
    assert one.image["n_slices"] == 24 and sum(row["used"] for row in one.slices) >= 20
    ap = [row["ap_mm"] - row["true_ap_mm"] for row in one.slices if row["used"]]
    assert abs(np.mean(ap)) < 0.15
    curve = scores.reliability([one])
    assert scores.deviation(curve) == (0.0, 0.0)
    assert curve[:, 0].sum() > 5000


def test_what_is_missed_or_strays_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = case().array.copy()
    answer[:, :, 18:] = 0
    one = judged(monkeypatch, answer)
    assert one.image["n_missed"] == 6
    nothing = judged(monkeypatch, np.zeros(SHAPE))
    assert nothing.image["n_missed"] == 24 and nothing.image["found_mm"] == 0
    assert np.isnan(nothing.image["area_mm2"]) and nothing.image["dice"] == 0
    assert judged(monkeypatch, np.roll(case().array, 24, axis=1)).image["stray_mm"] > 20


def test_a_cord_where_there_is_none_is_all_stray(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = case()
    monkeypatch.setattr(judging, "segment", lambda model, volume: volume.array)
    one = judging.judge(None, shown._replace(sections=[], fraction=None, cord=None))  # type: ignore[arg-type]
    assert one.image["found_mm"] == one.image["stray_mm"] == 48
    assert np.isnan(one.image["dice"]) and one.slices == []


def result(true: float, measured: float, **facts: Any) -> Judged:
    row = {
        "image": "x", "kind": "familiar", "contrast": "T2w", "resolution": "iso 1 mm", "pathology": "none",
        "noise": 0.05, "blur_mm": 1.0, "cnr": 10.0, "step": 0.5, "n_slices": 10, "n_missed": 0, "dice": 0.95,
        "true_mm2": true, "area_mm2": measured, "stray_mm": 0.0, "found_mm": 50.0, **facts,
    }  # fmt: skip
    slices = [
        {
            "true_mm2": true,
            "area_mm2": measured,
            "edge_mm2": 8.0,
            "true_ap_mm": 4.0,
            "ap_mm": 4.1,
            "used": True,
        }
    ]
    return Judged(row, slices, np.zeros((10, 3)))


def test_bias_spread_slope_and_trend_are_those_put_in() -> None:
    true = np.linspace(40, 100, 41)
    noise = np.tile([0.0, 0.1], 21)[:41]
    results = [result(t, t * (1.02 + 0.3 * n), noise=n) for t, n in zip(true, noise, strict=True)]
    found = scores.areas(results)
    assert found.bias == pytest.approx(2 + 30 * noise.mean())
    assert found.sd == pytest.approx(np.std(30 * noise, ddof=1))
    change, error = scores.trend(results, scores.TRENDS["noise"][1])
    assert change == pytest.approx(3.0) and error < 1e-6
    straight = [result(t, 0.9 * t + 6) for t in true]
    rise, _, start = scores.slope(straight)
    assert (rise, start) == (pytest.approx(0.9), pytest.approx(6.0))
    assert np.isnan(scores.trend(straight, scores.TRENDS["noise"][1])[0])


def test_figures_pass_and_fail_at_their_limits() -> None:
    good = [
        result(t, t * 1.005, noise=n) for t, n in zip(range(40, 100), np.linspace(0, 0.1, 60), strict=True)
    ]
    head = result(np.nan, np.nan, kind="head", found_mm=0.0)
    verdicts = {one.name: one.passed for one in scores.synthetic_figures(good, [head], None)}
    assert verdicts["CSA bias"] and verdicts["slope of measured on true area"]
    assert verdicts["cord found in synthetic heads without cord"] is True
    assert verdicts["cord found in the MNI152 template"] is None
    assert verdicts["AP diameter bias at 2.5 to 5 mm"]
    bad = [result(t, t * 0.9 + 1, n_missed=1, stray_mm=3.0) for t in range(40, 100)]
    false = result(np.nan, np.nan, kind="head", found_mm=30.0)
    verdicts = {one.name: one.passed for one in scores.synthetic_figures(bad, [false], None)}
    for name in (
        "CSA bias", "slope of measured on true area", "slices without the cord they show",
        "images with cord > 10 mm off the true one", "cord found in synthetic heads without cord",
    ):  # fmt: skip
        assert verdicts[name] is False


def test_images_without_contrast_are_kept_apart() -> None:
    results = [result(50, 50), result(50, 90, cnr=1.0)]
    assert scores.clear(results) == results[:1]
    assert scores.faint(results) == results[1:]
    text = report.group_table("kind", scores.breakdown(results, "kind"))
    assert text.splitlines()[2].startswith("| familiar | 2 | 0.950 | +40.0 % |")


def test_a_table_says_no_and_nan_is_no_number() -> None:
    text = report.figure_table([scores.Figure("bias", "≤ 1 %", "+nan %", False)])
    assert text.splitlines()[-1] == "| bias | ≤ 1 % | n/a | **no** |"


def test_a_part_is_replaced_between_its_markers_only(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# A\n<!-- real:begin -->\nold\n<!-- real:end -->\nafter\n<!-- speed:begin -->\n<!-- speed:end -->\n"
    )
    report.replace_part("real", "new", page)
    assert page.read_text().startswith("# A\n<!-- real:begin -->\nnew\n<!-- real:end -->\nafter\n<!-- speed")
    with pytest.raises(ValueError, match="losses:begin"):
        report.replace_part("losses", "new", page)


def test_the_page_has_a_place_for_every_part() -> None:
    for part in ("synthetic", "real", "speed", "losses", "scale"):
        assert report.PAGE.read_text().count(f"<!-- {part}:begin -->") == 1


def seen(areas: list[float], name: str = "acq-crop_T1w", participant: str = "errsm30") -> Seen:
    soft = np.zeros((12, 12, len(areas)), dtype=np.float32)
    soft[4:8, 4:8, [bool(np.isfinite(area)) for area in areas]] = 1
    stem, suffix = name.rsplit("_", 1)
    place, key = f"sub-{participant}/anat", f"sub-{participant}_{stem}"
    scan = Scan(
        participant=participant, session=None, contrast=suffix, acq=None, ce=None, rec=None, run=None,
        suffix=suffix, datatype="anat", paths=(Path(f"{key}_{suffix}.nii.gz"),), combine="single", bval=None,
        relative=f"{place}/{key}_{suffix}.nii.gz", stem=key, entities={}, metadata={},
    )  # fmt: skip
    height = np.linspace(-40.0, 40.0, len(areas))
    return Seen(
        name, scan, soft, Grid((12, 12, len(areas)), np.eye(4)), height, np.array(areas), np.ones(len(areas))
    )


def test_real_figures_come_from_areas_slices_and_masks() -> None:
    t1w = seen([70.0] * 20)
    mt_on = seen([68.0] * 20, "flip-1_mt-on_MTS")
    mt_off = seen([71.0] * 18 + [np.nan] * 2, "flip-1_mt-off_MTS")
    gre = seen([70.0] * 20, "flip-2_mt-off_MTS")
    images = [t1w, mt_on, mt_off, gre]
    scaling = {"T1w": [0.90, 0.95, 1.05 * 1.03]}
    volumes = {one.name: Volume(np.asarray(50 + 100 * one.soft, np.float32), one.grid) for one in images}
    found = real.figures(images, {"T1w": Agreement(0.91, 70, 72)}, scaling, volumes)
    verdicts = {one.name: one for one in found}
    assert verdicts["Dice to the manual mask, T1w"].passed
    assert verdicts["images with cord in 95 % of the slices"].reached == "3 of 4; not flip-1_mt-off_MTS"
    assert verdicts["images with one connected cord"].passed
    assert verdicts["SD of CSA over six contrasts"].reached.startswith("1.15 mm²")
    # The images have the edge where the masks have it; nothing is asked of them.
    own = verdicts["SD over six by the images' half-way contours"]
    assert own.passed is None
    assert float(own.reached.split()[0]) == pytest.approx(1.15, abs=0.05)
    assert not verdicts["MT-on minus MT-off, sub-errsm30"].passed
    assert verdicts["voxel size times 0.9, given back"].passed
    assert not verdicts["voxel size times 1.05, given back"].passed


@pytest.mark.parametrize(("cord", "fluid"), [(100.0, 250.0), (300.0, 80.0)])
def test_the_half_way_contour_is_where_the_image_has_it(cord: float, fluid: float) -> None:
    at = (np.arange(40) - 19.5) * 0.8
    away = np.hypot(at[:, None], at)
    inside, canal = (1 / (1 + np.exp((away - edge) / 0.3)) for edge in (5.0, 9.0))
    image = 20 + (fluid - 20) * canal + (cord - fluid) * inside
    spacing = np.array([0.8, 0.8])
    assert halfway_ratio(image, inside, spacing) == pytest.approx(1, abs=0.02)
    wide = 1 / (1 + np.exp((away - 5.5) / 0.3))
    assert halfway_ratio(image, wide, spacing) == pytest.approx((5 / 5.5) ** 2, abs=0.02)
    assert np.isnan(halfway_ratio(np.full_like(image, cord), inside, spacing))
    assert np.isnan(halfway_ratio(image, np.zeros_like(image), spacing))


def test_agreement_is_over_the_slices_of_the_manual_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, mask = seen([60.0] * 10), np.zeros((12, 12, 10), dtype=np.float32)
    mask[4:8, 4:6, 2:7] = 1
    monkeypatch.setattr(real, "read_volume", lambda path: Volume(mask, ours.grid))
    found = real.agreement(ours, Path("manual.nii.gz"))
    assert found == (pytest.approx(2 * 8 / 24), 16.0, 8.0)


def test_an_honest_network_gives_the_voxel_size_back(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = case(0.0)
    monkeypatch.setattr(real, "segment", lambda model, volume: shown.array)
    volume = Volume(shown.array, shown.grid)
    _, plain = real.recovered(None, volume, 1.0)  # type: ignore[arg-type]
    ratio, _ = real.recovered(None, volume, 0.9, plain)  # type: ignore[arg-type]
    assert ratio == pytest.approx(0.9, rel=1e-3)


def test_rows_that_are_not_the_models_are_refused(tmp_path: Path) -> None:
    table = tmp_path / "table.tsv"
    table.write_text("source_image\tstatus\tmask_source\na.nii.gz\tmeasured\tmodel\nb.nii.gz\tno_cord\tn/a\n")
    real.check_rows(table)
    table.write_text(table.read_text() + "c.nii.gz\tmeasured\tcorrected\n")
    with pytest.raises(DataError, match=r"c\.nii\.gz has mask_source corrected"):
        real.check_rows(table)


def test_a_failed_app_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="ended with 66"):
        real.run_app(tmp_path / "absent", tmp_path / "out", DEFAULT, 1)


def test_absent_real_scans_are_told_aloud(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert "not measured" in accuracy.real(None, Path("none.pt"), 1)
    assert "not measured" in accuracy.real(tmp_path / "absent", Path("none.pt"), 1)
    assert capsys.readouterr().err.count("REAL SCANS ARE NOT MEASURED") == 2


def test_an_unknown_part_is_refused() -> None:
    with pytest.raises(SystemExit):
        accuracy.main(["--only", "a,z"])


def test_speed_is_a_ratio_of_seconds() -> None:
    ours, theirs = Timing(1.0, 4.0, 1.5), Timing(24.0, float("nan"), 3.0)
    verdicts = [(one.reached, one.passed) for one in compare("x", ours, theirs)]
    assert verdicts == [("4.0 s", True), ("1.50 GiB", True), ("24.0", True), ("6.0", True)]
    assert compare("x", ours, None)[-1].passed is None


def test_the_set_is_written_down_only_as_a_whole() -> None:
    with pytest.raises(SystemExit):
        accuracy.main(["--only", "a", "--images", "3", "--write"])


def test_intervals_hold_the_share_of_slices_that_lie_in_them() -> None:
    results = [
        result(60.0, 60.0 + off, contrast=name) for name in ("T1w", "T2w") for off in np.linspace(-4, 4, 80)
    ]
    assert np.isnan(scores.slope(results)).all()  # through one true area no line can be laid
    assert scores.interval_share(results, (0.0, 0.0, 1.0)) == pytest.approx(0.475, abs=0.03)
    assert np.isnan(scores.interval_share([], (0.0, 0.0, 1.0)))
    [figure] = [
        one
        for one in scores.synthetic_figures(results, [], (0.0, 0.0, 1.95))
        if one.name.startswith("slices whose")
    ]
    assert figure.passed and figure.reached.startswith("95 % of all")
    assert not scores._interval_figure(results, (0.0, 0.0, 1.0)).passed
    assert scores._interval_figure([], (0.0, 0.0, 1.0)).reached == "no slice"


def test_the_fit_covers_errors_like_those_it_was_made_on(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    made = [result(60.0, 60.0 + error) for error in rng.normal(0, 2.0, 300)]
    found = uncertainty.fitted(made)
    assert scores.interval_share(made, found) == pytest.approx(0.95, abs=0.01)
    with pytest.raises(ValueError, match="at least"):
        uncertainty.fitted(made[:10])
    path = tmp_path / "weights.json"
    path.write_text('{"Kept": 1}')
    uncertainty.write(path, found, "abc")
    facts = json.loads(path.read_text())
    assert facts["Kept"] == 1 and facts["AreaUncertaintyOf"] == "abc"
    assert area_uncertainty(path.with_suffix(".pt")) == pytest.approx(list(found), abs=1e-5)
