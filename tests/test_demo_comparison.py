"""The demo's comparison with the truth, from hand-made tables."""

from __future__ import annotations

from pathlib import Path

import pytest

from softseg_bids.app.demo_comparison import mean_spread, report, scores, verdict
from softseg_bids.image.volume import DataError


def row(participant: str, contrast: str, region: str, area: str) -> dict[str, str]:
    return {
        "participant_id": participant,
        "session_id": "n/a",
        "contrast": contrast,
        "region": region,
        "area_mm2": area,
    }


def write(path: Path, rows: list[dict[str, str]]) -> None:
    lines = ["\t".join(rows[0]), *("\t".join(each.values()) for each in rows)]
    path.write_text("\n".join(lines) + "\n")


TRUTH = [
    row("sub-01", "T1w", "cord", "70"),
    row("sub-01", "T1w", "vert-C2:C3", "72"),
    row("sub-02", "T1w", "cord", "80"),
    row("sub-02", "T1w", "vert-C2:C3", "82"),
]
MEASURED = [
    row("sub-01", "T1w", "cord", "71"),
    row("sub-02", "T1w", "cord", "83"),
    row("sub-01", "T1w", "vert-C2:C3", "n/a"),
    row("sub-02", "T1w", "vert-C2:C3", "80.5"),
    row("sub-02", "T1w", "common", "999"),
]
SPREAD = [
    {"region": "vert-C2:C3", "sd_mm2": "1.5"},
    {"region": "vert-C2:C3", "sd_mm2": "2.5"},
    {"region": "vert-C2:C3", "sd_mm2": "n/a"},
    {"region": "common", "sd_mm2": "9"},
]


def test_bias_and_sd_are_over_what_was_measured() -> None:
    found = scores(TRUTH, MEASURED)
    cord = found["T1w", "cord"]
    assert cord[:4] == (2, 2, 75.0, 2.0)
    assert cord.sd == pytest.approx(2**0.5)
    levelled = found["T1w", "vert-C2:C3"]
    assert levelled[:4] == (1, 2, 77.0, -1.5)
    assert levelled.sd != levelled.sd  # one value has no SD


def test_mean_spread_is_of_the_region_asked_for() -> None:
    assert mean_spread(SPREAD, "vert-C2:C3") == 2.0
    assert mean_spread(SPREAD, "vert-C3") is None


def test_report_names_pages_and_numbers(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    write(tmp_path / "truth.tsv", TRUTH)
    write(out / "group_csa.tsv", MEASURED)
    write(out / "group_variability.tsv", SPREAD)
    (out / "sub-01.html").touch()
    text = report(tmp_path / "truth.tsv", out)
    [line] = [line for line in text.splitlines() if line.startswith("T1w")]
    assert line.split() == [
        "T1w", "|", "2/2", "75.0", "+2.00", "+2.7", "%", "1.41",
        "|", "1/2", "77.0", "-1.50", "-1.9", "%", "n/a",
    ]  # fmt: skip
    assert "2.00 mm2" in text
    assert "CSA at vert-C2:C3 within 2 % of the truth: 1 of 1 contrasts" in text
    assert "  not measured in every session: T1w 1 of 2" in text
    assert str(out / "sub-01.html") in text and str(out / "group_csa.tsv") in text


def test_every_contrast_is_judged_by_two_percent() -> None:
    truth = [row("sub-01", name, "vert-C2:C3", "70") for name in ("T1w", "T2w", "DWI", "MTon")]
    areas = {"T1w": "71.3", "T2w": "71.5", "DWI": "60", "MTon": "n/a"}
    measured = [row("sub-01", name, "vert-C2:C3", area) for name, area in areas.items()]
    assert verdict(scores(truth, measured)) == [
        "CSA at vert-C2:C3 within 2 % of the truth: 1 of 4 contrasts",
        "  beyond: T2w +2.1 %, DWI -14.3 %",
        "  not measured, as no level was found or given: MTon",
    ]


def test_without_results_the_remedy_is_named(tmp_path: Path) -> None:
    write(tmp_path / "truth.tsv", TRUTH)
    with pytest.raises(DataError, match=r"group_csa\.tsv: does not exist; .* run both levels"):
        report(tmp_path / "truth.tsv", tmp_path)
