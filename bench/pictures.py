"""The pictures of docs/outputs.md, from what a run on the demo dataset left, and that of docs/group-page.md.

``python -m bench.pictures OUT`` writes the first into docs/pictures: small PNGs of few colours. The page
itself is taken by chromium. ``python -m bench.pictures --group`` writes the other, of a study that was never
scanned.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from PIL import Image

from bench.browser import browser
from bench.group_out import make_out
from softseg_bids.app.cli import main as softseg
from softseg_bids.pages.layers import layers_at

PICTURES = Path(__file__).parents[1] / "docs" / "pictures"
COLOURS = 160
WIDTH = 900  # pixels
PAGE = (1000, 1000)
GROUP_PAGE, GROUP_WIDTH = (1280, 1360), 1280
# People, sites and visits of the study that the group's page is shown of.
STUDY = (24, 4, 1)


def with_contour(path: Path) -> Image.Image:
    """A figure of a page with its contour over it, as a reader sees it first."""
    layers = layers_at(path)
    picture = Image.open(layers.image).convert("RGBA")
    return Image.alpha_composite(picture, Image.open(layers.contour).convert("RGBA")).convert("RGB")


def save(picture: Image.Image, path: Path, width: int = WIDTH) -> None:
    """Write a picture no wider than so many pixels, in few colours."""
    if picture.width > width:
        picture = picture.resize((width, round(picture.height * width / picture.width)), Image.LANCZOS)
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)


def page_picture(page: Path, size: tuple[int, int] = PAGE) -> Image.Image:
    """The upper part of a page, as chromium shows it."""
    with tempfile.TemporaryDirectory() as name, browser(Path(name) / "profile") as tab:
        tab.size(*size)
        tab.open(page.as_uri())
        with Image.open(tab.picture(Path(name) / "page.png")) as picture:
            return picture.convert("RGB")


def group_picture() -> Image.Image:
    """The upper part of the group's page of a simulated study.

    Raises
    ------
    RuntimeError
        If the group level ends with an error.
    """
    people, sites, visits = STUDY
    with tempfile.TemporaryDirectory(prefix="softseg-pictures-") as name:
        out = make_out(Path(name) / "out", people, sites=sites, visits=visits)
        if code := softseg(["/nowhere", str(out), "group"]):
            raise RuntimeError(f"the group level ended with {code}")
        return page_picture(out / "group.html", GROUP_PAGE)


def main() -> None:
    """Write the pictures of one of the two pages."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, nargs="?", help="OUTPUT_DIR of a run on the demo dataset")
    parser.add_argument("--group", action="store_true", help="the picture of the group's page instead")
    parser.add_argument("--participant", default="04")
    parser.add_argument("--contrast", default="T2w")
    chosen = parser.parse_args()
    if chosen.group == (chosen.out is not None):
        parser.error("name the OUTPUT_DIR of a run on the demo dataset, or --group")
    if chosen.group:
        save(group_picture(), PICTURES / "group.png", GROUP_WIDTH)
        return
    stem = f"sub-{chosen.participant}"
    figures = chosen.out / stem / "figures"
    for what in ("Montage", "Sagittal"):
        found = with_contour(figures / f"{stem}_desc-{chosen.contrast}{what}_qc.png")
        save(found, PICTURES / f"{what.lower()}.png")
    save(page_picture((chosen.out / f"{stem}.html").resolve()), PICTURES / "page.png")


if __name__ == "__main__":
    main()
