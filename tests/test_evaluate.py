"""softseg-evaluate on cylinders: planted errors come back, and shrinking does not pass for agreement."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import write_image
from study_phantoms import (
    CONTRASTS,
    PEOPLE,
    area_mm2,
    body,
    checkpoint,
    grid,
    rows_of,
    shared_study,
    stand_in,
    stem,
    write_masks,
)

from softseg_bids.core.scores import binarise, dice
from softseg_bids.study import masks
from softseg_bids.study.doors import evaluate
from softseg_bids.study.evaluate import contrasts_of
from softseg_bids.study.judge import scores_of
from softseg_bids.study.methods import uncorrected, without_mask

EVEN = dict.fromkeys(CONTRASTS, 0.0)
APART = {"T1w": 0.5, "T2w": -0.5}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shared_study(tmp_path_factory)


@pytest.fixture(scope="module")
def judged(study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four methods: grown by 0.3 mm, apart by contrast, one size for everybody, and hard."""
    folder = tmp_path_factory.mktemp("evaluate")
    labels = write_masks(folder / "labels", EVEN, "_label-SC_softseg")
    grown = write_masks(folder / "grown", dict.fromkeys(CONTRASTS, 0.3), "")
    apart = write_masks(folder / "apart", APART)
    for person in PEOPLE:
        for contrast in CONTRASTS:
            write_image(folder / "usual" / f"{stem(person, contrast)}_seg.nii.gz", body(PEOPLE[1]), grid())
    hard = write_masks(folder / "hard", EVEN, hard=True)
    methods = {"grown": grown, "apart": apart, "usual": folder / "usual", "hard": hard}
    arguments = [study / "bids", *(f"{name}={path}" for name, path in methods.items()), "--labels", labels]
    assert evaluate([str(each) for each in [*arguments, "-o", folder / "page"]]) == 0
    return folder / "page"


def summary(page: Path) -> dict[tuple[str, ...], dict[str, str]]:
    return {
        tuple(row[name] for name in ("method", "region", "contrast", "measure", "statistic")): row
        for row in rows_of(page / "evaluate_summary.tsv")
    }


def estimate(page: Path, *key: str) -> float:
    return float(summary(page)[key]["estimate"])


def test_scores_are_those_of_the_masks(judged: Path) -> None:
    rows = {
        (row["method"], row["participant_id"], row["contrast"]): row
        for row in rows_of(judged / "evaluate_scores.tsv")
    }
    assert len(rows) == 4 * len(PEOPLE) * 2 and {row["status"] for row in rows.values()} == {"used"}
    person = PEOPLE[0]
    row = rows["grown", f"sub-{person}", "T1w"]
    expected = area_mm2(person, 0.3) / area_mm2(person) - 1
    assert float(row["relative_volume_error"]) == pytest.approx(expected, rel=1e-4)
    assert float(row["dice"]) == pytest.approx(dice(body(person, 0.3), body(person)), abs=1e-6)
    hard = rows["hard", f"sub-{person}", "T1w"]
    assert float(hard["dice"]) == 1 and float(hard["surface_mm"]) == 0 and float(hard["soft_dice"]) < 1


def test_area_errors_of_a_known_size(judged: Path) -> None:
    region = "disc-C2C3"
    expected = np.mean([area_mm2(person, 0.3) - area_mm2(person) for person in PEOPLE])
    assert estimate(judged, "grown", region, "all", "area_mm2", "bias") == pytest.approx(expected, rel=1e-3)
    thick = np.mean([area_mm2(person, APART["T1w"]) - area_mm2(person) for person in PEOPLE])
    assert estimate(judged, "apart", region, "T1w", "area_mm2", "bias") == pytest.approx(thick, rel=1e-3)
    size = np.mean([
        abs(area_mm2(person, grow) - area_mm2(person)) for person in PEOPLE for grow in APART.values()
    ])  # fmt: skip
    found = estimate(judged, "apart", region, "all", "absolute_area_error", "mean")
    assert found == pytest.approx(size, rel=1e-3)


def test_spread_over_contrasts_is_the_planted_one_and_the_slope_unmasks_shrinking(judged: Path) -> None:
    region = "disc-C2C3"
    planted = np.mean([
        np.std([area_mm2(person, grow) for grow in APART.values()], ddof=1) for person in PEOPLE
    ])  # fmt: skip
    spread = {
        name: estimate(judged, name, region, "T1w;T2w", "sd_over_contrasts", "mean")
        for name in ("labels", "grown", "apart", "usual")
    }
    assert spread["apart"] == pytest.approx(planted, rel=1e-3)
    assert max(spread["labels"], spread["grown"], spread["usual"]) < 1e-4
    slopes = {
        name: estimate(judged, name, region, "all", "area_mm2", "response_slope")
        for name in ("grown", "apart", "usual")
    }
    assert slopes["usual"] == pytest.approx(0, abs=1e-4)
    assert slopes["apart"] == pytest.approx(1, abs=0.05) and 1 < slopes["grown"] < 1.1


def test_repeated_measures_and_tests_are_there(judged: Path) -> None:
    found = summary(judged)
    row = found["apart", "disc-C2C3", "T1w;T2w", "area_over_contrasts", "contrast_effect"]
    assert float(row["f_value"]) > 100 and float(row["p"]) < 0.01 and row["df_error"] == "2"
    bias = found["apart", "disc-C2C3", "T1w", "area_over_contrasts", "bias"]
    assert float(bias["estimate"]) == pytest.approx(
        0.5 * np.mean([area_mm2(p, 0.5) - area_mm2(p, -0.5) for p in PEOPLE]), rel=1e-3
    )
    tests = rows_of(judged / "evaluate_tests.tsv")
    pairs = [row for row in tests if row["measure"] == "dice"]
    assert len(pairs) == 6 and all(
        "no difference can have p < 0.05" in row["notes"] or row["p"] == "1" for row in pairs
    )
    assert {row["measure"] for row in tests} >= {"absolute_area_error", "sd_over_contrasts", "surface_mm"}


def test_calibration_of_equal_and_of_hard_masks(judged: Path) -> None:
    rows = [row for row in rows_of(judged / "evaluate_reliability.tsv") if row["contrast"] == "all"]
    hard = [row for row in rows if row["method"] == "hard" and row["n_voxels"] != "0"]
    assert [row["bin"] for row in hard] == ["0", "9"]
    assert all(abs(float(row["predicted"]) - float(row["true"])) > 1e-3 for row in hard)
    voxels = {row["method"]: 0 for row in rows}
    for row in rows:
        voxels[row["method"]] += int(row["n_voxels"])
    assert len(set(voxels.values())) == 1


def test_the_page_shows_all_of_it(judged: Path) -> None:
    text = (judged / "evaluate.html").read_text()
    assert "Not validated in patients" in text
    for part in (
        "SD over contrasts",
        "slope on true area",
        "T2w against T1w",
        "Reliability curves",
        "Wilcoxon",
    ):
        assert part in text
    assert text.count("data:image/svg+xml") == 10


def test_a_model_is_run_and_judged(study: Path, tmp_path: Path) -> None:
    labels = write_masks(tmp_path / "labels", {"T2w": 0.0}, "_label-SC_seg", PEOPLE[:1])
    model, blind = checkpoint(tmp_path / "m.pt"), checkpoint(tmp_path / "b.pt", "blind")
    arguments = [study / "bids", f"ours={model}", f"blind={blind}", "--labels", labels, "-m", "T2w",
                 "--participant-label", PEOPLE[0], "--nprocs", "1", "-o", tmp_path / "page"]  # fmt: skip
    with stand_in() as asked:
        assert evaluate([str(each) for each in arguments]) == 0
    assert set(asked) == {str(model), str(blind)}
    rows = {row["method"]: row for row in rows_of(tmp_path / "page" / "evaluate_scores.tsv")}
    assert float(rows["ours"]["dice"]) == 1 and rows["ours"]["mask_file"].endswith("desc-T2w_probseg.nii.gz")
    assert rows["blind"]["status"] == "empty" and float(rows["blind"]["dice"]) == 0
    assert float(rows["blind"]["relative_volume_error"]) == -1 and rows["blind"]["surface_mm"] == "n/a"
    text = (tmp_path / "page" / "evaluate.html").read_text()
    assert "Only 1 participant" in text and "Only one contrast with a label (T2w)" in text


def test_a_release_in_its_folder_is_run_and_its_masks_cut_without_a_second_run(
    study: Path, tmp_path: Path
) -> None:
    labels = write_masks(tmp_path / "labels", {"T2w": 0.0}, "_label-SC_softseg", PEOPLE[:1])
    release = checkpoint(tmp_path / "release" / "best_model_loss.ckpt", "0.9").parent
    with stand_in() as asked:
        arguments = [study / "bids", f"soft={release}", f"hard@0.5={release}", f"high@0.95={release}",
                     "--labels", labels, "-m", "T2w", "--participant-label", PEOPLE[0], "--nprocs", "1",
                     "-o", tmp_path / "page"]  # fmt: skip
        assert evaluate([str(each) for each in arguments]) == 0
    assert asked == [str(release)]
    rows = {row["method"]: row for row in rows_of(tmp_path / "page" / "evaluate_scores.tsv")}
    soft = np.clip(body(PEOPLE[0]) * 0.9, 0, 1)
    for name, mask in (("soft", soft), ("hard@0.5", binarise(soft))):
        expected = scores_of(mask, body(PEOPLE[0]), np.ones(3))["relative_volume_error"]
        assert float(rows[name]["relative_volume_error"]) == pytest.approx(expected, abs=2e-3)
    assert rows["soft"]["mask_file"] == rows["hard@0.5"]["mask_file"]
    assert rows["high@0.95"]["status"] == "empty"
    assert rows["high@0.95"]["reason"] == "no voxel of the mask reaches 0.95"
    assert "hard@0.5" in (tmp_path / "page" / "evaluate.html").read_text()


def test_a_model_a_contrast(study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each image is segmented by its contrast's own model, and by no other."""
    person = PEOPLE[0]
    labels = write_masks(tmp_path / "labels", EVEN, "_label-SC_softseg", (person,))
    first, second = checkpoint(tmp_path / "t1.pt"), checkpoint(tmp_path / "t2.pt", "0.9")
    folder = write_masks(tmp_path / "masks", {"T1w": 0.3, "T2w": 0.3}, people=(person,))
    arguments = [study / "bids", f"each=t1W:{first},T2w:{second},DWI:{first}",
                 f"mixed=T1w:{folder},T2w:{second}", "--labels", labels, "--participant-label", person,
                 "--nprocs", "1", "-o", tmp_path / "page"]  # fmt: skip
    with stand_in() as asked:
        assert evaluate([str(each) for each in arguments]) == 0
    assert sorted(asked) == [str(first), str(second)]
    assert "method each: no image is DWI; left out" in capsys.readouterr().err
    rows = {
        (row["method"], row["contrast"]): row for row in rows_of(tmp_path / "page" / "evaluate_scores.tsv")
    }
    assert float(rows["each", "T1w"]["relative_volume_error"]) == pytest.approx(0, abs=1e-3)
    assert float(rows["each", "T2w"]["relative_volume_error"]) == pytest.approx(-0.1, abs=5e-3)
    grown = area_mm2(person, 0.3) / area_mm2(person) - 1
    assert float(rows["mixed", "T1w"]["relative_volume_error"]) == pytest.approx(grown, rel=1e-3)
    assert rows["mixed", "T2w"]["mask_file"] == rows["each", "T2w"]["mask_file"]


def test_only_no_cord_is_an_empty_mask(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of T2w one person was measured, one failed (an older mask still lies there), one was never run; of T1w
    the first has no cord."""
    out = Path(shutil.copytree(study / "out", tmp_path / "out", ignore=shutil.ignore_patterns(".*", "logs")))
    first, second, third = PEOPLE
    change_status(out, first, "T1w", lambda card: card | {"status": "no_cord"})
    (out / f"{stem(first, 'T1w').replace('_T1w', '')}_label-SC_desc-T1w_probseg.nii.gz").unlink()
    (out / f"{stem(first, 'T1w').replace('_T1w', '')}_label-SC_desc-T1w_mask.nii.gz").unlink()
    change_status(out, second, "T2w", lambda _: None)
    shutil.rmtree(out / f"sub-{third}")
    labels = write_masks(tmp_path / "labels", EVEN, "_label-SC_softseg")
    arguments = [study / "bids", f"given={out}", "--labels", labels, "-o", tmp_path / "page"]
    assert evaluate([str(each) for each in arguments]) == 1
    assert "softseg-evaluate: its image could not be read\n" in capsys.readouterr().err
    rows = {
        (row["participant_id"], row["contrast"]): row
        for row in rows_of(tmp_path / "page" / "evaluate_scores.tsv")
    }
    assert rows[f"sub-{first}", "T2w"]["status"] == "used"
    blank = rows[f"sub-{first}", "T1w"]
    assert (blank["status"], blank["reason"], blank["dice"]) == ("empty", "no cord was found", "0")
    crashed, absent = rows[f"sub-{second}", "T2w"], rows[f"sub-{third}", "T2w"]
    assert (crashed["status"], crashed["reason"]) == ("failed", "its image could not be read")
    assert absent["status"] == "missing" and "has no result of it; run softseg on it" in absent["reason"]
    for row in (crashed, absent):
        assert row["dice"] == row["relative_volume_error"] == "n/a" and row["mask_file"] == "n/a"
    # Of three people the first has Dice 0 and 1, the second 1, and the third nothing.
    assert estimate(tmp_path / "page", "given", "n/a", "all", "dice", "mean") == pytest.approx(0.75, abs=0.01)


def change_status(
    out: Path, person: str, contrast: str, change: Callable[[dict[str, Any]], dict[str, Any] | None]
) -> None:
    """Change what results say of an image; None makes it one that failed."""
    [path] = out.glob(f"sub-{person}/anat/*_desc-session_morph.json")
    content = json.loads(path.read_text())
    cards, facts = [], content["Session"]
    for card in facts["images"]:
        changed = change(card) if card["contrast"] == contrast else card
        if changed is not None:
            cards.append(changed)
            continue
        lost = {"input": card["source"], "contrast": contrast, "status": "failed"}
        facts["missing"].append(lost | {"reason": "its image could not be read"})
    facts["images"] = cards
    path.write_text(json.dumps(content))


def test_beside_a_correction_no_mask_of_the_network_is_an_empty_one(study: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(study / "out", tmp_path / "out", ignore=shutil.ignore_patterns(".*", "logs")))
    change_status(out, PEOPLE[0], "T2w", lambda card: card | {"mask_source": "corrected"})
    scans = [
        SimpleNamespace(key=contrast, relative=f"{stem(PEOPLE[0], contrast)}.nii.gz")
        for contrast in CONTRASTS
    ]
    found = without_mask(out, scans)  # type: ignore[arg-type]
    assert found == {"T2w": masks.Found(masks.EMPTY, "no cord was found")}


def test_what_a_cut_leaves() -> None:
    soft = np.array([0.2, 0.5, 0.7], dtype=np.float32)
    found = masks.cut_at(masks.Found(masks.USED, array=soft), 0.5)
    assert found.status == masks.USED and found.array is not None and found.array.tolist() == [0, 1, 1]
    assert masks.cut_at(masks.Found(masks.USED, array=soft), 0.9).status == masks.EMPTY
    missing = masks.Found(masks.MISSING, "none")
    assert masks.cut_at(missing, 0.5) == missing


class TestBadInput:
    """Each ends in one line that names the file and the remedy."""

    def ended(self, capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
        code = evaluate([str(each) for each in arguments])
        return code, capsys.readouterr().err

    def test_no_folder_of_labels(
        self, study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        bids = tmp_path / "bids"
        write_image(bids / "sub-01" / "anat" / "sub-01_T2w.nii.gz", body("01"), grid())
        code, said = self.ended(capsys, bids, f"a={study / 'out'}", "-o", tmp_path / "page")
        assert code == 64 and "name that of the labels by --labels" in said

    def test_labels_of_other_images(
        self, study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        labels = write_masks(tmp_path / "labels", {"FLAIR": 0.0})
        code, said = self.ended(
            capsys, study / "bids", f"a={study / 'out'}", "--labels", labels, "-o", tmp_path / "page"
        )
        assert code == 66 and "holds no cord mask of any image" in said and "_label-SC_seg.nii.gz" in said

    def test_empty_labels(self, study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        for person in PEOPLE:
            write_image(
                tmp_path / "l" / f"{stem(person, 'T2w')}_seg.nii.gz", np.zeros(grid().shape, np.uint8), grid()
            )
        code, said = self.ended(
            capsys, study / "bids", f"a={study / 'out'}", "--labels", tmp_path / "l", "-o", tmp_path / "page"
        )
        assert code == 66 and "no label can be used" in said

    def test_a_method_without_masks(
        self, study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        labels = write_masks(tmp_path / "labels", {"T2w": 0.0})
        other = write_masks(tmp_path / "other", {"FLAIR": 0.0})
        code, said = self.ended(
            capsys, study / "bids", f"mine={other}", "--labels", labels, "-o", tmp_path / "page"
        )
        assert code == 65 and "method mine: has no usable mask of any labelled image" in said

    def test_a_contrast_that_no_model_is_for(
        self, study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        labels = write_masks(tmp_path / "labels", EVEN)
        model = checkpoint(tmp_path / "m.pt")
        with stand_in() as asked:
            code, said = self.ended(
                capsys, study / "bids", f"a={model}", f"each=T1w:{model}", "--labels", labels, "-o",
                tmp_path / "page",
            )  # fmt: skip
        assert code == 64 and asked == []
        assert "method each: names no path for T2w, of which there are labels; add T2w:PATH" in said

    def test_some_masks_on_another_grid(
        self, study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        labels = write_masks(tmp_path / "labels", {"T2w": 0.0})
        other = write_masks(tmp_path / "other", {"T2w": 0.0})
        moved = grid().affine.copy()
        moved[2, 3] += 3.0
        bad = write_image(
            other / f"{stem(PEOPLE[0], 'T2w')}_seg.nii.gz", body(PEOPLE[0]), grid()._replace(affine=moved)
        )
        code, said = self.ended(
            capsys, study / "bids", f"mine={other}", "--labels", labels, "-o", tmp_path / "page"
        )
        assert code == 1 and f"{bad}: is not on the grid of the image" in said

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            ([".", "nameless"], "is not NAME=PATH"),
            ([".", "labels=."], "is not NAME=PATH"),
            ([".", "a b=."], "is not NAME=PATH"),
            ([".", "a=nowhere"], "check the path of a"),
            ([".", "a=.", "a=."], "names two methods"),
            ([".", "a@2=."], "is no value to cut at"),
            ([".", "a=T1w:.,T2w:nowhere"], "check the path of a, T2w"),
            (["."], "required: NAME=PATH"),
        ],
    )
    def test_usage(
        self, arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        code, told = self.ended(capsys, *arguments, "-o", tmp_path / "page")
        assert code == 64 and said in told


def test_a_label_s_own_hard_copy_scores_one_in_hard_dice_only() -> None:
    soft = body(PEOPLE[0])
    found = scores_of(binarise(soft), soft, np.ones(3))
    assert found["dice"] == 1 and found["hausdorff_95_mm"] == 0
    assert found["soft_dice"] < 1 and found["relative_volume_error"] != 0


def test_a_correction_is_not_judged_for_the_network(tmp_path: Path) -> None:
    """A label that was merged into the results would be compared with itself."""
    plain, corrected, lost = (tmp_path / f"sub-0{n}_label-SC_desc-T2w_probseg.nii.gz" for n in (1, 2, 3))
    for path, source in ((plain, "model"), (corrected, "corrected"), (lost, "corrected")):
        path.touch()
        path.with_name(path.name.replace(".nii.gz", ".json")).write_text(json.dumps({"MaskSource": source}))
    before = tmp_path / "sub-02_label-SC_desc-T2wModel_probseg.nii.gz"
    before.touch()
    found = uncorrected({"a": [plain], "b": [corrected], "c": [lost]})
    assert found == {"a": [plain], "b": [before], "c": []}


def test_the_contrast_set_is_what_is_there() -> None:
    best = pd.DataFrame({"contrast": ["DWI", "T1w", "T2w", "T1w"]})
    assert contrasts_of(best, []) == ["T1w", "T2w"]
    assert contrasts_of(best, ["MTon", "T2w"]) == ["T2w"]
