"""The pictures of docs/outputs.md, from what a run on the demo dataset left.

``python -m bench.pictures OUT`` writes them into docs/pictures: small PNGs of few colours. The page itself is
taken by chromium.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from PIL import Image

from bench.browser import browser
from softseg_bids.pages.layers import layers_at

PICTURES = Path(__file__).parents[1] / "docs" / "pictures"
COLOURS = 160
WIDTH = 900  # pixels
PAGE = (1000, 1000)


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


def page_picture(page: Path) -> Image.Image:
    """The upper part of a participant's page, as chromium shows it."""
    with tempfile.TemporaryDirectory() as name, browser(Path(name) / "profile") as tab:
        tab.size(*PAGE)
        tab.open(page.as_uri())
        with Image.open(tab.picture(Path(name) / "page.png")) as picture:
            return picture.convert("RGB")


def main() -> None:
    """Write all pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="OUTPUT_DIR of a run on the demo dataset")
    parser.add_argument("--participant", default="04")
    parser.add_argument("--contrast", default="T2w")
    chosen = parser.parse_args()
    stem = f"sub-{chosen.participant}"
    figures = chosen.out / stem / "figures"
    for what in ("Montage", "Sagittal"):
        found = with_contour(figures / f"{stem}_desc-{chosen.contrast}{what}_qc.png")
        save(found, PICTURES / f"{what.lower()}.png")
    save(page_picture((chosen.out / f"{stem}.html").resolve()), PICTURES / "page.png")


if __name__ == "__main__":
    main()
