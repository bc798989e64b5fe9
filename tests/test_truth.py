"""Soft ground truth: averages of known cylinders, what is left out of them, and what is refused."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from conftest import MakeDataset, centred_grid, cylinder, write_image

from softseg_bids.bids import derivatives
from softseg_bids.core.softtruth import agree, average, slice_centres, turns_deg, whole_slices
from softseg_bids.image.grid import Grid
from softseg_bids.image.sampling import mean_over_voxels, points_of, values_at
from softseg_bids.image.volume import DataError
from softseg_bids.pages.truth import TruthPage
from softseg_bids.truth import records
from softseg_bids.truth.cli import main
from softseg_bids.truth.geometry import Given
from softseg_bids.truth.session import Settings, soft_truth

FINE = np.array([1.0, 1.0, 1.0])


def test_centres_are_weighted_and_unknown_where_nothing_is() -> None:
    mask = np.zeros((6, 5, 2), np.float32)
    mask[2, 1, 0], mask[4, 1, 0] = 1.0, 0.5
    centres = slice_centres(mask, np.array([0.5, 2.0, 3.0]))
    np.testing.assert_allclose(centres[0], [0.5 * (2 + 2) / 1.5, 2.0])
    assert np.isnan(centres[1]).all()


def test_partial_ends_and_slices_at_the_border_do_not_count() -> None:
    mask = np.zeros((20, 20, 8), np.float32)
    mask[6:12, 6:12, 1:8] = 1
    mask[6:12, 6:10, 1] = 0  # a third of its neighbour
    mask[6:12, 6:8, 7] = 0  # two thirds of it
    mask[0:3, 8, 4] = 1
    np.testing.assert_array_equal(np.flatnonzero(whole_slices(mask, 1.0)), [2, 3, 5, 6])
    assert whole_slices(np.ones((4, 4, 3), np.float32), 1.0).sum() == 0
    assert whole_slices(np.zeros((4, 4, 3), np.float32), 1.0).sum() == 0


def column(*areas: int) -> np.ndarray:
    """A mask with so many voxels in each slice, away from the border."""
    mask = np.zeros((12, 12, len(areas)), np.float32)
    for z, area in enumerate(areas):
        mask[1:11, 1:11, z].flat[:area] = 1
    return mask


@pytest.mark.parametrize(
    ("areas", "step_mm", "kept"),
    [
        # An end that tapers from one voxel: neighbours differ by less than 20 % halfway up.
        ((1, 8, 9, 20, 22, 40, 44, 75, *[80] * 30), 1.0, range(7, 38)),
        # What lies beyond a partial slice is no better, however large.
        ((80, 30, *[80] * 30), 1.0, range(2, 32)),
        # Never more than 8 mm, as published: ten slices of 0.8 mm, one of 5 mm.
        ((*[40] * 14, *[80] * 40), 0.8, range(10, 54)),
        ((40, 40, *[80] * 12), 5.0, range(1, 14)),
        ((40, *[80] * 12), 10.0, range(1, 13)),
        # A cord that becomes thinner, as it does below its cervical enlargement, has no partial slice.
        (tuple(80 - round(0.75 * z) for z in range(40)), 1.0, range(40)),
        # A gap counts by its length; of two slices the smaller one may be partial.
        ((30, 0, 30, 0, 0, 0, 0, 0, 0, 30, *[80] * 30), 1.0, (9, *range(10, 40))),
        ((30, 80), 1.0, (1,)),
        ((30,), 1.0, (0,)),
    ],
)
def test_an_end_is_compared_with_the_cord_further_in(
    areas: tuple[int, ...], step_mm: float, kept: Iterable[int]
) -> None:
    for mask, expected in (
        (column(*areas), kept),
        (column(*areas[::-1]), [len(areas) - 1 - z for z in kept]),
    ):
        np.testing.assert_array_equal(np.flatnonzero(whole_slices(mask, step_mm)), sorted(expected))


def line_of(*columns: float, n: int = 40) -> np.ndarray:
    """Centres (contrasts, n, 2) of straight cords at these places."""
    out = np.zeros((len(columns), n, 2))
    out[..., 0] = np.array(columns)[:, None]
    return out


def test_a_slice_off_the_line_is_rejected_and_a_contrast_off_the_line_is_outlying() -> None:
    centres = line_of(10.0, 10.4, 9.8, 15.0)
    centres[1, 20, 1] = 3.0
    found = agree(centres, np.ones((4, 40), bool), 1.0)
    np.testing.assert_array_equal(found.outlying, [False, False, False, True])
    assert not found.used[3].any()
    assert found.used[:3].sum() == 3 * 40 - 1 and not found.used[1, 20]
    np.testing.assert_allclose(found.line_mm[:, 0], 10.0, atol=0.11)
    np.testing.assert_allclose(found.distance_mm[3], 5.0, atol=0.11)


def test_of_two_contrasts_that_disagree_the_first_is_believed() -> None:
    found = agree(line_of(10.0, 13.0), np.ones((2, 40), bool), 1.0)
    np.testing.assert_array_equal(found.outlying, [False, True])
    assert found.used[0].all()
    assert agree(line_of(10.0, 13.0), np.ones((2, 40), bool), 1.0, tolerance_mm=3.5).used.all()


def test_an_average_counts_only_those_that_cover_a_slice() -> None:
    used = np.array([[True, True], [True, False], [False, False]])
    masks = [np.full((2, 2, 2), value, np.float32) for value in (1.0, 0.5, 0.1)]
    soft, count = average(masks, used)
    np.testing.assert_allclose(soft[0, 0], [0.75, 1.0])
    np.testing.assert_array_equal(count, [2, 1])
    assert average(masks, np.zeros((3, 2), bool))[0].max() == 0


def ellipse(turn_deg: float, n: int = 60) -> np.ndarray:
    x, y = (np.arange(n)[:, None] - n / 2) * 0.5, (np.arange(n)[None] - n / 2) * 0.5
    c, s = np.cos(np.deg2rad(turn_deg)), np.sin(np.deg2rad(turn_deg))
    inside = ((c * x + s * y) / 8) ** 2 + ((c * y - s * x) / 5) ** 2 < 1
    return np.repeat(inside[:, :, None], 30, axis=2).astype(np.float32)


@pytest.mark.parametrize(("turn", "expected"), [(8.0, 8.0), (-12.0, -12.0), (60.0, 0.0)])
def test_the_turn_of_a_section_is_found_within_what_is_plausible(turn: float, expected: float) -> None:
    np.testing.assert_allclose(turns_deg(ellipse(turn), ellipse(0.0), 1.0), expected, atol=0.7)


def test_a_mean_over_oblique_voxels_is_that_of_a_closed_form() -> None:
    fine = centred_grid((60, 60, 60), (0.5, 0.5, 0.5))
    ball = (np.linalg.norm(points_of(fine), axis=-1) < 8).astype(np.float32)
    tilt = np.deg2rad(25)
    turn = np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]])
    affine = np.eye(4)
    affine[:3, :3] = turn * [2.0, 2.0, 3.0]
    affine[:3, 3] = -affine[:3, :3] @ [5.5, 5.5, 3.5]
    coarse = mean_over_voxels(ball, fine, Grid((12, 12, 8), affine), lambda points: points)
    assert coarse.sum() * 12 == pytest.approx(4 / 3 * np.pi * 512, rel=0.01)
    assert values_at(ball, fine, np.array([[0.0, 0, 0], [0, 40.0, 0]])).tolist() == [1.0, 0.0]


def tube(grid: Grid, radius: float, x: float = 0.0, **body: object) -> np.ndarray:
    return (cylinder(grid, radius, centre_mm=(x, 0.0, 0.0), **body) >= 0.5).astype(np.float32)  # type: ignore[arg-type]


def test_the_truth_of_two_cylinders_is_their_mean_on_every_grid() -> None:
    """Radii of 4 and 5 mm, one displaced by 1.5 mm, one on thick slices: area 20.5 pi, and a soft rim."""
    fine, thick = centred_grid((40, 40, 60)), centred_grid((60, 60, 10), (0.6, 0.6, 5.0))
    given = [Given("a", "T2w", tube(fine, 5.0), fine), Given("b", "T2starw", tube(thick, 4.0, 1.5), thick)]
    one, other = soft_truth(given)
    assert one.labelled.sum() >= 48 and other.labelled.sum() == 10
    for truth, grid, x in ((one, fine, 0.0), (other, thick, 1.5)):
        area = truth.soft[:, :, truth.labelled].sum(axis=(0, 1)) * grid.spacing_mm[:2].prod()
        np.testing.assert_allclose(area, 20.5 * np.pi, rtol=0.03)
        centre = slice_centres(truth.soft, grid.spacing_mm)[truth.labelled] + grid.affine[:2, 3]
        np.testing.assert_allclose(centre, np.broadcast_to([x, 0.0], centre.shape), atol=0.15)
        assert not truth.soft[:, :, ~truth.labelled].any()
        assert truth.contrasts == (2, 2)
    # Between the radii half of the contrasts see cord.
    ring = np.hypot(*points_of(fine)[..., :2].transpose(3, 0, 1, 2))
    between = one.soft[(ring > 4.3) & (ring < 4.7) & one.labelled]
    assert np.median(between) == pytest.approx(0.5, abs=0.1)


def test_turned_sections_fit_only_if_they_may_be_turned() -> None:
    grid = centred_grid((60, 60, 30), (0.5, 0.5, 1.0))
    given = [Given("a", "T2w", ellipse(0.0), grid), Given("b", "T1w", ellipse(12.0), grid)]
    soft = {rigid: soft_truth(given, Settings(rigid=rigid))[0].soft for rigid in (False, True)}
    spread = {rigid: float((s * (1 - s)).sum()) for rigid, s in soft.items()}
    assert spread[True] < 0.75 * spread[False]
    np.testing.assert_allclose(soft[True].sum(), soft[False].sum(), rtol=0.01)


def test_an_outlying_contrast_is_neither_averaged_nor_given_a_truth() -> None:
    grid = centred_grid((60, 40, 40))
    given = [
        Given(str(n), c, tube(grid, 5.0, x), grid)
        for n, (c, x) in enumerate((("T2w", 0), ("T1w", 0.5), ("DWI", 9)))
    ]
    found = soft_truth(given)
    assert [truth.outlying for truth in found] == [False, False, True]
    assert not found[2].soft.any() and found[2].rejected.all()
    assert found[0].contrasts == (2, 2)


def test_a_contrast_beyond_the_others_and_slices_of_one_contrast_get_no_truth() -> None:
    low, high = centred_grid((40, 40, 30)), centred_grid((40, 40, 30))
    high.affine[2, 3] += 100
    long = centred_grid((40, 40, 50))
    given = [
        Given("a", "T2w", tube(long, 5.0), long), Given("b", "T1w", tube(low, 5.0), low),
        Given("c", "MTon", tube(high, 5.0), high),
    ]  # fmt: skip
    found = soft_truth(given)
    assert [truth.overlaps for truth in found] == [True, True, False]
    assert not found[2].soft.any()
    assert 28 <= found[0].labelled.sum() <= 30
    assert soft_truth(given, Settings(at_least=1))[0].labelled.sum() >= 48


def test_what_cannot_be_averaged_is_told() -> None:
    grid = centred_grid()
    mask = tube(grid, 5.0)
    far = Grid(
        grid.shape, grid.affine + np.array([[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 500.0], [0, 0, 0, 0]])
    )
    whole = np.ones(grid.shape, np.float32)
    cases = [
        ([Given("a.nii", "T2w", mask, grid)], r"only one contrast has a mask \(a\.nii\)"),
        ([Given("a", "T2w", mask, grid), Given("b", "T1w", mask * 0, grid)], "b: the mask is empty"),
        (
            [Given("a", "T2w", mask, grid), Given("b", "T1w", mask * 0.4, grid)],
            r"b: no voxel reaches 0\.5.*; 1 of 2 contrasts can be used \(a\)",
        ),
        ([Given("a", "T2w", mask * 0, grid)], r"a: the mask is empty.*; 0 of 1 contrasts .* \(none\)"),
        ([Given("a", "T2w", mask, grid), Given("b", "T1w", whole, grid)], "b: the mask touches the border"),
        ([Given("a", "T2w", mask, grid), Given("b", "T1w", mask, far)], "do not overlap along the cord"),
    ]
    for given, words in cases:
        with pytest.raises(DataError, match=words):
            soft_truth(given)


def test_a_contrast_whose_mask_cannot_be_used_costs_the_others_nothing() -> None:
    grid = centred_grid()
    mask = tube(grid, 5.0)
    faint = 0.4 * mask
    # What reaches 0.5 is cut by the border there, and does not count.
    faint[:, 0, 3] = 1
    unusable = (
        ("the mask is empty", 0 * mask),
        ("no voxel reaches 0.5", faint),
        ("touches the border", 0 * mask + 1),
    )
    usual = [Given("a", "T2w", mask, grid), Given("b", "T1w", tube(grid, 4.0), grid)]
    expected = soft_truth(usual)
    for words, array in unusable:
        wrong, *found = soft_truth([Given("c", "MTon", array, grid), *usual])
        assert wrong.problem.startswith("c: ") and words in wrong.problem
        assert not wrong.soft.any() and not wrong.labelled.any()
        for one, other in zip(found, expected, strict=True):
            assert not one.problem
            np.testing.assert_array_equal(one.soft, other.soft)


@pytest.fixture
def labelled(bids: MakeDataset) -> Callable[..., Path]:
    """An image and its mask; the mask's cylinder may differ from the image's."""

    def add(
        name: str, radius: float, grid: Grid | None = None, on: Grid | None = None, **body: object
    ) -> Path:
        grid = centred_grid() if grid is None else grid
        bids.image(f"{name}.nii.gz", grid, **body)
        path = bids.root / "derivatives" / "labels" / f"{name}_label-SC_seg.nii.gz"
        return write_image(path, (cylinder(on or grid, radius, **body) >= 0.5).astype(np.uint8), on or grid)  # type: ignore[arg-type]

    return add


def table(out: Path) -> list[dict[str, str]]:
    with (out / "group_softgt.tsv").open() as file:
        return list(csv.DictReader(file, delimiter="\t"))


def test_a_dataset_gets_its_truth_with_every_source_named_and_a_page(
    bids: MakeDataset, labelled: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labelled("sub-01/anat/sub-01_T2w", 5.0)
    labelled("sub-01/anat/sub-01_T1w", 4.0, centre_mm=(0.7, 0.0, 0.0))
    labelled("sub-01/anat/sub-01_acq-far_T2starw", 5.0, centre_mm=(8.0, 0.0, 0.0))
    bids.image("sub-02/anat/sub-02_T2w.nii.gz")
    labelled("sub-03/anat/sub-03_T2w", 5.0)
    out = tmp_path / "softseg"
    assert main([str(bids.root), str(out)]) == 1
    assert "sub-03: only one contrast has a mask" in capsys.readouterr().err
    path = out / "sub-01" / "anat" / "sub-01_seg-softgt_label-SC_desc-T1w_probseg.nii.gz"
    soft = np.asarray(nib.load(path).dataobj)
    assert soft.min() >= 0 and soft.max() == 1
    facts = json.loads(path.with_name(path.name.replace(".nii.gz", ".json")).read_text())
    assert facts["Sources"] == [
        "bids:raw:sub-01/anat/sub-01_T1w.nii.gz",
        "bids:labels:labels/sub-01/anat/sub-01_T2w_label-SC_seg.nii.gz",
        "bids:labels:labels/sub-01/anat/sub-01_T1w_label-SC_seg.nii.gz",
    ]
    ((first, last),) = facts["SliceRanges"]
    assert [first, last] == [int(z) for z in np.flatnonzero(soft.any(axis=(0, 1)))[[0, -1]]]
    rows = {row["source_image"]: row for row in table(out)}
    assert float(rows["sub-01/anat/sub-01_T1w.nii.gz"]["area_soft_mm2"]) == pytest.approx(
        20.5 * np.pi, rel=0.03
    )
    assert rows["sub-01/anat/sub-01_acq-far_T2starw.nii.gz"]["status"] == "outlying"
    assert not list(out.rglob("*T2starw_probseg*"))
    page = (out / "softgt.html").read_text()
    for words in (
        "was the person moved",
        "sub-02",
        "no image of this session has a mask",
        "only one contrast",
    ):
        assert words in page
    assert 'src="http' not in page


def truths(out: Path) -> set[str]:
    """What of soft truth lies in OUT: its images, sidecars and figures."""
    found = {path for pattern in ("*seg-softgt*", "*softgt_qc*.png") for path in out.rglob(pattern)}
    return {path.relative_to(out).as_posix() for path in found}


def of(stem: str, contrast: str) -> set[str]:
    """What lies there of one image: folder/entities."""
    folder, entities = stem.rsplit("/", 1)
    figure = f"{folder.split('/')[0]}/figures/{entities}_desc-{contrast}softgt_qc"
    image = f"{stem}_seg-softgt_label-SC_desc-{contrast}_probseg"
    return {
        f"{image}.nii.gz",
        f"{image}.json",
        *(f"{figure}{part}.png" for part in ("", "_contour", "_soft")),
    }


def test_no_truth_of_masks_that_are_gone_stays(
    bids: MakeDataset, labelled: Callable[..., Path], tmp_path: Path
) -> None:
    """A contrast's mask deleted, a longer run drawn, then a session that cannot be averaged any more."""
    masks = {name: labelled(f"sub-01/anat/sub-01_{name}", 5.0) for name in ("T2w", "T1w", "T2starw")}
    for name in ("T2w", "T1w"):
        labelled(f"sub-01/ses-A/anat/sub-01_ses-A_{name}", 5.0)
        labelled(f"sub-012/anat/sub-012_{name}", 5.0)
    out = tmp_path / "softseg"
    others = {
        path
        for stem in ("sub-01/ses-A/anat/sub-01_ses-A", "sub-012/anat/sub-012")
        for name in ("T2w", "T1w")
        for path in of(stem, name)
    }
    own = {name: of("sub-01/anat/sub-01", name) for name in masks}
    call = [str(bids.root), str(out)]
    assert main(call) == 0
    assert truths(out) == others | own["T2w"] | own["T1w"] | own["T2starw"]
    masks["T2starw"].unlink()
    labelled("sub-01/anat/sub-01_run-2_T2w", 5.0, centred_grid((36, 36, 60)))
    assert main(call) == 0
    run_2 = of("sub-01/anat/sub-01_run-2", "T2w")
    assert truths(out) == others | run_2 | own["T1w"]
    assert main([*call, "--participant-label", "01", "--contrasts", "T1w"]) == 65
    assert truths(out) == {path for path in others if path.startswith("sub-012")}
    (tmp_path / "nothing").mkdir()
    assert main([*call, "--masks", str(tmp_path / "nothing")]) == 66
    assert truths(out)
    assert main(call) == 0
    assert truths(out) == others | run_2 | own["T1w"]
    masks["T1w"].unlink()
    assert main(call) == 1
    assert truths(out) == others
    for path in (bids.root / "derivatives").rglob("sub-01_*T2w*"):
        path.unlink()
    assert main([*call, "--participant-label", "01", "012"]) == 1
    assert truths(out) == {path for path in others if path.startswith("sub-012")}
    assert "no image of this session has a mask" in (out / "softgt.html").read_text()


def told(out: Path) -> tuple[bytes, bytes]:
    return (out / "group_softgt.tsv").read_bytes(), (out / "softgt.html").read_bytes()


def test_table_and_page_are_of_all_sessions_whichever_run_made_them(
    bids: MakeDataset, labelled: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for person in ("01", "02", "03"):
        for number, contrast in enumerate(("T2w", "T1w")[: 1 if person == "03" else 2]):
            labelled(f"sub-{person}/anat/sub-{person}_{contrast}", 5.0 - 0.3 * number)
    at_once, apart = tmp_path / "at-once", tmp_path / "apart"
    assert main([str(bids.root), str(at_once)]) == 1
    for person, code in (("03", 65), ("02", 0), ("01", 0), ("02", 0)):
        assert main([str(bids.root), str(apart), "--participant-label", person]) == code
    assert [row["participant_id"] for row in table(apart)] == [
        "sub-01",
        "sub-01",
        "sub-02",
        "sub-02",
        "sub-03",
    ]
    assert told(apart) == told(at_once)
    page = told(apart)[1].decode()
    assert page.count("data:image/png") == 4 * 3 and "only one contrast has a mask" in page
    # Figures that somebody took away are not shown; a damaged record is told.
    next(apart.rglob("sub-01_desc-T2wsoftgt_qc_soft.png")).unlink()
    assert main([str(bids.root), str(apart), "--participant-label", "02"]) == 0
    assert told(apart)[1].count(b"data:image/png") == 3 * 3
    record = apart / "sub-01" / "figures" / "sub-01_desc-sessionsoftgt_qc.json"
    record.write_text(record.read_text()[:100])
    capsys.readouterr()
    assert main([str(bids.root), str(apart), "--participant-label", "02"]) == 64
    assert (
        f"{record}: cannot be used" in (said := capsys.readouterr().err) and "run its session again" in said
    )
    assert main([str(bids.root), str(apart), "--participant-label", "01"]) == 0
    assert told(apart) == told(at_once)


def test_runs_at_once_leave_a_table_of_both(
    bids: MakeDataset, labelled: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another run begins and ends, or begins anew, while this one writes its page."""
    for person in ("01", "02"):
        for contrast in ("T2w", "T1w"):
            labelled(f"sub-{person}/anat/sub-{person}_{contrast}", 5.0)
    expected, out = tmp_path / "expected", tmp_path / "softseg"
    assert main([str(bids.root), str(expected)]) == 0
    own, turns = records.truth_page, []

    def disturbed(page: TruthPage, path: Path) -> Path:
        turns.append([part.label for part in page.sessions])
        if len(turns) == 1:
            assert main([str(bids.root), str(out), "--participant-label", "02"]) == 0
        if len(turns) == 3:
            derivatives.remove(records.place(out, "02", None))
            for figure in (out / "sub-02" / "figures").glob("*T1w*"):
                figure.unlink()
        return own(page, path)

    monkeypatch.setattr(records, "truth_page", disturbed)
    assert main([str(bids.root), str(out), "--participant-label", "01"]) == 0
    assert turns == [["sub-01"], ["sub-01", "sub-02"], ["sub-01", "sub-02"], ["sub-01"]]
    assert {row["participant_id"] for row in table(out)} == {"sub-01"}
    assert main([str(bids.root), str(out), "--participant-label", "02"]) == 0
    assert told(out) == told(expected)

    def broken(page: TruthPage, path: Path) -> Path:
        raise FileNotFoundError(2, "no such template")

    monkeypatch.setattr(records, "truth_page", broken)
    with pytest.raises(FileNotFoundError, match="no such template"):
        records.tell(out, "cylinders", "0")


def test_of_repeats_the_longer_mask_is_used_and_the_reference_may_be_chosen(
    bids: MakeDataset, labelled: Callable[..., Path], tmp_path: Path
) -> None:
    labelled("sub-01/anat/sub-01_T2w", 5.0)
    labelled("sub-01/anat/sub-01_run-2_T2w", 5.0, centred_grid((36, 36, 20)))
    labelled("sub-01/anat/sub-01_run-3_T2w", 5.0, centred_grid((36, 36, 50)))
    labelled("sub-01/anat/sub-01_T1w", 5.0)
    out = tmp_path / "softseg"
    assert main([str(bids.root), str(out), "--reference", "T1w", "--in-plane", "rigid"]) == 0
    assert [row["source_image"].rsplit("/", 1)[-1] for row in table(out)] == [
        "sub-01_T1w.nii.gz",
        "sub-01_run-3_T2w.nii.gz",
    ]
    page = (out / "softgt.html").read_text()
    assert page.count("run-3_T2w.nii.gz, which is used: that mask is longer") == 2


@pytest.mark.parametrize("damaged", ["sub-01/anat/sub-01_T2w", "sub-01/anat/sub-01_run-2_T2w"])
def test_of_repeats_one_whose_mask_can_be_used_is_preferred(
    bids: MakeDataset, labelled: Callable[..., Path], tmp_path: Path, damaged: str
) -> None:
    for name in ("sub-01/anat/sub-01_T2w", "sub-01/anat/sub-01_run-2_T2w", "sub-01/anat/sub-01_T1w"):
        path = labelled(name, 5.0)
        if name == damaged:
            path.write_bytes(path.read_bytes()[:200])
    labelled("sub-01/anat/sub-01_run-3_T2w", 5.0, centred_grid((36, 36, 60)), on=centred_grid((30, 36, 90)))
    out = tmp_path / "softseg"
    assert main([str(bids.root), str(out)]) == 0
    used = {row["source_image"] for row in table(out)}
    assert used == {
        f"{name}.nii.gz"
        for name in ("sub-01/anat/sub-01_T2w", "sub-01/anat/sub-01_run-2_T2w", "sub-01/anat/sub-01_T1w")
        if name != damaged
    }
    page = (out / "softgt.html").read_text()
    assert "cannot be read" in page and "is not on the grid of its image" in page


def test_one_faint_mask_ends_neither_its_session_nor_the_run(
    bids: MakeDataset, labelled: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for contrast in ("T2w", "T1w", "T2starw"):
        path = labelled(f"sub-01/anat/sub-01_{contrast}", 5.0)
    faint = np.asarray(nib.load(path).dataobj) * np.array([0.3, 0.4])[np.arange(48) % 2]
    write_image(path, faint.astype(np.float32), centred_grid())
    for contrast in ("T2w", "T1w"):
        labelled(f"sub-02/anat/sub-02_{contrast}", 5.0)
    out = tmp_path / "softseg"
    assert main([str(bids.root), str(out)]) == 0
    told = capsys.readouterr().err
    assert f"sub-01: {path}: no voxel reaches 0.5" in told and "2 of 2 sessions" in told
    rows = {(row["participant_id"], row["contrast"]): row for row in table(out)}
    assert rows["sub-01", "T2starw"]["status"] == "none"
    assert "no voxel reaches 0.5" in rows["sub-01", "T2starw"]["reason"]
    assert {row["status"] for who, row in rows.items() if who != ("sub-01", "T2starw")} == {"written"}
    facts = json.loads(next(out.rglob("sub-01*desc-T2w_probseg.json")).read_text())
    assert not any("T2starw" in source for source in facts["Sources"])
    assert facts["ContrastsAveraged"] == [2, 2]


def test_bad_input_ends_with_its_exit_code_and_a_line(
    bids: MakeDataset, labelled: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bids.image("sub-01/anat/sub-01_T2w.nii.gz")
    out = tmp_path / "softseg"
    assert main([str(bids.root), str(out), "--masks", str(tmp_path)]) == 66
    assert "holds no mask of any image" in capsys.readouterr().err
    labelled("sub-01/anat/sub-01_T2w", 5.0, on=centred_grid((30, 36, 48)))
    labelled("sub-01/anat/sub-01_T1w", 5.0)
    assert main([str(bids.root), str(out)]) == 65
    assert "is not on the grid of its image sub-01/anat/sub-01_T2w.nii.gz" in capsys.readouterr().err
    assert {row["status"] for row in table(out)} == {"failed"}
    assert main([str(bids.root), str(bids.root)]) == 64
    assert main([str(bids.root), str(out), "--tolerance", "0"]) == 64
    assert main([str(bids.root), str(out), "--tolerance", "wide"]) == 64
    assert "is not a number above 0" in capsys.readouterr().err
    assert main([str(bids.root), str(out), "--masks", str(tmp_path / "none")]) == 64


def test_masks_of_the_app_are_no_truth_unless_their_folder_is_named(
    bids: MakeDataset, labelled: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The app's own name of a mask is preferred to manual names: its results lie beside the manual ones."""
    own = bids.root / "derivatives" / "softseg"
    for contrast in ("T2w", "T1w"):
        labelled(f"sub-01/anat/sub-01_{contrast}", 5.0)
        mine = own / "sub-01" / "anat" / f"sub-01_label-SC_desc-{contrast}_mask.nii.gz"
        write_image(mine, (cylinder(centred_grid(), 3.0) >= 0.5).astype(np.uint8), centred_grid())
    (own / "dataset_description.json").write_text('{"GeneratedBy": [{"Name": "softseg"}]}')
    for masks, used in (([], "labels/"), (["--masks", str(own)], "sub-01/anat/sub-01_label-SC")):
        out = tmp_path / f"truth{len(masks)}"
        assert main([str(bids.root), str(out), *masks]) == 0
        assert [row["mask"].startswith(used) for row in table(out)] == [True, True]
        assert float(table(out)[0]["area_soft_mm2"]) == pytest.approx((9 if masks else 25) * np.pi, rel=0.15)
