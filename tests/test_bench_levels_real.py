"""How levels of real scans are read back from the app's tables, and judged."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from conftest import MakeDataset, centred_grid

from bench import levels_real
from bench.levels_real import TRUE_MM, discs_of, placed, results, table, unlabelled
from softseg_bids.app import alignment
from softseg_bids.core.labelling import Found
from softseg_bids.image.volume import DataError

# A straight cord behind the tips; position 0 at height 60.
SLICES = [{"x_mm": "-7", "y_mm": "1", "z_mm": str(z), "position_mm": str(60 - z)} for z in range(-10, 61, 5)]


def region(name: str, start: float | str, end: float | str, source: str = "found") -> dict[str, str]:
    return {"region": name, "start_mm": str(start), "end_mm": str(end), "levels_source": source}


CORD = region("cord", 0, 70)


def test_discs_are_the_limits_of_levels() -> None:
    rows = [CORD, region("vert-C3", 26, 45.5), region("disc-C2C3", 21, 31), region("vert-C5", "n/a", "n/a")]
    assert discs_of(rows) == {3: 26.0, 4: 45.5}
    assert discs_of([region("disc-C2C3", 21, 31)]) == {3: 26.0}


def test_errors_are_along_the_cord_and_only_where_the_image_is() -> None:
    one = placed("T2w", SLICES, [CORD, region("vert-C3", 27, 45)])
    # Discs at heights 34, 14.5 and -3 lie at positions 26, 45.5 and 63; -18.5 is below the image.
    assert one.errors_mm == {
        3: pytest.approx(1.0),
        4: pytest.approx(-0.5),
        5: pytest.approx(np.nan, nan_ok=True),
    }
    assert one.source == "found" and not one.others
    assert placed("DWI", [], []).errors_mm == {}


def test_a_shifted_numbering_is_told_though_nothing_is_far_from_its_name() -> None:
    one = placed("T2w", SLICES, [CORD, region("vert-C5", 26, 45.5)])
    assert one.others == [5, 6]
    assert "| **no** |" in table([("alone", one)])


def test_the_table_says_what_is_not_named() -> None:
    right = placed("T2w", SLICES, [CORD, region("vert-C3", 26, 45.5), region("vert-C4", 45.5, 63)])
    some = placed("T1w", SLICES, [CORD, region("vert-C3", 26, 45.5)])
    none = placed("DWI", SLICES, [region("cord", 0, 70, "none")])
    text = table([("alone", right), ("alone", some), ("all", none)])
    assert "| alone | T2w | found | +0.0 | +0.0 | +0.0 |  | yes |" in text
    assert "| alone | T1w | found | +0.0 | +0.0 | n/a |  | n/a |" in text
    assert "| all | DWI | none | n/a | n/a | n/a |  | n/a |" in text


def test_images_are_taken_over_without_their_labels(bids: MakeDataset, tmp_path: Path) -> None:
    for name in ("acq-full_T2w", "acq-crop_T1w"):
        bids.image(f"sub-errsm30/anat/sub-errsm30_{name}.nii.gz")
        bids.discs(f"sub-errsm30/anat/sub-errsm30_{name}.nii.gz", {3: (0.0, 8.0, 0.0)})
    one = unlabelled(bids.root, tmp_path / "one", ("acq-crop_T1w",))
    assert [path.name for path in one.rglob("*.nii.gz")] == ["sub-errsm30_acq-crop_T1w.nii.gz"]
    assert len(list(unlabelled(bids.root, tmp_path / "all", None).rglob("*.nii.gz"))) == 2
    with pytest.raises(DataError, match="has no image of acq-x_T2w; check REAL"):
        unlabelled(bids.root, tmp_path / "none", ("acq-x_T2w",))


@pytest.mark.usefixtures("sketched")
def test_results_of_the_app_are_read_back(
    bids: MakeDataset, softseg: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = centred_grid((36, 36, 90))
    bids.image("sub-errsm30/anat/sub-errsm30_T2w.nii.gz", grid, centre_mm=(-7.0, 1.0, 0.0))
    top = 44.5
    seen = {value: Found(top - tip[2] + 1.0, 8.0, 0.9) for value, tip in TRUE_MM.items()}
    monkeypatch.setattr(alignment, "look", lambda *_: seen)
    assert softseg(bids.root, tmp_path / "out", "participant") == 0  # type: ignore[operator]
    [one] = results(bids.root, tmp_path / "out")
    assert one.image == "T2w" and set(one.errors_mm) == set(TRUE_MM)
    assert list(one.errors_mm.values()) == pytest.approx([1.0] * 4, abs=0.1)
    with (tmp_path / "out/sub-errsm30/anat/sub-errsm30_label-SC_desc-session_morph.tsv").open() as file:
        assert len(list(csv.DictReader(file, delimiter="\t"))) > 3
    assert levels_real.GIVEN["all contrasts"] is None
