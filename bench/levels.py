"""Vertebral levels found without help: fixed synthetic bodies in four fields of view.

``python -m bench.levels --write`` (``make bench-levels``) takes each image the road of the app: network,
centreline, evidence along it, labelling. ``--true-line`` leaves out the segmentation and takes the body's own
centreline: a quick look at the level network alone.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from bench import report
from softseg_bids.app.finding import look
from softseg_bids.app.landmarks import Track, axis_of
from softseg_bids.app.sights import Sight
from softseg_bids.core.cord import keep_cord, trace
from softseg_bids.core.labelling import Found, sure
from softseg_bids.image.grid import Array, Floats, Grid, canonical
from softseg_bids.image.volume import Volume
from softseg_bids.model.checkpoint import load_level_network
from softseg_bids.model.levels import read_levels
from softseg_bids.model.predict import Model, load_own, segment
from softseg_bids.model.weights import DEFAULT, digest
from softseg_bids.synthesis.adult import disc_tips_mm
from softseg_bids.synthesis.anatomy import render
from softseg_bids.synthesis.body import Body, draw_body
from softseg_bids.synthesis.contrast import draw_contrast, paint
from softseg_bids.synthesis.scanner import (
    Acquisition,
    acquire,
    displaced_points,
    draw_acquisition,
    fine_grid,
    native_axis,
)
from softseg_bids.synthesis.vertebrae import spine_of

# Seeds of three numbers: training draws from lists of two and can meet none of them.
SEED, IMAGES = 7_400_001, 200
CONTRASTS = ("T2w", "T1w", "T2w", "PDw", "STIR", "T1w", "T2starw")
# Field of view: where it begins (mm below the top of C1), and how long it is.
VIEWS = {
    "neck": ((-25.0, 5.0), (140.0, 210.0)),
    "head and neck": ((-80.0, -55.0), (180.0, 250.0)),
    "whole spine": ((-30.0, 0.0), (520.0, 600.0)),
    "lumbar": ((330.0, 380.0), (250.0, 300.0)),
}
ORDER = ("neck", "head and neck", "neck", "lumbar", "whole spine")
FINE_MM = (1.5, 1.0, 1.2)
ASIDE_MM, BEHIND_MM, BEFORE_MM = 26.0, 55.0, 62.0
WITHIN_MM = 3.0
# A disc this near the border of the field of view need not be found.
BORDER_MM = 4.0
WANTED = (
    ("C2-C3 within 3 mm", ">= 95 %"),
    ("every label right", ">= 90 %"),
    ("wrong without a flag", "<= 2 %"),
    ("n/a", "<= 10 %"),
)


class Case(NamedTuple):
    """An image with the true tips of its visible discs (scanner mm) and its body."""

    view: str
    volume: Volume
    tips_mm: dict[int, Floats]
    body: Body


class Judged(NamedTuple):
    """How one image's labels compare with the truth.

    Attributes
    ----------
    view : str
    has_c2c3 : bool
        Whether disc C2-C3 is in view.
    errors_mm : dict of int to float
        Of the labels shown; infinite for a disc that is not there.
    missing : list of int
        Discs in view without a label.
    seconds : float
        For evidence and labelling, without the segmentation.
    """

    view: str
    has_c2c3: bool
    errors_mm: dict[int, float]
    missing: list[int]
    seconds: float

    @property
    def is_wrong(self) -> bool:
        """Whether any label shown is more than 3 mm off: nothing would tell the reader."""
        return any(error > WITHIN_MM for error in self.errors_mm.values())

    @property
    def is_silent(self) -> bool:
        """Whether no label is shown at all."""
        return not self.errors_mm


def main(argv: Sequence[str] | None = None) -> int:
    """Judge the set, print the table; 0 whatever it says."""
    options = _parser().parse_args(argv)
    torch.set_num_threads(options.threads)
    model = load_own(options.model or DEFAULT, torch.device("cpu"))
    levels = load_level_network(options.model, model.device)
    if levels is None:
        sys.stderr.write(f"bench: {options.model} holds no network for levels; train and pack one\n")
        return 1
    rows = []
    for number in range(options.images):
        case = make(number)
        line = true_line(case) if options.true_line else found_line(model, case)
        row = Judged(case.view, 3 in case.tips_mm, {}, sorted(case.tips_mm), 0.0)
        if line is not None:
            began = time.monotonic()
            where, evidence = read_levels(*levels, case.volume, line, model.device)
            axis = axis_of(Track(line, np.arange(len(line))))
            labels = sure(look(axis, [Sight(where.points_mm, evidence)]))
            true = {value: float(axis.positions(tip)[0][0]) for value, tip in case.tips_mm.items()}
            row = judge(case.view, labels, true, time.monotonic() - began)
        rows.append(row)
        worst = max(row.errors_mm.values(), default=float("nan"))
        sys.stderr.write(
            f"bench: {number:3d} {row.view:13} labels {len(row.errors_mm):2d} missing {len(row.missing):2d} "
            f"worst {worst:6.1f} mm, {row.seconds:.1f} s\n"
        )
    text = tables(rows, digest(options.model), options.true_line)
    print(text)
    if options.write:
        report.replace_part("levels", text)
    return 0


def make(number: int) -> Case:
    """Draw, render and scan one image; the same every time."""
    rng = np.random.default_rng([SEED, 1, number])
    view = ORDER[number % len(ORDER)]
    top, length = (float(rng.uniform(*ends)) for ends in VIEWS[view])
    while True:
        body = draw_body(rng, s_centre_mm=top + 0.5 * length, wide=True)
        inside = np.abs(body.z_mm) <= 0.5 * length
        drift = np.ptp(body.centre_mm[inside], axis=0)
        if body.has_cord and body.has_bodies and body.has_skull and drift[0] < 30 and drift[1] < 90:
            break
    low, high = body.centre_mm[inside].min(axis=0), body.centre_mm[inside].max(axis=0)
    start = np.array([low[0] - ASIDE_MM, low[1] - BEHIND_MM, -0.5 * length])
    end = np.array([high[0] + ASIDE_MM, high[1] + BEFORE_MM, 0.5 * length])
    plan = draw_acquisition(rng, start, end)
    fine = float(rng.uniform(0.8, 1.1))
    sagittal = rng.random() < 0.6
    plan = plan._replace(
        spacing_mm=(float(rng.uniform(2.0, 4.0)), fine, fine) if sagittal else (fine, fine, fine),
        slice_axis=0 if sagittal else -1, start_mm=start, end_mm=end, motion_mm=0.0, distortion_mm=0.0,
        noise=float(rng.uniform(0.005, 0.04)), ghost=0.0,
    )  # fmt: skip
    grid = fine_grid(plan, FINE_MM)
    contrast = draw_contrast(rng, CONTRASTS[number % len(CONTRASTS)], 0.5)
    scene = render(body, displaced_points(plan, grid, torch.device("cpu")), FINE_MM)
    image = acquire(plan, paint(scene, contrast, FINE_MM), grid).numpy()
    volume = Volume(np.asarray(image, dtype=np.float32), _grid_of(plan, image.shape))
    return Case(view, volume, visible_tips(body, volume.grid), body)


def visible_tips(body: Body, grid: Grid) -> dict[int, Floats]:
    """Posterior tips of the discs C2-C3 to L5-S1 that are to be seen in a field of view."""
    shown = spine_of(body).disc_half_mm > 0
    found = {}
    for value, tip in disc_tips_mm(body).items():
        at_mm = grid.to_index(tip) * grid.spacing_mm
        last = (np.asarray(grid.shape) - 1) * grid.spacing_mm
        if (
            3 <= value <= 25
            and shown[value - 1]
            and (at_mm > BORDER_MM).all()
            and (at_mm < last - BORDER_MM).all()
        ):
            found[value] = tip
    return found


def true_line(case: Case) -> Floats:
    """The body's own centreline within the image, from the top of the cord down."""
    body = case.body
    points = np.column_stack([body.centre_mm, body.z_mm])
    index = case.volume.grid.to_index(points)
    inside = ((index >= 0) & (index <= np.asarray(case.volume.grid.shape) - 1)).all(axis=1)
    inside &= (body.s_of_z > 0) & (body.s_of_z < body.conus_mm)
    return np.asarray(points[inside][::-1])


def found_line(model: Model, case: Case) -> Floats | None:
    """The centreline that the app would find, scanner mm from the top, or None."""
    soft, grid = canonical(segment(model, case.volume), case.volume.grid)
    kept: Array = keep_cord(np.asarray(soft, dtype=np.float32), grid.spacing_mm)
    line = trace(kept, grid.spacing_mm)
    return None if line is None else grid.to_world(line.points_mm / grid.spacing_mm)[::-1]


def judge(view: str, labels: dict[int, Found], true_mm: dict[int, float], seconds: float) -> Judged:
    """Compare shown disc labels with true positions along the same axis.

    A label beyond the discs in view is right if a neighbouring disc's true position says nothing against
    it: it counts as wrong only where it lies nearer to another disc than 3 mm.
    """
    errors = {}
    for value, label in labels.items():
        if not 3 <= value <= 25:
            continue
        if value in true_mm:
            errors[value] = abs(label.position_mm - true_mm[value])
        elif any(abs(label.position_mm - at) < WITHIN_MM for at in true_mm.values()):
            errors[value] = float("inf")
    missing = [value for value in true_mm if value not in labels]
    return Judged(view, 3 in true_mm, errors, missing, seconds)


def figures(rows: Sequence[Judged]) -> tuple[float, float, float, float]:
    """In percent: C2-C3 within 3 mm, every label right, wrong without a flag, n/a."""
    with_c2c3 = [row for row in rows if row.has_c2c3]
    good = [row.errors_mm.get(3, np.inf) <= WITHIN_MM for row in with_c2c3]
    right = [not row.is_wrong and not row.missing for row in rows]
    return (
        _percent(good),
        _percent(right),
        _percent([row.is_wrong for row in rows]),
        _percent([row.is_silent for row in rows]),
    )


def tables(rows: Sequence[Judged], model: str, is_true_line: bool) -> str:
    """Markdown: all images, then by field of view."""
    line = "the body's own centreline" if is_true_line else "the model's own segmentation"
    errors = [error for row in rows for error in row.errors_mm.values() if np.isfinite(error)]
    wanted = " and ".join(f"{name} {limit}" for name, limit in WANTED[:2])
    parts: list[tuple[str, Sequence[Judged]]] = [("all", rows)]
    parts += [(view, [row for row in rows if row.view == view]) for view in VIEWS]
    body = [
        (
            name,
            len(part),
            *(f"{value:.1f} %" for value in figures(part)),
            _labelled(part),
            f"{_seconds(part):.1f}",
        )
        for name, part in parts
        if part
    ]
    head = ("view", "images", *(name for name, _ in WANTED), "discs labelled", "seconds")
    median = f"{np.median(errors):.1f}" if errors else "nan"
    return (
        f"\n{len(rows)} images, model `{model}`, along {line}. Wanted: {wanted}, "
        + ", ".join(f"{name} {limit}" for name, limit in WANTED[2:])
        + f". Median error of a label {median} mm.\n\n"
        + report.table(head, body)
        + "\n"
    )


def _labelled(rows: Sequence[Judged]) -> str:
    shown = sum(len(row.errors_mm) for row in rows)
    return f"{100 * shown / max(shown + sum(len(row.missing) for row in rows), 1):.0f} %"


def _seconds(rows: Sequence[Judged]) -> float:
    return float(np.mean([row.seconds for row in rows]))


def _percent(values: Sequence[bool] | NDArray[np.bool_]) -> float:
    return 100 * float(np.mean(values)) if len(values) else float("nan")


def _grid_of(plan: Acquisition, shape: tuple[int, ...]) -> Grid:
    affine = np.eye(4)
    affine[:3, :3] = plan.rotation * np.asarray(plan.spacing_mm)
    affine[:3, 3] = plan.rotation @ np.array([native_axis(plan, axis)[0] for axis in range(3)])
    return Grid((shape[0], shape[1], shape[2]), affine)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Judge the levels found in synthetic images.")
    parser.add_argument("--model", type=Path, default=DEFAULT)
    parser.add_argument("--images", type=int, default=IMAGES)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--true-line", action="store_true", help="without the segmentation")
    parser.add_argument("--write", action="store_true", help="into docs/benchmark.md")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
