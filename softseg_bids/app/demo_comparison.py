"""How far a run's areas are from the demo's truth, as text."""

from __future__ import annotations

import csv
import statistics
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

from softseg_bids.image.volume import DataError

LEVELLED = "vert-C2:C3"
REGIONS = ("cord", LEVELLED)
# So close is the mean area at the level to come to the truth, in every contrast.
WITHIN_PERCENT = 2.0
CSA = "group_csa.tsv"
VARIABILITY = "group_variability.tsv"

Row = dict[str, str]
Key = tuple[str, str, str, str]


class Score(NamedTuple):
    """Errors over all sessions of one contrast and region, mm2: ``n`` measured of ``of``; NaN if too few."""

    n: int
    of: int
    true: float
    bias: float
    sd: float

    @property
    def bias_percent(self) -> float:
        """Of the true mean; NaN if nothing was measured."""
        return 100 * self.bias / self.true


def report(truth: Path, out: Path) -> str:
    """Where the pages are, and bias and SD of CSA for each contrast and region.

    Parameters
    ----------
    truth : Path
        The demo's table of true areas.
    out : Path
        Results of both levels.

    Raises
    ------
    DataError
        If one of the tables is missing.
    """
    found = scores(_rows(truth), _rows(out / CSA))
    spread = mean_spread(_rows(out / VARIABILITY), LEVELLED)
    pages, tables = (sorted(out.absolute().glob(pattern)) for pattern in ("*.html", "group_*.tsv"))
    lines = ["", "Measured minus true area in mm2, over all sessions:", "", *_table(found), ""]
    lines += [*verdict(found), ""]
    if spread is not None:
        lines += [f"SD over contrasts at {LEVELLED}, mean of all sessions: {spread:.2f} mm2 (truth: 0)", ""]
    lines += ["Pages, to be opened in a browser:", *(f"  {page}" for page in pages)]
    lines += ["Tables:", *(f"  {table}" for table in tables)]
    return "\n".join(lines)


def scores(truth: list[Row], measured: list[Row]) -> dict[tuple[str, str], Score]:
    """Contrast and region to :class:`Score`, in the order of the truth."""
    areas = {_key(row): float(row["area_mm2"]) for row in measured if row["area_mm2"] != "n/a"}
    pairs: dict[tuple[str, str], list[tuple[float, float | None]]] = defaultdict(list)
    for row in truth:
        pairs[row["contrast"], row["region"]].append((float(row["area_mm2"]), areas.get(_key(row))))
    return {name: _score(values) for name, values in pairs.items()}


def verdict(found: dict[tuple[str, str], Score]) -> list[str]:
    """Whether every contrast's area at the level is within 2 % of the truth, and which are not."""
    levelled = {contrast: score for (contrast, region), score in found.items() if region == LEVELLED}
    missing = [contrast for contrast, score in levelled.items() if score.n == 0]
    beyond = [
        f"{contrast} {score.bias_percent:+.1f} %"
        for contrast, score in levelled.items()
        if score.n and abs(score.bias_percent) > WITHIN_PERCENT
    ]
    right = len(levelled) - len(missing) - len(beyond)
    lines = [
        f"CSA at {LEVELLED} within {WITHIN_PERCENT:.0f} % of the truth: {right} of {len(levelled)} contrasts"
    ]
    lines += [f"  beyond: {', '.join(beyond)}"] if beyond else []
    partly = [f"{name} {score.n} of {score.of}" for name, score in levelled.items() if 0 < score.n < score.of]
    lines += [f"  not measured in every session: {', '.join(partly)}"] if partly else []
    lines += [f"  not measured, as no level was found or given: {', '.join(missing)}"] if missing else []
    return lines


def mean_spread(variability: list[Row], region: str) -> float | None:
    """Mean over sessions of the SD over contrasts; None if there is none."""
    spreads = [
        float(row["sd_mm2"]) for row in variability if row["region"] == region and row["sd_mm2"] != "n/a"
    ]
    return statistics.fmean(spreads) if spreads else None


def _score(pairs: list[tuple[float, float | None]]) -> Score:
    errors = [area - true for true, area in pairs if area is not None]
    return Score(
        len(errors),
        len(pairs),
        statistics.fmean(true for true, _ in pairs),
        statistics.fmean(errors) if errors else float("nan"),
        statistics.stdev(errors) if len(errors) > 1 else float("nan"),
    )


def _table(found: dict[tuple[str, str], Score]) -> list[str]:
    head = f"{'':10}" + "".join(f"| {region:^38} " for region in REGIONS)
    names = f"{'contrast':10}" + f"| {'n':>5} {'true':>7} {'bias':>7} {'bias %':>8} {'SD':>7} " * len(REGIONS)
    lines = [head.rstrip(), names.rstrip(), "-" * len(names)]
    for contrast in dict.fromkeys(contrast for contrast, _ in found):
        cells = (_cell(found[contrast, region]) for region in REGIONS)
        lines.append(f"{contrast:10}" + "".join(cells).rstrip())
    return lines


def _cell(score: Score) -> str:
    count = f"{score.n}/{score.of}"
    percent = f"{_signed(score.bias_percent, 6, 1)} %"
    return f"| {count:>5} {score.true:7.1f} {_signed(score.bias)} {percent} {_plain(score.sd)} "


def _signed(value: float, width: int = 7, digits: int = 2) -> str:
    return f"{'n/a':>{width}}" if value != value else f"{value:+{width}.{digits}f}"


def _plain(value: float) -> str:
    return f"{'n/a':>7}" if value != value else f"{value:7.2f}"


def _key(row: Row) -> Key:
    return row["participant_id"], row["session_id"], row["contrast"], row["region"]


def _rows(path: Path) -> list[Row]:
    if not path.is_file():
        raise DataError(f"{path}: does not exist; write the demo dataset and run both levels on it first")
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))
