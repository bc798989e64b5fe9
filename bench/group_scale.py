"""The group level at scale: 10,000 participants x 6 contrasts x 10 regions.

``python -m bench.group_scale FOLDER [--participants 10000]`` writes session tables as the participant
level does (once; they are used again) and runs the group level on them. Prints seconds of reading and
tables, of statistics, of the page, and the largest memory. Limits: 60 s for reading and all tables, 120 s for
statistics, 2 GB. They hold for seconds of the processor, which a busy machine does not stretch.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from softseg_bids.app import group, group_page, group_statistics
from softseg_bids.app.columns import LONG
from softseg_bids.app.options import settings_of
from softseg_bids.bids import derivatives

CONTRASTS = ("T1w", "T2w", "T2starw", "MTon", "GRET1w", "DWI")
REGIONS = ("cord", "common", *(f"vert-C{n}" for n in range(1, 8)), "vert-C2:C3")
SITES = 40
TABLES_S, STATISTICS_S, MEMORY_GB = 60.0, 120.0, 2.0


class Seconds(NamedTuple):
    """Of the processor (all threads), and by the clock."""

    processor: float
    wall: float


def write_study(out: Path, participants: int) -> None:
    """Tables of participants of 40 sites, a third of them patients."""
    rng = np.random.default_rng(1)
    sites = 2 * rng.normal(size=SITES)
    for n in range(participants):
        who, site = f"{n:05d}", n % SITES
        table = derivatives.session_table(out, who, None)
        if table.exists():
            continue
        patient = rng.random() < 1 / 3
        size = 72 + sites[site] - 4 * patient + 6 * rng.normal()
        rows = [
            _row(who, site, contrast, region, size + rng.normal())
            for contrast in CONTRASTS
            for region in REGIONS
        ]
        person = {
            "participant_id": f"sub-{who}", "age": f"{rng.uniform(20, 70):.1f}", "sex": "MF"[n % 2],
            "pathology": "MS" if patient else "HC",
        }  # fmt: skip
        cards = [
            {"key": f"{who}_{name}", "source": _source(who, name), "contrast": name, "status": "measured"}
            for name in CONTRASTS
        ]
        said = {
            "participant": who, "session": None, "missing": [], "participant_row": person, "session_row": {},
            "images": cards,
        }  # fmt: skip
        derivatives.write_table(table, rows, columns=LONG, extra={"Session": said})


def _source(who: str, contrast: str) -> str:
    return f"sub-{who}/anat/sub-{who}_{contrast}.nii.gz"


def _row(who: str, site: int, contrast: str, region: str, area: float) -> dict[str, Any]:
    return {
        "participant_id": f"sub-{who}", "contrast": contrast, "region": region, "plane": "ax",
        "site": f"site{site}", "manufacturer": ("Siemens", "GE", "Philips")[site % 3],
        "scanner": f"M{site % 7}",
        "software": "1", "source_image": _source(who, contrast), "area_mm2": area,
        "area_binary_mm2": area + 0.4,
        "area_sd_mm2": 1.0, "diameter_ap_mm": 7.8, "diameter_rl_mm": 11.9, "eccentricity": 0.76,
        "solidity": 0.97,
        "angle_ap_deg": 5.0, "angle_rl_deg": 1.0, "length_mm": 18.0, "n_slices": 18,
        "coverage": 1.0, "start_mm": 20.0, "end_mm": 38.0, "csa_fit": "good",
        "mask_source": "model", "levels_source": "given",
        "angle_source": "own", "gradient_correction": "3D", "isocentre_offset_mm": 10.0,
        "model_hash": "abc", "version": "1", "status": "measured",
    }  # fmt: skip


def main() -> int:
    """Write the study, run the group level, print times and memory; exit code 1 beyond a limit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--participants", type=int, default=10_000)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    write_study(arguments.folder, arguments.participants)
    spent = {"statistics": Seconds(0.0, 0.0), "page": Seconds(0.0, 0.0)}
    group.statistics = _timed(group_statistics.statistics, "statistics", spent)
    group.write_group_page = _timed(group_page.write_group_page, "page", spent)
    begin = now()
    group.run(settings_of(["/nowhere", str(arguments.folder), "group"]))
    tables = since(begin)
    for part in spent.values():
        tables = Seconds(tables.processor - part.processor, tables.wall - part.wall)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    parts = {"reading and tables": tables, **spent}
    said = "; ".join(
        f"{name} {part.processor:.0f} s ({part.wall:.0f} s by the clock)" for name, part in parts.items()
    )
    sys.stdout.write(f"{arguments.participants} participants: {said}; largest memory {memory:.2f} GB\n")
    slow = tables.processor > TABLES_S or spent["statistics"].processor > STATISTICS_S
    return int(slow or memory > MEMORY_GB)


def now() -> Seconds:
    """The time, by both clocks."""
    return Seconds(time.process_time(), time.perf_counter())


def since(begin: Seconds) -> Seconds:
    """What has passed since then."""
    end = now()
    return Seconds(end.processor - begin.processor, end.wall - begin.wall)


def _timed(call: Callable[..., Any], name: str, spent: dict[str, Seconds]) -> Callable[..., Any]:
    """The same function, which leaves what it took in ``spent``."""

    def timed(*arguments: Any) -> Any:
        begin = now()
        found = call(*arguments)
        spent[name] = since(begin)
        return found

    return timed


if __name__ == "__main__":
    sys.exit(main())
