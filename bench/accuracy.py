"""The benchmark: synthetic images of known truth, real scans, speed against the published architecture.

``python -m bench.accuracy --real ../shared/real --write`` (``make bench``) measures everything and writes the
tables into docs/benchmark.md; ``--only a --images 40`` is a quick look at the synthetic part.
"""

from __future__ import annotations

import argparse
import csv
import os
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from bench import report, scores
from bench.figures import draw_areas, draw_reliability
from bench.images import SET, Spec, plan, plan_heads
from bench.judging import Row
from bench.real import real_part
from bench.running import judge_all, say
from bench.speed import speed_part
from bench.template import template
from softseg_bids.model.weights import DEFAULT, area_uncertainty, digest

RESULTS = Path(__file__).parent / "results"
PICTURES = report.PAGE.parent / "img"
PARTS = ("a", "b", "c")

# Kinds of images in which no cord is to be found.
NO_CORD = ("head", "noise", "template")


def main(argv: Sequence[str] | None = None) -> int:
    """Measure the chosen parts, print their tables; 0 whatever they say."""
    parser = _parser()
    options = parser.parse_args(argv)
    if options.write and options.images is not None:
        parser.error("--write is for the whole set; leave out --images")
    weights = options.weights or DEFAULT
    say(f"weights {digest(weights)}; parts {', '.join(options.only)}")
    if "a" in options.only:
        text = synthetic(weights, options.images, options.processes)
        print(text, flush=True)
        if options.write:
            report.replace_part("synthetic", text)
    if "b" in options.only:
        text = real(options.real, weights, options.processes)
        print(text, flush=True)
        if options.write and options.real:
            report.replace_part("real", text)
    if "c" in options.only:
        text = speed(weights)
        print(text, flush=True)
        if options.write:
            report.replace_part("speed", text)
    return 0


def synthetic(weights: Path, count: int | None, processes: int) -> str:
    """Part a: its tables as Markdown; rows in bench/results, pictures in docs/img (of the whole set only)."""
    began = time.monotonic()
    specs = [*plan(count), *plan_heads(count)]
    if template() is None:
        say("THE MNI152 TEMPLATE IS NOT JUDGED: nilearn is not installed; `make bench` installs it")
    else:
        specs.append(Spec(0, "template", "T1w", "template", "none", "head"))
    results = list(judge_all(specs, weights, processes))
    others = [one for one in results if one.image["kind"] in NO_CORD]
    area_images = [one for one in results if one.image["kind"] not in NO_CORD]
    _write_rows(RESULTS / "images.tsv", [one.image for one in results])
    _write_rows(RESULTS / "slices.tsv", [row for one in results for row in one.slices])
    chosen = scores.clear(area_images)
    faint = scores.faint(area_images)
    lines = [
        f"Set version {SET['version']}, {len(area_images)} images with a cord and {len(others)} without; "
        f"weights `{digest(weights)}`. The limits are asked of the {len(chosen)} images in which fluid and "
        f"cord differ by {scores.CLEAR_CNR:g} noise SD or more. Errors of area are per cent of the true one; "
        "an image counts with its mean.",
        "",
        report.figure_table(scores.synthetic_figures(area_images, others, area_uncertainty(weights))),
    ]
    for key in ("kind", "contrast", "resolution", "plane", "pathology"):
        lines += ["", report.group_table(key, scores.breakdown(chosen, key))]
    if faint:
        lines += [
            "",
            f"Fluid and cord closer than {scores.CLEAR_CNR:g} noise SD, of which no limit is asked:",
            "",
            report.group_table("kind", scores.breakdown(faint, "kind")),
        ]
    if count is None:
        draw_areas(chosen, PICTURES / "benchmark_area.png")
        draw_reliability(chosen, PICTURES / "benchmark_reliability.png")
        lines += [
            "",
            "![Measured against true area](img/benchmark_area.png)",
            "![Reliability curve](img/benchmark_reliability.png)",
        ]
    say(f"synthetic part: {len(results)} images in {(time.monotonic() - began) / 60:.1f} minutes")
    for row in scores.worst(chosen, 5):
        say(f"  largest errors: {row['image']} {row['contrast']} {row['resolution']} {row['pathology']}: "
            f"{row['area_mm2']:.1f} for {row['true_mm2']:.1f} mm2")  # fmt: skip
    return "\n".join(lines)


def real(root: Path | None, weights: Path, processes: int) -> str:
    """Part b as Markdown, or the word that it was left out."""
    if root is None or not root.is_dir():
        told = "no folder was named" if root is None else f"{root} is no folder"
        say(f"REAL SCANS ARE NOT MEASURED: {told}. Give REAL=FOLDER (--real FOLDER), a BIDS dataset.")
        return "Real scans: not measured."
    figures, rows = real_part(root, weights, processes, say)
    head = (
        "image",
        "CSA, mm²",
        "slices with cord",
        "pieces",
        "Dice",
        "CSA here",
        "manual",
        "scaling given back",
    )
    return "\n".join(
        [
            f"Weights `{digest(weights)}`; {len(rows)} images of two people, none used for training.",
            "",
            report.figure_table(figures),
            "",
            report.table(head, rows),
        ]
    )


def speed(weights: Path) -> str:
    """Part c as Markdown."""
    threads = len(os.sched_getaffinity(0))
    figures, rows = speed_part(weights, threads, say)
    head = ("image", "passes", "whole run", "memory", "published: passes", "whole run", "memory")
    return "\n".join(
        [
            f"{threads} threads, torch {torch.__version__}, best of two runs; load {os.getloadavg()[0]:.1f}.",
            "",
            report.figure_table(figures),
            "",
            report.table(head, rows),
        ]
    )


def _write_rows(path: Path, rows: Sequence[Row]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter="\t", lineterminator="\n")
        writer.writeheader()
        writer.writerows({key: _short(value) for key, value in row.items()} for row in rows)


def _short(value: object) -> object:
    return f"{value:.6g}" if isinstance(value, float) else value


def _parts(text: str) -> list[str]:
    chosen = [part.strip() for part in text.split(",")]
    if unknown := [part for part in chosen if part not in PARTS]:
        raise argparse.ArgumentTypeError(f"no part {', '.join(unknown)}; there are {', '.join(PARTS)}")
    return chosen


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.accuracy", description="Measure accuracy, speed and memory."
    )
    parser.add_argument("--real", type=Path, help="the BIDS dataset of part b")
    parser.add_argument("--weights", type=Path, help="the checkpoint to judge (the packaged one)")
    parser.add_argument("--only", type=_parts, default=list(PARTS), help="a synthetic, b real, c speed: a,b")
    parser.add_argument("--images", type=int, help="only so many images of the set: a quick look")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--write", action="store_true", help="write the tables into docs/benchmark.md")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
