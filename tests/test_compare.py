"""softseg-compare finds planted differences back, names failures, and shows its pairs blind."""

from __future__ import annotations

import base64
import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import CORD, centred_grid, write_image
from PIL import Image
from study_phantoms import (
    CONTRASTS,
    PEOPLE,
    SHAPE,
    area_mm2,
    body,
    grid,
    rows_of,
    run_app,
    shared_study,
    stem,
    write_masks,
    write_study,
)

from softseg_bids.core.centreline import Centreline
from softseg_bids.core.levels import Region
from softseg_bids.image.grid import Grid
from softseg_bids.image.volume import read_grid, read_mask
from softseg_bids.study.compare import agreement_rows
from softseg_bids.study.doors import compare
from softseg_bids.study.ours import raw_root, read_ours
from softseg_bids.study.pairs import worst_slices
from softseg_bids.study.place import (
    Place,
    canonical_array,
    covered,
    joint,
    leading_region,
    measured,
    over,
    place_of_table,
    region_named,
)

GROWN = {"T1w": 0.4, "T2w": -0.6}


def content(page: Path) -> dict[str, Any]:
    text = page.read_text(encoding="utf-8").split('<script type="application/json" id="data">')[1]
    found: dict[str, Any] = json.loads(text.split("</script>")[0])
    return found


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shared_study(tmp_path_factory)


@pytest.fixture(scope="module")
def compared(study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Masks off by known radii; one missing, one empty, one on another grid, one half as long; a CSV."""
    folder = tmp_path_factory.mktemp("compare")
    other = write_masks(folder / "other", GROWN)
    first, second, third = (other / f"{stem(person, 'T1w')}_seg.nii.gz" for person in PEOPLE)
    write_image(second, np.zeros(grid().shape, np.uint8), grid())
    write_image(third, body(PEOPLE[2])[:-1], grid()._replace(shape=(23, 24, 38)))
    half = body(PEOPLE[0], GROWN["T1w"]).copy()
    half[:, :, 19:] = 0
    write_image(first, half, grid())
    lines = [
        f"t,6.5,/x/sub-{person}_T2w_seg.nii.gz,1:9,4,,{0.9 * area_mm2(person)},1" for person in PEOPLE[:2]
    ]
    lines.append(f"t,6.5,/x/sub-{PEOPLE[2]}_T2w_seg.nii.gz,1:9,4,,None,1")
    header = "Timestamp,SCT Version,Filename,Slice (I->S),VertLevel,DistancePMJ,MEAN(area),STD(area)"
    (other / "csa-SC_T2w.csv").write_text("\n".join([header, *lines]) + "\n")
    arguments = [str(study / "out"), str(other), "-o", str(folder / "page"), "--name", "Other <tool>"]
    assert compare(arguments) == 1  # a mask lies on another grid
    return folder / "page"


def test_the_planted_bias_is_found_back(compared: Path) -> None:
    rows = {
        (row["kind"], row["contrast"], row["region"], row["statistic"]): row
        for row in rows_of(compared / "compare_agreement.tsv")
    }
    expected = np.mean([area_mm2(person) - area_mm2(person, GROWN["T2w"]) for person in PEOPLE])
    for region in ("disc-C2C3", "vert-C3", "vert-C4", "common", "cord"):
        bias = rows["mask", "T2w", region, "bias"]
        assert float(bias["estimate"]) == pytest.approx(expected, rel=1e-3) and bias["n_people"] == "3"
    ratio = np.exp(np.mean([np.log(area_mm2(person) / area_mm2(person, GROWN["T2w"])) for person in PEOPLE]))
    assert float(rows["mask", "T2w", "vert-C3", "scaling"]["estimate"]) == pytest.approx(ratio, rel=1e-3)
    few = rows["csv", "T2w", "vert-C4", "bias"]
    assert few["estimate"] == "n/a" and few["notes"] == "2 people have both"


def test_a_table_of_areas_is_compared_as_it_is(compared: Path) -> None:
    rows = [row for row in rows_of(compared / "compare_areas.tsv") if row["kind"] == "csv"]
    assert {row["region"] for row in rows} == {"vert-C4"} and len(rows) == 2
    for row in rows:
        assert float(row["other_area_mm2"]) / float(row["area_mm2"]) == pytest.approx(0.9, rel=0.005)


def test_failures_of_each_are_named(compared: Path) -> None:
    found = {
        (row["source_image"], row["kind"], row["tool"]): row
        for row in rows_of(compared / "compare_failures.tsv")
    }
    named = [f"{stem(person, 'T1w')}.nii.gz" for person in PEOPLE]
    incomplete = found[named[0], "mask", "other"]
    assert incomplete["failure"] == "incomplete" and "vert-C3" in incomplete["reason"]
    assert found[named[1], "mask", "other"]["failure"] == "empty"
    elsewhere = found[named[2], "mask", "other"]
    assert elsewhere["failure"] == "other_grid" and "_seg.nii.gz" in elsewhere["reason"]
    assert found[f"{stem(PEOPLE[2], 'T2w')}.nii.gz", "csv", "other"]["failure"] == "empty"
    assert not any(tool == "softseg" for _, _, tool in found)
    # Of T1w there is no table at all: that is no failure.
    assert not any("T1w" in source and kind == "csv" for source, kind, _ in found)


def test_a_mask_that_ends_early_has_no_gap(compared: Path) -> None:
    first = f"{stem(PEOPLE[0], 'T1w')}.nii.gz"
    rows = [row for row in rows_of(compared / "compare_failures.tsv") if row["source_image"] == first]
    assert [(row["tool"], row["failure"]) for row in rows] == [("other", "incomplete")]
    assert "cord" in rows[0]["reason"]


def test_what_only_one_measured_enters_no_statistics(compared: Path) -> None:
    rows = [
        row
        for row in rows_of(compared / "compare_areas.tsv")
        if row["source_image"].endswith(f"{PEOPLE[0]}_T1w.nii.gz")
    ]
    by_region = {row["region"]: row for row in rows}
    assert by_region["vert-C3"]["in_statistics"] == "false"
    assert float(by_region["vert-C3"]["our_coverage"]) == 1
    assert float(by_region["vert-C3"]["other_coverage"]) < 0.8


def test_the_page_does_not_tell_who_is_who(compared: Path) -> None:
    key = {int(row["pair"]): row for row in rows_of(compared / "compare_key.tsv")}
    pairs = content(compared / "compare.html")["pairs"]
    # Three of T2w, and of T1w the half mask and the empty one.
    assert [pair["number"] for pair in pairs] == sorted(key) and len(pairs) == 5
    assert {row["a"] for row in key.values()} == {"softseg", "other"}
    assert all({row["a"], row["b"]} == {"softseg", "other"} for row in key.values())
    for pair in pairs:
        assert set(pair) == {"number", "contrast", "picture", "A", "B"}
        assert base64.b64decode(pair["A"]) != base64.b64decode(pair["B"])
    text = (compared / "compare.html").read_text()
    assert "Not validated in patients" in text and "Other &lt;tool&gt;" in text and "Other <tool>" not in text


def test_the_key_tells_the_truth(study: Path, compared: Path) -> None:
    """The mask drawn under the name in the key is that tool's: of T2w ours is larger, so is its outline."""
    sizes = {}
    for row in rows_of(compared / "compare_key.tsv"):
        if row["contrast"] == "T2w":
            pair = content(compared / "compare.html")["pairs"][int(row["pair"]) - 1]
            ours, other = (pair["A"], pair["B"]) if row["a"] == "softseg" else (pair["B"], pair["A"])
            sizes[row["source_image"]] = [_reach(base64.b64decode(each)) for each in (ours, other)]
    assert len(sizes) == 3 and all(ours > other for ours, other in sizes.values())


def _reach(png: bytes) -> float:
    """Spread of the drawn pixels of an outline about their tile's middle."""
    opacity = np.asarray(Image.open(io.BytesIO(png)))
    tile = opacity[24:192, 4:172]
    x, y = np.nonzero(tile)
    return float(np.hypot(x - x.mean(), y - y.mean()).mean())


def test_masks_that_are_equal_are_no_pair(study: Path, tmp_path: Path) -> None:
    other = write_masks(tmp_path / "other", {"T1w": 0.0, "T2w": 0.6})
    assert compare([str(study / "out"), str(other), "-o", str(tmp_path / "page")]) == 0
    assert {row["contrast"] for row in rows_of(tmp_path / "page" / "compare_key.tsv")} == {"T2w"}


def test_lots_are_drawn_by_the_seed(study: Path, tmp_path: Path) -> None:
    other = write_masks(tmp_path / "other", {"T2w": 0.5})
    keys = []
    for number, seed in enumerate(("3", "3", "4")):
        out = tmp_path / str(number)
        assert compare([str(study / "out"), str(other), "-o", str(out), "--seed", seed, "--pairs", "3"]) == 0
        keys.append((out / "compare_key.tsv").read_text())
    assert keys[0] == keys[1] != keys[2]
    assert "Only one contrast was compared: T2w" in (tmp_path / "0" / "compare.html").read_text()


class TestBadInput:
    """Each ends in one line that names the file and the remedy."""

    def ended(self, capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
        code = compare([str(each) for each in arguments])
        return code, capsys.readouterr().err

    def test_nothing_in_common(self, study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        other = write_masks(tmp_path / "other", {"FLAIR": 0.0})
        code, said = self.ended(capsys, study / "out", other, "-o", tmp_path / "page")
        assert code == 66 and "holds no mask and no row of any image" in said and "sub-01_T1w_seg" in said

    def test_all_on_another_grid(
        self, study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for person in PEOPLE:
            write_image(
                tmp_path / "o" / f"{stem(person, 'T2w')}_seg.nii.gz",
                body(person)[1:],
                centred_grid((23, 24, 38)),
            )
        code, said = self.ended(capsys, study / "out", tmp_path / "o", "-o", tmp_path / "page")
        assert code == 65 and "is not on the grid of the image" in said

    def test_all_empty(self, study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        for person in PEOPLE:
            write_image(
                tmp_path / "o" / f"{stem(person, 'T2w')}_seg.nii.gz", np.zeros(grid().shape, np.uint8), grid()
            )
        code, said = self.ended(capsys, study / "out", tmp_path / "o", "-o", tmp_path / "page")
        assert code == 65 and "the mask is empty" in said

    def test_no_results(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        code, said = self.ended(capsys, tmp_path, tmp_path, "-o", tmp_path / "page")
        assert code == 66 and "has no results" in said

    def test_usage(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert self.ended(capsys, tmp_path / "no", tmp_path)[0] == 64
        assert "does not exist" in self.ended(capsys, tmp_path, tmp_path / "no")[1]
        assert self.ended(capsys, "--version")[0] == 0

    def test_one_participant(self, study: Path, tmp_path: Path) -> None:
        other = write_masks(tmp_path / "other", {"T1w": 0.2, "T2w": 0.2}, people=PEOPLE[:1])
        assert compare([str(study / "out"), str(other), "-o", str(tmp_path / "page")]) == 0
        text = (tmp_path / "page" / "compare.html").read_text()
        assert "Only 1 participant: no bias or limits of agreement can be given" in text
        missing = rows_of(tmp_path / "page" / "compare_failures.tsv")
        assert {row["failure"] for row in missing} == {"missing"} and len(missing) == 4

    def test_without_the_images_there_are_no_pairs(self, study: Path, tmp_path: Path) -> None:
        out = Path(
            shutil.copytree(study / "out", tmp_path / "out", ignore=shutil.ignore_patterns(".*", "logs"))
        )
        description = json.loads((out / "dataset_description.json").read_text())
        description["DatasetLinks"]["raw"] = (tmp_path / "gone").as_uri()
        (out / "dataset_description.json").write_text(json.dumps(description))
        assert raw_root(out, None) is None and raw_root(study / "out", None) == study / "bids"
        other = write_masks(tmp_path / "other", {"T2w": 0.2})
        assert compare([str(out), str(other), "-o", str(tmp_path / "page")]) == 0
        assert "name the dataset by --bids" in (tmp_path / "page" / "compare.html").read_text()
        assert rows_of(tmp_path / "page" / "compare_key.tsv") == []


def test_corrected_masks_are_told(study: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(study / "out", tmp_path / "out", ignore=shutil.ignore_patterns(".*", "logs")))
    for table in out.glob("sub-*/anat/*desc-session_morph.json"):
        table.write_text(table.read_text().replace('"mask_source": "model"', '"mask_source": "corrected"'))
    other = write_masks(tmp_path / "other", {"T2w": 0.0})
    assert compare([str(out), str(other), "-o", str(tmp_path / "page"), "--pairs", "1"]) == 0
    text = (tmp_path / "page" / "compare.html").read_text()
    assert "3 images of softseg carry corrected masks: there the correction is compared" in text


def test_measured_again_our_areas_are_those_of_the_app(study: Path) -> None:
    """The place read back from the tables is the one the app measured at."""
    image = next(each for each in read_ours(study / "out") if each.contrast == "T1w")
    stored = read_grid(image.soft)
    place = place_of_table(image.slices, stored, image.rows)
    again = measured(canonical_array(read_mask(image.soft)), place)
    for row in image.rows:
        region = region_named(place, str(row["region"]))
        assert region is not None
        found = over(place, again, region, place.usable & again.usable)
        assert found["area_mm2"] == pytest.approx(float(row["area_mm2"] or "nan"), rel=1e-4)
        assert found["n_slices"] == int(row["n_slices"] or 0)


def test_leading_region() -> None:
    assert leading_region(["cord", "vert-C3", "common"]) == "vert-C3"
    assert leading_region(["vert-T1"]) == "vert-T1"
    with pytest.raises(ValueError, match="no region"):
        leading_region([])


def test_one_image_a_person_enters_agreement() -> None:
    rows = [
        {"kind": "mask", "participant_id": f"sub-{n}", "session_id": session, "contrast": "T2w",
         "region": "cord", "area_mm2": 70.0 + n + extra, "other_area_mm2": 70.0 + n, "coverage": coverage,
         "in_statistics": True}
        for n in range(4)
        for session, extra, coverage in ((None, 1.0, 0.9), (None, 2.0, 1.0), ("ses-B", 50.0, 1.0))
    ]  # fmt: skip
    found = {row["statistic"]: row for row in agreement_rows(pd.DataFrame(rows))}
    assert found["bias"]["estimate"] == pytest.approx(2.0) and found["bias"]["n_people"] == 4


def test_the_worst_slices_are_shown_apart() -> None:
    own, other = np.zeros((2, 10, 10, 30), dtype=np.float32)
    own[3:7, 3:7], other[3:7, 3:7] = 1, 1
    other[3, 3:7, 12] = 0
    other[3:5, 3:7, 20] = 0
    shown = worst_slices(own, other, 1.0)
    assert 20 in shown and 12 in shown and 6 <= len(shown) <= 8
    assert np.diff(shown).min() >= 3


@pytest.mark.parametrize("swapped", [False, True])
def test_the_worst_slices_are_those_where_one_mask_has_ended(swapped: bool) -> None:
    """All of the stretch is shown, whoever misses it, and nothing where neither has a mask."""
    short, whole = np.zeros((2, 10, 10, 80), dtype=np.float32)
    short[3:7, 3:7, 40:70], whole[3:7, 3:7, 10:70] = 1, 1
    shown = worst_slices(*((whole, short) if swapped else (short, whole)), 1.0)
    assert len(shown) == 8 and min(shown) == 10 and max(shown) == 39 and np.diff(shown).max() <= 8
    assert worst_slices(np.zeros_like(short), 0.4 * whole, 1.0) == []


def upright(first: int, last: int, x_mm: float) -> Centreline:
    slices = np.arange(first, last + 1)
    points = np.stack([np.full(len(slices), x_mm), np.zeros(len(slices)), 2.0 * slices], axis=1)
    return Centreline(slices, points, np.tile([0.0, 0.0, 1.0], (len(slices), 1)))


class TestJoint:
    """A place of one mask, continued where only the other one is."""

    place = Place(
        Grid((10, 10, 40), np.diag([1.0, 1.0, 2.0, 1.0])), upright(10, 19, 3.0), 100.0 - 2.0 * np.arange(10),
        np.ones(10, dtype=bool), (),
    )  # fmt: skip

    def test_slices_and_positions_go_on_at_both_ends(self) -> None:
        own, other = joint(self.place, upright(5, 29, 6.0))
        assert own.line.slices.tolist() == other.line.slices.tolist() == list(range(5, 30))
        assert own.position_mm == pytest.approx(110.0 - 2.0 * np.arange(25))
        assert own.usable.tolist() == [False] * 5 + [True] * 10 + [False] * 10
        assert own.line.points_mm[:, 0].tolist() == [6.0] * 5 + [3.0] * 10 + [6.0] * 10
        assert other.line.points_mm[:, 0].tolist() == [6.0] * 25
        assert covered(own, Region("r", 100.0, 110.0), ~own.usable) == pytest.approx(0.9)

    def test_between_lines_that_do_not_meet_it_is_straight(self) -> None:
        own, other = joint(self.place, upright(24, 29, 8.0))
        assert own.line.points_mm[9:15, 0] == pytest.approx([3.0, 4.0, 5.0, 6.0, 7.0, 8.0])
        assert own.line.points_mm[:, 2] == pytest.approx(2.0 * np.arange(10, 30))
        assert other.line.points_mm == pytest.approx(own.line.points_mm)
        assert own.position_mm[-1] == pytest.approx(100.0 - 2.0 * 19)

    def test_without_another_line_the_place_is_as_it_was(self) -> None:
        assert joint(self.place, None) == (self.place, self.place)


@pytest.fixture(scope="module")
def missed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of T1w our mask of one person lies beside the other's, one has no cord, and one ends halfway."""
    folder = tmp_path_factory.mktemp("missed")
    root = write_study(folder / "bids")
    beside, blank, half = PEOPLE
    for person, share in ((blank, np.full(SHAPE[2], 0.01)), (half, np.arange(SHAPE[2]) >= SHAPE[2] // 2)):
        write_image(root / f"{stem(person, 'T1w')}.nii.gz", CORD * share * body(person), grid())
    run_app(root, folder / "out", folder)
    other = write_masks(folder / "other", dict.fromkeys(CONTRASTS, 0.0))
    write_image(other / f"{stem(beside, 'T1w')}_seg.nii.gz", np.roll(body(beside), 7, axis=0), grid())
    assert compare([str(folder / "out"), str(other), "-o", str(folder / "page")]) == 0
    return folder


class TestOurOwnMisses:
    """What the other tool shows and we do not is seen as well as the reverse."""

    def failures(self, missed: Path) -> dict[str, list[tuple[str, str, str]]]:
        found: dict[str, list[tuple[str, str, str]]] = {}
        for row in rows_of(missed / "page" / "compare_failures.tsv"):
            found.setdefault(row["source_image"], []).append((row["tool"], row["failure"], row["reason"]))
        return found

    def test_a_mask_of_ours_that_ends_halfway_is_incomplete(self, missed: Path) -> None:
        """Also of the level that it does not reach at all, of which the app has no row."""
        source = f"{stem(PEOPLE[2], 'T1w')}.nii.gz"
        [(tool, failure, reason)] = self.failures(missed)[source]
        assert (tool, failure) == ("softseg", "incomplete")
        assert "cord" in reason and "vert-C4" in reason
        rows = {
            row["region"]: row
            for row in rows_of(missed / "page" / "compare_areas.tsv")
            if row["source_image"] == source
        }
        # Of 38 slices the outer 3 mm never count, at the end of a mask neither.
        assert float(rows["cord"]["our_coverage"]) == pytest.approx((19 - 6) / (38 - 6))
        assert float(rows["cord"]["other_coverage"]) == pytest.approx(1)
        level = rows["vert-C4"]
        assert float(level["our_coverage"]) == 0 and float(level["other_coverage"]) == pytest.approx(1)
        assert level["area_mm2"] == "n/a" and level["in_statistics"] == "false"
        assert float(rows["cord"]["dice"]) == pytest.approx(2 / 3, abs=0.01)

    def test_a_mask_beside_ours_is_nobody_s_failure(self, missed: Path) -> None:
        """Who is right is for people to say: they hardly overlap, and are among the pairs."""
        source = f"{stem(PEOPLE[0], 'T1w')}.nii.gz"
        assert source not in self.failures(missed)
        rows = [
            row for row in rows_of(missed / "page" / "compare_areas.tsv") if row["source_image"] == source
        ]
        assert all(row["our_coverage"] == row["other_coverage"] for row in rows)
        assert all(row["area_mm2"] == "n/a" and float(row["coverage"]) == 0 for row in rows)

    def test_all_of_them_are_pairs(self, missed: Path) -> None:
        key = {row["source_image"]: row for row in rows_of(missed / "page" / "compare_key.tsv")}
        assert set(key) == {f"{stem(person, 'T1w')}.nii.gz" for person in PEOPLE}
        blank = f"{stem(PEOPLE[1], 'T1w')}.nii.gz"
        assert self.failures(missed)[blank] == [("softseg", "no_cord", "no cord was found")]
        assert key[blank]["dice"] == "0" and key[blank]["difference_mm2"] == "n/a"
        assert float(key[f"{stem(PEOPLE[2], 'T1w')}.nii.gz"]["difference_mm2"]) == pytest.approx(0, abs=0.1)
        pair = content(missed / "page" / "compare.html")["pairs"][int(key[blank]["pair"]) - 1]
        sides = dict(zip((key[blank]["a"], key[blank]["b"]), (pair["A"], pair["B"]), strict=True))
        drawn = {tool: _opaque(base64.b64decode(picture)) for tool, picture in sides.items()}
        assert drawn["softseg"] == 0 and drawn["other"] > 0

    def test_without_its_image_a_blank_is_told_and_not_shown(self, missed: Path, tmp_path: Path) -> None:
        blank = f"{stem(PEOPLE[1], 'T1w')}.nii.gz"
        bids = Path(shutil.copytree(missed / "bids", tmp_path / "bids"))
        (bids / blank).unlink()
        arguments = [missed / "out", missed / "other", "-o", tmp_path / "page", "--bids", bids]
        assert compare([str(each) for each in arguments]) == 0
        assert blank not in {row["source_image"] for row in rows_of(tmp_path / "page" / "compare_key.tsv")}
        [row] = [
            row for row in rows_of(tmp_path / "page" / "compare_failures.tsv") if row["source_image"] == blank
        ]
        assert f"not shown as a pair: {bids / blank}" in row["reason"]

    def test_an_area_of_a_level_that_our_mask_does_not_reach(self, missed: Path, tmp_path: Path) -> None:
        lines = [
            f"t,6.5,/x/sub-{person}_T1w_seg.nii.gz,1:9,{level},,{area_mm2(person)},1"
            for person in PEOPLE
            for level in (3, 4, 6)
        ]
        header = "Timestamp,SCT Version,Filename,Slice (I->S),VertLevel,DistancePMJ,MEAN(area),STD(area)"
        (tmp_path / "csa.csv").write_text("\n".join([header, *lines]) + "\n")
        assert compare([str(missed / "out"), str(tmp_path / "csa.csv"), "-o", str(tmp_path / "page")]) == 0
        rows = {row["source_image"]: row for row in rows_of(tmp_path / "page" / "compare_failures.tsv")}
        assert set(rows) == {f"{stem(person, 'T1w')}.nii.gz" for person in PEOPLE[1:]}
        half = rows[f"{stem(PEOPLE[2], 'T1w')}.nii.gz"]
        assert (half["tool"], half["failure"]) == ("softseg", "incomplete")
        # Nobody labelled the discs of C6.
        assert half["reason"] == "no area of vert-C4, of which the other one has one"


def _opaque(png: bytes) -> int:
    """How many pixels of a picture of outlines are drawn."""
    return int(np.count_nonzero(np.asarray(Image.open(io.BytesIO(png)))))
