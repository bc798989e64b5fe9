"""softseg-compare finds planted differences back, names failures, and shows its pairs blind."""

from __future__ import annotations

import base64
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import centred_grid, write_image
from study_phantoms import (
    PEOPLE,
    area_mm2,
    body,
    grid,
    rows_of,
    shared_study,
    stem,
    write_masks,
)

from softseg_bids.image.volume import read_grid, read_mask
from softseg_bids.study.compare import agreement_rows
from softseg_bids.study.doors import compare
from softseg_bids.study.ours import raw_root, read_ours
from softseg_bids.study.pairs import worst_slices
from softseg_bids.study.place import (
    canonical_array,
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
    assert [pair["number"] for pair in pairs] == sorted(key) and len(pairs) == 4
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
    import io

    from PIL import Image

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
