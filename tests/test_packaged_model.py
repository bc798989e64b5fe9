"""The app with the weights it ships: real networks, drawn bodies."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import MakeDataset, centred_grid, write_image

from softseg_bids.app.cli import main
from softseg_bids.synthesis.adult import draw_adult, mean_area_mm2
from softseg_bids.synthesis.anatomy import grid_points, render
from softseg_bids.synthesis.contrast import draw_contrast, paint

SPACING = (1.0, 1.0, 1.5)
NECK_S_MM = 50.0


def scan(body: object, shape: tuple[int, int, int], spacing: tuple[float, float, float]) -> np.ndarray:
    """A plain T2w of a body with a little noise, its z = 0 in the middle."""
    scene = render(body, grid_points(shape, spacing, torch.device("cpu")), spacing)  # type: ignore[arg-type]
    contrast = draw_contrast(np.random.default_rng(1), "T2w", strength=0.2)
    image = paint(scene, contrast, spacing).numpy() * 1000
    return (image + np.random.default_rng(2).normal(0, 10, shape)).clip(0).astype(np.int16)


@pytest.fixture(scope="module")
def neck(tmp_path_factory: pytest.TempPathFactory) -> MakeDataset:
    """One participant with a T2w of a healthy neck."""
    dataset = MakeDataset(tmp_path_factory.mktemp("neck") / "bids")
    body = draw_adult(np.random.default_rng(5), NECK_S_MM, 40.0)
    shape = (60, 64, 48)
    write_image(
        dataset.root / "sub-01/anat/sub-01_T2w.nii.gz",
        scan(body, shape, SPACING),
        centred_grid(shape, SPACING),
    )
    # Along 72 mm of a nearly straight neck the drawn heights are those of the image.
    dataset.truth_mm2 = mean_area_mm2(body, NECK_S_MM - 30, NECK_S_MM + 30)  # type: ignore[attr-defined]
    return dataset


def run(dataset: MakeDataset, out: Path, *options: str) -> dict[str, bytes]:
    assert (
        main([str(dataset.root), str(out), "participant", "--nprocs", "1", "--device", "cpu", *options]) == 0
    )
    assert main([str(dataset.root), str(out), "group"]) == 0
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in sorted(out.rglob("*.tsv"))}


def test_two_runs_write_the_same_bytes_and_the_area_is_near_the_truth(
    neck: MakeDataset, tmp_path: Path
) -> None:
    first = run(neck, tmp_path / "first")
    second = run(neck, tmp_path / "second", "--skip-bids-validation")
    assert len(first) >= 8
    assert first == second
    rows = list(csv.DictReader(first["group_csa.tsv"].decode().splitlines(), delimiter="\t"))
    [cord] = [row for row in rows if row["region"] == "cord"]
    assert float(cord["area_mm2"]) == pytest.approx(neck.truth_mm2, rel=0.25)  # type: ignore[attr-defined]
    assert float(cord["length_mm"]) > 50


def test_an_empty_phantom_has_no_cord(tmp_path: Path) -> None:
    dataset = MakeDataset(tmp_path / "bids")
    shape, spacing = (84, 100, 64), (2.0, 2.0, 2.0)
    noise = np.abs(np.random.default_rng(7).normal(0, 50, shape)).astype(np.int16)
    write_image(dataset.root / "sub-01/anat/sub-01_T1w.nii.gz", noise, centred_grid(shape, spacing))
    out = tmp_path / "out"
    run(dataset, out)
    assert not list(out.rglob("*probseg.nii.gz"))
    [row] = csv.DictReader((out / "group_csa.tsv").read_text().splitlines(), delimiter="\t")
    assert (row["status"], row["area_mm2"], row["flags"]) == ("no_cord", "n/a", "no_cord")
