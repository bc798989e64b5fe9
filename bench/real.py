"""Real scans through the app: agreement with manual masks, CSA over contrasts, and a voxel size made wrong.

Made for the dataset described in `shared/real` (one person in every contrast, one person with an MT pair);
whatever of it is missing is left out of the table.
"""

from __future__ import annotations

import csv
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from scipy import ndimage

from bench.halfway import halfway_ratio
from bench.scores import Figure
from softseg_bids.app import steps
from softseg_bids.bids.dataset import Scan
from softseg_bids.bids.derivatives import output, session_table
from softseg_bids.bids.discover import discover
from softseg_bids.core.cord import keep_cord, measure_slices, trace
from softseg_bids.core.quality import OUT_OF_MEANS
from softseg_bids.core.scores import dice, slices_with_mask
from softseg_bids.image.grid import Array, Floats, Grid, canonical
from softseg_bids.image.volume import DataError, Volume, read_grid, read_volume
from softseg_bids.model.predict import Model, load_own, segment

RUN = Path(__file__).parents[1] / "run.py"
Say = Callable[[str], None]

# One person, all contrasts; the stretch that they share, in scanner mm.
PERSON = "errsm30"
CONTRASTS = {
    "T1w": "acq-crop_T1w",
    "T2w": "acq-full_T2w",
    "T2starw": "acq-full_T2starw",
    "MTon": "flip-1_mt-on_MTS",
    "GRET1w": "flip-2_mt-off_MTS",
    "DWI": "dwi",
}
STRETCH_MM = (-18.0, 34.0)
MT_PAIRS = {
    PERSON: ("flip-1_mt-on_MTS", "flip-1_mt-off_MTS"),
    "unf01": ("acq-MTon_MTS", "acq-MToff_MTS"),
}
MANUAL = "_label-SC_seg.nii.gz"
FACTORS = (0.90, 0.95, 1.05)
COVERED = 0.95


class Seen(NamedTuple):
    """One image with what the app made of it; arrays canonical."""

    name: str
    scan: Scan
    soft: Array
    grid: Grid
    height_mm: Floats
    area_mm2: Floats
    length_mm: Floats


class Agreement(NamedTuple):
    """With a manual mask, in the slices that have one: Dice, and both mean areas (slice plane, mm2)."""

    dice: float
    area_mm2: float
    manual_mm2: float


def run_app(root: Path, out: Path, weights: Path, processes: int) -> None:
    """The participant level on a dataset.

    Raises
    ------
    DataError
        If it fails on all images.
    """
    command = [sys.executable, RUN, root, out, "participant", "--model", weights, "--nprocs", processes]
    done = subprocess.run([str(word) for word in command], check=False)
    if done.returncode not in (0, 1):
        raise DataError(f"{root}: the app ended with {done.returncode}; see what it wrote above")


def read_results(root: Path, out: Path) -> list[Seen]:
    """Every image of a dataset with its results.

    Raises
    ------
    DataError
        If a result was corrected by hand: a benchmark judges the model.
    """
    scans = discover(root).scans
    for participant, session in sorted({(scan.participant, scan.session or "") for scan in scans}):
        check_rows(session_table(out, participant, session or None))
    return [_seen(scan, out) for scan in scans]


def check_rows(path: Path) -> None:
    """Refuse a table with rows that are not the model's.

    Raises
    ------
    DataError
        If one is not.
    """
    for row in _rows(path):
        if row["status"] == "measured" and row["mask_source"] != "model":
            raise DataError(
                f"{path}: {row['source_image']} has mask_source {row['mask_source']}; "
                "the benchmark judges the model: run the app without corrected masks"
            )


def agreement(seen: Seen, manual: Path) -> Agreement:
    """Compare with a manual mask of the same grid."""
    volume = read_volume(manual)
    turned, _ = canonical(volume.array, volume.grid)
    mask = np.asarray(np.asarray(turned, dtype=np.float32) > 0, dtype=np.float32)
    slices = slices_with_mask(mask)
    pixel = float(seen.grid.spacing_mm[0] * seen.grid.spacing_mm[1])
    ours, theirs = (float(m[:, :, slices].sum() * pixel / slices.sum()) for m in (seen.soft, mask))
    return Agreement(dice(seen.soft, mask, slices), ours, theirs)


def coverage(seen: Seen) -> tuple[float, int]:
    """Share of the slices with a voxel of cord, and number of separate pieces."""
    strong = seen.soft >= 0.5
    return float(strong.any(axis=(0, 1)).mean()), int(ndimage.label(strong, np.ones((3, 3, 3)))[1])


def mean_area_mm2(seen: Seen, stretch_mm: tuple[float, float]) -> float:
    """Mean of the usable slices between two heights of the scanner, weighted by length."""
    inside = (
        (seen.height_mm >= stretch_mm[0]) & (seen.height_mm <= stretch_mm[1]) & np.isfinite(seen.area_mm2)
    )
    return (
        float(np.average(seen.area_mm2[inside], weights=seen.length_mm[inside])) if inside.any() else np.nan
    )


def recovered(
    model: Model, volume: Volume, factor: float, plain: Floats | None = None
) -> tuple[float, Floats]:
    """Pretend that in-plane voxels are larger by a factor: root of the ratio of areas, and the areas.

    Parameters
    ----------
    model : Model
    volume : Volume
    factor : float
        Of the voxel size to the right and to the front.
    plain : ndarray, optional
        Areas of all slices without it; if absent the ratio is NaN.
    """
    turned, grid = canonical(volume.array, volume.grid)
    affine = grid.affine.copy()
    affine[:3, :2] *= factor
    scaled = Grid(grid.shape, affine)
    soft = keep_cord(segment(model, Volume(np.ascontiguousarray(turned), scaled)), scaled.spacing_mm)
    areas = np.full(grid.shape[2], np.nan)
    if (line := trace(soft, scaled.spacing_mm)) is not None:
        areas[line.slices] = measure_slices(soft, scaled.spacing_mm, line)["area_mm2"]
    if plain is None:
        return float("nan"), areas
    both = np.isfinite(areas) & np.isfinite(plain)
    return float(np.sqrt(areas[both].mean() / plain[both].mean())) if both.any() else float("nan"), areas


def real_part(
    root: Path, weights: Path, processes: int, say: Say
) -> tuple[list[Figure], list[Sequence[str]]]:
    """Part b: its figures, and a row an image (name, CSA, slices, pieces, Dice, ours, manual, scaling).

    Raises
    ------
    DataError
        If the app fails, or results were corrected.
    """
    with tempfile.TemporaryDirectory(prefix="softseg-bench-") as folder:
        out = Path(folder) / "softseg"
        say(f"the app on {root} ...")
        run_app(root, out, weights, processes)
        results = read_results(root, out)
        volumes = {one.name: _conformed(one.scan, Path(folder) / one.name) for one in results}
        scaling = _scaling(volumes, weights, say)
    manual = {
        one.name: agreement(one, path)
        for one in results
        if (path := _manual_mask(root, one.scan)).is_file() and one.soft.any()
    }
    return figures(results, manual, scaling, volumes), _image_rows(results, manual, scaling)


def halfway_area_mm2(seen: Seen, volume: Volume, stretch_mm: tuple[float, float]) -> float:
    """The mean area as the image itself has it: within the contour half way between cord and fluid."""
    turned, grid = canonical(volume.array, volume.grid)
    image, across = np.asarray(turned, dtype=np.float32), grid.spacing_mm[:2]
    x, y = (0.5 * (n - 1) for n in grid.shape[:2])
    ratios = [
        halfway_ratio(image[:, :, z], seen.soft[:, :, z], across)
        for z in range(grid.shape[2])
        if stretch_mm[0] <= (grid.affine @ [x, y, z, 1])[2] <= stretch_mm[1]
    ]
    known = [ratio for ratio in ratios if np.isfinite(ratio)]
    return mean_area_mm2(seen, stretch_mm) * float(np.mean(known)) if known else float("nan")


def figures(
    results: Sequence[Seen],
    manual: dict[str, Agreement],
    scaling: dict[str, list[float]],
    volumes: dict[str, Volume],
) -> list[Figure]:
    """The table of part b from its measurements."""
    found = [
        Figure(f"Dice to the manual mask, {name}", "≥ 0.90", f"{one.dice:.3f}", one.dice >= 0.9)
        for name, one in manual.items()
    ]
    poor = [one.name for one in results if coverage(one)[0] < COVERED]
    many = [one.name for one in results if coverage(one)[1] != 1]
    count = len(results)
    found += [
        Figure("images with cord in 95 % of the slices", "all", _but(count, poor), not poor),
        Figure("images with one connected cord", "all", _but(count, many), not many),
    ]
    by_stem = {(one.scan.participant, _stem(one.scan)): one for one in results}
    shown = {key: by_stem[PERSON, stem] for key, stem in CONTRASTS.items() if (PERSON, stem) in by_stem}
    areas = {key: mean_area_mm2(one, STRETCH_MM) for key, one in shown.items()}
    own = {key: halfway_area_mm2(one, volumes[one.name], STRETCH_MM) for key, one in shown.items()}
    edge = "by the images' half-way contours"
    found += [
        *_spread("SD of CSA over six contrasts", areas, 2.0),
        *_spread(f"SD over six {edge}", own),
        *_spread("SD of CSA over five, without DWI", _without_dwi(areas), 2.0),
        *_spread(f"SD over five {edge}", _without_dwi(own)),
    ]
    found += [_mt_figure(who, by_stem[who, on], by_stem[who, off]) for who, (on, off) in MT_PAIRS.items()
              if (who, on) in by_stem and (who, off) in by_stem]  # fmt: skip
    for place, factor in enumerate(FACTORS):
        ratios = np.array([values[place] / factor - 1 for values in scaling.values()]) * 100
        if len(ratios):
            worst = ratios[np.argmax(np.abs(ratios))]
            text = f"{np.mean(ratios):+.2f} % (mean of {len(ratios)} images; worst {worst:+.2f} %)"
            found.append(
                Figure(
                    f"voxel size times {factor:g}, given back",
                    "within 1 %",
                    text,
                    abs(np.mean(ratios)) <= 1.0,
                )
            )
    return found


def _without_dwi(areas: dict[str, float]) -> dict[str, float]:
    return {key: area for key, area in areas.items() if key != "DWI"}


def _spread(name: str, areas: dict[str, float], limit: float | None = None) -> list[Figure]:
    """The SD of some contrasts' areas, if there are enough; one without a limit is for comparison."""
    if len(areas) <= 2:
        return []
    spread = float(np.std(list(areas.values()), ddof=1))
    text = f"{spread:.2f} mm² ({', '.join(f'{key} {area:.1f}' for key, area in areas.items())})"
    if limit is None:
        return [Figure(name, "–", text, None)]
    return [Figure(name, f"≤ {limit:.1f} mm²", text, spread <= limit)]


def _mt_figure(who: str, on: Seen, off: Seen) -> Figure:
    low = max(float(np.nanmin(one.height_mm)) for one in (on, off))
    high = min(float(np.nanmax(one.height_mm)) for one in (on, off))
    stretch = STRETCH_MM if who == PERSON else (low, high)
    first, second = mean_area_mm2(on, stretch), mean_area_mm2(off, stretch)
    text = f"{first - second:+.2f} mm² ({first:.1f}, {second:.1f})"
    return Figure(f"MT-on minus MT-off, sub-{who}", "≤ 1.5 mm²", text, abs(first - second) <= 1.5)


def _conformed(scan: Scan, folder: Path) -> Volume:
    """The image as the app segments it: of diffusion series the mean of the volumes it takes."""
    folder.mkdir(parents=True)
    paths = [str(path) for path in scan.paths]
    return read_volume(Path(steps.conform(paths, [], scan.combine, str(scan.bval or ""), folder).image))


def _scaling(volumes: dict[str, Volume], weights: Path, say: Say) -> dict[str, list[float]]:
    model, found = load_own(weights, torch.device("cpu")), {}
    for name, volume in volumes.items():
        _, plain = recovered(model, volume, 1.0)
        found[name] = [recovered(model, volume, factor, plain)[0] for factor in FACTORS]
        say(f"{name}: voxel sizes x {FACTORS} come back as {np.round(found[name], 3).tolist()}")
    return found


def _image_rows(
    results: Sequence[Seen], manual: dict[str, Agreement], scaling: dict[str, list[float]]
) -> list[Sequence[str]]:
    rows: list[Sequence[str]] = []
    for one in results:
        share, pieces = coverage(one)
        marks = manual.get(one.name)
        judged = (
            (f"{marks.dice:.3f}", f"{marks.area_mm2:.1f}", f"{marks.manual_mm2:.1f}") if marks else ("",) * 3
        )
        back = [f"{value / factor:.3f}" for value, factor in zip(scaling[one.name], FACTORS, strict=True)]
        area = mean_area_mm2(one, (-np.inf, np.inf))
        rows.append((one.name, f"{area:.1f}", f"{100 * share:.0f} %", str(pieces), *judged, " ".join(back)))
    return rows


def _seen(scan: Scan, out: Path) -> Seen:
    probseg, table = output(out, scan, "probseg"), output(out, scan, "perslice")
    if probseg.is_file():
        image = read_volume(probseg)
    else:  # no cord was found
        where = read_grid(scan.paths[0])
        image = Volume(np.zeros(where.shape, dtype=np.float32), where)
    soft, grid = canonical(image.array, image.grid)
    rows = [row for row in _rows(table) if OUT_OF_MEANS.isdisjoint(row["flags"].split(";"))]
    columns = [np.array([_number(row[name]) for row in rows]) for name in ("z_mm", "area_mm2", "length_mm")]
    return Seen(f"sub-{scan.participant}_{_stem(scan)}", scan, np.asarray(soft, np.float32), grid, *columns)


def _stem(scan: Scan) -> str:
    return scan.key.removeprefix(f"sub-{scan.participant}_")


def _manual_mask(root: Path, scan: Scan) -> Path:
    return root / "derivatives" / "labels" / scan.folder / f"{scan.key}{MANUAL}"


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def _number(text: str) -> float:
    return float("nan") if text == "n/a" else float(text)


def _but(count: int, names: Sequence[str]) -> str:
    return f"all {count}" if not names else f"{count - len(names)} of {count}; not {', '.join(names)}"
