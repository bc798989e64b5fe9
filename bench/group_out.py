"""An OUT folder as the participant level leaves it, of people who were never scanned: for the group's pages.

Tables and figures only, by the app's own writers; areas follow a simple law (person, contrast, site, level)
with planted outliers, failures and images without cord.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from softseg_bids.app.columns import LONG, SLICES
from softseg_bids.bids import derivatives
from softseg_bids.pages.layers import write_layers, write_picture

CONTRASTS = ("T1w", "T2w", "T2starw", "MTon", "GRET1w", "DWI")
BIAS_MM2 = {"T1w": 1.5, "T2w": 1.0, "T2starw": -0.5, "MTon": -0.5, "GRET1w": 0.0, "DWI": -3.0}
VENDORS = (("Siemens", "Prisma_fit"), ("Philips", "Achieva"), ("GE", "SIGNA Premier"))
# Means of healthy levels, mm² (C1 to T1), rounded.
LEVELS_MM2 = (74.0, 72.0, 72.5, 77.0, 78.0, 74.0, 64.0, 58.0)
LEVEL_MM = 15.0
PLANTED = {"fragment": 0.02, "jump": 0.02, "touches_edge": 0.01, "blurred": 0.01}


def make_out(
    out: Path, people: int, *, contrasts: Sequence[str] = CONTRASTS, sites: int = 3, levels: bool = True,
    visits: int = 1, failures: bool = True, figures: bool = True, name: str = "simulated study",
    seed: int = 7,
) -> Path:  # fmt: skip
    """Write the sessions of a study.

    Parameters
    ----------
    out : Path
    people, sites, visits : int
        Sites of 0 are named nowhere.
    contrasts : sequence of str
    levels : bool
        Whether there are disc labels.
    failures : bool
        Whether some image failed, one shows no cord, and some areas are wrong.
    figures : bool
    name : str
        Of the dataset.
    seed : int
    """
    rng = np.random.default_rng(seed)
    derivatives.write_description(out, out / "bids", name, "0.1.0")
    pictures = _pictures(rng) if figures else None
    for person in range(people):
        size = rng.normal(0.0, 6.0)
        site = person % sites if sites else None
        traits = {
            "age": str(int(rng.integers(20, 60))), "sex": "MF"[person % 2],
            "pathology": "MS" if person % 5 == 4 else "HC",
        }  # fmt: skip
        for visit in range(visits):
            trouble = _trouble(rng, person, people) if failures else {}
            drift = -0.6 * visit * (2.0 if traits["pathology"] == "MS" else 1.0)
            session = f"{visit + 1}" if visits > 1 else None
            dates = {"acq_time": f"20{20 + visit}-03-0{1 + person % 8}T10:00:00"} if session else {}
            _session(
                out, f"{person + 1:03d}", session, site, traits, dates, size + drift, contrasts, levels,
                trouble, name, pictures, rng,
            )  # fmt: skip
    return out


def _trouble(rng: np.random.Generator, person: int, people: int) -> dict[str, str]:
    """Contrast key -> what goes wrong with it: planted for the first people, then by chance."""
    planted: dict[int, dict[str, str]] = {
        1 % people: {"T1w": "failed"}, 2 % people: {"MTon": "no_cord", "T2w": "outlier"},
    }  # fmt: skip
    by_chance = {
        contrast: flag for contrast in CONTRASTS for flag, share in PLANTED.items() if rng.random() < share
    }
    absent = {contrast: "absent" for contrast in CONTRASTS[2:] if rng.random() < 0.03}
    return by_chance | absent | planted.get(person, {})


def _session(
    out: Path, label: str, session: str | None, site: int | None, traits: dict[str, str],
    dates: dict[str, str], size: float, contrasts: Sequence[str], levels: bool, trouble: dict[str, str],
    name: str, pictures: Any,
    rng: np.random.Generator,
) -> None:  # fmt: skip
    folder = "/".join(f"sub-{label}_ses-{session}".split("_") if session else [f"sub-{label}"])
    stem = derivatives.session_stem(label, session)
    vendor, scanner = VENDORS[(site or 0) % len(VENDORS)]
    shift = 1.5 * np.sin(site) if site is not None else 0.0
    scanned = (
        {"site": f"site{site + 1:02d}", "manufacturer": vendor, "scanner": scanner}
        if site is not None
        else {}
    )
    rows: list[dict[str, Any]] = []
    cards: list[dict[str, Any]] = []
    lost: list[dict[str, str]] = []
    for contrast in contrasts:
        wrong = trouble.get(contrast, "")
        source = f"{folder}/anat/{stem}_{contrast}.nii.gz"
        if wrong == "absent":
            continue
        if wrong == "failed":
            lost.append(
                {"input": source, "contrast": contrast, "status": "failed", "reason": "the file is damaged"}
            )
            continue
        flags = [] if wrong in ("", "no_cord", "outlier") else [wrong]
        status = "no_cord" if wrong == "no_cord" else "measured"
        card = {
            "key": f"{stem}_{contrast}", "contrast": contrast, "source": source, "status": status,
            "plane": "iso",
            "voxel_mm": [1.0, 1.0, 1.0], "mask_source": "model", "edited": None, "gradient_correction": "3D",
            "stem": stem, "mask_name": f"{stem}_label-SC_desc-{contrast}_mask", "folder": f"{folder}/anat",
            "repeat": "", "csa_fit": "good", "levels_source": "given" if levels else "none",
            "angle_source": "own",
            "flags": flags, "notes": [], "slice_flags": dict.fromkeys(flags, 3) | {"partial_end": 6},
        }  # fmt: skip
        cards.append(card)
        common = {
            "participant_id": f"sub-{label}", "session_id": f"ses-{session}" if session else None,
            "contrast": contrast, "plane": "iso", **scanned,
            "source_image": source, "mask_source": "model", "gradient_correction": "3D",
            "model_hash": "0123456789ab", "version": "0.1.0", "status": status, "flags": flags or None,
        }  # fmt: skip
        if status == "no_cord":
            rows.append({**common, "region": "cord", "flags": ["no_cord"], "levels_source": "none"})
        else:
            away = (
                size
                + shift
                + BIAS_MM2.get(contrast, 0.0)
                + rng.normal(0.0, 0.8)
                + (28.0 if wrong == "outlier" else 0.0)
            )
            rows += _measure(out, card, common, away, levels, rng)
        if pictures:
            _draw(out / f"sub-{label}" / "figures", card, pictures)
    facts = {
        "participant": label, "session": session, "dataset": name, "version": "0.1.0",
        "model_hash": "0123456789ab", "participant_row": {"participant_id": f"sub-{label}", **traits},
        "session_row": dates, "images": cards, "common_mm": None, "left_out_of_common": {}, "missing": lost,
    }  # fmt: skip
    table = derivatives.session_table(out, label, session)
    derivatives.write_table(table, rows, columns=LONG, extra={"Session": facts})


def _measure(
    out: Path,
    card: dict[str, Any],
    common: dict[str, Any],
    away: float,
    levels: bool,
    rng: np.random.Generator,
) -> list[dict[str, Any]]:
    """The per-slice table of an image, written; and its rows of the long table."""
    count = int(len(LEVELS_MM2) * LEVEL_MM)
    level = 1.0 + np.arange(count) / LEVEL_MM
    mean = np.interp(level, np.arange(len(LEVELS_MM2)) + 1.5, LEVELS_MM2)
    area = mean + away + rng.normal(0.0, 0.7, count)
    ends = np.array([["partial_end"] if n < 3 or n >= count - 3 else [] for n in range(count)], dtype=object)
    slices = [
        {
            "slice": n, "position_mm": float(n), "x_mm": 0.0, "y_mm": 0.0, "z_mm": -float(n),
            "level": level[n] if levels else None, "area_mm2": area[n], "area_binary_mm2": area[n] - 1.0,
            "diameter_ap_mm": 8.0, "diameter_rl_mm": 12.0, "eccentricity": 0.7, "solidity": 0.97,
            "angle_ap_deg": 5.0, "angle_rl_deg": 0.0, "length_mm": 1.0, "edited": False, "flags": ends[n],
        }
        for n in range(count)
    ]  # fmt: skip
    path = out / card["folder"] / f"{card['stem']}_label-SC_desc-{card['contrast']}Perslice_morph.tsv"
    derivatives.write_table(path, slices, columns=SLICES)
    regions = {"cord": (0.0, 9.0), "common": (1.0, 8.5)}
    if levels:
        regions |= {f"vert-C{n}": (float(n), n + 1.0) for n in range(1, 8)}
        regions |= {"vert-C2:C3": (2.0, 4.0), "disc-C2C3": (2.7, 3.3)}
    rows = []
    for region, (first, last) in regions.items():
        inside = (level >= first) & (level < last)
        rows.append(
            {
                **common, "region": region, "area_mm2": area[inside].mean(),
                "area_binary_mm2": area[inside].mean() - 1.0,
                "area_sd_mm2": area[inside].std(), "diameter_ap_mm": 8.0, "diameter_rl_mm": 12.0,
                "eccentricity": 0.7, "solidity": 0.97, "angle_ap_deg": 5.0, "angle_rl_deg": 0.0,
                "length_mm": float(inside.sum()), "n_slices": int(inside.sum()),
                "coverage": 1.0 if region != "vert-C7" else 0.75 + 0.25 * rng.random(),
                "start_mm": (first - 1) * LEVEL_MM, "end_mm": (last - 1) * LEVEL_MM, "csa_fit": "good",
                "edited": 0,
                "levels_source": card["levels_source"], "angle_source": "own", "isocentre_offset_mm": 20.0,
            }
        )  # fmt: skip
    return rows


def _pictures(rng: np.random.Generator) -> Any:
    """A disc in noise, as picture, contour and soft mask."""
    y, x = np.mgrid[:120, :360]
    distance = np.hypot(x % 60 - 30.0, y % 60 - 30.0)
    soft = np.clip(16.0 - distance, 0.0, 1.0)
    grey = np.clip(60 + 110 * soft + rng.normal(0, 12, soft.shape), 0, 255).astype(np.uint8)
    edge = (np.abs(distance - 15.5) < 0.8) * np.uint8(255)
    return np.repeat(grey[..., None], 3, axis=2), edge.astype(np.uint8), (255 * soft).astype(np.uint8)


def _draw(folder: Path, card: dict[str, Any], pictures: Any) -> None:
    stem = f"{card['stem']}_desc-{card['contrast']}"
    if card["status"] == "no_cord":
        write_picture(folder / f"{stem}Overview_qc.png", pictures[0])
        return
    write_layers(folder / f"{stem}Montage_qc.png", *pictures)
