"""CSV tables of sct_process_segmentation, in the forms its versions write."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from softseg_bids.image.volume import DataError
from softseg_bids.study.sct import CsvArea, read_areas, tables_below

HEADER = "Timestamp,SCT Version,Filename,Slice (I->S),VertLevel,DistancePMJ,MEAN(area),STD(area),SUM(length)"


def table(path: Path, *rows: str, header: str = HEADER) -> Path:
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def row(name: str, slices: str, level: str, area: str, pmj: str = "") -> str:
    quoted = f'"{level}"' if "," in level else level
    return f"2026-01-01 10:00:00,6.5,/data/anat/{name}.nii.gz,{slices},{quoted},{pmj},{area},1.2,20"


def by_region(areas: list[CsvArea]) -> dict[str, float]:
    return {area.region: area.area_mm2 for area in areas}


@pytest.mark.parametrize(
    ("level", "pmj", "region"),
    [
        ("2:3", "", "vert-C2:C3"),
        ("2,3", "", "vert-C2:C3"),
        ("3", "", "vert-C3"),
        ("3.0", "", "vert-C3"),
        ("8", "", "vert-T1"),
        ("2:4", "", "vert-C2:C4"),
        ("2,4", "", ""),
        ("", "50", "pmj-50"),
        ("", "64.0", "pmj-64"),
        ("", "", "cord"),
    ],
)
def test_levels_are_our_regions(tmp_path: Path, level: str, pmj: str, region: str) -> None:
    [area] = read_areas(table(tmp_path / "csa.csv", row("sub-01_T2w_seg", "10:30", level, "70.5", pmj)))
    assert area == CsvArea(tmp_path / "csa.csv", "sub-01_T2w_seg", region, 70.5, 1)


def test_rows_per_slice_are_averaged_over_their_level(tmp_path: Path) -> None:
    rows = [row("sub-01_T2w_seg", str(k), str(level), area) for k, level, area in (
        (10, 3, "60"), (11, 3, "62"), (12, 2, "70"), (13, 2, "nan"), (14, "", "99"),
    )]  # fmt: skip
    found = by_region(read_areas(table(tmp_path / "csa.csv", *rows)))
    assert found == {"vert-C3": 61.0, "vert-C2": 70.0, "vert-C2:C3": 64.0}


def test_of_rows_appended_twice_the_last_counts(tmp_path: Path) -> None:
    rows = [row("sub-01_T2w_seg", "1:9", "3", area) for area in ("60", "61")]
    assert by_region(read_areas(table(tmp_path / "csa.csv", *rows))) == {"vert-C3": 61.0}


def test_what_sct_could_not_measure_has_no_area(tmp_path: Path) -> None:
    [area] = read_areas(table(tmp_path / "csa.csv", row("sub-01_T2w_seg", "1:9", "3", "None")))
    assert math.isnan(area.area_mm2)


def test_other_tables_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    wanted = table(tmp_path / "deep" / "csa-SC_T2w.csv")
    table(tmp_path / "mtr.csv", header="Filename,MAP()")
    (tmp_path / "empty.csv").touch()
    assert tables_below(tmp_path) == [wanted]
    assert tables_below(wanted) == [wanted]


def test_refused_tables(tmp_path: Path) -> None:
    other = table(tmp_path / "mtr.csv", header="Filename,MAP()")
    with pytest.raises(DataError, match=r"mtr.csv: has no columns Filename and MEAN\(area\)"):
        read_areas(other)
    bad = table(tmp_path / "csa.csv", row("sub-01_T2w_seg", "1:9", "3", "sixty"))
    with pytest.raises(DataError, match="line 2 has the area 'sixty'"):
        read_areas(bad)
    binary = tmp_path / "binary.csv"
    binary.write_bytes(b"\xff\xfe\x00Filename,\xff")
    with pytest.raises(DataError, match="save it as CSV again"):
        tables_below(tmp_path)
