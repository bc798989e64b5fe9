"""docs/paper.md: tables and verdicts between its markers, from what softseg-evaluate wrote."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.report import replace_part, table
from paper.cohort import CONTRASTS, SITES, participants, sides
from paper.figures import REFERENCES, file_of
from paper.raters import OFFSET_MM
from paper.results import (
    Results,
    biases,
    estimate,
    sd_of_six,
    test_of,
    widest_bias,
)
from paper.variants import ARCHITECTURE, VARIANTS, Variant, jobs_of
from softseg_bids.study.evaluate_statistics import ERROR, SPREAD

PAGE = Path(__file__).parents[1] / "docs" / "paper.md"
PARTS = ("study", "results", "contrasts", "tests", "verdicts")
# By the part that shows them: the figure's name, and what it says to who cannot see it.
PICTURES = {
    "results": {
        "errors": "Measured minus true area of each test participant, by contrast and method",
        "spread": "SD of area over five contrasts, by method",
    },
    "contrasts": {
        "t1w-t2w": "Area on T2w over area on T1w, by variant",
        "agreement": "Differences from the true area, by variant",
        "reliability": "Reliability curves of the variants",
    },
}
SURE = 0.05
# What the paper claims of soft_all, by the name of the variant it is compared with.
RIVALS = ("hard_all", "hard_per_contrast", "soft_per_contrast")


def write(
    results: Results, trained: dict[str, dict[str, Any]], parameters: int, made: str, page: Path = PAGE
) -> None:
    """Fill every part of the page.

    Parameters
    ----------
    results : Results
    trained : dict of str to dict
        How each network was trained, by its name.
    parameters : int
        Of each network.
    made : str
        With what the results were made, and how long it took.
    page : Path
    """
    texts = {
        "study": study_text(trained, parameters),
        "results": f"{results_table(results)}\n\n{made}",
        "contrasts": contrast_table(results),
        "tests": test_table(results),
        "verdicts": verdict_table(results),
    }
    for part, text in texts.items():
        shown = [f"![{said}](pictures/{file_of(name)})" for name, said in PICTURES.get(part, {}).items()]
        replace_part(part, "\n\n".join([text, *shown]), page)


def study_text(trained: dict[str, dict[str, Any]], parameters: int) -> str:
    """Who is on which side, and what was trained for how long."""
    side_of = sides()
    counts = {
        side: [one.site for one in participants() if side_of[one.label] == side]
        for side in ("train", "validation", "test")
    }
    sites = ", ".join(
        f"{len(own)} {side} ({own[0]}: pixels x {SITES[own[0]].pixel:g}, noise x {SITES[own[0]].noise:g})"
        for side, own in counts.items()
    )
    rows = []
    for variant in VARIANTS:
        own = [trained[job.name] for job in jobs_of(variant) if job.name in trained]
        whole = len(own) == len(jobs_of(variant))
        steps = "/".join(str(n) for n in sorted({facts["steps"] for facts in own})) or "-"
        best = ", ".join(str(facts["best_step"]) for facts in own) or "-"
        rows.append(
            (f"`{variant.name}`", variant.said, len(own), steps, best if whole else f"{best} (not whole)")
        )
    head = ("variant", "what it is", "networks", "steps of each", "best at step")
    return (
        f"{len(participants())} participants: {sites}. Each network has {parameters:,} weights and looks at "
        "patches of "
        f"{' x '.join(str(n) for n in ARCHITECTURE.window)} voxels of "
        f"{' x '.join(f'{h:g}' for h in ARCHITECTURE.spacing_mm)} mm.\n\n{table(head, rows)}"
    )


def results_table(results: Results) -> str:
    """A row a method: spread, bias, error, response, overlap, calibration."""
    head = (
        "method", "SD over five contrasts, mm²", "with DWI", "bias, mm²", "worst contrast, mm²",
        "mean absolute error, mm²", "slope on true area", "Dice", "surface, mm", "volume", "calibration",
    )  # fmt: skip
    rows = []
    for name in results.methods:
        contrast, worst = widest_bias(results, name)
        mine = results.scores[results.scores["method"] == name]
        rows.append(
            (
                f"`{name}`", _with_interval(estimate(results, name, SPREAD, "mean", contrast=None), "{:.2f}"),
                f"{sd_of_six(results, name):.2f}",
                _with_interval(estimate(results, name, "area_mm2", "bias"), "{:+.2f}"),
                f"{worst:+.2f} ({contrast})",
                _with_interval(estimate(results, name, ERROR, "mean"), "{:.2f}"),
                _with_interval(estimate(results, name, "area_mm2", "response_slope"), "{:.2f}"),
                f"{_score(results, name, 'dice'):.3f}", f"{_score(results, name, 'surface_mm'):.2f}",
                f"{100 * _score(results, name, 'relative_volume_error'):+.1f} %",
                f"{mine['reliability_deviation'].mean():.4f}",
            )
        )  # fmt: skip
    return table(head, rows)


def contrast_table(results: Results) -> str:
    """Mean error of every method in every contrast, below the raters' offsets."""
    rows: list[Sequence[Any]] = [("raters' offset, mm", *(f"{OFFSET_MM[name]:+.2f}" for name in CONTRASTS))]
    for name in results.methods:
        own = biases(results, name)
        rows.append((f"`{name}`", *(f"{own[contrast]:+.2f}" for contrast in CONTRASTS)))
    return table(("mean error, mm²", *CONTRASTS), rows)


def test_table(results: Results) -> str:
    """Every two variants: who has less spread and less error, and how sure that is."""
    names = [name for name in results.methods if name not in REFERENCES]
    rows = []
    for place, one in enumerate(names):
        for other in names[place + 1 :]:
            cells = []
            for measure in (SPREAD, ERROR):
                difference, p = test_of(results, measure, one, other)
                cells += [f"{difference:+.2f}", "< 0.001" if p < 0.001 else f"{p:.3f}"]
            rows.append((f"`{one}`", f"`{other}`", *cells))
    head = ("first", "second", "SD, first - second, mm²", "p", "absolute error, first - second, mm²", "p")
    return table(head, rows)


def verdict_table(results: Results) -> str:
    """What is expected of soft_all, and whether it is so: where people were compared, only if p < 0.05."""
    measures: tuple[tuple[str, str | None, Callable[[str], float]], ...] = (
        (
            "SD over five contrasts", SPREAD,
            lambda name: _number(estimate(results, name, SPREAD, "mean", contrast=None)),
        ),
        ("mean absolute error", ERROR, lambda name: _number(estimate(results, name, ERROR, "mean"))),
        ("bias of the worst contrast", None, lambda name: abs(widest_bias(results, name)[1])),
        ("bias over contrasts", None, lambda name: abs(_number(estimate(results, name, "area_mm2", "bias")))),
    )  # fmt: skip
    rows = []
    for rival in RIVALS:
        if not {"soft_all", rival} <= set(results.methods):
            continue
        for said, tested, value in measures:
            mine, other = value("soft_all"), value(rival)
            p = test_of(results, tested, "soft_all", rival)[1] if tested else None
            rows.append((f"`{rival}`", said, f"{mine:.2f}", f"{other:.2f}", _verdict(mine < other, p)))
    return table(("`soft_all` against", "by", "soft_all, mm²", "the other, mm²", "soft_all is better"), rows)


def _verdict(is_better: bool, p: float | None) -> str:
    said = "yes" if is_better else "**no**"
    if p is None:
        return f"{said} (not tested)"
    return f"{said} (p = {p:.3f})" if p < SURE else f"not decided (p = {p:.3f})"


def whole_variants(trained: dict[str, dict[str, Any]]) -> list[Variant]:
    """The variants all of whose networks are trained."""
    return [each for each in VARIANTS if all(job.name in trained for job in jobs_of(each))]


def _with_interval(row: Any, form: str) -> str:
    low, high = float(row["ci_low"]), float(row["ci_high"])
    return f"{form.format(float(row['estimate']))} ({form.format(low)} to {form.format(high)})"


def _number(row: Any) -> float:
    return float(row["estimate"])


def _score(results: Results, method: str, name: str) -> float:
    own = results.scores[results.scores["method"] == method]
    return float(np.nanmean(own.groupby("participant_id")[name].mean().to_numpy(float)))
