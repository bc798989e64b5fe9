"""One image without BIDS."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from conftest import CORD, RADIUS_MM, centred_grid, cylinder, disc_labels, write_image

from softseg_bids.app.cli import main
from softseg_bids.app.single import scan_of

GRID = centred_grid()
AREA = np.pi * RADIUS_MM**2


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return write_image(tmp_path / "scan_T2w.nii.gz", CORD * cylinder(GRID, axis=(0.1, 0.3, 1)), GRID)


def test_an_image_and_its_discs(image: Path, checkpoint: Path, network: list[object], tmp_path: Path) -> None:
    discs = write_image(
        tmp_path / "discs.nii.gz", disc_labels(GRID, {3: (0, 8, 15), 4: (0, 8, 1), 5: (0, 8, -14)}), GRID
    )
    out = tmp_path / "out"
    arguments = [str(image), "-o", str(out), "--discs", str(discs), "--model", str(checkpoint)]
    assert main(arguments) == 0
    with (out / "scan_T2w_regions.tsv").open() as file:
        rows = {row["region"]: row for row in csv.DictReader(file, delimiter="\t")}
    assert float(rows["vert-C3"]["area_mm2"]) == pytest.approx(AREA, rel=2e-3)
    for ending in ("_cord_mask.nii.gz", "_levels.nii.gz", "_montage.png", "_curves.svg", "_slices.tsv"):
        assert (out / f"scan_T2w{ending}").is_file()
    assert main(arguments) == 0
    assert len(network) == 1


def test_an_image_that_cannot_be_read(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.nii.gz"
    bad.write_bytes(b"no image")
    assert main([str(bad), "-o", str(tmp_path / "out"), "--model", str(checkpoint)]) == 65
    assert "bad.nii.gz" in capsys.readouterr().err


def test_wrong_usage(image: Path, tmp_path: Path) -> None:
    assert main([str(image)]) == 64
    assert main([str(image), "-o", str(tmp_path), "--discs", str(tmp_path / "none.nii.gz")]) == 64
    assert main([str(image), "-o", str(image / "out")]) == 73


def test_a_series_is_echoes_or_diffusion(tmp_path: Path) -> None:
    series = write_image(
        tmp_path / "a_T2starw.nii.gz", np.stack([CORD * cylinder(GRID, over=1)] * 2, -1), GRID
    )
    assert scan_of(series, None, None).combine == "echoes"
    (tmp_path / "a_T2starw.bval").write_text("0 800")
    scan = scan_of(series, None, None)
    assert (scan.combine, scan.contrast) == ("diffusion", "DWI")
