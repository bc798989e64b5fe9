"""The group's page, filled from what lies in OUT: the group's tables, the sessions' facts, and figures."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from softseg_bids.app.exclusions import Exclusion, exclusion_of
from softseg_bids.app.group_page_profiles import profiles
from softseg_bids.app.group_read import people, visit_order
from softseg_bids.app.group_traces import trace_of
from softseg_bids.app.identity import library_versions
from softseg_bids.app.results import session_facts, session_tables
from softseg_bids.bids import derivatives
from softseg_bids.bids.sidecars import read_json
from softseg_bids.image.volume import DataError
from softseg_bids.pages.group import GroupPage, TableData, group_page
from softseg_bids.pages.group_data import packed, packed_rows
from softseg_bids.pages.group_tables import ELSEWHERE, KNOWN, Known
from softseg_bids.pages.methods import Study, Trace, bibliography, methods

Row = dict[str, str | None]

# More rows than that, and the page shows the first of them and names the file.
MOST_ROWS = 40_000
AREAS = ("area_mm2", "area_binary_mm2", "area_sd_mm2", "coverage")
FROM_QC = (
    "area_mm2", "area_sd_mm2", "coverage", "length_mm", "n_flagged", "isocentre_offset_mm", "z_contrasts",
    "z_site", "excluded", "flags",
)  # fmt: skip
FROM_CARD = (
    "key", "contrast", "source", "status", "repeat", "plane", "csa_fit", "mask_source", "levels_source",
    "gradient_correction",
)  # fmt: skip
FROM_LONG = ("site", "manufacturer", "scanner", "software")
IMAGE = (
    "session",
    *FROM_CARD,
    *FROM_LONG,
    *FROM_QC,
    "voxel",
    "slice_flags",
    "notes",
    "figure",
    "shown",
    "reason",
)
# Inputs of the ledger that were to be measured and have no image on the page otherwise.
LOST = ("failed", "not run")
FIGURES = {"M": "Montage", "S": "Sagittal", "O": "Overview"}
NAMES = ("participant_id", "session_id")


def write_group_page(out: Path) -> Path:
    """Write ``group.html``, and the methods text (``logs/CITATION.md`` and ``.bib``).

    Parameters
    ----------
    out : Path
        With the group's tables in it.

    Raises
    ------
    DataError
        If the group's tables are not there, or cannot be used.
    """
    wide = _table(out / "group_csa_wide.tsv")
    places_of = {(row["participant_id"], row["session_id"]): place for place, row in enumerate(wide)}
    facts = [(place, said) for said in _facts(out) if (place := places_of.get(_who(said))) is not None]
    long = _long(out / "group_csa.tsv")
    images = _images(out, facts, long, places_of)
    places = {row["source"]: place for place, row in enumerate(images)}
    tables, traces = [], {}
    for known in _present(out):
        rows = _table(out / f"group_{known.name}.tsv")
        tables.append(_table_data(out, known, rows))
        if rows and (trace := trace_of(known.name, rows)) is not None:
            traces[known.name] = trace
    there = {table.name for table in tables}
    extra = read_json(out / "group_csa.json")
    description = read_json(out / "dataset_description.json")
    contrasts = list(dict.fromkeys(str(row["contrast"]) for row in images if row["contrast"]))
    study = _study(long, wide, contrasts, traces, extra)
    page = GroupPage(
        dataset=str(facts[0][1].get("dataset", "")) if facts else str(description.get("Name", "")),
        identity=_identity(description),
        version=", ".join(study.versions), model_hash=", ".join(study.models),
        sessions=_sessions(out, wide, long),
        order=_order(facts, len(wide)),
        group_column=study.options.get("group_column"), controls=study.options.get("controls"),
        images=packed_rows(images, IMAGE),
        areas=_areas(long, places, wide),
        profiles=profiles(_slice_tables(out, facts, places), _excluded(extra, places)),
        tables=tables,
        absent=[
            (f"group_{each.name}.tsv", each.title, each.absent) for each in KNOWN if each.name not in there
        ],
        notes=[str(note) for note in extra.get("Notes", [])],
        methods=methods(study), bibliography=bibliography(study), contrasts=contrasts,
    )  # fmt: skip
    derivatives.write_text(out / "logs" / "CITATION.md", page.methods)
    derivatives.write_text(out / "logs" / "CITATION.bib", page.bibliography)
    return group_page(page, out / "group.html")


def _facts(out: Path) -> Iterable[dict[str, Any]]:
    return map(session_facts, session_tables(out))


def _who(said: Mapping[str, Any]) -> tuple[str, str | None]:
    session = said["session"]
    return f"sub-{said['participant']}", f"ses-{session}" if session else None


def _table(path: Path) -> list[Row]:
    """Rows of one of our own tables; None where a value is missing.

    Raises
    ------
    DataError
        If it is not there.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
            return [{name: None if cell == "n/a" else cell for name, cell in row.items()} for row in reader]
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); run the group level again") from error


def _long(path: Path) -> pd.DataFrame:
    """The columns of the long table that the page shows, labels as categories."""
    text = (
        "participant_id",
        "session_id",
        "contrast",
        "region",
        "levels_source",
        "source_image",
        "model_hash",
        "version",
        *FROM_LONG,
    )
    frame = pd.read_csv(
        path, sep="\t", usecols=[*text, *AREAS], dtype=dict.fromkeys(text, str), na_values=["n/a"],
        keep_default_na=False, quoting=csv.QUOTE_NONE,
    )  # fmt: skip
    # Not in one go: pandas would make numbers of labels that look like them.
    return frame.astype(dict.fromkeys(text, "category"))


def _present(out: Path) -> list[Known]:
    """The tables that are there, those the page knows first."""
    found = {path.stem.removeprefix("group_") for path in out.glob("group_*.tsv")} - ELSEWHERE
    known = [each for each in KNOWN if each.name in found]
    others = sorted(found - {each.name for each in known})
    return known + [Known(name, name.replace("_", " ").capitalize()) for name in others]


def _table_data(out: Path, known: Known, rows: Sequence[Row]) -> TableData:
    dictionary = read_json(out / f"group_{known.name}.json")
    if rows:
        names = list(rows[0])
    else:
        names = [key for key, said in dictionary.items() if isinstance(said, dict) and "Description" in said]
    described = {key: dictionary[key] if isinstance(dictionary.get(key), dict) else {} for key in names}
    shown = packed_rows(rows[:MOST_ROWS], names)
    return TableData(known.name, known.title, known.empty, described, len(rows), shown)


def _images(
    out: Path, facts: Sequence[tuple[int, dict[str, Any]]], long: pd.DataFrame, places_of: Mapping[Any, int]
) -> list[Row]:
    """One row an image, as texts: what was measured or has no cord, then what failed."""
    quality = {row["source_image"]: row for row in _table(out / "group_qc.tsv")}
    first = long.drop_duplicates("source_image").set_index("source_image")[list(FROM_LONG)]
    scanners: dict[Any, dict[Any, Any]] = first.astype(object).where(first.notna(), None).to_dict("index")
    rows: list[Row] = []
    for place, said in facts:
        there = _figures_there(out, said["participant"])
        for card in said["images"]:
            source = card["source"]
            rows.append(
                {name: card.get(name) or None for name in FROM_CARD}
                | scanners.get(source, {})
                | {name: quality.get(source, {}).get(name) for name in FROM_QC}
                | _card(card, said["participant"], there)
                | {"session": str(place)}
            )
    shown = {row["source"] for row in rows}
    for lost in _table(out / "group_missing.tsv"):
        where = places_of.get((lost["participant_id"], lost["session_id"]))
        if lost["status"] in LOST and where is not None and lost["input"] not in shown:
            rows.append(
                {
                    "session": str(where), "contrast": lost["contrast"], "source": lost["input"],
                    "status": lost["status"], "flags": lost["status"], "reason": lost["reason"],
                }
            )  # fmt: skip
    return rows


def _card(card: Mapping[str, Any], participant: str, there: frozenset[str]) -> Row:
    stem = f"{card.get('stem', '')}_desc-{card['contrast']}"
    spacing = " × ".join(f"{size:.3g}" for size in card.get("voxel_mm", ()))
    return {
        "voxel": spacing or None,
        "slice_flags": ", ".join(f"{flag} {count}" for flag, count in card.get("slice_flags", {}).items())
        or None,
        "notes": "; ".join(card.get("notes", ())) or None,
        "figure": f"sub-{participant}/figures/{stem}",
        "shown": "".join(letter for letter, what in FIGURES.items() if f"{stem}{what}_qc.png" in there)
        or None,
    }


def _figures_there(out: Path, participant: str) -> frozenset[str]:
    folder = out / f"sub-{participant}" / "figures"
    return frozenset(path.name for path in folder.iterdir()) if folder.is_dir() else frozenset()


def _sessions(out: Path, wide: Sequence[Row], long: pd.DataFrame) -> dict[str, Any]:
    """Who the sessions are: names, and the participant's own columns; ``page`` says if there is a page."""
    areas = {f"{region}_{contrast}" for region in long["region"].cat.categories
             for contrast in long["contrast"].cat.categories}  # fmt: skip
    areas |= {f"{name}_harmonised" for name in areas}
    columns = [name for name in (wide[0] if wide else NAMES) if name not in areas]
    pages = {path.stem for path in out.glob("sub-*.html")}
    return packed_rows(wide, columns) | {
        "page": packed("page", ["1" if row["participant_id"] in pages else "0" for row in wide])
    }


def _order(facts: Sequence[tuple[int, dict[str, Any]]], count: int) -> list[int]:
    """Which of its person's sessions each is, in the order of the page's."""
    found = [0] * count
    if facts:
        numbers = visit_order(people(said for _, said in facts))
        for (place, _), number in zip(facts, numbers, strict=True):
            found[place] = int(number)
    return found


def _areas(long: pd.DataFrame, places: Mapping[str | None, int], wide: Sequence[Row]) -> dict[str, Any]:
    """The long table as the page needs it; ``used`` says which areas stand in the wide one."""
    image = long["source_image"].map(places).astype(float)
    long = long[image.notna().to_numpy() & long["area_mm2"].notna().to_numpy()]
    named = long[["participant_id", "session_id", "region", "contrast"]].astype(object)
    named = named.where(named.notna(), None)
    keys = list(zip(*(named[name] for name in named), strict=True))
    rows = {(row["participant_id"], row["session_id"]): row for row in wide}
    used, taken = [], set()
    for key, area in zip(keys, long["area_mm2"], strict=True):
        said = rows.get(key[:2], {}).get(f"{key[2]}_{key[3]}")
        # Both tables have six digits.
        fits = said is not None and key not in taken and abs(float(said) - area) <= 2e-5 * abs(area)
        used.append(int(fits))
        if fits:
            taken.add(key)
    region = long["region"].cat
    return {
        "image": {"n": [int(place) for place in image[long.index]]},
        "region": {"s": list(region.categories), "i": region.codes.tolist()},
        "used": {"n": used},
        **{
            name: {"n": [None if np.isnan(value) else value for value in long[name].tolist()]}
            for name in AREAS
        },
    }


def _slice_tables(
    out: Path, facts: Sequence[tuple[int, dict[str, Any]]], places: Mapping[str | None, int]
) -> dict[int, Path]:
    return {
        places[card["source"]]: out
        / card["folder"]
        / f"{card['stem']}_label-SC_desc-{card['contrast']}Perslice_morph.tsv"
        for _, said in facts
        for card in said["images"]
        if card["status"] == "measured" and "folder" in card
    }


def _excluded(extra: Mapping[str, Any], places: Mapping[str | None, int]) -> dict[int, list[Exclusion]]:
    """What people excluded of the images on the page, as the JSON of the long table says."""
    return {
        places[source]: [exclusion_of(said) for said in found]
        for source, found in extra.get("Exclusions", {}).items()
        if source in places
    }


def _identity(description: Mapping[str, Any]) -> str:
    """What a browser keeps this study's ratings under: stays when participants are added or OUT moves."""
    sources = json.dumps([description.get("Name"), description.get("SourceDatasets")], sort_keys=True)
    return hashlib.sha256(sources.encode()).hexdigest()[:16]


def _study(
    long: pd.DataFrame, wide: Sequence[Row], contrasts: Sequence[str],
    tables: Mapping[str, Trace], extra: Mapping[str, Any],
) -> Study:  # fmt: skip
    measured = long[long["area_mm2"].notna()]
    return Study(
        versions=sorted(long["version"].dropna().unique()),
        models=sorted(long["model_hash"].dropna().unique()),
        participants=len({row["participant_id"] for row in wide}),
        sessions=len(wide),
        images=int(long["source_image"].nunique()),
        contrasts=contrasts,
        sites=int(long["site"].nunique()),
        libraries=library_versions(),
        tables=tables,
        regions=frozenset(measured["region"].dropna()),
        levels_sources=frozenset(measured["levels_source"].dropna()),
        options=extra.get("Options", {}),
    )
