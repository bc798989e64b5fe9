"""The blinded pairs in a real browser: judged by keys, kept, exported, counted with the key."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from bench.browser import PROGRAM, Tab
from softseg_bids.pages.pairs import PairFigure
from softseg_bids.pages.study import ComparePage, PairView, compare_page

pytestmark = pytest.mark.skipif(
    PROGRAM is None, reason="no chromium here (Debian: apt-get install chromium): the page is not looked at"
)

EVIL = '</script><script>window.hacked=1</script><img src=x onerror="window.hacked=2">'
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d4944415478da63fcffff3f030005fe02fea735c8870000000049454e44ae426082"
)
ESTIMATE = {"estimate": 1.5, "ci_low": 1.0, "ci_high": 2.0}
KEY = "pair\ta\tb\n1\tsoftseg\tother\n2\tother\tsoftseg\n3\tother\tsoftseg\n4\tsoftseg\tother\n"
GIVE = """(id, text) => {
  const files = new DataTransfer();
  files.items.add(new File([text], "table.tsv"));
  const input = document.getElementById(id);
  input.files = files.files;
  input.dispatchEvent(new Event("change"));
}"""


def made(path: Path, pairs: int = 4) -> Path:
    row = {"region": "vert-C3", "contrast": "T2w", "kind": "mask", "n_people": 4, "notes": ""}
    page = ComparePage(
        dataset=EVIL, name=EVIL, out="out", other="other", identity="test", n_people=4, n_images=8,
        by_mask=True, by_csv=False,
        agreement=[row | dict.fromkeys(("bias", "limit_low", "limit_high", "slope", "scaling"), ESTIMATE)],
        failures=[
            {"source_image": EVIL, "tool": "other", "kind": "mask", "failure": "missing", "reason": EVIL}
        ],
        failure_counts=[("missing", 0, 1)], failed={"softseg": 0, "other": 1}, figures=[],
        pairs=[PairView(n, f"T{n}w", PairFigure(PNG, PNG, PNG)) for n in range(1, pairs + 1)], seed=1,
    )  # fmt: skip
    return compare_page(page, "0.0", path)


@pytest.fixture
def page(tmp_path: Path) -> Path:
    return made(tmp_path / "compare.html")


@pytest.fixture
def tab(chromium: Tab, page: Path) -> Tab:
    chromium.open(page.as_uri())
    chromium.run("localStorage.clear()")
    chromium.said.clear()
    chromium.requests.clear()
    chromium.open(page.as_uri())
    return chromium


def text(tab: Tab, selector: str) -> str:
    return str(tab.run(f"document.querySelector({json.dumps(selector)}).textContent"))


def chosen(tab: Tab) -> list[str]:
    found: list[str] = tab.run(
        "Array.from(document.querySelectorAll('[data-choice][aria-pressed=true]'), (b) => b.dataset.choice)"
    )
    return found


def give(tab: Tab, which: str, content: str) -> None:
    tab.run(f"({GIVE})({json.dumps(which)}, {json.dumps(content)})")


def until(tab: Tab, script: str) -> Any:
    end = time.monotonic() + 60
    while not (value := tab.run(script)):
        assert time.monotonic() < end, script
        time.sleep(0.1)
    return value


def test_it_is_quiet_and_asks_nobody(tab: Tab) -> None:
    assert tab.run("document.documentElement.dataset.ready") == "true"
    assert tab.said == [] and tab.run("window.hacked") is None
    assert {address.split(":")[0] for address in tab.requests} <= {"file", "data"}
    assert text(tab, "h1") == f"softseg and {EVIL} on {EVIL}"
    assert "Not validated in patients" in text(tab, "main")


def test_pairs_are_judged_by_keys_kept_exported_and_read_again(tab: Tab, page: Path, tmp_path: Path) -> None:
    tab.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    seen = []
    for key in ("a", "b", "e", "n"):
        seen.append(text(tab, "#pair-title"))
        tab.press(key)
        tab.press("ArrowRight")
    assert seen == [f"Pair {n} of 4 · T{n}w" for n in range(1, 5)]
    assert text(tab, "#pair-title") == seen[0] and chosen(tab) == ["A"]
    tab.press("a")
    assert chosen(tab) == [] and text(tab, "#progress") == "3 of 4 pairs judged"
    tab.press("a")
    tab.press("r")
    tab.call("Input.insertText", text="leaks\tlow")
    tab.press("Enter")
    tab.open(page.as_uri())
    assert text(tab, "#progress") == "4 of 4 pairs judged" and chosen(tab) == ["A"]
    tab.run("document.getElementById('export').click()")
    end = time.monotonic() + 60
    while not (exported := tmp_path / "ratings.tsv").is_file():
        assert time.monotonic() < end
        time.sleep(0.1)
    content = exported.read_text()
    lines = [line.split("\t") for line in content.splitlines()]
    assert lines[0] == ["pair", "choice", "note", "rater", "date"]
    assert [line[:3] for line in lines[1:]] == [
        ["1", "A", "leaks low"], ["2", "B", "n/a"], ["3", "equal", "n/a"], ["4", "neither", "n/a"],
    ]  # fmt: skip
    tab.run("localStorage.clear()")
    tab.open(page.as_uri())
    assert text(tab, "#progress") == "0 of 4 pairs judged"
    give(tab, "import-file", content)
    until(tab, "document.getElementById('progress').textContent === '4 of 4 pairs judged'")
    assert tab.run("document.getElementById('note').value") == "leaks low" and tab.said == []


def test_the_key_counts_who_was_better(tab: Tab) -> None:
    for key in ("a", "b", "b", "n"):  # ours, ours, ours, neither
        tab.press(key)
        tab.press("ArrowRight")
    give(tab, "key-file", KEY)
    until(tab, "document.querySelector('#result table') !== null")
    counts = tab.run("Array.from(document.querySelectorAll('#result .num'), (cell) => cell.textContent)")
    assert counts == ["3", "0", "0", "1"]
    assert "p = 0.250" in text(tab, "#result")  # 2 / 2**3


def test_outlines_can_be_hidden(tab: Tab) -> None:
    visible = "getComputedStyle(document.querySelector('.two .over')).visibility"
    assert tab.run(visible) == "visible"
    tab.press("m")
    assert tab.run(visible) == "hidden"


@pytest.mark.parametrize("width", [360, 1900])
def test_nothing_runs_out_of_the_window(tab: Tab, width: int) -> None:
    tab.size(width, 900)
    try:
        assert tab.run("document.documentElement.scrollWidth") <= width
    finally:
        tab.size(1200, 900)


def test_without_pairs_the_page_still_stands(chromium: Tab, tmp_path: Path) -> None:
    chromium.said.clear()
    chromium.open(made(tmp_path / "none.html", 0).as_uri())
    assert chromium.run("document.documentElement.dataset.ready") == "true" and chromium.said == []
    assert "There is no pair to show" in text(chromium, "#judge")
