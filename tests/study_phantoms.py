"""A small study of cylinders, run by the app with a stand-in network, and masks with planted differences."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from conftest import CORD, MakeDataset, centred_grid, cylinder, write_image
from sketches import sketch

from softseg_bids.app import level_steps, steps
from softseg_bids.image.grid import Array, Grid
from softseg_bids.image.volume import Volume

SHAPE = (24, 24, 38)
DISCS = {3: (0.0, 6.0, 12.0), 4: (0.0, 6.0, 0.0), 5: (0.0, 6.0, -12.0)}
CONTRASTS = ("T1w", "T2w")
PEOPLE = ("01", "02", "03")
# Every person another size.
RADII_MM = dict(zip(PEOPLE, (4.2, 4.8, 5.4), strict=True))


def grid() -> Grid:
    return centred_grid(SHAPE)


def stem(person: str, contrast: str) -> str:
    return f"sub-{person}/anat/sub-{person}_{contrast}"


def write_study(root: Path, people: tuple[str, ...] = PEOPLE, contrasts: tuple[str, ...] = CONTRASTS) -> Path:
    """The dataset: upright cylinders of known radii, with disc labels on T2w."""
    made = MakeDataset(root)
    for person in people:
        for contrast in contrasts:
            made.image(f"{stem(person, contrast)}.nii.gz", grid(), radius_mm=RADII_MM[person], over=3)
        made.discs(f"{stem(person, contrasts[-1])}.nii.gz", DISCS, grid())
    return root


@cache
def body(person: str, grow_mm: float = 0.0) -> Array:
    """The cord fraction of a person, grown by this much in radius (read only)."""
    array = cylinder(grid(), RADII_MM[person] + grow_mm, over=3)
    array.flags.writeable = False
    return array


def area_mm2(person: str, grow_mm: float = 0.0) -> float:
    """Area of a slice as voxels of 1 mm² show it: the circle's, but for the supersampling."""
    area = float(body(person, grow_mm)[:, :, SHAPE[2] // 2].sum())
    assert area == pytest.approx(np.pi * (RADII_MM[person] + grow_mm) ** 2, rel=0.03)
    return area


def write_masks(
    folder: Path,
    grow_mm: dict[str, float],
    ending: str = "_seg",
    people: tuple[str, ...] = PEOPLE,
    *,
    hard: bool = False,
) -> Path:
    """Masks of another tool: each contrast's radii are off by so much."""
    for person in people:
        for contrast, grow in grow_mm.items():
            mask = body(person, grow)
            array = (mask >= 0.5).astype(np.uint8) if hard else mask
            write_image(folder / f"{stem(person, contrast)}{ending}.nii.gz", array, grid())
    return folder


@contextmanager
def stand_in() -> Iterator[list[str]]:
    """Replace the network: the image over CORD, times the square of the factor that the checkpoint's text
    says; the list holds the checkpoints that were asked. Figures are sketched."""
    asked: list[str] = []

    def network(volume: Volume, model: str, device: str) -> Array:
        asked.append(model)
        soft = np.clip(volume.array / CORD, 0, 1)
        path = Path(model)
        text = (path / "best_model_loss.ckpt" if path.is_dir() else path).read_text()
        if text == "blind":
            return np.zeros_like(soft)
        return np.where(soft > 0.05, np.clip(soft * float(text or 1), 0, 1), 0).astype(np.float32)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steps, "run_network", network)
        patch.setattr(level_steps, "run_levels", lambda *_: None)
        sketch(patch)
        yield asked


def checkpoint(path: Path, text: str = "1") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def run_app(root: Path, out: Path, folder: Path) -> Path:
    """The app's results of a dataset."""
    from softseg_bids.app.cli import main

    model = checkpoint(folder / "model.pt")
    with stand_in():
        assert main([str(root), str(out), "participant", "--model", str(model), "--nprocs", "1"]) == 0
    return out


_made: dict[str, Path] = {}


def rows_of(path: Path) -> list[dict[str, str]]:
    """A table as this project writes them, its rows by column."""
    with path.open() as file:
        return list(csv.DictReader(file, delimiter="\t"))


def shared_study(factory: pytest.TempPathFactory) -> Path:
    """A folder with a study (``bids``) and the app's results of it (``out``): made once, for all test files.

    Who changes something in it works on a copy.
    """
    if "study" not in _made:
        folder = factory.mktemp("shared")
        write_study(folder / "bids")
        run_app(folder / "bids", folder / "out", folder)
        _made["study"] = folder
    return _made["study"]
