"""The app end to end, on cylinders whose area is known."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import RADIUS_MM, MakeDataset, centred_grid

AREA = np.pi * RADIUS_MM**2
TILT = (0.1, 0.3, 1.0)
POINT = {3: (0.0, 8.0, 15.0), 4: (0.0, 6.0, 1.0), 5: (0.0, 4.0, -13.0)}
Softseg = Callable[..., int]


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file, delimiter="\t"))


def manifest_of(out: Path) -> dict[str, object]:
    [path] = sorted(out.glob("logs/*/manifest.json"))[-1:]
    return json.loads(path.read_text())


def test_participant_and_group(bids: MakeDataset, softseg: Softseg, tmp_path: Path) -> None:
    bids.image("sub-01/anat/sub-01_T1w.nii.gz", axis=TILT)
    bids.image("sub-01/anat/sub-01_T2w.nii.gz", axis=TILT)
    bids.image("sub-02/anat/sub-02_T2w.nii.gz")
    bids.discs("sub-01/anat/sub-01_T2w.nii.gz", POINT)
    out = tmp_path / "out"
    assert softseg(bids.root, out, "participant") == 0
    table = rows_of(out / "sub-01" / "anat" / "sub-01_label-SC_desc-session_morph.tsv")
    by_region = {(row["contrast"], row["region"]): row for row in table}
    assert {"cord", "common", "vert-C3", "vert-C4", "vert-C2:C3", "disc-C2C3"} == {row["region"] for row in table}
    assert {row["levels_source"] for row in table} == {"given", "shared"}
    for key in (("T1w", "cord"), ("T2w", "common"), ("T1w", "vert-C3")):
        assert float(by_region[key]["area_mm2"]) == pytest.approx(AREA, rel=2e-3)
    assert (out / "sub-01.html").stat().st_size > 10_000
    assert softseg(bids.root, out, "group") == 0
    wide = rows_of(out / "group_csa_wide.tsv")
    assert [row["participant_id"] for row in wide] == ["sub-01", "sub-02"]
    assert float(wide[0]["vert-C3_T1w"]) == pytest.approx(AREA, rel=2e-3)
    assert wide[1]["vert-C3_T1w"] == "n/a"
