"""Sensitivity and false alarms of each quality flag, on masks with planted failures and without.

``python -m bench.flags [--bodies 20] [--write docs/statistics.md]``. Bodies come from
the generator: healthy necks, and bodies drawn from far outside the norms (compressions, lesions, thin and
thick cords). Their exact cord fractions are perfect masks; failures are planted into copies of them. A flag
is *sensitive* if the image gets it where its failure was planted; a *false alarm* is any of these flags on
an untouched mask.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray

from softseg_bids.core import cord, quality
from softseg_bids.synthesis.adult import draw_adult
from softseg_bids.synthesis.anatomy import cord_fraction, grid_points
from softseg_bids.synthesis.body import Body, draw_body
from softseg_bids.synthesis.geometry import near_frame

Soft = NDArray[np.float32]
SEED = 20240601
CENTRE_MM, HALF_MM = 60.0, 45.0
GRIDS = {"1 mm": (1.0, 1.0, 1.0), "0.5 x 0.5 x 5 mm": (0.5, 0.5, 5.0)}
FIELD_MM = (50.0, 50.0, 90.0)
START, END = "<!-- flags -->", "<!-- /flags -->"


def mask(body: Body, spacing_mm: tuple[float, float, float]) -> Soft:
    """The perfect mask of a body about the middle of its neck."""
    counts = tuple(round(length / step) for length, step in zip(FIELD_MM, spacing_mm, strict=True))
    points = grid_points((counts[0], counts[1], counts[2]), spacing_mm, torch.device("cpu"))
    fraction = cord_fraction(body, near_frame(body, points), spacing_mm)
    return np.asarray(fraction.numpy(), dtype=np.float32)


def _rows(rng: Generator, soft: Soft, spacing_mm: NDArray[np.float64], length_mm: float) -> slice:
    """A run of inner slices."""
    count = max(1, round(length_mm / spacing_mm[2]))
    seen = np.flatnonzero(soft.max(axis=(0, 1)) >= 0.5)
    margin = round(15.0 / spacing_mm[2])
    first = int(rng.integers(seen[0] + margin, seen[-1] - margin - count))
    return slice(first, first + count)


def leak(rng: Generator, soft: Soft, spacing_mm: NDArray[np.float64]) -> Soft:
    """The mask spills over the canal on some slices, over 4 mm."""
    out = soft.copy()
    rows = _rows(rng, soft, spacing_mm, 4.0)
    reach = np.maximum(1, np.round(4.0 / spacing_mm[:2])).astype(int)
    grown = out[:, :, rows]
    for axis in (0, 1):
        grown = np.maximum.reduce(
            [np.roll(grown, step, axis) for step in range(-reach[axis], reach[axis] + 1)]
        )
    out[:, :, rows] = grown
    return out


def hole(rng: Generator, soft: Soft, spacing_mm: NDArray[np.float64]) -> Soft:
    """A slice (or 3 mm of thin ones) is empty."""
    out = soft.copy()
    out[:, :, _rows(rng, soft, spacing_mm, 3.0)] = 0
    return out


def void(rng: Generator, soft: Soft, spacing_mm: NDArray[np.float64]) -> Soft:
    """12 mm without any cord."""
    out = soft.copy()
    out[:, :, _rows(rng, soft, spacing_mm, 12.0)] = 0
    return out


def thinned(rng: Generator, soft: Soft, spacing_mm: NDArray[np.float64]) -> Soft:
    """Half of the cord is missed on some slices, over 4 mm."""
    out = soft.copy()
    rows = _rows(rng, soft, spacing_mm, 4.0)
    middle = int(np.average(np.arange(soft.shape[0]), weights=soft[:, :, rows].sum(axis=(1, 2))))
    out[:middle, :, rows] = 0
    return out


def shifted(rng: Generator, soft: Soft, spacing_mm: NDArray[np.float64]) -> Soft:
    """The cord meets the border: the field of view cuts it off at one side."""
    seen = np.flatnonzero(soft.max(axis=(1, 2)) >= 0.5)
    return soft[int(seen[0]) + max(1, round(2.0 / spacing_mm[0])) :]


def truncated(rng: Generator, soft: Soft, spacing_mm: NDArray[np.float64]) -> Soft:
    """Only 25 mm of the cord is there."""
    out = np.zeros_like(soft)
    rows = _rows(rng, soft, spacing_mm, 25.0)
    out[:, :, rows] = soft[:, :, rows]
    return out


def blob(rng: Generator, soft: Soft, spacing_mm: NDArray[np.float64]) -> Soft:
    """A second object 2 mm beside the cord, over 5 mm, joined to it by a bridge in one slice."""
    out = soft.copy()
    rows = _rows(rng, soft, spacing_mm, 5.0)
    width = round(4.0 / spacing_mm[0])
    for k in range(rows.start, rows.stop):
        inside = np.argwhere(out[:, :, k] >= 0.5)
        if not len(inside):
            continue
        edge, middle = int(inside[:, 0].max()), int(np.median(inside[:, 1]))
        start = edge + max(2, round(2.0 / spacing_mm[0]))
        bridge = edge if k == rows.start else start
        half = max(1, round(2.0 / spacing_mm[1]))
        out[bridge : start + width, middle - half : middle + half + 1, k] = 1
    return out


def blurred(rng: Generator, soft: Soft, spacing_mm: NDArray[np.float64]) -> Soft:
    """Nothing is sure: every value is halved."""
    return np.asarray(0.62 * soft, dtype=np.float32)


# Failure: how it is planted, and the flags that should tell it.
FAILURES: dict[str, tuple[Callable[[Generator, Soft, NDArray[np.float64]], Soft], tuple[str, ...]]] = {
    "leak (4 mm wide, 4 mm long)": (leak, (quality.JUMP,)),
    "half missed (4 mm long)": (thinned, (quality.JUMP,)),
    "hole (3 mm)": (hole, (quality.GAP, quality.VOID)),
    "void (12 mm)": (void, (quality.VOID,)),
    "cut off by the field of view": (shifted, (quality.TOUCHES_EDGE,)),
    "truncated (25 mm left)": (truncated, (quality.SHORT_SLAB,)),
    "second object, joined": (blob, (quality.FRAGMENT,)),
    "faint everywhere": (blurred, (quality.BLURRED,)),
}
SLICE_ONLY = (quality.JUMP,)


def flags_of(soft: Soft, spacing_mm: NDArray[np.float64]) -> set[str]:
    """Flags of a mask: those of the image, and slice flags that need 5 % of the slices for the image."""
    kept = cord.keep_cord(soft, spacing_mm)
    line = cord.trace(kept, spacing_mm)
    if line is None:
        return {"no_cord"}
    table = cord.measure_slices(kept, spacing_mm, line)
    facts = cord.inspect_slices(kept, spacing_mm, line)
    slices = quality.slice_flags(table, float(spacing_mm[2]), facts=facts)
    of_slices = {flag for each in slices for flag in each if flag in SLICE_ONLY}
    return set(quality.image_flags(table, slices)) | of_slices


def bodies(rng: Generator, count: int) -> dict[str, list[Body]]:
    """Healthy necks, and bodies far outside the norms that have a cord in view."""
    strange: list[Body] = []
    while len(strange) < count:
        body = draw_body(rng, s_centre_mm=CENTRE_MM, wide=True)
        if body.has_cord and not len(body.voids):
            strange.append(body)
    return {"healthy": [draw_adult(rng, CENTRE_MM, HALF_MM) for _ in range(count)], "diseased": strange}


def measured(count: int) -> list[str]:
    """Lines of a table: of each flag the share of planted failures it tells, and of its false alarms."""
    rng = np.random.default_rng(SEED)
    hits: dict[tuple[str, str], list[bool]] = {}
    alarms: dict[tuple[str, str], list[bool]] = {}
    tellers = sorted({flag for _, flags in FAILURES.values() for flag in flags})
    for kind, drawn in bodies(rng, count).items():
        for grid, spacing in GRIDS.items():
            spacing_mm = np.array(spacing)
            for body in drawn:
                soft = mask(body, spacing)
                found = flags_of(soft, spacing_mm)
                for flag in tellers:
                    alarms.setdefault((flag, f"{kind}, {grid}"), []).append(flag in found)
                for name, (plant, flags) in FAILURES.items():
                    told = flags_of(plant(rng, soft, spacing_mm), spacing_mm)
                    hits.setdefault((name, f"{kind}, {grid}"), []).append(bool(told & set(flags)))
    columns = list(dict.fromkeys(kind for _, kind in alarms))
    lines = ["| | flag | " + " | ".join(columns) + " |", "|---|---|" + "---|" * len(columns)]
    for name, (_, flags) in FAILURES.items():
        shares = [f"{100 * np.mean(hits[name, kind]):.0f} %" for kind in columns]
        lines.append(f"| found: {name} | {', '.join(flags)} | " + " | ".join(shares) + " |")
    for flag in tellers:
        shares = [f"{100 * np.mean(alarms[flag, kind]):.0f} %" for kind in columns]
        lines.append(f"| false alarm | {flag} | " + " | ".join(shares) + " |")
    return lines


def main() -> int:
    """Plant failures and print, or write into a page, what the flags say of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--bodies", type=int, default=20)
    parser.add_argument("--write", type=Path, help="page whose table is written anew")
    arguments = parser.parse_args()
    text = "\n".join(measured(arguments.bodies))
    sys.stdout.write(f"{text}\n")
    if arguments.write is not None:
        page = arguments.write.read_text()
        before, after = page.split(START)[0], page.split(END)[1]
        arguments.write.write_text(f"{before}{START}\n{text}\n{END}{after}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
