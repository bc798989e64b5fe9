"""What a new model changes on a frozen dataset: `softseg-drift OLD NEW DATA`."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from softseg_bids.app import looking
from softseg_bids.app.group_read import WHO, RowsOf, read_long
from softseg_bids.app.group_tables import best_images, usable_rows
from softseg_bids.app.outcome import Exit, Stop
from softseg_bids.app.results import session_tables
from softseg_bids.bids.derivatives import write_json
from softseg_bids.stats.agreement import LEAST_PAIRS
from softseg_bids.study.agreements import agreements
from softseg_bids.study.arguments import PACKAGED
from softseg_bids.study.drift_page import write_page
from softseg_bids.study.place import leading_region, region_rank
from softseg_bids.study.running import Side, has_results, model_facts, run_model, settings_for
from softseg_bids.study.sources import check_dataset, check_names, check_same, checksums
from softseg_bids.study.tables import write

PASS, FAIL, NOT_JUDGED = "pass", "fail", "not_judged"
KEY = [*WHO, "contrast", "region", "source_image"]
OLD, NEW = "old_area_mm2", "new_area_mm2"


def run(chosen: Namespace) -> Exit:
    """Run both models, compare, judge, write tables, JSON and page.

    Parameters
    ----------
    chosen : Namespace
        ``old new data output tolerance region`` and the options of running.

    Returns
    -------
    Exit
        1 if a contrast drifted by more than the tolerance or an area was lost, or some image failed.

    Raises
    ------
    Stop
        65 if the two have no area in common, 64 for a region that the old model measured nowhere and for a
        folder of results of another dataset, 18 for one without any of the chosen participants and contrasts.
    """
    check_given(chosen)
    codes: list[Exit] = []
    sides = [_side(chosen, name, codes) for name in ("old", "new")]
    old, new = (checksums(side.out) for side in sides)
    check_same(sides[1].out, new, sides[0].out, old)
    areas = joined(*(chosen_areas(side.out, chosen) for side in sides))
    if not areas["in_statistics"].any():
        raise Stop(
            Exit.ALL_UNREADABLE,
            f"{chosen.data}: no area was measured by both models; look at the pages in {sides[0].out} and "
            f"{sides[1].out}",
        )
    # A region that the new model alone measured would judge nothing.
    there = sorted(set(areas.loc[areas[OLD].notna(), "region"]), key=region_rank)
    region = chosen.region or leading_region(there)
    if region not in there:
        raise Stop(
            Exit.USAGE,
            f"--region {region}: was not measured by the old model; there are {', '.join(there)}",
        )
    rows = statistics(areas)
    areas["lost"] = lost_rows(areas, region)
    verdicts = judged(areas, rows, region, chosen.tolerance)
    frame = areas.assign(difference_mm2=areas[NEW] - areas[OLD])
    write(chosen.output / "drift_areas.tsv", RowsOf(frame))
    write(chosen.output / "drift.tsv", rows)
    write(chosen.output / "drift_verdict.tsv", verdicts)
    passed = all(row["verdict"] != FAIL for row in verdicts)
    write_json(
        chosen.output / "drift_summary.json",
        {
            "Passed": passed, "Region": region, "ToleranceMm2": chosen.tolerance, "Dataset": str(chosen.data),
            "Old": _said(sides[0]), "New": _said(sides[1]),
            "Contrasts": {row["contrast"]: _plain(row) for row in verdicts},
        },
    )  # fmt: skip
    page = write_page(chosen, sides, frame, rows, verdicts, region)
    for row in verdicts:
        sys.stderr.write(f"softseg-drift: {row['contrast']}, {region}: {_in_words(row)}\n")
    sys.stderr.write(f"softseg-drift: {'passed' if passed else 'FAILED'}; see {page}\n")
    return Exit.DONE if passed and not any(codes) else Exit.SOME_FAILED


def check_given(chosen: Namespace) -> None:
    """Refuse, before anything is run, folders of results that cannot be compared on the dataset.

    Raises
    ------
    Stop
        18 for one without any of the chosen participants and contrasts, 64 for one of another dataset.
    """
    folders = [given for given in (chosen.old, chosen.new) if given is not None and has_results(given)]
    sources = {out: frozenset(map(str, chosen_areas(out, chosen)["source_image"])) for out in folders}
    for out, named in sources.items():
        check_names(out, named, chosen.data)
    if not sources:
        return
    try:
        dataset = looking.look(settings_for(chosen.data, chosen.output, chosen))
    except Stop as none:
        # Two folders of results can be compared without the images, as an archive may have dropped them.
        sys.stderr.write(f"softseg-drift: results are not checked against their images: {none}\n")
        return
    for out, named in sources.items():
        check_dataset(out, named, dataset)


def chosen_areas(out: Path, chosen: Namespace) -> pd.DataFrame:
    """The areas of results, of the chosen participants and contrasts alone.

    A folder of results may hold others, and so may that of an earlier call.

    Parameters
    ----------
    out : Path
    chosen : Namespace
        ``participants contrasts``, matched as the app does; empty is all.

    Raises
    ------
    Stop
        18 if it holds none of those.
    """
    frame = read_long(session_tables(out))
    kept = pd.Series(True, index=frame.index)
    if chosen.participants:
        labels = [f"sub-{label.removeprefix('sub-')}" for label in chosen.participants]
        kept &= frame["participant_id"].isin(labels)
    if chosen.contrasts:
        kept &= frame["contrast"].str.casefold().isin([key.casefold() for key in chosen.contrasts])
    if len(frame) and not kept.any():
        raise Stop(
            Exit.NOTHING_SELECTED,
            f"{out}: holds no results of {' '.join([*chosen.participants, *chosen.contrasts])}; there "
            f"are {', '.join(sorted(set(frame['participant_id'])))} and "
            f"{', '.join(sorted(set(frame['contrast'].dropna())))}",
        )
    return frame[kept]


def joined(old: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    """One row an image and region that either model measured: its two areas, NaN where one did not.

    ``in_statistics`` is one image a person, contrast and region, of those that both measured: of several
    images of a contrast the one that covers most, by the old model; of several sessions the first.
    """
    sides = []
    for frame, name in ((old, OLD), (new, NEW)):
        part = usable_rows(frame)
        part = part.assign(session_id=part["session_id"].astype(object).where(part["session_id"].notna(), ""))
        sides.append(part[[*KEY, "area_mm2"]].rename(columns={"area_mm2": name}))
    both = sides[0].merge(sides[1], on=KEY, how="outer", sort=False)
    best = [best_images(frame).set_index(["source_image", "region"]).index for frame in (old, new)]
    pairs = pd.MultiIndex.from_frame(both[["source_image", "region"]])
    both["one_sided"] = both[[OLD, NEW]].isna().any(axis=1)
    both["rank"] = np.where(pairs.isin(best[0]), 0, np.where(pairs.isin(best[1]), 1, 2))
    both = both.sort_values(["one_sided", "session_id", "rank", "source_image"], kind="stable")
    first = ~both.duplicated(["participant_id", "contrast", "region"])
    both["in_statistics"] = first & ~both["one_sided"]
    both = both.sort_values(["participant_id", "session_id", "contrast", "source_image"], kind="stable")
    both = both.sort_values("region", key=lambda names: names.map(region_rank), kind="stable")
    return both.drop(columns=["rank", "one_sided"]).reset_index(drop=True)


def lost_rows(areas: pd.DataFrame, region: str) -> pd.Series:
    """Which areas count as lost, a boolean a row.

    Those over the judged region that only the old model has, and all areas of images of which the new
    model has none: a contrast that does not show the region must not disappear unseen, either.

    Parameters
    ----------
    areas : DataFrame
        From :func:`joined`.
    region : str
    """
    old_only = areas[OLD].notna() & areas[NEW].isna()
    gone = ~areas[NEW].notna().groupby(areas["source_image"]).transform("any")
    return old_only & ((areas["region"] == region) | gone)


def statistics(areas: pd.DataFrame) -> list[dict[str, Any]]:
    """Bias, limits, slope and scaling factor of every region and contrast, new minus old."""
    return agreements(areas[areas["in_statistics"]], ("region", "contrast"), (NEW, OLD))


def judged(
    areas: pd.DataFrame, rows: Sequence[Mapping[str, Any]], region: str, tolerance_mm2: float
) -> list[dict[str, Any]]:
    """Whether each contrast passes: the bias within the tolerance, and no image lost.

    Every image counts for losses, one a person for the bias. A contrast of which the old model measured
    nothing over the region, and nothing is lost, is told and not judged.

    Parameters
    ----------
    areas : DataFrame
        From :func:`joined`, with ``lost`` of :func:`lost_rows`.
    rows : sequence of mapping
        From :func:`statistics`.
    region : str
    tolerance_mm2 : float
    """
    found = {(row["contrast"], row["statistic"]): row for row in rows if row["region"] == region}
    verdicts = []
    for contrast, every in areas.groupby("contrast", sort=True):
        part = every[every["region"] == region]
        there = part[[OLD, NEW]].notna()
        lost = int(every.loc[every["lost"], "source_image"].nunique())
        gained = int((there[NEW] & ~there[OLD]).sum())
        pairs = part[part["in_statistics"]]
        n = len(pairs)
        bias = float((pairs[NEW] - pairs[OLD]).mean()) if n else float("nan")
        interval = found.get((contrast, "bias"), {})
        low, high = (float(interval.get(name, float("nan"))) for name in ("ci_low", "ci_high"))
        if not n and not lost:
            verdict = NOT_JUDGED
        else:
            verdict = PASS if n and abs(bias) <= tolerance_mm2 and not lost else FAIL
        reasons = [f"bias {bias:+.2f} mm² of {n} people" if n else f"no {region} was measured by both"]
        reasons += [f"{_images(lost)} measured by the old model only"] if lost else []
        reasons += [f"{_images(gained)} by the new model only"] if gained else []
        reasons += ["too few people for an interval"] if 0 < n < LEAST_PAIRS else []
        verdicts.append(
            {
                "region": region, "contrast": contrast, "n_people": n, "n_lost": lost, "bias_mm2": bias,
                "ci_low": low, "ci_high": high,
                "scaling": found.get((contrast, "scaling"), {}).get("estimate"),
                "tolerance_mm2": tolerance_mm2, "verdict": verdict,
                "interval_within": bool(max(abs(low), abs(high)) <= tolerance_mm2),
                "reason": ", ".join(reasons),
            }
        )  # fmt: skip
    return verdicts


def _in_words(row: Mapping[str, Any]) -> str:
    return f"{row['verdict'].replace('_', ' ')}; {row['reason']}"


def _images(count: int) -> str:
    return f"{count} image{'' if count == 1 else 's'}"


def _side(chosen: Namespace, name: str, codes: list[Exit]) -> Side:
    """Results of one model: its own, if a folder of results was given, else made now."""
    given: Path | None = getattr(chosen, name)
    out = chosen.output / name
    if given is not None and has_results(given):
        out = given
    else:
        codes.append(run_model(given, chosen.data, out, chosen))
    return Side(str(given) if given else PACKAGED, out, model_facts(out))


def _said(side: Side) -> dict[str, str]:
    return {"Model": side.name, "ModelHash": side.facts["model_hash"], "Version": side.facts["version"]}


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row as JSON can say it: NaN is null."""
    return {
        name: None if isinstance(value, float) and np.isnan(value) else value for name, value in row.items()
    }
