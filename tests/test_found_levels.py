"""Found levels end to end: rows, flags and sidecars of what is sure and of what is not."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import pytest
from conftest import MakeDataset, centred_grid, disc_labels, write_image

from softseg_bids.app import alignment
from softseg_bids.core.labelling import Found

T2W = "sub-01/anat/sub-01_T2w.nii.gz"
SESSION = "sub-01/anat/sub-01_label-SC_desc-session_morph.tsv"
Softseg = Callable[..., int]
# Positions along a cord of 48 mm.
FOUND = {3: Found(8.0, 8.0, 0.6), 4: Found(22.0, 8.0, 0.95), 5: Found(36.0, 8.0, 0.9), 9: Found(90, 8, 0.2)}

pytestmark = pytest.mark.usefixtures("sketched")


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> None:
    """What every session shows."""
    monkeypatch.setattr(alignment, "look", lambda *_: FOUND)


def rows_of(path: Path) -> dict[str, dict[str, str]]:
    with path.open() as file:
        return {row["region"]: row for row in csv.DictReader(file, delimiter="\t")}


@pytest.mark.usefixtures("found")
def test_an_unsure_level_is_a_row_without_numbers_and_a_flag(
    bids: MakeDataset, softseg: Softseg, tmp_path: Path
) -> None:
    bids.image(T2W)
    out = tmp_path / "out"
    assert softseg(bids.root, out, "participant") == 0
    rows = rows_of(out / SESSION)
    assert set(rows) == {"cord", "common", "vert-C4", "vert-C3", "vert-C2:C3", "disc-C2C3"}
    for name in ("vert-C3", "vert-C2:C3", "disc-C2C3"):
        row = rows[name]
        assert {row[column] for column in ("area_mm2", "coverage", "start_mm", "end_mm")} == {"n/a"}
        assert (row["status"], row["levels_source"], row["n_slices"]) == ("measured", "none", "0")
        assert "levels_unsure" in row["flags"].split(";")
    assert float(rows["vert-C4"]["coverage"]) == 1 and "levels_unsure" in rows["cord"]["flags"]
    with (out / "sub-01/anat/sub-01_label-SC_desc-T2wPerslice_morph.tsv").open() as file:
        assert {one["pmj_mm"] for one in csv.DictReader(file, delimiter="\t")} == {"n/a"}
    levels = json.loads((out / "sub-01/anat/sub-01_seg-vertebrae_desc-T2w_dseg.json").read_text())
    assert levels["LabelConfidence"] == {"C2-C3": 0.6, "C3-C4": 0.95, "C4-C5": 0.9, "T1-T2": 0.2}
    assert set(levels["LabelSource"]) == {"C3-C4", "C4-C5"}
    [card] = json.loads((out / SESSION).with_suffix(".json").read_text())["Session"]["images"]
    assert card["LabelConfidence"] == levels["LabelConfidence"]
    assert any("not surely enough to be shown: C2-C3" in note for note in card["notes"])
    assert softseg(bids.root, out, "group") == 0
    assert "vert-C3_T2w" not in (out / "group_csa_wide.tsv").read_text()
    assert "levels_unsure" in (out / "group_csa.tsv").read_text()


@pytest.mark.parametrize(
    ("label", "shown"),
    [({50: (0.5, 0.5, 22.5)}, {50}), ({60: (0.5, 0.5, -20.5)}, {60}), ({4: (0.5, 8.5, 0.5)}, {4})],
)
def test_a_landmark_alone_makes_no_map_of_levels(
    bids: MakeDataset,
    softseg: Softseg,
    tmp_path: Path,
    label: dict[int, tuple[float, float, float]],
    shown: set[int],
) -> None:
    bids.image(T2W)
    bids.discs(T2W, label)
    out = tmp_path / "out"
    assert softseg(bids.root, out, "participant") == 0
    discs = nib.load(out / "sub-01/anat/sub-01_seg-discs_desc-T2w_dseg.nii.gz").get_fdata()
    assert set(discs[discs > 0]) == shown
    assert not list(out.rglob("*_seg-vertebrae_desc-T2w_dseg*"))


def test_a_given_junction_is_measured_from_and_erases_nothing(
    bids: MakeDataset, softseg: Softseg, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = {2: Found(24.0, 8.0, 0.95), 3: Found(38.0, 8.0, 0.9)}
    monkeypatch.setattr(alignment, "look", lambda *_: child)
    grid = centred_grid()
    bids.image(T2W)
    write_image(
        bids.root / "derivatives/labels/sub-01/anat/sub-01_T2w_label-PMJ_dlabel.nii.gz",
        disc_labels(grid, {50: (0.5, 0.5, 22.5)}), grid,
    )  # fmt: skip
    out = tmp_path / "out"
    distances = ("--pmj-distance", 20, 30.5, 20)
    assert softseg(bids.root, out, "participant", *distances) == 0
    rows = rows_of(out / SESSION)
    assert {name for name in rows if name.startswith("pmj-")} == {"pmj-20", "pmj-30.5"}
    middle = 0.5 * (float(rows["pmj-20"]["start_mm"]) + float(rows["pmj-20"]["end_mm"]))
    assert middle == pytest.approx(21, abs=0.1)  # the label lies 1 mm below the upper end of the axis
    with (out / "sub-01/anat/sub-01_label-SC_desc-T2wPerslice_morph.tsv").open() as file:
        slices = list(csv.DictReader(file, delimiter="\t"))
    # The cylinder is straight: the junction lies 22.5 mm above the scanner's origin.
    assert all(float(one["pmj_mm"]) == pytest.approx(22.5 - float(one["z_mm"]), abs=0.02) for one in slices)
    assert rows["pmj-20"]["levels_source"] == "given" and rows["vert-C2"]["levels_source"] == "found"
    discs = nib.load(out / "sub-01/anat/sub-01_seg-discs_desc-T2w_dseg.nii.gz").get_fdata()
    assert set(discs[discs > 0]) == {2, 3, 50}
    # The methods speak of each label's origin, not of the image's most common one.
    assert softseg(bids.root, out, "group") == 0
    said = " ".join((out / "logs" / "CITATION.md").read_text().split())
    assert "the discs were labelled beforehand" in said and "pontomedullary junction" in said
