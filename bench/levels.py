"""Vertebral levels found without help: fixed synthetic bodies in four fields of view.

``python -m bench.levels --write`` (``make bench-levels``) takes each image the road of the app: network,
centreline, evidence along it, labelling. ``--true-line`` leaves out the segmentation and takes the body's own
centreline: a quick look at the level network alone. ``--real FOLDER`` (``make bench-levels REAL=FOLDER``)
adds real scans, on which the whole app is run.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from bench import report
from bench.level_cases import (
    CONUS_WITHIN_MM,
    IMAGES,
    LANDMARKS,
    VERSION,
    VIEWS,
    WITHIN_MM,
    Case,
    make,
    true_line,
)
from bench.levels_real import real_levels
from bench.running import in_processes, say
from softseg_bids.app.finding import Decision, decide, look, looked
from softseg_bids.app.landmarks import Track, axis_of, disc_name
from softseg_bids.app.sights import Sight
from softseg_bids.core.cord import keep_cord, trace
from softseg_bids.core.levels import CONUS
from softseg_bids.image.grid import Array, Floats, canonical, line_world
from softseg_bids.image.volume import DataError
from softseg_bids.model.checkpoint import load_level_network
from softseg_bids.model.levels import LevelArchitecture, LevelNet, read_levels
from softseg_bids.model.predict import Model, load_own, segment
from softseg_bids.model.weights import DEFAULT, digest

_model: Model | None
_levels: tuple[LevelArchitecture, LevelNet] | None
LANDMARK_HEAD = (
    "landmark",
    "in view",
    "right",
    "of those shown",
    "median error",
    "n/a",
    "shown, not in view",
)
WANTED = (
    ("C2-C3 within 3 mm", ">= 95 %"),
    ("every label right", ">= 90 %"),
    ("wrong without a flag", "<= 2 %"),
    ("n/a", "<= 10 %"),
    ("C2-C3 n/a", "<= 10 %"),
)


class Judged(NamedTuple):
    """How one image's labels compare with the truth.

    Attributes
    ----------
    view : str
    has_c2c3 : bool
        Whether disc C2-C3 is in view.
    errors_mm : dict of int to float
        Of the discs' labels shown, in view or not: how far each lies from its own true place.
    missing : list of int
        Discs in view without a label.
    seconds : float
        For evidence and labelling, without the segmentation.
    landmarks_mm : dict of int to float
        Errors of C1-C2, junction and conus where they are in view; NaN where they have no label.
    strays : tuple of int
        Landmarks that are shown, but not in view.
    flags : tuple of str
        What the app tells the reader of these labels.
    """

    view: str
    has_c2c3: bool
    errors_mm: dict[int, float]
    missing: list[int]
    seconds: float
    landmarks_mm: Mapping[int, float] = MappingProxyType({})
    strays: tuple[int, ...] = ()
    flags: tuple[str, ...] = ()

    @property
    def is_wrong(self) -> bool:
        """Whether any label shown is more than 3 mm off."""
        return any(error > WITHIN_MM for error in self.errors_mm.values())

    @property
    def is_silent(self) -> bool:
        """Whether no label is shown at all."""
        return not self.errors_mm


def main(argv: Sequence[str] | None = None) -> int:
    """Judge the set, print the table; 0 whatever it says."""
    options = _parser().parse_args(argv)
    if load_level_network(options.model, torch.device("cpu")) is None:
        say(f"{options.model} holds no network for levels; train and pack one")
        return 1
    try:
        real = _real(options.real, options.model, options.processes)  # first, as it may lack its images
    except DataError as error:
        say(f"{error}")
        return 1
    rows = []
    given = (options.model, options.true_line)
    for number, row in enumerate(
        in_processes(look_and_judge, range(options.images), options.processes, _prepare, *given)
    ):
        rows.append(row)
        worst = max(row.errors_mm.values(), default=float("nan"))
        say(
            f"{number:3d} {row.view:13} labels {len(row.errors_mm):2d} missing {len(row.missing):2d} "
            f"worst {worst:6.1f} mm, {row.seconds:.1f} s {' '.join(row.flags)}"
        )
    text = tables(rows, digest(options.model), options.true_line)
    text += real
    print(text)
    if options.write:
        report.replace_part("levels", text)
    return 0


def _prepare(weights: Path, is_true_line: bool) -> None:
    global _model, _levels
    torch.set_num_threads(1)
    _levels = load_level_network(weights, torch.device("cpu"))
    _model = None if is_true_line else load_own(weights, torch.device("cpu"))


def look_and_judge(number: int) -> Judged:
    """Draw an image, find its levels with the prepared networks, and judge them."""
    assert _levels is not None
    case = make(number)
    line = true_line(case) if _model is None else found_line(_model, case)
    if line is None:
        return judge(case.view, None, {}, sorted(case.tips_mm), sorted(case.landmarks_mm), 0.0)
    began = time.monotonic()
    where, evidence = read_levels(*_levels, case.volume, line, torch.device("cpu"))
    axis = axis_of(Track(line, np.arange(len(line))))
    sight = Sight(where.points_mm, evidence)
    decision = decide({}, {}, looked(axis, look(axis, [sight]), sight, []), (0.0, axis.length_mm))
    seconds = time.monotonic() - began
    true = {value: float(axis.positions(place)[0][0]) for value, place in case.places_mm.items()}
    return judge(case.view, decision, true, sorted(case.tips_mm), sorted(case.landmarks_mm), seconds)


def found_line(model: Model, case: Case) -> Floats | None:
    """The centreline that the app would find, scanner mm from the top, or None."""
    soft, grid = canonical(segment(model, case.volume), case.volume.grid)
    kept: Array = keep_cord(np.asarray(soft, dtype=np.float32), grid.spacing_mm)
    line = trace(kept, grid.spacing_mm)
    return None if line is None else line_world(line, grid)[::-1]


def _real(root: Path | None, model: Path, processes: int) -> str:
    if root is None:
        say("no real scans are judged; name their folder: make bench-levels REAL=FOLDER")
        return "\nReal scans were not judged in this run (`make bench-levels REAL=FOLDER`).\n"
    return real_levels(root, model, processes)


def judge(
    view: str,
    decision: Decision | None,
    true_mm: Mapping[int, float],
    discs: Sequence[int],
    landmarks: Sequence[int],
    seconds: float,
) -> Judged:
    """Compare the labels that the app would show with true positions along the same axis; None: no cord.

    A disc's label counts wherever it is shown; what is asked for is in view: ``discs`` and ``landmarks``.
    """
    labels = {} if decision is None else decision.positions_mm
    shown = {value: abs(at - true_mm[value]) for value, at in labels.items()}
    return Judged(
        view, 3 in discs, {value: error for value, error in shown.items() if 3 <= value <= 25},
        [value for value in discs if value not in labels], seconds,
        {value: shown.get(value, float("nan")) for value in landmarks},
        tuple(value for value in LANDMARKS if value in labels and value not in landmarks),
        () if decision is None else tuple(decision.flags),
    )  # fmt: skip


def figures(rows: Sequence[Judged]) -> tuple[float, ...]:
    """In percent, as :data:`WANTED`: the last is the share of images showing C2-C3 that do not name it."""
    with_c2c3 = [row for row in rows if row.has_c2c3]
    good = [row.errors_mm.get(3, np.inf) <= WITHIN_MM for row in with_c2c3]
    right = [not row.is_wrong and not row.missing for row in rows]
    return (
        _percent(good),
        _percent(right),
        _percent([row.is_wrong and not row.flags for row in rows]),
        _percent([row.is_silent for row in rows]),
        _percent([3 not in row.errors_mm for row in with_c2c3]),
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
            *(f"{value:.1f} %" for value in figures(part)[:3]),
            f"{_percent([row.is_wrong for row in part]):.1f} %",
            *(f"{value:.1f} %" for value in figures(part)[3:]),
            _labelled(part),
            f"{_seconds(part):.1f}",
        )
        for name, part in parts
        if part
    ]
    head = (
        "view",
        "images",
        *(name for name, _ in WANTED[:3]),
        "wrong, flagged or not",
        *(name for name, _ in WANTED[3:]),
        "discs labelled",
        "seconds",
    )
    median = f"{np.median(errors):.1f}" if errors else "nan"
    return (
        f"\n{len(rows)} images (set version {VERSION}), model `{model}`, along {line}. Wanted: {wanted}, "
        + ", ".join(f"{name} {limit}" for name, limit in WANTED[2:])
        + f". Median error of a label {median} mm.\n\n"
        + report.table(head, body)
        + "\n\n"
        + report.table(LANDMARK_HEAD, [landmark_row(rows, value) for value in LANDMARKS])
        + "\n"
    )


def landmark_row(rows: Sequence[Judged], value: int) -> tuple[str, ...]:
    """A landmark over all images: in view, right (3 mm; conus 10 mm), of those shown, median error, no label;
    shown though out of view."""
    errors = np.array([row.landmarks_mm[value] for row in rows if value in row.landmarks_mm])
    known = errors[np.isfinite(errors)]
    within = CONUS_WITHIN_MM if value == CONUS else WITHIN_MM
    median = f"{np.median(known):.1f} mm" if len(known) else "n/a"
    return (
        disc_name(value), str(len(errors)), f"{_percent(errors <= within):.1f} %",
        f"{_percent(known <= within):.1f} %" if len(known) else "n/a", median,
        f"{_percent(np.isnan(errors)):.1f} %", str(sum(value in row.strays for row in rows)),
    )  # fmt: skip


def _labelled(rows: Sequence[Judged]) -> str:
    shown = sum(len(row.errors_mm) for row in rows)
    return f"{100 * shown / max(shown + sum(len(row.missing) for row in rows), 1):.0f} %"


def _seconds(rows: Sequence[Judged]) -> float:
    return float(np.mean([row.seconds for row in rows]))


def _percent(values: Sequence[bool] | NDArray[np.bool_]) -> float:
    return 100 * float(np.mean(values)) if len(values) else float("nan")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Judge the levels found in synthetic images.")
    parser.add_argument("--model", type=Path, default=DEFAULT)
    parser.add_argument("--images", type=int, default=IMAGES)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--true-line", action="store_true", help="without the segmentation")
    parser.add_argument("--real", type=Path, metavar="FOLDER", help="with real scans from this dataset")
    parser.add_argument("--write", action="store_true", help="into docs/benchmark.md")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
