"""Small synthetic datasets: tilted cylinders with exact partial volume, and a stand-in network.

The stand-in returns the image itself divided by its cord's brightness, so that every number
the app computes can be compared with the cylinder's.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray
from sketches import sketch

from bench.browser import Tab, browser
from softseg_bids.app import level_steps, steps
from softseg_bids.image.grid import Array, Grid
from softseg_bids.image.volume import Volume

CORD = 100.0  # brightness of a voxel that is all cord
RADIUS_MM = 5.0
SHAPE = (36, 36, 48)


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    """A browser for the tests of a page; each of them opens it anew."""
    with browser(tmp_path_factory.mktemp("profile")) as tab:
        tab.size(1200, 900)
        yield tab


def cylinder(
    grid: Grid,
    radius_mm: float = RADIUS_MM,
    axis: tuple[float, float, float] = (0.0, 0.0, 1.0),
    centre_mm: tuple[float, float, float] = (0.0, 0.0, 0.0),
    over: int = 5,
) -> NDArray[np.float32]:
    """Fraction of each voxel inside an endless cylinder through a scanner point, its edge supersampled."""
    direction = np.asarray(axis) / np.linalg.norm(axis)

    def distance_mm(index: Array) -> Array:
        away = grid.to_world(index) - np.asarray(centre_mm)
        away -= (away @ direction)[..., None] * direction
        return np.linalg.norm(away, axis=-1)

    index = np.stack(np.meshgrid(*[np.arange(n) for n in grid.shape], indexing="ij"), axis=-1).astype(float)
    middle_mm = distance_mm(index)
    fraction = (middle_mm < radius_mm).astype(float)
    edge = np.abs(middle_mm - radius_mm) <= 0.5 * np.linalg.norm(grid.spacing_mm)
    offsets = (np.arange(over) + 0.5) / over - 0.5
    shifts = np.stack(np.meshgrid(offsets, offsets, offsets, indexing="ij"), axis=-1).reshape(-1, 3)
    fraction[edge] = np.mean([distance_mm(index[edge] + shift) < radius_mm for shift in shifts], axis=0)
    return fraction.astype(np.float32)


def centred_grid(
    shape: tuple[int, int, int] = SHAPE, spacing: tuple[float, float, float] = (1, 1, 1)
) -> Grid:
    """A grid about the scanner's origin."""
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = -0.5 * (np.asarray(shape) - 1) * np.asarray(spacing)
    return Grid(shape, affine)


def write_image(path: Path, array: NDArray[np.generic], grid: Grid) -> Path:
    """Write a NIfTI image in scanner space."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(array, grid.affine)
    image.set_sform(grid.affine, 1)
    image.set_qform(grid.affine, 1)
    nib.save(image, path)
    return path


def disc_labels(grid: Grid, points: dict[int, tuple[float, float, float]]) -> NDArray[np.uint8]:
    """One voxel a disc, at scanner points."""
    labels = np.zeros(grid.shape, dtype=np.uint8)
    for value, point in points.items():
        labels[tuple(np.rint(grid.to_index(np.asarray(point))).astype(int))] = value
    return labels


class MakeDataset:
    """Writes BIDS datasets below a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True)
        described = {"Name": "cylinders", "BIDSVersion": "1.11.1", "DatasetType": "raw"}
        (root / "dataset_description.json").write_text(json.dumps(described))

    def image(self, relative: str, grid: Grid | None = None, **body: object) -> Path:
        """An image of a cylinder, its voxels CORD bright where they are all cord."""
        grid = centred_grid() if grid is None else grid
        return write_image(self.root / relative, CORD * cylinder(grid, **body), grid)  # type: ignore[arg-type]

    def empty(self, relative: str) -> Path:
        """An image without a cord."""
        noise = np.random.default_rng(0).uniform(0, 3, SHAPE).astype(np.float32)
        return write_image(self.root / relative, noise, centred_grid())

    def discs(
        self, source: str, points: dict[int, tuple[float, float, float]], grid: Grid | None = None
    ) -> Path:
        """Disc labels of an image in the dataset's derivatives."""
        grid = centred_grid() if grid is None else grid
        name = source.replace(".nii.gz", "_label-discs_dlabel.nii.gz")
        return write_image(self.root / "derivatives" / "labels" / name, disc_labels(grid, points), grid)


@pytest.fixture
def bids(tmp_path: Path) -> MakeDataset:
    """An empty dataset to write into."""
    return MakeDataset(tmp_path / "bids")


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A file to give as --model; the stand-in never opens it."""
    path = tmp_path / "standin.pt"
    path.write_bytes(b"stand-in")
    return path


@pytest.fixture(scope="session")
def blind_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real checkpoint of very small networks that see no cord anywhere."""
    from softseg_bids.model.checkpoint import save_checkpoint
    from softseg_bids.model.network import Architecture, FoldedUNet

    networks = {}
    for role, spacing in (("locator", (4.0, 4.0, 4.0)), ("segmenter", (1.0, 1.0, 2.0))):
        architecture = Architecture((2, 2, 2), (2, 2), spacing, (16, 16, 16))
        network = FoldedUNet(architecture)
        state = {name: tensor * 0 for name, tensor in network.state_dict().items()}
        state["head.bias"] -= 20.0
        networks[role] = architecture, state
    path = tmp_path_factory.mktemp("model") / "blind.pt"
    save_checkpoint(path, networks, {})
    return path


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> list[Volume]:
    """Replace the network by the image itself over CORD; the list holds what it was shown."""
    shown: list[Volume] = []

    def stand_in(volume: Volume, model: str, device: str) -> Array:
        shown.append(volume)
        soft = np.clip(volume.array / CORD, 0, 1)
        return np.where(soft > 0.05, soft, 0).astype(np.float32)

    monkeypatch.setattr(steps, "run_network", stand_in)
    monkeypatch.setattr(level_steps, "run_levels", lambda *_: None)
    return shown


@pytest.fixture
def sketched(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Quick figures instead of the app's, but for a test that also asks for ``drawn``."""
    if "drawn" not in request.fixturenames:
        sketch(monkeypatch)


@pytest.fixture
def drawn() -> None:
    """The app's own figures, where a whole file is ``sketched``."""


@pytest.fixture
def softseg(checkpoint: Path, network: list[Volume]) -> Callable[..., int]:
    """Call the app in this process with the stand-in network."""
    from softseg_bids.app.cli import main

    def call(*arguments: object) -> int:
        return main([*map(str, arguments), "--model", str(checkpoint), "--nprocs", "1"])

    return call
