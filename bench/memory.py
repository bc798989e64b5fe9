"""Peak memory of each step of a scan over image sizes, with the packaged weights.

``python -m bench.memory`` prints a row an image and the plane fitted to each step; ``--write
docs/clusters.md`` puts the table into that page. Every step runs in a
process of its own, forked from one that has loaded everything a worker of the app has loaded, so that a
peak is what nipype's worker would hold. The fine network is led along the whole field of view, as by a
cord from its top to its bottom, and the later steps get such a cord: more than that no image needs.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import re
import tempfile
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from bench.scale import written
from softseg_bids.app import steps
from softseg_bids.app.jobs import ScanJob
from softseg_bids.app.records import save_soft
from softseg_bids.app.sights import save_sight
from softseg_bids.app.workflow import declared_gb
from softseg_bids.bids.derivatives import PRODUCTS, output
from softseg_bids.bids.discover import discover
from softseg_bids.core.cord import Centreline
from softseg_bids.image.grid import Array, Grid
from softseg_bids.model import predict
from softseg_bids.model.predict import locate
from softseg_bids.model.weights import DEFAULT

KIB_IN_GIB = 2.0**20


class Size(NamedTuple):
    """An image: what it is like, its shape and its voxel size."""

    name: str
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]

    @property
    def voxels(self) -> float:
        """Millions of voxels."""
        return float(np.prod(self.shape)) / 1e6

    @property
    def field(self) -> float:
        """Field of view, millions of mm3."""
        return self.voxels * float(np.prod(self.spacing_mm))


SIZES = (
    Size("T1w, 1 mm, head and neck", (192, 260, 320), (1.0, 1.0, 1.0)),
    Size("T2w, 0.8 mm, sagittal", (64, 320, 320), (0.8, 0.8, 0.8)),
    Size("MTS, axial slab", (192, 256, 22), (0.9, 0.9, 5.0)),
    Size("T2star, axial slab", (192, 192, 15), (0.5, 0.5, 5.0)),
    Size("T1w, 0.7 mm, head and neck", (224, 320, 320), (0.7, 0.7, 0.7)),
    Size("T2w, 0.6 mm, large", (256, 384, 384), (0.6, 0.6, 0.6)),
)
STEPS = ("conform", "segment", "trace", "save")


def cord_of(size: Size) -> NDArray[np.float32]:
    """An upright oval cord in the middle of an image: the fraction of each pixel of every slice."""
    x, y, _ = (np.arange(n) - 0.5 * (n - 1) for n in size.shape)
    away = np.hypot(x[:, None] * size.spacing_mm[0] / 1.3, y[None, :] * size.spacing_mm[1])
    return np.clip(5.5 - away, 0, 1).astype(np.float32)


def write_image(path: Path, size: Size) -> None:
    """An image of such a cord, in noise."""
    rng = np.random.default_rng(0)
    plane = 400 * cord_of(size)
    array = np.empty(size.shape, dtype=np.int16)
    for z in range(size.shape[2]):
        array[..., z] = plane + rng.normal(200, 30, size.shape[:2])
    affine = np.diag([*size.spacing_mm, 1.0])
    affine[:3, 3] = -0.5 * (np.asarray(size.shape) - 1) * np.asarray(size.spacing_mm)
    image = nib.Nifti1Image(array, affine)
    image.set_qform(affine, 1)
    image.set_sform(affine, 1)
    nib.save(image, path)


def straight(model: predict.Model, array: Array, grid: Grid) -> tuple[Centreline, Grid]:
    """Run the coarse network, then answer with a line through the whole field of view."""
    _, coarse = locate(model, array, grid)
    slices = np.arange(coarse.shape[2])
    middle = [np.full(len(slices), 0.5 * (n - 1)) for n in coarse.shape[:2]]
    points_mm = np.stack([*middle, slices.astype(float)], axis=1) * coarse.spacing_mm
    return Centreline(slices, points_mm, np.tile([0.0, 0.0, 1.0], (len(slices), 1))), coarse


def run_step(step: str, image: Path, folder: Path) -> None:
    """Run one step on what the steps before it left in ``folder``."""
    here = folder / step
    here.mkdir(exist_ok=True)
    if step == "conform":
        steps.conform([str(image)], [], "single", "", here)
    elif step == "segment":
        predict.locate = straight  # type: ignore[assignment]
        steps.segment(str(image), "0", str(DEFAULT), "0", "cpu", [], here)
    elif step == "trace":
        steps.trace(str(image), folder / "segment" / "soft.npz", "", "", here)
    else:
        scan = discover(image.parents[2]).scans[0]
        products = {name: str(output(folder / "out", scan, name)) for name in PRODUCTS if name != "truth"}
        job = ScanJob(scan, products, [], "0", "0").as_json()
        soft, line = folder / "trace" / "soft.npz", folder / "trace" / "line.json"
        sight = save_sight(here / "sight.npz", None)
        steps.save(str(image), "0", folder / "segment" / "soft.npz", soft, line, sight, job, here)


def put_cord(size: Size, folder: Path) -> None:
    """Give the later steps the true cord, whatever the network made of the image."""
    soft = np.repeat(cord_of(size)[..., None], size.shape[2], axis=2)
    save_soft(folder / "segment" / "soft.npz", soft)


def peak_gb(step: str, image: Path, folder: Path) -> float:
    """Run a step in a process of its own; the most memory (GiB) that it held.

    It is forked from a server that has loaded what a worker has, not from this process: memory that this one
    has already used and freed would hide what the step takes.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["bench.memory"])
    reader, writer = context.Pipe(duplex=False)
    process = context.Process(target=_run_and_tell, args=(step, image, folder, writer))
    process.start()
    writer.close()
    peak = float(reader.recv())
    process.join()
    return peak


def _run_and_tell(step: str, image: Path, folder: Path, writer: Connection) -> None:
    run_step(step, image, folder)
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    writer.send(int(found[1]) / KIB_IN_GIB if found else float("nan"))


def measure(size: Size) -> dict[str, Any]:
    """Peak memory (GiB) of every step for an image, and what the steps leave in the work folder (MB)."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        image = folder / "bids" / "sub-01" / "anat" / "sub-01_T1w.nii.gz"
        image.parent.mkdir(parents=True)
        write_image(image, size)
        row: dict[str, Any] = {"name": size.name, "voxels": size.voxels, "field": size.field}
        for step in STEPS:
            row[step] = peak_gb(step, image, folder)
            if step == "segment":
                put_cord(size, folder)
        work = [path for step in STEPS for path in (folder / step).rglob("*") if path.is_file()]
        return row | {"work_mb": sum(path.stat().st_size for path in work) / 1e6}


def fit(rows: Sequence[dict[str, Any]], step: str) -> tuple[float, float, float]:
    """Least squares: GiB = a + b * million voxels + c * million mm3."""
    terms = np.array([[1.0, row["voxels"], row["field"]] for row in rows])
    found, *_ = np.linalg.lstsq(terms, np.array([row[step] for row in rows]), rcond=None)
    return float(found[0]), float(found[1]), float(found[2])


def section(rows: Sequence[dict[str, Any]]) -> list[str]:
    """The table of docs/clusters.md, as lines."""
    lines = [
        "Most memory of one process, one thread, with the packaged weights (measured by "
        "`python -m bench.memory`), and what the network's step declares to nipype:",
        "",
        "| image | million voxels | million mm³ | network | other steps | declared | intermediate files |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        others = max(row[step] for step in STEPS if step != "segment")
        declared = declared_gb(row["voxels"])
        lines.append(
            f"| {row['name']} | {row['voxels']:.1f} | {row['field']:.1f} | {row['segment']:.2f} GiB "
            f"| {others:.2f} GiB | {declared:.2f} GiB | {row['work_mb']:.1f} MB |"
        )
    return lines


def main() -> None:
    """Measure, print rows as they come, then the fits."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--most-voxels", type=float, default=100.0, help="leave out larger images (millions)")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="a page with the memory markers")
    chosen = parser.parse_args()
    rows = []
    for size in SIZES:
        if size.voxels <= chosen.most_voxels:
            rows.append(measure(size))
            print(json.dumps(rows[-1]), flush=True)
    for step in STEPS:
        base, per_voxel, per_field = fit(rows, step)
        print(f"{step}: {base:.2f} + {per_voxel:.3f} x million voxels + {per_field:.3f} x million mm3")
    if chosen.write is not None:
        page = chosen.write.read_text(encoding="utf-8")
        chosen.write.write_text(written(page, "memory", section(rows)), encoding="utf-8")


if __name__ == "__main__":
    main()
