"""A participant's page in a real browser: a key turns the figures, links lead somewhere, nobody is asked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import CORD
from study_phantoms import checkpoint, write_study

from bench.browser import PROGRAM, Tab
from softseg_bids.app import level_steps, steps
from softseg_bids.app.cli import main
from softseg_bids.image.grid import Array
from softseg_bids.image.volume import Volume

pytestmark = pytest.mark.skipif(
    PROGRAM is None, reason="no chromium here (Debian: apt-get install chromium): the page is not looked at"
)

# What lies over the figures, as a reader sees it: the choice, and the layers of every figure.
SHOWN = """[document.querySelector("input[name=view]:checked").value, ...["contour", "soft"].map((name) => {
  const seen = Array.from(document.querySelectorAll(`.stack .${name}`),
    (each) => getComputedStyle(each).visibility === "visible");
  return seen.every((each) => each === seen[0]) ? seen[0] : "not all alike";
})]"""
SHIFT = 8
STEPS = [["contour", True, False], ["soft", False, True], ["both", True, True], ["image", False, False]]
NOWHERE = """Array.from(document.querySelectorAll("a"), (each) => each.getAttribute("href")).filter((href) =>
  href.startsWith("#") ? !document.getElementById(href.slice(1)) : !href.startsWith("https://doi.org/"))"""
BROKEN = """Array.from(document.images).filter((each) => !each.complete || !each.naturalWidth).length"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page that the app writes, with its own figures, and an image that cannot be read among them."""

    def network(volume: Volume, model: str, device: str) -> Array:
        return np.clip(volume.array / CORD, 0, 1).astype(np.float32)

    folder = tmp_path_factory.mktemp("participant")
    root = write_study(folder / "bids", ("01",))
    (root / "sub-01" / "anat" / "sub-01_T2starw.nii.gz").write_bytes(b"no image")
    model = checkpoint(folder / "model.pt")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steps, "run_network", network)
        patch.setattr(level_steps, "run_levels", lambda *_: None)
        main([str(root), str(folder / "out"), "participant", "--model", str(model), "--nprocs", "1"])
    return folder / "out" / "sub-01.html"


@pytest.fixture
def tab(chromium: Tab, page: Path) -> Tab:
    """The page, freshly opened."""
    chromium.said.clear()
    chromium.requests.clear()
    chromium.open("about:blank")
    chromium.open(page.as_uri())
    return chromium


def test_it_is_quiet_whole_and_asks_nobody(tab: Tab, page: Path) -> None:
    assert tab.run("document.images.length") >= 2 * 2 * 3  # two images of two figures of three layers
    assert tab.run(BROKEN) == 0
    assert tab.run("document.querySelector('h1').textContent") == "sub-01"
    assert tab.said == []
    asked = [address for address in tab.requests if not address.startswith(("data:", "about:"))]
    assert asked == [page.as_uri()]


def test_one_key_turns_image_contour_and_soft_mask(tab: Tab) -> None:
    seen = [tab.run(SHOWN)]
    for _ in range(4):
        tab.press("m")
        seen.append(tab.run(SHOWN))
    assert seen == [*STEPS, STEPS[0]]
    tab.call("Input.dispatchKeyEvent", type="keyDown", key="M", text="M", modifiers=SHIFT)
    assert tab.run(SHOWN) == STEPS[-1]
    tab.run("document.querySelector('input[value=both]').click()")
    assert tab.run(SHOWN) == STEPS[2]
    assert tab.said == []


def test_what_the_key_shows_differs_to_the_eye(tab: Tab, tmp_path: Path) -> None:
    tab.run("document.querySelector('.stack').scrollIntoView()")
    seen = set()
    for number in range(4):
        seen.add(tab.picture(tmp_path / f"{number}.png").read_bytes())
        tab.press("m")
    assert len(seen) == 4


def test_links_lead_somewhere(tab: Tab) -> None:
    assert tab.run("document.querySelectorAll('nav a').length") >= 4  # two images, what failed, methods
    assert tab.run(NOWHERE) == []
    assert not tab.run("document.getElementById('folders').open")
    tab.run("document.querySelector('a[href=\"#folders\"]').click()")
    assert tab.run("document.getElementById('folders').open")
    tab.run("document.querySelector('nav a[href=\"#exclusions\"]').click()")
    assert tab.run("location.hash") == "#exclusions"
    assert "sub-01_T2starw" in tab.run("document.querySelector('[aria-labelledby=exclusions]').textContent")
    assert tab.said == []
