"""Sensitivity and false alarms of each quality flag, on masks with planted failures and without.

``python -m bench.flags [--bodies 20] [--write docs/statistics.md]``. Bodies come from the generator: healthy
necks, and bodies drawn from far outside the norms (compressions, lesions, thin and thick cords). Their exact
cord fractions are perfect masks; failures are planted into copies of them, from small to gross.
A flag is *sensitive* if the image gets it where its failure was planted; a *false alarm* is any of these
flags where nothing was planted: on the perfect mask, and on one whose slices waver as a network's do.
`jump` is told twice: as the flag of the image, which the group's tables and page show, and as that of any
single slice, which is in the per-slice table.
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
from scipy import ndimage

from bench.report import replace_part
from softseg_bids.core import cord, quality
from softseg_bids.synthesis.adult import draw_adult
from softseg_bids.synthesis.anatomy import cord_fraction, grid_points
from softseg_bids.synthesis.body import Body, draw_body
from softseg_bids.synthesis.geometry import near_frame

Soft = NDArray[np.float32]
Spacing = NDArray[np.float64]
Plant = Callable[[Generator, Soft, Spacing], Soft]
SEED = 20240601
CENTRE_MM, HALF_MM = 60.0, 45.0
GRIDS = {"1 mm": (1.0, 1.0, 1.0), "0.5 x 0.5 x 5 mm": (0.5, 0.5, 5.0)}
FIELD_MM = (50.0, 50.0, 90.0)


def mask(body: Body, spacing_mm: tuple[float, float, float]) -> Soft:
    """The perfect mask of a body about the middle of its neck."""
    counts = tuple(round(length / step) for length, step in zip(FIELD_MM, spacing_mm, strict=True))
    points = grid_points((counts[0], counts[1], counts[2]), spacing_mm, torch.device("cpu"))
    fraction = cord_fraction(body, near_frame(body, points), spacing_mm)
    return np.asarray(fraction.numpy(), dtype=np.float32)


def _rows(rng: Generator, soft: Soft, spacing_mm: Spacing, length_mm: float) -> slice:
    """A run of inner slices."""
    count = max(1, round(length_mm / spacing_mm[2]))
    seen = np.flatnonzero(soft.max(axis=(0, 1)) >= 0.5)
    margin = round(15.0 / spacing_mm[2])
    first = int(rng.integers(seen[0] + margin, seen[-1] - margin - count))
    return slice(first, first + count)


def leak(wide_mm: float) -> Plant:
    """The mask spills over its edge on some slices, over 4 mm."""

    def plant(rng: Generator, soft: Soft, spacing_mm: Spacing) -> Soft:
        out = soft.copy()
        rows = _rows(rng, soft, spacing_mm, 4.0)
        out[:, :, rows] = grown(out[:, :, rows], wide_mm, spacing_mm)
        return out

    return plant


def swollen(wide_mm: float) -> Plant:
    """The mask is too wide everywhere."""
    return lambda _, soft, spacing_mm: grown(soft, wide_mm, spacing_mm)


def grown(soft: Soft, wide_mm: float, spacing_mm: Spacing) -> Soft:
    """Each slice wider by so much: values from 0.5 on move outwards, in plane."""
    reach = np.maximum(1, np.round(wide_mm / spacing_mm[:2])).astype(int)
    x, y = np.ogrid[-reach[0] : reach[0] + 1, -reach[1] : reach[1] + 1]
    disc = (x * spacing_mm[0]) ** 2 + (y * spacing_mm[1]) ** 2 <= wide_mm**2 + 1e-6
    return np.asarray(ndimage.grey_dilation(soft, footprint=disc[:, :, None]), dtype=np.float32)


def hole(rng: Generator, soft: Soft, spacing_mm: Spacing) -> Soft:
    """One slice is empty."""
    out = soft.copy()
    out[:, :, _rows(rng, soft, spacing_mm, float(spacing_mm[2]))] = 0
    return out


def void(rng: Generator, soft: Soft, spacing_mm: Spacing) -> Soft:
    """12 mm without any cord."""
    out = soft.copy()
    out[:, :, _rows(rng, soft, spacing_mm, 12.0)] = 0
    return out


def missed(part: float) -> Plant:
    """This part of the cord, on its left, is missed on some slices, over 4 mm."""

    def plant(rng: Generator, soft: Soft, spacing_mm: Spacing) -> Soft:
        out = soft.copy()
        rows = _rows(rng, soft, spacing_mm, 4.0)
        for k in range(rows.start, rows.stop):
            below = np.cumsum(out[:, :, k].sum(axis=1))
            out[: int(np.searchsorted(below, part * below[-1])), :, k] = 0
        return out

    return plant


def shifted(rng: Generator, soft: Soft, spacing_mm: Spacing) -> Soft:
    """The cord meets the border: the field of view cuts it off at one side."""
    seen = np.flatnonzero(soft.max(axis=(1, 2)) >= 0.5)
    return soft[int(seen[0]) + max(1, round(2.0 / spacing_mm[0])) :]


def truncated(rng: Generator, soft: Soft, spacing_mm: Spacing) -> Soft:
    """Only 25 mm of the cord is there."""
    out = np.zeros_like(soft)
    rows = _rows(rng, soft, spacing_mm, 25.0)
    out[:, :, rows] = soft[:, :, rows]
    return out


def blob(rng: Generator, soft: Soft, spacing_mm: Spacing) -> Soft:
    """A second object 2 mm beside the cord, over 5 mm and two slices at least; a bridge joins it in one."""
    out = soft.copy()
    rows = _rows(rng, soft, spacing_mm, max(5.0, 2 * float(spacing_mm[2])))
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


def faint(share: float) -> Plant:
    """Nothing is sure: every value is this share of itself."""
    return lambda _, soft, __: np.asarray(share * soft, dtype=np.float32)


def wavering(rng: Generator, soft: Soft, spacing_mm: Spacing) -> Soft:
    """No failure: each slice lies by 0.3 mm (SD, both ways) beside where it should, its width by 4 % off.

    As masks of a network do, which no flag should mind.
    """
    out = np.zeros_like(soft)
    for k in range(soft.shape[2]):
        plane = soft[:, :, k]
        if not plane.any():
            continue
        centre = np.array(ndimage.center_of_mass(plane))
        scale = 1.0 + 0.04 * rng.normal()
        shift = 0.3 * rng.normal(size=2) / spacing_mm[:2]
        offset = centre - (centre + shift) / scale
        out[:, :, k] = ndimage.affine_transform(plane, [1 / scale] * 2, offset, order=1)
    return out


# Failure: how it is planted, and the flags that should tell it. From what nobody would mind to the gross.
FAILURES: dict[str, tuple[Plant, tuple[str, ...]]] = {
    "leak of 1 mm (4 mm long)": (leak(1.0), (quality.JUMP,)),
    "leak of 2 mm": (leak(2.0), (quality.JUMP,)),
    "leak of 4 mm": (leak(4.0), (quality.JUMP,)),
    "a tenth missed (4 mm long)": (missed(0.1), (quality.JUMP,)),
    "a quarter missed": (missed(0.25), (quality.JUMP,)),
    "half missed": (missed(0.5), (quality.JUMP,)),
    "one slice empty": (hole, (quality.GAP, quality.VOID)),
    "void (12 mm)": (void, (quality.VOID,)),
    "second object, joined": (blob, (quality.FRAGMENT,)),
    "1 mm too wide everywhere": (swollen(1.0), (quality.IMPLAUSIBLE_AREA,)),
    "3 mm too wide everywhere": (swollen(3.0), (quality.IMPLAUSIBLE_AREA,)),
    "cut off by the field of view": (shifted, (quality.TOUCHES_EDGE,)),
    "truncated (25 mm left)": (truncated, (quality.SHORT_SLAB,)),
    "values a tenth too low": (faint(0.9), (quality.BLURRED,)),
    "values two fifths too low": (faint(0.6), (quality.BLURRED,)),
}
UNTOUCHED: dict[str, Plant] = {"perfect mask": lambda _, soft, __: soft, "wavering mask": wavering}
# Flags that single slices may have without the image having them -> what they are called then.
OF_SLICES = {quality.JUMP: "jump on a slice"}


def flags_of(soft: Soft, spacing_mm: Spacing) -> set[str]:
    """Flags of a mask: those of the image, and those of `OF_SLICES` that any slice has."""
    kept = cord.keep_cord(soft, spacing_mm)
    line = cord.trace(kept, spacing_mm)
    if line is None:
        return {"no_cord"}
    table = cord.measure_slices(kept, spacing_mm, line)
    facts = cord.inspect_slices(kept, spacing_mm, line)
    slices = quality.slice_flags(table, float(spacing_mm[2]), facts=facts)
    of_slices = {OF_SLICES[flag] for each in slices for flag in each if flag in OF_SLICES}
    return set(quality.image_flags(table, slices)) | of_slices


def bodies(rng: Generator, count: int) -> dict[str, list[Body]]:
    """Healthy necks, and bodies far outside the norms that have a cord in view."""
    strange: list[Body] = []
    while len(strange) < count:
        body = draw_body(rng, s_centre_mm=CENTRE_MM, wide=True)
        if body.has_cord and not len(body.voids):
            strange.append(body)
    return {"healthy": [draw_adult(rng, CENTRE_MM, HALF_MM) for _ in range(count)], "diseased": strange}


def levels(flags: tuple[str, ...]) -> list[str]:
    """What tells a failure, each a row of the table: flags of the image, and those of slices alone."""
    return [", ".join(flags), *(OF_SLICES[flag] for flag in flags if flag in OF_SLICES)]


def measured(count: int) -> list[str]:
    """Lines of a table: of each flag the share of planted failures it tells, and of its false alarms."""
    rng = np.random.default_rng(SEED)
    told: dict[tuple[str, str], list[bool]] = {}
    image = sorted({flag for _, flags in FAILURES.values() for flag in flags})
    tellers = [*image, *OF_SLICES.values()]
    columns: list[str] = []
    for kind, drawn in bodies(rng, count).items():
        for grid, spacing in GRIDS.items():
            columns.append(f"{kind}, {grid}")
            spacing_mm = np.array(spacing)
            for body in drawn:
                soft = mask(body, spacing)
                for name, plant in UNTOUCHED.items():
                    found = flags_of(plant(rng, soft, spacing_mm), spacing_mm)
                    told.setdefault((f"{name}: any", columns[-1]), []).append(bool(found & set(image)))
                    for flag in tellers:
                        told.setdefault((f"{name}: {flag}", columns[-1]), []).append(flag in found)
                for name, (plant, flags) in FAILURES.items():
                    found = flags_of(plant(rng, soft, spacing_mm), spacing_mm)
                    for tell in levels(flags):
                        told.setdefault((f"{name}: {tell}", columns[-1]), []).append(
                            bool(found & set(tell.split(", ")))
                        )

    def shares(name: str) -> str:
        return " | ".join(f"{100 * np.mean(told[name, kind]):.0f} %" for kind in columns)

    lines = ["| planted | told by | " + " | ".join(columns) + " |", "|---|---|" + "---:|" * len(columns)]
    lines += [
        f"| {name} | {tell} | {shares(f'{name}: {tell}')} |"
        for name, (_, flags) in FAILURES.items()
        for tell in levels(flags)
    ]
    for name in UNTOUCHED:
        lines.append(f"| nothing: {name} | any flag of the image | {shares(f'{name}: any')} |")
        alarming = [
            flag for flag in tellers if any(np.any(told[f"{name}: {flag}", kind]) for kind in columns)
        ]
        lines += [f"| nothing: {name} | {flag} | {shares(f'{name}: {flag}')} |" for flag in alarming]
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
        replace_part("flags", text, arguments.write)
    return 0


if __name__ == "__main__":
    sys.exit(main())
