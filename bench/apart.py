"""Sensitivity and false alarms of what is told from other images or other places: outliers and narrowings.

``python -m bench.apart [--studies 100] [--bodies 20] [--write docs/statistics.md]``. Outlier flags: simulated
studies (people, contrasts, sites), where some images are measured too small by so much, as masks that miss
a part everywhere are; and the same studies with nothing planted. Narrowings: perfect masks of bodies of the
generator, as they are and narrowed over 10 mm.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.random import Generator
from scipy import ndimage

from bench.flags import Soft, Spacing, bodies, mask
from bench.report import replace_part
from softseg_bids.core import cord, quality
from softseg_bids.stats.compression import NARROW, cord_of, ratios, sites
from softseg_bids.stats.outliers import OTHER_CONTRASTS, SITE, outliers

SEED = 20240701
CONTRASTS, REGIONS = 5, 4
# mm²: between people, of a contrast, of a site, of an image as a whole, of a region of it.
PEOPLE_SD, BIAS_SD, SITE_SD, IMAGE_SD, REGION_SD, MEAN = 6.0, 1.5, 2.5, 1.0, 0.7, 72.0
PLANTED_PERCENT = (3, 5, 10, 20, 30)
# People and sites.
STUDIES = ((12, 1), (40, 4), (200, 10))
NARROWED = (0.85, 0.75, 0.65, 0.5)
NARROW_MM = 5.0
GRID = (1.0, 1.0, 1.0)


def study(rng: Generator, people: int, site_count: int) -> pd.DataFrame:
    """One row a person, contrast and region; nothing is wrong with any."""
    who, contrast, region = (
        each.ravel()
        for each in np.meshgrid(np.arange(people), np.arange(CONTRASTS), np.arange(REGIONS), indexing="ij")
    )
    site = who % site_count
    image = who * CONTRASTS + contrast
    area = (
        MEAN
        + (PEOPLE_SD * rng.normal(size=people))[who]
        + (BIAS_SD * rng.normal(size=CONTRASTS))[contrast]
        + (SITE_SD * rng.normal(size=site_count))[site]
        + (IMAGE_SD * rng.normal(size=people * CONTRASTS))[image]
        + REGION_SD * rng.normal(size=len(who))
    )
    return pd.DataFrame(
        {
            "participant_id": who, "session_id": "", "contrast": contrast, "region": region,
            "site": site.astype(str), "source_image": image, "area_mm2": area,
        }
    )  # fmt: skip


def planted(rng: Generator, frame: pd.DataFrame) -> tuple[pd.DataFrame, dict[int, int]]:
    """The same with one image of each of some people too small; and which by how many percent."""
    people = rng.permutation(frame["participant_id"].nunique())[: len(PLANTED_PERCENT)]
    images = {
        int(person) * CONTRASTS + int(rng.integers(CONTRASTS)): percent
        for person, percent in zip(people, PLANTED_PERCENT, strict=True)
    }
    lost = frame["source_image"].map(images).fillna(0) / 100
    return frame.assign(area_mm2=frame["area_mm2"] * (1 - lost)), images


def outlier_shares(studies: int) -> list[str]:
    """Lines of a table: share of planted images that each flag tells, and of sound ones it alarms on."""
    told: dict[tuple[str, str, tuple[int, int]], list[float]] = {}
    for number in range(studies):
        for kind in STUDIES:
            rng = np.random.default_rng([SEED, number, *kind])
            sound = study(rng, *kind)
            wrong, images = planted(rng, sound)
            clean = outliers(sound)["flags"]
            found = outliers(wrong)["flags"]
            for flag in (OTHER_CONTRASTS, SITE):
                told.setdefault(("nothing", flag, kind), []).append(
                    float(np.mean([flag in each for each in clean]))
                )
                for image, percent in images.items():
                    told.setdefault((f"{percent} %", flag, kind), []).append(float(flag in found[image]))
    heads = [f"{people} people, {count} site{'s' * (count > 1)}" for people, count in STUDIES]
    lines = _head(["planted: an image too small by", "flag", *heads])
    for name in (*(f"{percent} %" for percent in PLANTED_PERCENT), "nothing"):
        for flag in (OTHER_CONTRASTS, SITE):
            shares = [f"{100 * np.mean(told[name, flag, kind]):.1f} %" for kind in STUDIES]
            lines.append(f"| {name} | `{flag}` | {' | '.join(shares)} |")
    return lines


def narrowed(soft: Soft, spacing_mm: Spacing, share: float) -> Soft:
    """A mask whose area falls to a share in its middle, over some 10 mm (a Gaussian of 5 mm)."""
    out = np.zeros_like(soft)
    seen = np.flatnonzero(soft.max(axis=(0, 1)) >= 0.5)
    middle = 0.5 * (seen[0] + seen[-1])
    for k in range(soft.shape[2]):
        plane = soft[:, :, k]
        if not plane.any():
            continue
        away = (k - middle) * spacing_mm[2] / NARROW_MM
        side = np.sqrt(1 - (1 - share) * np.exp(-0.5 * away**2))
        centre = np.array(ndimage.center_of_mass(plane))
        out[:, :, k] = ndimage.affine_transform(plane, [1 / side] * 2, centre * (1 - 1 / side), order=1)
    return out


def narrowest(soft: Soft, spacing_mm: Spacing) -> tuple[float, int]:
    """Least ratio of the area to that of the windows about it, and how many sites are detected."""
    line = cord.trace(soft, spacing_mm)
    if line is None:
        return float("nan"), 0
    table = cord.measure_slices(soft, spacing_mm, line)
    facts = cord.inspect_slices(soft, spacing_mm, line)
    usable = quality.in_means(quality.slice_flags(table, float(spacing_mm[2]), facts=facts))
    position = np.cumsum(table["length_mm"])
    found = cord_of(position, np.full(len(position), np.nan), table, usable)
    if found is None:
        return float("nan"), 0
    least = ratios(found)
    return float(np.nanmin(least)) if np.isfinite(least).any() else float("nan"), len(sites(found))


def narrow_shares(count: int) -> list[str]:
    """Lines of a table: how often a narrowing is detected, in healthy and diseased bodies."""
    drawn = bodies(np.random.default_rng(SEED), count)
    spacing_mm = np.array(GRID)
    masks = {kind: [mask(body, GRID) for body in found] for kind, found in drawn.items()}
    lines = _head(
        ["bodies", "planted: area falls to", "detected in", "least ratio: median", "5th percentile"]
    )
    for kind, found in masks.items():
        # Diseased bodies have narrowings of their own: what is told of them is no false alarm.
        for share in (1.0, *NARROWED) if kind == "healthy" else (1.0,):
            seen = [
                narrowest(soft if share == 1.0 else narrowed(soft, spacing_mm, share), spacing_mm)
                for soft in found
            ]
            least = [ratio for ratio, _ in seen]
            name = "nothing" if share == 1.0 else f"{share:.2f}"
            lines.append(
                f"| {kind} | {name} | {100 * np.mean([number > 0 for _, number in seen]):.0f} % | "
                f"{np.nanmedian(least):.2f} | {np.nanpercentile(least, 5):.2f} |"
            )
    return lines


def _head(names: Iterable[str]) -> list[str]:
    columns = list(names)
    return ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]


def main() -> int:
    """Simulate, and print or write into a page what is told."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--studies", type=int, default=100)
    parser.add_argument("--bodies", type=int, default=20)
    parser.add_argument("--write", type=Path, help="page whose tables are written anew")
    arguments = parser.parse_args()
    text = "\n".join(
        [
            *outlier_shares(arguments.studies), "",
            f"A narrowing is *detected* where the area falls under {NARROW:.2f} of the windows about it:", "",
            *narrow_shares(arguments.bodies),
        ]
    )  # fmt: skip
    sys.stdout.write(f"{text}\n")
    if arguments.write is not None:
        replace_part("apart", text, arguments.write)
    return 0


if __name__ == "__main__":
    sys.exit(main())
