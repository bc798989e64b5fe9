"""The paper in small: its raters, its seeds, its trainings that go on, its weights, its page."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from bench.truth import Cord, edge_of, fractions
from paper import cohort, figures, page, raters, results, study, train, variants, weights
from softseg_bids.core.calibration import BINS
from softseg_bids.core.softtruth import whole_slices
from softseg_bids.image.volume import DataError
from softseg_bids.study import evaluate_statistics as statistics
from softseg_bids.study.tables import write
from softseg_bids.training import fit
from softseg_bids.training.cases import Case

STRAIGHT = np.eye(3)


def cylinder(a_mm: float, b_mm: float, tilt_deg: float = 0.0) -> Cord:
    """A straight cord of elliptic section, leaning to the front."""
    lean = np.tan(np.deg2rad(tilt_deg))
    z, s = np.arange(-100.0, 101.0), np.arange(-200.0, 201.0)
    return Cord(
        z_mm=z,
        centre_mm=np.column_stack([0 * z, lean * z]),
        tangent=np.tile(np.array([0.0, lean, 1.0]) / np.hypot(lean, 1), (len(z), 1)),
        s_of_z=-z * np.hypot(lean, 1),
        s_mm=s,
        a_mm=np.full(len(s), a_mm),
        b_mm=np.full(len(s), b_mm),
        outline=np.ones((1, 64)),
        top_mm=-1e4,
        end_mm=1e4,
        voids=np.empty((0, 6)),
    )


def axes(pixel_mm: float, height_mm: float, slices: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    half = round(9.0 / pixel_mm)
    across = np.arange(-half, half + 1) * pixel_mm + 0.03
    return across, across, (np.arange(slices) - 0.5 * (slices - 1)) * height_mm


def area_mm2(mask: np.ndarray, pixel_mm: float) -> np.ndarray:
    return np.asarray(mask.sum(axis=(0, 1)) * pixel_mm**2)


@pytest.mark.parametrize("tilt_deg", [0.0, 15.0])
@pytest.mark.parametrize("offset_mm", [-0.3, 0.0, 0.3])
def test_an_offset_moves_the_boundary_by_so_many_millimetres(offset_mm: float, tilt_deg: float) -> None:
    where = axes(0.1, 1.0, 5)
    mask = raters.draw_mask(
        cylinder(4.5, 4.5, tilt_deg), where, STRAIGHT, offset_mm, np.random.default_rng(0), raters.STEADY
    )
    area = area_mm2(mask, 0.1).mean() * np.cos(np.deg2rad(tilt_deg))
    assert area == pytest.approx(np.pi * (4.5 + offset_mm) ** 2, rel=4e-3)


def test_the_offset_of_an_ellipse_is_along_its_normal() -> None:
    cord = cylinder(6.5, 4.0)
    turn = np.linspace(0, 2 * np.pi, 100_000)
    side = np.column_stack([6.5 * np.cos(turn), 4.0 * np.sin(turn)])
    points = np.array([[6.8, 0.0], [0.0, 4.3], [4.7, 3.1], [-4.2, -2.6], [5.9, -1.0]])
    true = np.array([np.linalg.norm(side - point, axis=1).min() for point in points])
    inside = (points[:, 0] / 6.5) ** 2 + (points[:, 1] / 4.0) ** 2 < 1
    edge = edge_of(cord, np.column_stack([points, np.zeros(len(points))]))
    np.testing.assert_allclose(edge.depth_mm, np.where(inside, true, -true), atol=0.03)
    np.testing.assert_allclose(edge.angle, np.arctan2(points[:, 1] / 4.0, points[:, 0] / 6.5), atol=1e-9)


def test_a_hand_is_as_unsteady_as_it_is_said_to_be() -> None:
    cord, where = cylinder(4.5, 4.5), axes(0.15, 1.0, 60)
    jitter = raters.Hand(0.0, 0.1, 0.0, skip=False)
    radius = np.sqrt(
        area_mm2(raters.draw_mask(cord, where, STRAIGHT, 0, np.random.default_rng(1), jitter), 0.15) / np.pi
    )
    assert radius.std() == pytest.approx(0.1, rel=0.3) and radius.mean() == pytest.approx(4.5, abs=0.05)
    slip = raters.Hand(0.0, 0.0, 0.2, skip=False)
    mask = raters.draw_mask(cord, where, STRAIGHT, 0, np.random.default_rng(2), slip)
    centres = where[0] @ mask.sum(axis=1) / mask.sum(axis=(0, 1))
    assert centres.std() == pytest.approx(0.2, rel=0.3)
    wave = raters._waves(np.random.default_rng(3), 0.15)
    angle, s = np.meshgrid(np.linspace(0, 2 * np.pi, 200), np.linspace(0, 400, 4000))
    assert wave(angle, s).std() == pytest.approx(0.15, rel=0.1)
    # Smooth: a tenth of a turn and a millimetre further it is nearly the same.
    assert np.abs(wave(angle, s + 1) - wave(angle, s)).max() < 0.4


def test_raters_leave_slices_out_and_draw_the_last_ones_in_part() -> None:
    where = axes(0.5, 1.0, 30)
    full = raters.draw_mask(cylinder(5, 4), where, STRAIGHT, 0, np.random.default_rng(4), raters.STEADY)
    steady = raters.STEADY._replace(skip=True)
    mask = raters.draw_mask(cylinder(5, 4), where, STRAIGHT, 0, np.random.default_rng(4), steady)
    there = np.flatnonzero(mask.any(axis=(0, 1)))
    assert len(there) < 30 and (np.diff(there) == 1).all()
    whole = np.flatnonzero(whole_slices(mask, 1.0))
    assert whole[0] == there[0] + 1 and whole[-1] == there[-1] - 1, (
        "the last ones are partial, as truth.py sees"
    )
    np.testing.assert_array_equal(mask[:, :, whole], full[:, :, whole])


def test_offsets_span_what_was_asked() -> None:
    found = sorted(raters.OFFSET_MM.values())
    assert set(raters.OFFSET_MM) == set(cohort.CONTRASTS)
    np.testing.assert_allclose(found, np.linspace(-0.3, 0.3, 6), atol=1e-12)


def test_the_cohort_is_what_the_page_says() -> None:
    people = cohort.participants()
    assert len(people) == 24 and len({one.label for one in people}) == 24
    assert {one.site for one in people} == set(cohort.SITES) and len(cohort.SITES) == 3
    sides = cohort.sides()
    for site in cohort.SITES:
        assert len({sides[one.label] for one in people if one.site == site}) == 1, "a site is on one side"
    assert set(sides.values()) == {"train", "validation", "test"}
    for site in cohort.SITES.values():
        names = [each.contrast for stack in cohort.protocol(site) for each in stack.sequences]
        assert sorted(names) == sorted(cohort.CONTRASTS)
        assert all(stack.distortion_mm == 0 for stack in cohort.protocol(site))


@pytest.fixture(scope="module")
def small_scan() -> list[study.Drawn]:
    return scanned_small()


def scanned_small() -> list[study.Drawn]:
    """One image of the first person, in a small field."""
    stack = next(
        each for each in cohort.protocol(cohort.SITES["north"]) if each.sequences[0].contrast == "T2starw"
    )
    small = stack._replace(
        sequences=stack.sequences[:1], field_mm=(36.0, 36.0, 30.0), fine_mm=(0.5, 0.5, 2.5)
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(study, "protocol", lambda _: [small])
        return list(study.scan_person(cohort.participants()[0]))


def test_a_seed_gives_the_same_image_and_mask(small_scan: list[study.Drawn]) -> None:
    again = scanned_small()
    for one, other in zip(small_scan, again, strict=True):
        np.testing.assert_array_equal(one.array, other.array)
        np.testing.assert_array_equal(one.rated, other.rated)
        np.testing.assert_array_equal(one.fraction, other.fraction)


def test_truth_lies_where_the_cord_is_in_the_image(small_scan: list[study.Drawn]) -> None:
    one = small_scan[0]
    # T2*w: fluid is far brighter than cord, so just outside the truth the image must be brighter.
    near = np.zeros_like(one.fraction, dtype=bool)
    for shift in (-3, 3):
        for axis in (0, 1):
            near |= np.roll(one.fraction, shift, axis) > 0.99
    ring = near & (one.fraction == 0)
    assert one.array[one.fraction > 0.99].mean() < 0.75 * one.array[ring].mean()
    rated, true = (part.sum(dtype=float) for part in (one.rated[:, :, 2:-2], one.fraction[:, :, 2:-2]))
    assert true < rated < 1.3 * true, "this rater draws too far out"


def test_parts_of_a_voxel_are_enough() -> None:
    cord, where = cylinder(6.0, 4.0, 10.0), axes(0.8, 0.8, 4)
    few, many = (fractions(cord, where, STRAIGHT, parts) for parts in (study.PARTS, 12))
    assert np.abs(few.sum(axis=(0, 1)) / many.sum(axis=(0, 1)) - 1).max() < 2e-3


def a_case(rng: np.random.Generator, contrast: str) -> Case:
    """A bright tube in noise."""
    shape = (36, 36, 24)
    x, y, _ = np.meshgrid(*[np.arange(n) for n in shape], indexing="ij")
    cord = (np.hypot(x - 18, y - 17) < 6).astype(np.float32)
    image = (cord + rng.normal(0, 0.3, shape)).astype(np.float32)
    centres = np.array([[18.0, 17.0, z] for z in range(shape[2])])
    return Case(contrast, image, cord, np.ones(shape, np.float32), centres)


@pytest.fixture(scope="module")
def cases() -> train.Cases:
    rng = np.random.default_rng(0)
    pairs = [(contrast, a_case(rng, contrast)) for contrast in ("T1w", "T2w")]
    return {"train": pairs, "validation": pairs[:1]}


SHORT = variants.SETTINGS._replace(steps=4, every=2)


def test_a_stopped_training_goes_on_to_the_same_weights(
    cases: train.Cases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = variants.jobs_of(variants.VARIANTS[0])[0]
    straight = train.train(job, cases, SHORT, tmp_path / "one", tmp_path / "first")
    step, calls = fit._step, []

    def stopped(*given: object) -> float:
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return step(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(fit, "_step", stopped)
    with pytest.raises(KeyboardInterrupt):
        train.train(job, cases, SHORT, tmp_path / "two", tmp_path / "second")
    assert not (tmp_path / "second").exists() and len(calls) == 4
    monkeypatch.undo()
    resumed = train.train(job, cases, SHORT, tmp_path / "two", tmp_path / "second")
    (_, one, facts), (_, other, again) = weights.load(straight), weights.load(resumed)
    assert facts == again and facts["name"] == "soft_all" and facts["steps"] == 4
    for name, tensor in one.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name]), name
    assert weights.is_trained(resumed, SHORT) and not weights.is_trained(resumed, SHORT._replace(steps=5))
    assert not weights.is_trained(tmp_path / "none.pt", SHORT)


def test_a_network_of_one_contrast_sees_no_other(cases: train.Cases, tmp_path: Path) -> None:
    alone = next(each for each in variants.VARIANTS if each.alone)
    job = variants.job_for(alone, "T2w")
    one = {"train": cases["train"], "validation": [("T2w", cases["train"][1][1])]}
    facts = weights.load(train.train(job, one, SHORT._replace(steps=2), tmp_path, tmp_path))[2]
    assert facts["contrasts"] == ["T2w"] and facts["images"] == 1


def test_variants_are_those_of_the_paper() -> None:
    names = {each.name for each in variants.VARIANTS}
    assert {
        "hard_all",
        "soft_all",
        "hard_per_contrast",
        "soft_per_contrast",
        "soft_all_dice",
        "ours",
        "soft_all_long",
    } == names
    jobs = variants.all_jobs()
    assert len(jobs) == len({job.name for job in jobs}) == 5 + 2 * 6
    pair = {each.name: each for each in variants.VARIANTS}
    assert pair["soft_all"].loss == pair["hard_all"].loss == "adaptive-wing"
    # The long one has, alone, the steps of six networks together; all others have equal ones.
    steps = {job.name: job.settings().steps for job in jobs}
    assert steps.pop("soft_all_long") == 6 * 1200 and set(steps.values()) == {1200}
    one, other = variants.fresh_network(), variants.fresh_network()
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_the_committed_weights_are_those_of_the_variants() -> None:
    jobs = {job.name: job for job in variants.all_jobs()}
    files = sorted(weights.WEIGHTS.glob("*.pt"))
    assert sum(path.stat().st_size for path in files) < 3e6
    for path in files:
        job = jobs[path.stem]
        architecture, network, facts = weights.load(path)
        assert architecture == variants.ARCHITECTURE and facts["name"] == job.name
        assert facts["loss"] == job.variant.loss and facts["hard"] == job.variant.hard
        assert tuple(facts["contrasts"]) == job.contrasts
        with torch.inference_mode():
            soft = network(torch.zeros(1, 1, *architecture.window)).sigmoid()
        assert soft.shape[2:] == architecture.window and bool(torch.isfinite(soft).all())


class Harmful:
    """What a pickle may do."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("false",)


def test_bad_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="make paper-train"):
        weights.load(tmp_path / "none.pt")
    torch.save({"networks": Harmful()}, tmp_path / "harm.pt")
    with pytest.raises(DataError, match="would have to be executed"):
        weights.load(tmp_path / "harm.pt")
    torch.save({"networks": {}}, tmp_path / "empty.pt")
    with pytest.raises(DataError, match="holds no network of this study"):
        weights.load(tmp_path / "empty.pt")


BIAS = {
    "soft_all": {},
    "hard_all": dict(zip(cohort.CONTRASTS, (-5.0, 5.0, 8.0, 2.0, -2.0, -9.0), strict=True)),
}


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> results.Results:
    """Two methods of known errors on ten people, through the real statistics and tables."""
    rng = np.random.default_rng(5)
    areas, scores = [], []
    for person in range(10):
        true = 60.0 + 2 * person
        for contrast in cohort.CONTRASTS:
            who = {
                "participant_id": f"sub-{person:02d}", "session_id": None, "contrast": contrast,
                "source_image": f"sub-{person:02d}_{contrast}.nii.gz",
            }  # fmt: skip
            for method in ("labels", *BIAS):
                off = (
                    0.0 if method == "labels" else 0.5 + BIAS[method].get(contrast, 0.0) + rng.normal(0, 0.2)
                )
                areas.append(
                    who
                    | {
                        "method": method, "region": results.REGION, "area_mm2": true + off, "true_mm2": true,
                        "error_mm2": off, "coverage": 1.0, "in_statistics": True,
                    }
                )  # fmt: skip
                if method != "labels":
                    scores.append(
                        who
                        | {
                            "method": method, "status": "used", "dice": 0.9, "soft_dice": 0.9,
                            "relative_volume_error": off / true, "surface_mm": 0.3, "hausdorff_95_mm": 0.8,
                            "n_slices": 9, "reliability_deviation": 0.01,
                        }
                    )  # fmt: skip
    names, five = list(BIAS), [name for name in cohort.CONTRASTS if name != "DWI"]
    table, best = pd.DataFrame(scores), statistics.best_areas(pd.DataFrame(areas))
    varied = statistics.variability(best, names, five)
    bins = {
        (name, "T1w"): np.column_stack([np.full(BINS, 9.0), 9 * np.arange(BINS) / 10, np.arange(BINS)])
        for name in names
    }
    folder = tmp_path_factory.mktemp("judged")
    for name, rows in (
        ("scores", scores), ("areas", areas), ("variability", varied),
        ("summary", statistics.summary(table, best, varied, names, five)),
        ("tests", statistics.tests(table, best, varied, names)),
        ("reliability", statistics.reliability_rows(bins, names)),
    ):  # fmt: skip
        write(folder / f"evaluate_{name}.tsv", rows)
    return results.read([folder])


def test_results_are_read_as_they_are(judged: results.Results) -> None:
    assert judged.methods == list(BIAS)
    assert results.biases(judged, "hard_all")["T2starw"] == pytest.approx(8.5, abs=0.3)
    assert results.widest_bias(judged, "hard_all")[0] == "DWI"
    assert len(results.errors(judged, "soft_all", "T1w")) == len(results.spreads(judged, "soft_all")) == 10
    five = np.std([-5.0, 5.0, 8.0, 2.0, -2.0], ddof=1)
    assert results.spreads(judged, "hard_all").mean() == pytest.approx(five, abs=0.3)
    six = np.std(list(BIAS["hard_all"].values()), ddof=1)
    assert results.sd_of_six(judged, "hard_all") == pytest.approx(six, abs=0.3)
    difference, p = results.test_of(judged, "sd_over_contrasts", "soft_all", "hard_all")
    assert difference < -4 and p < 0.01
    assert results.test_of(judged, "sd_over_contrasts", "hard_all", "soft_all")[0] == -difference
    lacking = judged._replace(areas=judged.areas[judged.areas["contrast"] != "DWI"])
    assert np.isnan(results.biases(lacking, "hard_all")["DWI"])
    assert results.widest_bias(lacking, "hard_all")[0] == "T2starw"
    with pytest.raises(ValueError, match="not tested"):
        results.test_of(judged, "dice", "soft_all", "ours")
    with pytest.raises(ValueError, match="one was expected"):
        results.estimate(judged, "ours", "area_mm2", "bias")


def test_verdicts_follow_the_numbers(judged: results.Results) -> None:
    lines = page.verdict_table(judged).splitlines()[2:]
    assert len(lines) == 4 and all("hard_all" in line for line in lines)
    assert lines[0].endswith("| yes (p = 0.002) |") and lines[3].endswith("| yes (not tested) |")
    turned = judged._replace(summary=judged.summary.assign(
        method=judged.summary["method"].map({"soft_all": "hard_all", "hard_all": "soft_all"})
    ))  # fmt: skip
    assert page.verdict_table(turned).splitlines()[2].endswith("| **no** (p = 0.002) |")
    vague = judged._replace(tests=judged.tests.assign(p_corrected=0.2))
    assert page.verdict_table(vague).splitlines()[2].endswith("| not decided (p = 0.200) |")


def test_the_page_is_written_between_its_markers(judged: results.Results, tmp_path: Path) -> None:
    copy = tmp_path / "paper.md"
    copy.write_text(page.PAGE.read_text())
    trained = {"soft_all": {"steps": 7, "best_step": 5}}
    page.write(judged, trained, 1234, "Made in a minute.", copy)
    text = copy.read_text()
    for part in page.PARTS:
        inside = text.split(f"<!-- {part}:begin -->")[1].split(f"<!-- {part}:end -->")[0]
        assert inside.count("|") > 10, part
    assert "Made in a minute." in text and "1,234 weights" in text and "| 7 | 5 |" in text
    assert page.whole_variants(trained) == [variants.VARIANTS[0]]


def test_the_committed_page_is_of_the_committed_weights() -> None:
    text = page.PAGE.read_text()
    for part in page.PARTS:
        assert text.count(f"<!-- {part}:begin -->") == text.count(f"<!-- {part}:end -->") == 1
    shown = text.split("<!-- results:begin -->")[1].split("<!-- results:end -->")[0]
    trained = {path.stem: {} for path in weights.WEIGHTS.glob("*.pt")}
    whole = {each.name for each in page.whole_variants(trained)}
    assert {each.name for each in variants.VARIANTS if f"`{each.name}`" in shown} == whole
    for name in re.findall(r"\(pictures/(paper-[^)]+)\)", text):
        assert (figures.FOLDER / name).is_file(), name


def test_every_figure_is_drawn_and_shown(judged: results.Results, tmp_path: Path) -> None:
    drawn = figures.draw_all(judged, tmp_path)
    assert set(drawn) == {name for shown in page.PICTURES.values() for name in shown}
    for path in drawn.values():
        content = path.read_text()
        assert content.startswith("<?xml") and content.count("<path") > 20
