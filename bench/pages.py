"""How long the group's page takes to write and to open: 500 participants of six contrasts, by default.

``python -m bench.pages`` makes an OUT of people who were never scanned, runs the group level, and opens
the page in chromium several times. Opening counts from the request to the moment when everything
above the fold is drawn and the page answers; the quickest of the openings is the least disturbed one.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from bench.browser import browser
from bench.group_out import CONTRASTS, make_out
from softseg_bids.app.cli import main as softseg
from softseg_bids.app.group_page import write_group_page

LIMIT_S = 3.0


class Opening(NamedTuple):
    """One opening of the page: seconds until it was ready, and until its plots were drawn, too."""

    ready_s: float
    drawn_s: float


def openings(page: Path, profile: Path, times: int) -> list[Opening]:
    """Open a page several times, each time in a fresh state.

    Raises
    ------
    BrowserError
        If there is no chromium.
    """
    found = []
    with browser(profile, patience_s=600.0) as tab:
        tab.size(1400, 1000)
        for _ in range(times):
            tab.open("about:blank")
            tab.open(page.as_uri())
            ready = float(tab.run("document.documentElement.dataset.ready")) / 1000.0
            drawn = """new Promise((done) => {
              document.getElementById("plots").scrollIntoView();
              requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now())));
            })"""
            found.append(Opening(ready, float(tab.run(drawn)) / 1000.0))
            if tab.said:
                raise RuntimeError(f"{page}: the console says {tab.said[0]}")
    return found


def main(argv: Sequence[str]) -> int:
    """Measure and print; 1 if the page opens in 3 s at none of its openings."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--participants", type=int, default=500)
    parser.add_argument("--sites", type=int, default=40)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--out", type=Path, help="an OUT with the group level done, instead of a new one")
    chosen = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="softseg-pages-") as folder:
        out = chosen.out
        if out is None:
            out = make_out(
                Path(folder) / "out",
                chosen.participants,
                sites=chosen.sites,
                contrasts=CONTRASTS,
                figures=False,
            )
            if code := softseg(["/nowhere", str(out), "group"]):
                return code
        start = time.process_time()
        page = write_group_page(out)
        written = time.process_time() - start
        found = openings(page, Path(folder) / "profile", chosen.times)
        size = page.stat().st_size
    best = min(found)
    sys.stdout.write(
        f"{size / 1e6:.1f} MB, written in {written:.1f} s of processor time; ready after "
        f"{best.ready_s:.2f} s, plots drawn after {min(each.drawn_s for each in found):.2f} s "
        f"(quickest of {len(found)}; slowest {max(found).ready_s:.2f} s)\n"
    )
    return int(best.ready_s > LIMIT_S)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
