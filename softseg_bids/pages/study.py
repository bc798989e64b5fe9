"""The pages that judge methods: a comparison, a drift, an evaluation. One self-contained file each."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from softseg_bids.image.volume import written_aside
from softseg_bids.pages.group_data import embedded
from softseg_bids.pages.html import joined_script, pages_environment, script_hash, svg_uri
from softseg_bids.pages.pairs import PairFigure

Rows = Sequence[Mapping[str, Any]]


class Plot(NamedTuple):
    """A plot in a page.

    Attributes
    ----------
    content : bytes
        SVG.
    alt, caption : str
    """

    content: bytes
    alt: str
    caption: str

    @property
    def uri(self) -> str:
        """The picture as a data URI."""
        return svg_uri(self.content)


class PairView(NamedTuple):
    """A blinded pair: its number, its contrast, and its pictures. Nothing here tells who is A."""

    number: int
    contrast: str
    figure: PairFigure


@dataclass(frozen=True)
class ComparePage:
    """What `compare.html` shows.

    Attributes
    ----------
    dataset, name, out, other : str
        The dataset's name, the other tool's, and both folders.
    identity : str
        Under which a browser keeps the ratings.
    n_people, n_images : int
    by_mask, by_csv : bool
        What of the other tool was compared.
    agreement : rows
        One a region, contrast and kind, with the estimates ``bias limit_low limit_high slope scaling``.
    failures : rows
        As the table ``compare_failures``.
    failure_counts : sequence of (str, int, int)
        What failed, and in how many images of ours and of theirs.
    failed : mapping of str to int
        Images with any failure, by tool.
    figures : sequence of Plot
    pairs : sequence of PairView
    seed : int
    notes : sequence of str
    """

    dataset: str
    name: str
    out: str
    other: str
    identity: str
    n_people: int
    n_images: int
    by_mask: bool
    by_csv: bool
    agreement: Rows
    failures: Rows
    failure_counts: Sequence[tuple[str, int, int]]
    failed: Mapping[str, int]
    figures: Sequence[Plot]
    pairs: Sequence[PairView]
    seed: int
    notes: Sequence[str] = field(default=())


@dataclass(frozen=True)
class DriftPage:
    """What `drift.html` shows.

    Attributes
    ----------
    dataset : str
    old, new : mapping of str to str
        ``model model_hash version``.
    region : str
        Which is judged.
    tolerance_mm2 : float
    verdicts : rows
        As the table ``drift_verdict``.
    estimates : rows
        One a region and contrast, with the estimates of :class:`ComparePage`.
    one_sided : sequence of (str, str)
        Images without an area over the region, and by which model.
    figures : sequence of Plot
    """

    dataset: str
    old: Mapping[str, str]
    new: Mapping[str, str]
    region: str
    tolerance_mm2: float
    verdicts: Rows
    estimates: Rows
    one_sided: Sequence[tuple[str, str]]
    figures: Sequence[Plot]

    @property
    def passed(self) -> bool:
        """Whether no contrast failed."""
        return all(row["verdict"] != "fail" for row in self.verdicts)


class Glance(NamedTuple):
    """A method's line in the first table of an evaluation.

    Attributes
    ----------
    name : str
    scores : rows
        Dice, soft Dice, relative volume error, surface distance, 95 % Hausdorff: ``estimate ci_low ci_high``.
    area_bias, area_error, spread, slope : mapping
        Likewise.
    reliability : float or None
    n_failed : int or None
        Labelled images without a mask; None of the labels themselves.
    """

    name: str
    scores: Rows
    area_bias: Mapping[str, Any]
    area_error: Mapping[str, Any]
    spread: Mapping[str, Any]
    slope: Mapping[str, Any]
    reliability: float | None
    n_failed: int | None


@dataclass(frozen=True)
class EvaluatePage:
    """What `evaluate.html` shows.

    Attributes
    ----------
    dataset : str
    methods, contrasts : sequence of str
    region : str
        Of the areas on the page.
    n_people, n_images : int
    glance : sequence of Glance
    figures : sequence of Plot
    tests, contrast_rows : rows
        As the tables ``evaluate_tests`` and ``evaluate_summary``.
    failures, left_out : rows
        As the tables ``evaluate_scores`` and ``evaluate_left_out``.
    notes : sequence of str
    """

    dataset: str
    methods: Sequence[str]
    contrasts: Sequence[str]
    region: str
    n_people: int
    n_images: int
    glance: Sequence[Glance]
    figures: Sequence[Plot]
    tests: Rows
    contrast_rows: Rows
    failures: Rows
    left_out: Rows
    notes: Sequence[str] = field(default=())


def compare_page(page: ComparePage, version: str, path: Path) -> Path:
    """Write the page of a comparison.

    Parameters
    ----------
    page : ComparePage
    version : str
        Of softseg.
    path : Path
        Destination; appears whole or not at all.
    """
    data = {
        "identity": page.identity,
        "name": page.name,
        "pairs": [
            {
                "number": pair.number, "contrast": pair.contrast, "picture": _text(pair.figure.picture),
                "A": _text(pair.figure.first), "B": _text(pair.figure.second),
            }
            for pair in page.pairs
        ],
    }  # fmt: skip
    scripts = ("basics", "files", "theme", "compare") if page.pairs else ("basics", "theme", "ready")
    return _write("compare.html", page, version, data, scripts, path)


def drift_page(page: DriftPage, version: str, path: Path) -> Path:
    """Write the page of a drift; parameters as :func:`compare_page`."""
    return _write("drift.html", page, version, {}, ("basics", "theme", "ready"), path)


def evaluate_page(page: EvaluatePage, version: str, path: Path) -> Path:
    """Write the page of an evaluation; parameters as :func:`compare_page`."""
    return _write("evaluate.html", page, version, {}, ("basics", "theme", "ready"), path)


def _write(
    template: str, page: Any, version: str, data: Mapping[str, Any], scripts: Sequence[str], path: Path
) -> Path:
    environment = pages_environment()
    environment.filters |= {"shown": shown, "p_value": p_value}
    environment.filters["is_number"] = is_number
    script = joined_script(environment, scripts)
    html = environment.get_template(template).render(
        page=page, version=version, data=embedded(data), script=script, script_hash=script_hash(script)
    )
    with written_aside(path) as aside:
        aside.write_text(html, encoding="utf-8", errors="backslashreplace")
    return path


def shown(value: Any, digits: int = 1, sign: bool = False) -> str:
    """A number with fixed decimals (and its sign), or n/a."""
    return f"{value:{'+' if sign else ''}.{digits}f}" if is_number(value) else "n/a"


def p_value(value: Any) -> str:
    """A p value, or n/a; never 0."""
    if not is_number(value):
        return "n/a"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def is_number(value: Any) -> bool:
    """Whether there is a finite value."""
    return isinstance(value, int | float) and math.isfinite(value)


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
