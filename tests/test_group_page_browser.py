"""The group's page in a real browser: it sorts, filters, rates, exports, and says nothing to the console."""

from __future__ import annotations

import csv
import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.browser import PROGRAM, BrowserError, Tab
from bench.group_out import make_out
from softseg_bids.app import group_page
from softseg_bids.app.cli import main
from softseg_bids.app.exclusions import read_exclusions
from softseg_bids.app.group_page import write_group_page

pytestmark = pytest.mark.skipif(
    PROGRAM is None, reason="no chromium here (Debian: apt-get install chromium): the page is not looked at"
)

EVIL = '</script><script>window.hacked=1</script><img src=x onerror="window.hacked=2">'
# Cells of one column of the images' table, as they stand on the page.
CELLS = """(name) => {
  const heads = Array.from(document.querySelectorAll("#images thead th"), (each) => each.textContent);
  const rows = document.querySelectorAll("#images tbody tr:not([aria-hidden])");
  return Array.from(rows, (row) => row.cells[heads.indexOf(name)].textContent);
}"""
MIDDLE = """(selector) => {
  const each = document.querySelector(selector);
  each.scrollIntoView({ block: "center" });
  const box = each.getBoundingClientRect();
  return [box.x + box.width / 2, box.y + box.height / 2];
}"""
KINDS = """Array.from(document.querySelectorAll(".tile"), (each) =>
  [each.dataset.kind, Number(each.querySelector("b").textContent)])"""
READ = """(text) => {
  const files = new DataTransfer();
  files.items.add(new File([text], "ratings.tsv"));
  const input = document.getElementById("import-file");
  input.files = files.files;
  input.dispatchEvent(new Event("change"));
}"""
VISIBLE = """["contour", "soft"].map((name) =>
  getComputedStyle(document.querySelector(`.stack .${name}`)).visibility === "visible")"""
PLOT = "#plot-list figure svg"
# The first mark's own place in the window, from the path that draws it.
MARK = f"""(() => {{
  const svg = document.querySelector("{PLOT}");
  const path = svg.querySelector(".marks path[stroke-linecap]").getAttribute("d");
  const [, x, y] = /M([-\\d.]+) ([-\\d.]+)h/.exec(path);
  const at = new DOMPoint(Number(x), Number(y)).matrixTransform(svg.getScreenCTM());
  return [at.x, at.y];
}})()"""
# The least contrast ratio of the page's colours of text, as WCAG 2 computes it.
CONTRAST = """(() => {
  const style = getComputedStyle(document.documentElement);
  const light = (name) => {
    const hex = style.getPropertyValue(name).trim().slice(1);
    const parts = hex.length === 3 ? [...hex].map((each) => each + each) : hex.match(/../g);
    const [r, g, b] = parts.map((each) => parseInt(each, 16) / 255)
      .map((each) => (each <= 0.04045 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const grounds = ["--ground", "--sheet", "--key"];
  const pairs = ["--ink", "--quiet", "--link"].flatMap((text) => grounds.map((ground) => [text, ground]));
  pairs.push(["--mark", "--mark-ground"], ["--bad", "--bad-ground"], ["--good", "--good-ground"]);
  return pairs.map(([text, ground]) => {
    const [low, high] = [light(text), light(ground)].sort((one, other) => one - other);
    return [(high + 0.05) / (low + 0.05), text, ground];
  }).sort((one, other) => one[0] - other[0])[0];
})()"""
NAMELESS = """Array.from(document.querySelectorAll("button, input, select, a, svg[role=img], [role=region]"))
  .filter((each) => !each.getAttribute("aria-label") && !each.textContent.trim() && each.type !== "file"
    && !each.closest("label")?.textContent.trim())
  .map((each) => each.outerHTML)"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("study") / "out"
    make_out(out, 6, contrasts=("T1w", "T2w", "MTon"), sites=2, name=EVIL)
    assert main(["/nowhere", str(out), "group"]) == 0
    return out / "group.html"


@pytest.fixture
def tab(chromium: Tab, page: Path) -> Tab:
    """The page, freshly opened, nothing rated."""
    chromium.size(1400, 900)
    chromium.open(page.as_uri())
    chromium.run("localStorage.clear()")
    chromium.said.clear()
    chromium.requests.clear()
    chromium.open(page.as_uri())
    return chromium


def cells(tab: Tab, name: str) -> list[str]:
    found: list[str] = tab.run(f"({CELLS})({json.dumps(name)})")
    return found


def click(tab: Tab, selector: str) -> None:
    """Click the middle of an element with the mouse."""
    place = tab.run(f"({MIDDLE})({json.dumps(selector)})")
    tab.point(*place, click=True)


def until(tab: Tab, script: str) -> Any:
    """The value of an expression as soon as it is true."""
    end = time.monotonic() + 60
    while not (value := tab.run(script)):
        assert time.monotonic() < end, script
        time.sleep(0.1)
    return value


def test_it_is_quiet_and_asks_nobody(tab: Tab, page: Path) -> None:
    for number in range(6):
        figure = f"document.querySelectorAll('#plot-list figure')[{number}]"
        tab.run(f"{figure}.scrollIntoView()")
        until(tab, f"{figure}.querySelector('.marks path, .why') !== null")
    tab.run("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    until(tab, "document.querySelectorAll('#table-list .grid').length > 10")
    tab.press("v")
    until(tab, "document.querySelector('.stack img').naturalWidth > 0")
    assert tab.said == []
    assert {address.split(":")[0] for address in tab.requests} == {"file"}
    assert tab.run("window.hacked") is None
    assert tab.run("document.querySelector('h1').textContent") == EVIL


FIGURE = """(title) => {
  const all = Array.from(document.querySelectorAll("#plot-list figure"));
  const found = all.find((each) => each.querySelector("h3").textContent.startsWith(title));
  found.scrollIntoView();
  return found.querySelector(".marks path, .why") && found;
}"""


def test_plots_and_numbers_are_those_of_the_tables(
    chromium: Tab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    make_out(out, 9, contrasts=("T1w", "T2w", "MTon"), visits=2, failures=False, figures=False)
    listed = tmp_path / "exclude.tsv"
    listed.write_text("file\nsub-001_ses-1_T1w\n")
    options = ("--exclude", str(listed), "--group-column", "sex", "--controls", "M")
    assert main(["/nowhere", str(out), "group", *options]) == 0

    def figure(title: str, what: str) -> str:
        until(chromium, f"({FIGURE})({json.dumps(title)}) !== null")
        text: str = chromium.run(f"({FIGURE})({json.dumps(title)}){what}")
        return text

    chromium.open((out / "group.html").as_uri())
    region = chromium.run("document.querySelector('#region').value")
    with (out / "group_agreement.tsv").open() as file:
        bias = next(
            float(row["estimate"])
            for row in csv.DictReader(file, delimiter="\t")
            if (row["region"], row["contrast"], row["versus"], row["statistic"])
            == (region, "T1w", "T2w", "bias")
        )
    drawn = figure("Agreement of two", ".querySelector('svg').textContent")
    mean = re.search(r"mean ([-−]?[\d.]+)", drawn)
    assert mean is not None and float(mean[1].replace("−", "-")) == pytest.approx(bias, abs=0.006)
    # The band is that of the named controls, whatever they are called.
    assert figure("Profiles over", ".querySelectorAll('select')[1].value") == "M"
    said = (
        "document.querySelector('#numbers').textContent.match(/SD over contrasts within[^.]*\\.[^)]*\\)/)[0]"
    )
    whole = until(chromium, said), figure("SD over contrasts", ".querySelector('svg').textContent")
    monkeypatch.setattr(group_page, "MOST_ROWS", 5)
    chromium.open(write_group_page(out).as_uri())
    assert (until(chromium, said), figure("SD over contrasts", ".querySelector('svg').textContent")) == whole
    assert "The page holds the first 5 of" in figure(
        "Change over visits", ".querySelector('figcaption').textContent"
    )


def test_what_needs_a_look_stands_first(tab: Tab) -> None:
    flags = cells(tab, "flags")
    assert {flags[0].strip(), flags[1].strip()} == {"failed", "no_cord"}
    kinds = dict(tab.run(KINDS))
    assert kinds["failed"] == 1 and kinds["no-cord"] == 1 and kinds["look"] == len(flags)
    click(tab, ".tile[data-kind=all]")
    assert len(cells(tab, "flags")) == kinds["all"] > kinds["look"]
    assert tab.run("document.querySelector('.tile[data-kind=all]').getAttribute('aria-pressed')") == "true"


def test_columns_sort_both_ways_with_what_is_missing_last(tab: Tab) -> None:
    click(tab, ".tile[data-kind=all]")
    column = tab.run(
        "Array.from(document.querySelectorAll('#images thead th'), (each) => each.textContent)"
        ".indexOf('area mm²') + 1"
    )
    for direction in (1, -1):
        click(tab, f"#images thead th:nth-child({column}) button")
        shown = cells(tab, "area mm²")
        numbers = [float(text) for text in shown if text != "n/a"]
        assert numbers == sorted(numbers, reverse=direction < 0) and len(numbers) > 10
        assert shown[len(numbers) :] == ["n/a"] * (len(shown) - len(numbers)) and "n/a" in shown
        sort = tab.run(
            f"document.querySelector('#images thead th:nth-child({column})').getAttribute('aria-sort')"
        )
        assert sort == ("ascending" if direction > 0 else "descending")


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("sub-004", lambda participant, contrast, area: participant == "sub-004"),
        ("contrast:T1w", lambda participant, contrast, area: contrast == "T1w"),
        ("-contrast:T1w sub-00", lambda participant, contrast, area: contrast != "T1w"),
        ("area_mm2<72", lambda participant, contrast, area: float(area) < 72),
        ("status=measured area_mm2>=72", lambda participant, contrast, area: float(area) >= 72),
        ("nothing-like-this", None),
    ],
)
def test_the_list_filters(tab: Tab, text: str, kept: Callable[[str, str, str], bool] | None) -> None:
    click(tab, ".tile[data-kind=all]")
    tab.press("/")
    assert tab.run("document.activeElement.type") == "search"
    tab.call("Input.insertText", text=text)
    said = tab.run("document.querySelector('#images [role=status]').textContent")
    if not kept:
        assert said == "0 of 18 rows"
        return
    rows = list(zip(*(cells(tab, name) for name in ("participant", "contrast", "area mm²")), strict=True))
    assert said == f"{len(rows)} of 18 rows" and 0 < len(rows) < 18
    assert all(kept(participant, contrast, area) for participant, contrast, area in rows)


def test_ratings_by_keys_are_kept_and_exported(tab: Tab, page: Path, tmp_path: Path) -> None:
    tab.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    tab.run(
        "{ const each = document.getElementById('rater'); each.value = 'A\\tB';"
        "each.dispatchEvent(new Event('input')); }"
    )
    click(tab, ".tile[data-kind=all]")
    tab.press("v")
    names = []
    for keys in ("f", "p4", "f"):
        names.append(tab.run("document.querySelector('.facts dd').textContent"))
        for key in keys:
            tab.press(key)
        if len(names) == 3:
            tab.press("s")
            tab.call("Input.insertText", text="10-14, 20")
            tab.press("Enter")
            tab.press("r")
            tab.call("Input.insertText", text='"leaks\tout" "here')
            tab.press("Enter")
        tab.press("ArrowRight")
    first, second, third = names
    tab.press("Escape")
    tab.open(page.as_uri())
    assert tab.run("document.getElementById('progress').textContent") == "3 of 18 rated"
    assert sorted(filter(None, cells(tab, "my rating"))) == sorted(
        text for text, name in (("fail", first), ("pass rank 4", second), ("fail slices 10-14,20", third))
        if name in cells(tab, "file")
    )  # fmt: skip
    for name in ("exclude", "yml", "all"):
        tab.run("document.getElementById('export-menu').hidden = false")
        click(tab, f"#export-{name}")
    end = time.monotonic() + 60
    while len(list(tmp_path.glob("*.tsv"))) < 2 or not (tmp_path / "qc_fail.yml").is_file():
        assert time.monotonic() < end
        time.sleep(0.1)
    by_file = {each.file: each for each in read_exclusions(tmp_path / "exclude.tsv")}
    assert set(by_file) == {first, third}
    assert by_file[first].what == "image" and by_file[third].slices == ((10, 14), (20, 20))
    assert by_file[third].reason == '"leaks out" "here' and by_file[third].rater == "A B"
    assert by_file[third].date == time.strftime("%Y-%m-%d")
    listed = read_exclusions(tmp_path / "qc_fail.yml")
    assert {each.file for each in listed} == {Path(first).name, Path(third).name}
    assert all(
        each.concerns(source)
        for each, source in zip(sorted(listed, key=lambda x: x.file), sorted([first, third]), strict=True)
    )
    # What was exported can be read again elsewhere.
    exported = (tmp_path / "ratings.tsv").read_text(encoding="utf-8")
    tab.run("localStorage.clear()")
    tab.open(page.as_uri())
    tab.run(f"({READ})({json.dumps(exported)})")
    until(tab, "document.getElementById('progress').textContent === '3 of 18 rated'")
    assert tab.said == []


def test_one_key_turns_image_contour_and_soft_mask(tab: Tab) -> None:
    tab.run("document.querySelector('.tile[data-kind=outliers], .tile[data-kind=all]').click()")
    tab.press("v")
    until(
        tab,
        "document.querySelectorAll('.stack img.over').length >= 2"
        " || (document.getElementById('next').click(), false)",
    )
    seen = [tab.run(VISIBLE)]
    for _ in range(4):
        tab.press("m")
        seen.append(tab.run(VISIBLE))
    assert seen == [[True, False], [False, True], [True, True], [False, False], [True, False]]
    tab.call("Input.dispatchKeyEvent", type="keyDown", key="M", text="M", modifiers=8)
    assert tab.run(VISIBLE) == [False, False]


def test_a_mark_names_its_image_and_opens_it(tab: Tab) -> None:
    tab.run("document.getElementById('plots').scrollIntoView()")
    until(tab, f"document.querySelectorAll('{PLOT} .marks path').length >= 3")
    x, y = tab.run(MARK)
    tab.point(x, y)
    tip = tab.run("document.querySelector('#plot-list .tip').textContent")
    assert tip.startswith("sub-00") and "T1w" in tip and "mm²" in tip
    tab.point(x, y, click=True)
    assert tab.run("document.getElementById('review').open")
    assert tab.run("document.getElementById('review-title').textContent") == tip.splitlines()[0]


def test_a_plot_by_keys(tab: Tab) -> None:
    tab.run("document.getElementById('plots').scrollIntoView()")
    until(tab, "document.querySelectorAll('#plot-list figure svg .marks path').length >= 3")
    tab.run("document.querySelector('#plot-list figure svg').focus()")
    tips = []
    for _ in range(2):
        tab.press("ArrowRight")
        tips.append(tab.run("document.querySelector('#plot-list .tip').textContent"))
    assert tips[0] != tips[1] and all("T1w" in tip for tip in tips)
    tab.press("Enter")
    assert tab.run("document.getElementById('review-title').textContent") == tips[1].splitlines()[0]


def test_the_region_changes_numbers_and_plots(tab: Tab) -> None:
    before = tab.run("document.querySelector('#number-list .stat').textContent")
    tab.run(
        "{ const each = document.getElementById('region'); each.value = 'vert-C5';"
        "each.dispatchEvent(new Event('change')); }"
    )
    assert tab.run("document.getElementById('numbers-region').textContent") == "of vert-C5"
    assert tab.run("document.querySelector('#number-list .stat').textContent") != before
    tab.run("document.getElementById('plots').scrollIntoView()")
    until(tab, "document.querySelector('#plot-list figcaption').textContent.includes('vert-C5')")


def test_what_is_not_there_is_told(tab: Tab) -> None:
    tab.run("document.querySelector('#plot-list figure:last-child').scrollIntoView()")
    until(
        tab,
        "Array.from(document.querySelectorAll('#plot-list .why'), (each) => each.textContent)"
        ".join().includes('Nobody came twice')",
    )
    said = tab.run("document.querySelector('#number-list details').textContent")
    assert "no person came twice" in said and "--combat" in said


@pytest.mark.parametrize("width", [360, 800, 1900])
def test_nothing_runs_out_of_the_window(tab: Tab, width: int) -> None:
    tab.size(width, 900)
    try:
        tab.open(tab.run("location.href"))
        assert tab.run("document.documentElement.scrollWidth") <= width
        tab.press("v")
        assert tab.run("document.getElementById('review').scrollWidth") <= width
    finally:
        tab.size(1400, 900)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_can_be_read(tab: Tab, theme: str) -> None:
    """4.5 to 1, as WCAG 2 asks of text."""
    tab.run(f"document.documentElement.dataset.theme = {theme!r}")
    least = tab.run(CONTRAST)
    assert least[0] >= 4.5, least


def test_everything_that_acts_has_a_name(tab: Tab) -> None:
    tab.press("v")
    assert tab.run(NAMELESS) == []
    assert tab.run("Array.from(document.querySelectorAll('img')).every((each) => each.hasAttribute('alt'))")
    tab.press("Escape")
    tab.press("?")
    assert tab.run("document.getElementById('help').open")


def test_the_browser_tells_what_fails(chromium: Tab, tmp_path: Path) -> None:
    with pytest.raises(BrowserError, match="no such thing"):
        chromium.run("(() => { throw new Error('no such thing'); })()")
    with pytest.raises(BrowserError, match="FILE_NOT_FOUND"):
        chromium.open((tmp_path / "none.html").as_uri())
    with pytest.raises(BrowserError, match="wasn't found"):
        chromium.call("No.suchMethod")
    chromium.said.clear()
    bad = tmp_path / "bad.html"
    bad.write_text("<script>console.error('said'); null.x</script>")
    chromium.open(bad.as_uri())
    assert any("said" in text for text in chromium.said) and any(
        "TypeError" in text for text in chromium.said
    )
