"""From judged images to figures: each with what is wanted, what was reached, and whether that is enough."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.judging import Judged, Row
from softseg_bids.core import calibration
from softseg_bids.core.calibration import BINS, deviation
from softseg_bids.core.uncertainty import AreaUncertainty, area_sd_mm2
from softseg_bids.stats.response import response

Floats = NDArray[np.float64]

# Limits hold where CSF and cord differ by at least this many noise SD.
CLEAR_CNR = 2.0
# Trends are fitted over the middle nine tenths of what they are fitted against.
MIDDLE = (5, 95)
TRENDS = {
    "noise": ("noise", lambda row: row["noise"]),
    "blur": ("resolution across the cord", lambda row: row["blur_mm"]),
    "cnr": ("contrast to noise (log)", lambda row: np.log(max(row["cnr"], 0.1))),
    "step": ("CSF against cord, dark to bright", lambda row: np.clip(row["step"], -1.0, 1.5)),
}  # type: dict[str, tuple[str, Callable[[Row], float]]]


class Figure(NamedTuple):
    """A line of the table. ``passed`` is None where nothing is asked."""

    name: str
    wanted: str
    reached: str
    passed: bool | None


class Areas(NamedTuple):
    """Relative error of CSA over some images, in per cent."""

    n: int
    bias: float
    median: float
    sd: float
    slice_sd: float


def clear(results: Sequence[Judged]) -> list[Judged]:
    """Images in which the limits hold."""
    return [one for one in results if one.image["cnr"] >= CLEAR_CNR]


def faint(results: Sequence[Judged]) -> list[Judged]:
    """The others: of them no limit is asked."""
    return [one for one in results if one.image["cnr"] < CLEAR_CNR]


def synthetic_figures(
    area_images: Sequence[Judged], others: Sequence[Judged], uncertainty: Sequence[float] | None
) -> list[Figure]:
    """The table of the synthetic part.

    Parameters
    ----------
    area_images : sequence of Judged
        The images of the set, and the brain scans with some cord in view.
    others : sequence of Judged
        Heads above the cord and phantoms of noise.
    uncertainty : sequence of float or None
        The checkpoint's coefficients of `core.uncertainty.AreaUncertainty`.
    """
    chosen = clear(area_images)
    all_areas = areas(chosen)
    thin = [row["ap_mm"] - row["true_ap_mm"] for one in chosen for row in one.slices if _is_thin(row)]
    missed, shown = (sum(one.image[key] for one in chosen) for key in ("n_missed", "n_slices"))
    stray = [one for one in chosen if one.image["stray_mm"] > 0]
    curve = reliability(chosen)
    off, weighted = deviation(curve)
    dices = [one.image["dice"] for one in chosen if np.isfinite(one.image["dice"])]
    figures = [
        Figure("Dice at 0.5, median (lowest tenth)", "–", f"{_median(dices):.3f} ({_low(dices):.3f})", None),
        Figure("CSA bias", "≤ 1 %", f"{all_areas.bias:+.1f} %", abs(all_areas.bias) <= 1.0),
        *[_trend_figure(name, chosen) for name in TRENDS],
        *[
            _spread_figure(f"SD of CSA, {label}", limit, chosen, group)
            for label, limit, group in (
                ("1 mm", 3.0, "iso 1 mm"),
                ("5 mm slices", 5.0, "axial 5 mm"),
            )
        ],
        _slope_figure(chosen),
        Figure("reliability, largest deviation of a bin", "≤ 0.03", f"{off:.3f}", off <= 0.03),
        Figure("reliability, mean deviation by voxels", "–", f"{weighted:.4f}", None),
        Figure(
            "AP diameter bias at 2.5 to 5 mm",
            "≤ 0.2 mm",
            f"{np.mean(thin):+.2f} mm ({len(thin)} slices)" if thin else "no slice",
            bool(thin) and abs(float(np.mean(thin))) <= 0.2,
        ),
        Figure(
            "slices without the cord they show",
            "≤ 0.5 %",
            f"{100 * missed / max(shown, 1):.2f} % of {shown}",
            missed <= 0.005 * shown,
        ),
        Figure("images with cord > 10 mm off the true one", "0", f"{len(stray)} of {len(chosen)}", not stray),
    ]
    figures.append(_interval_figure(chosen, uncertainty))
    for kind, label in (
        ("head", "synthetic heads without cord"),
        ("template", "the MNI152 template"),
        ("noise", "phantoms of noise"),
    ):
        asked = [one for one in others if one.image["kind"] == kind]
        wrong = [one for one in asked if one.image["found_mm"] > 0]
        text = f"{len(wrong)} of {len(asked)}" if asked else "not run"
        figures.append(Figure(f"cord found in {label}", "0", text, not wrong if asked else None))
    return figures


def median_dice(results: Sequence[Judged]) -> float:
    """Median Dice of the images that have one."""
    return _median([one.image["dice"] for one in results if np.isfinite(one.image["dice"])])


def areas(results: Sequence[Judged]) -> Areas:
    """Relative errors of image means; and their SD slice by slice, over all slices."""
    errors = np.array([relative_error(one.image) for one in results])
    errors = errors[np.isfinite(errors)]
    per_slice = [relative_error(row) for one in results for row in one.slices if row["used"]]
    spread = [float(np.std(some, ddof=1)) if len(some) > 1 else float("nan") for some in (errors, per_slice)]
    if not len(errors):
        return Areas(0, float("nan"), float("nan"), spread[0], spread[1])
    return Areas(len(errors), float(errors.mean()), float(np.median(errors)), spread[0], spread[1])


def relative_error(row: Row) -> float:
    """Measured minus true area over the true one, in per cent."""
    return 100 * (row["area_mm2"] / row["true_mm2"] - 1) if row["true_mm2"] > 0 else float("nan")


def slope(results: Sequence[Judged]) -> tuple[float, float, float]:
    """Least-squares line of measured on true mean area: slope, its standard error, intercept (mm2).

    NaN for fewer than three images, or where all true areas are equal.
    """
    pairs = np.array([(one.image["true_mm2"], one.image["area_mm2"]) for one in results]).reshape(-1, 2)
    line = response(pairs[:, 0], pairs[:, 1])
    return line.slope.estimate, line.slope.error, line.intercept.estimate


def trend(results: Sequence[Judged], of: Callable[[Row], float]) -> tuple[float, float]:
    """Change of the CSA error (per cent) along a straight line over the middle of a range, and its SE."""
    rows = [one.image for one in results if np.isfinite(relative_error(one.image))]
    if len(rows) < 4:
        return float("nan"), float("nan")
    x, y = np.array([of(row) for row in rows]), np.array([relative_error(row) for row in rows])
    low, high = np.percentile(x, MIDDLE)
    if high <= low:
        return float("nan"), float("nan")
    (rise, _), covariance = np.polyfit(x, y, 1, cov=True)
    return float(rise * (high - low)), float(np.sqrt(covariance[0, 0]) * (high - low))


def reliability(results: Sequence[Judged]) -> Floats:
    """Ten bins of predicted fraction: voxels, mean predicted, mean true; every image weighs its voxels."""
    return calibration.reliability(np.sum([np.zeros((BINS, 3)), *(one.bins for one in results)], axis=0))


def breakdown(results: Sequence[Judged], key: str) -> list[tuple[str, int, float, Areas, float, int]]:
    """For each value of a column: images, median Dice, errors of CSA, missed slices (per cent), strays."""
    rows = []
    for value in sorted({str(one.image[key]) for one in results}):
        group = [one for one in results if str(one.image[key]) == value]
        missed, shown = (sum(one.image[name] for one in group) for name in ("n_missed", "n_slices"))
        strays = sum(one.image["stray_mm"] > 0 for one in group)
        rows.append(
            (value, len(group), median_dice(group), areas(group), 100 * missed / max(shown, 1), strays)
        )
    return rows


def _trend_figure(name: str, results: Sequence[Judged]) -> Figure:
    label, of = TRENDS[name]
    change, error = trend(results, of)
    return Figure(
        f"trend of CSA bias over {label}", "≤ 1 %", f"{change:+.1f} ± {error:.1f} %", abs(change) <= 1.0
    )


def _spread_figure(label: str, limit: float, results: Sequence[Judged], resolution: str) -> Figure:
    found = areas([one for one in results if one.image["resolution"] == resolution])
    text = f"{found.sd:.1f} % (slices {found.slice_sd:.1f} %; bias {found.bias:+.1f} %; {found.n} images)"
    return Figure(label, f"≤ {limit:g} %", text, found.sd <= limit)


def _slope_figure(results: Sequence[Judged]) -> Figure:
    rise, error, start = slope(results)
    text = f"{rise:.3f} ± {error:.3f} (intercept {start:+.1f} mm²)"
    return Figure("slope of measured on true area", "0.97 to 1.03", text, 0.97 <= rise <= 1.03)


def _interval_figure(results: Sequence[Judged], uncertainty: Sequence[float] | None) -> Figure:
    name, wanted = "slices whose 95 % interval holds the truth, every contrast", "90 to 98 %"
    if uncertainty is None:
        return Figure(name, wanted, "the checkpoint does not say", None)
    shares = {
        contrast: interval_share([one for one in results if one.image["contrast"] == contrast], uncertainty)
        for contrast in sorted({one.image["contrast"] for one in results})
    }
    shares = {contrast: share for contrast, share in shares.items() if np.isfinite(share)}
    if not shares:
        return Figure(name, wanted, "no slice", False)
    low, high = min(shares, key=lambda key: shares[key]), max(shares, key=lambda key: shares[key])
    text = (
        f"{100 * interval_share(results, uncertainty):.0f} % of all; "
        f"{100 * shares[low]:.0f} % ({low}) to {100 * shares[high]:.0f} % ({high})"
    )
    return Figure(name, wanted, text, shares[low] >= 0.9 and shares[high] <= 0.98)


def interval_share(results: Sequence[Judged], uncertainty: Sequence[float]) -> float:
    """Share of the used slices whose true area lies within 1.96 expected deviations of the measured one."""
    rows = [row for one in results for row in one.slices if row["used"]]
    if not rows:
        return float("nan")
    area, true, edge = (np.array([row[key] for row in rows]) for key in ("area_mm2", "true_mm2", "edge_mm2"))
    sd = area_sd_mm2(area, edge, AreaUncertainty(*uncertainty))
    return float((np.abs(area - true) <= 1.96 * sd).mean())


def _is_thin(row: Row) -> bool:
    return bool(row["used"] and np.isfinite(row["ap_mm"]) and 2.5 <= row["true_ap_mm"] <= 5.0)


def _median(values: Sequence[float]) -> float:
    return float(np.median(values)) if len(values) else float("nan")


def _low(values: Sequence[float]) -> float:
    return float(np.quantile(values, 0.1)) if len(values) else float("nan")


def worst(results: Sequence[Judged], count: int) -> list[dict[str, Any]]:
    """The images with the largest errors of area, to be looked at."""
    ranked = sorted(
        (one.image for one in results if np.isfinite(relative_error(one.image))),
        key=lambda row: -abs(relative_error(row)),
    )
    return ranked[:count]
