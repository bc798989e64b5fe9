"""Methods judged on a labelled dataset: `softseg-evaluate DATA name=FOLDER name=MODEL ...`."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from softseg_bids.app import looking
from softseg_bids.app.outcome import Exit, Stop
from softseg_bids.bids.dataset import Dataset
from softseg_bids.bids.masks import masks_of
from softseg_bids.study import masks
from softseg_bids.study.evaluate_page import write_page
from softseg_bids.study.evaluate_statistics import (
    best_areas,
    reliability_rows,
    summary,
    tests,
    variability,
)
from softseg_bids.study.judge import Judged, Method, judge_session, known_of
from softseg_bids.study.methods import check_contrasts, found_methods
from softseg_bids.study.ours import FAILED
from softseg_bids.study.running import settings_for
from softseg_bids.study.tables import COLUMNS, write

DWI = "DWI"
LABELS = Path("derivatives", "labels")


def run(chosen: Namespace) -> Exit:
    """Find labels, run models, judge, write tables and page.

    Parameters
    ----------
    chosen : Namespace
        ``data methods labels output contrast_set`` and the options of running.

    Returns
    -------
    Exit
        1 if a method's mask could not be used, or an image had failed in it.

    Raises
    ------
    Stop
        64 without a folder of labels or for a contrast that a method has no path for, 66 if no image has a
        label, 65 if no method has a mask of any.
    """
    labels = chosen.labels or chosen.data / LABELS
    if not labels.is_dir():
        raise Stop(Exit.USAGE, f"{labels}: there is no such folder; name that of the labels by --labels")
    dataset = looking.look(settings_for(chosen.data, chosen.output, chosen))
    known = [known_of(scan) for scan in dataset.scans]
    candidates = masks_of(labels, known)
    if not candidates:
        raise Stop(
            Exit.NO_INPUT,
            f"{labels}: holds no cord mask of any image of {chosen.data}; labels are found by the image's "
            f"name, for example {known[0].names[0]}_label-SC_seg.nii.gz",
        )
    codes: list[Exit] = []
    check_contrasts(chosen.methods, [scan for scan in dataset.scans if scan.key in candidates])
    methods = found_methods(chosen, dataset, codes)
    found = Judged([], [], [], {})
    for participant, session in dataset.sessions:
        judge_session(dataset.scans_of(participant, session), candidates, methods, found)
    check_judged(found, labels, methods)
    code = _written(chosen, dataset, found, [method.name for method in methods])
    return Exit.SOME_FAILED if code or any(codes) else Exit.DONE


def check_judged(found: Judged, labels: Path, methods: Sequence[Method]) -> None:
    """Refuse an evaluation of nothing.

    Raises
    ------
    Stop
        66 if no label could be used, 65 if a method has no mask of any labelled image.
    """
    if not found.scores:
        why = found.left_out[0]["reason"] if found.left_out else "none"
        raise Stop(Exit.NO_INPUT, f"{labels}: no label can be used; the first reason: {why}")
    for method in methods:
        own = [row for row in found.scores if row["method"] == method.name]
        if all(row["status"] not in (masks.USED, masks.EMPTY) for row in own):
            raise Stop(
                Exit.ALL_UNREADABLE,
                f"method {method.name}: has no usable mask of any labelled image; the first reason: "
                f"{own[0]['reason']}",
            )


def _written(chosen: Namespace, dataset: Dataset, found: Judged, names: Sequence[str]) -> Exit:
    """Statistics, tables and page; 1 if a mask could not be used, or an image had failed."""
    scores = pd.DataFrame(found.scores).reindex(columns=COLUMNS["evaluate_scores"])
    best = best_areas(pd.DataFrame(found.areas, columns=COLUMNS["evaluate_areas"]))
    contrasts = contrasts_of(best, chosen.contrast_set)
    varied = variability(best, names, contrasts)
    rows = summary(scores, best, varied, names, contrasts)
    tested = tests(scores, best, varied, names)
    for table, content in (
        ("scores", found.scores),
        ("areas", found.areas),
        ("variability", varied),
        ("summary", rows),
        ("tests", tested),
        ("reliability", reliability_rows(found.bins, names)),
        ("left_out", found.left_out),
    ):
        write(chosen.output / f"evaluate_{table}.tsv", content)
    page = write_page(chosen, dataset, found, scores, best, varied, rows, tested, names, contrasts)
    refused = scores["status"].isin([masks.OTHER_GRID, masks.UNREADABLE, FAILED])
    for reason in dict.fromkeys(scores.loc[refused, "reason"]):
        sys.stderr.write(f"softseg-evaluate: {reason}\n")
    judged = scores["source_image"].nunique()
    sys.stderr.write(f"softseg-evaluate: {judged} labelled images, {len(names)} methods; see {page}\n")
    return Exit.SOME_FAILED if refused.any() else Exit.DONE


def contrasts_of(best: pd.DataFrame, asked: Sequence[str]) -> list[str]:
    """The contrasts over which spread is computed: those asked for that are there, else all but DWI.

    Parameters
    ----------
    best : DataFrame
    asked : sequence of str
        In their order; empty is all.
    """
    there = [str(name) for name in best["contrast"].unique() if name != DWI]
    return [name for name in asked if name in there] if asked else there
