from __future__ import annotations

import base64
import dataclasses
import re
import shlex
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from softseg_bids.pages import report
from softseg_bids.pages.layers import layers_at, write_layers, write_picture
from softseg_bids.pages.report import Correction, Exclusion, ImageCard, RegionCell, SessionBlock, SubjectPage

EVIL = '"><script>alert(1)</script>&{{ 7*7 }}'
VOID = {"meta", "img", "input", "br", "link", "hr"}


class Page(HTMLParser):
    """Elements with their attributes, the text outside scripts and styles, and whether all is closed."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(content)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("script", "style"):
            self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture
def page(tmp_path: Path) -> SubjectPage:
    figures = tmp_path / "figures"
    picture, flat = np.zeros((8, 9, 3), np.uint8), np.arange(72, dtype=np.uint8).reshape(8, 9)
    montage = write_layers(figures / "m.png", picture + 1, flat, flat)
    sagittal = write_layers(figures / "s.png", picture + 2, flat, flat)
    overview = write_picture(figures / "o.png", picture + 3)
    curves = figures / "c.svg"
    curves.write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    t2w = ImageCard(
        "a",
        "T2w",
        "sub-01/anat/sub-01_T2w.nii.gz",
        "sag",
        (2.5, 0.8, 0.8),
        montage=montage,
        sagittal=sagittal,
        csa_fit="limited",
        gradient_correction="2D",
        isocentre_offset_mm=41.6,
        edited=3,
        mask_source="corrected",
        levels_source="given",
        angle_source="image",
        model_hash="cafe",
        flags=("far from isocentre",),
        slice_flags={"partial": 2, "jump": 1},
        repeat="acq-full run-2",
        correction=Correction("a/i n.nii.gz", "a/m.nii.gz", "a/p.nii.gz", "sub-01/anat/c.nii.gz"),
    )
    head = ImageCard(
        "b", "T1w", "sub-01/anat/sub-01_T1w.nii.gz", "iso", (1, 1, 1), status="no_cord", overview=overview
    )
    cells = (
        RegionCell("vert-C3", "a", 70.126, 72.5, 1.25, 0.999),
        RegionCell("cord", "a", float("nan"), None, None, None, ("no level",)),
        RegionCell("vert-C3", "b", None),
    )
    session = SessionBlock("A", (t2w, head), cells, curves, ("Levels are given.",))
    return SubjectPage(
        "01",
        "Demo",
        (session,),
        (Exclusion("x_MTR.nii.gz", "a ratio map"), Exclusion("y", "damaged", True)),
        {"age": "34"},
        "1.2.3",
        "cafe",
        {"torch": "2.0"},
        "softseg in out participant",
        "/data in",
        "/out",
    )


def render(page: SubjectPage, tmp_path: Path) -> tuple[str, Page]:
    path = report.subject_page(page, tmp_path / "out" / "sub-01.html")
    assert [p.name for p in path.parent.iterdir()] == ["sub-01.html"]
    content = path.read_text(encoding="utf-8")
    parsed = Page(content)
    assert parsed.open == []
    return content, parsed


def test_everything_of_the_context_is_on_the_page(page: SubjectPage, tmp_path: Path) -> None:
    _, parsed = render(page, tmp_path)
    expected = [
        "sub-01",
        "Demo",
        "age 34",
        "Session A",
        "Levels are given.",
        "70.13",
        "72.50",
        "1.25",
        "99 %",
        "vert-C3",
        "T2w",
        "acq-full run-2",
        "sub-01/anat/sub-01_T2w.nii.gz",
        "2.5 × 0.8 × 0.8 mm",
        "sag",
        "limited",
        "2D",
        "42 mm",
        "corrected (3 slices edited)",
        "given",
        "image",
        "cafe",
        "far from isocentre",
        "partial 2, jump 1",
        "BIDS_DIR='/data in'",
        "OUTPUT_DIR=/out",
        "fsleyes \"$BIDS_DIR\"/'a/i n.nii.gz'",
        'itksnap -g "$BIDS_DIR"/\'a/i n.nii.gz\' -s "$OUTPUT_DIR"/a/m.nii.gz',
        "sub-01/anat/c.nii.gz",
        "--derivatives corrected=PATH",
        "no cord found",
        "x_MTR.nii.gz",
        "a ratio map",
        "damaged",
        "failed",
        "left out",
        "1.2.3",
        "torch 2.0",
        "softseg in out participant",
        "For research, not for diagnosis",
    ]
    missing = [text for text in expected if text not in parsed.text]
    assert not missing
    assert "n/a" in parsed.text
    assert "nan" not in parsed.text.lower()


def test_the_page_asks_no_network(page: SubjectPage, tmp_path: Path) -> None:
    content, parsed = render(page, tmp_path)
    for tag, attributes in parsed.elements:
        for name in ("src", "srcset", "data", "action", "poster"):
            value = attributes.get(name)
            assert value is None or value.startswith("data:")
        href = attributes.get("href")
        if href is not None:
            assert tag == "a"
            assert href.startswith(("#", "https://doi.org/"))
    assert not parsed.all("link")
    assert "@import" not in content
    assert "url(" not in content
    plain = re.sub(r'"data:[^"]*"', '""', content)
    assert set(re.findall(r"https?://[^\s\"'<]+", plain)) == {"https://doi.org/10.1016/j.media.2025.103473"}
    policy = next(m["content"] for m in parsed.all("meta") if m.get("http-equiv"))
    assert policy is not None
    assert "default-src 'none'" in policy


def test_figures_are_embedded_as_they_are(page: SubjectPage, tmp_path: Path) -> None:
    _, parsed = render(page, tmp_path)
    sources = [image["src"] or "" for image in parsed.all("img")]
    embedded = [base64.b64decode(source.partition("base64,")[2]) for source in sources]
    files = [*layers_at(tmp_path / "figures" / "m.png"), *layers_at(tmp_path / "figures" / "s.png")]
    files += [tmp_path / "figures" / name for name in ("o.png", "c.svg")]
    assert sorted(embedded) == sorted(file.read_bytes() for file in files)
    assert sum(source.startswith("data:image/svg+xml;") for source in sources) == 1
    # An overlay adds nothing for a screen reader; every picture is described.
    for image in parsed.all("img"):
        assert ("over" in (image.get("class") or "")) == (image["alt"] == "")


def test_one_documented_key_toggles_the_layers(page: SubjectPage, tmp_path: Path) -> None:
    content, parsed = render(page, tmp_path)
    assert 'event.key.toLowerCase() !== "m"' in content
    assert "press M for the next" in parsed.text
    views = [control["value"] for control in parsed.all("input") if control.get("name") == "view"]
    assert views == ["image", "contour", "soft", "both"]
    assert parsed.all("body")[0]["data-view"] == "contour"
    for view in views[1:]:
        assert f'body[data-view="{view}"]' in content


def test_anchors_exist_once(page: SubjectPage, tmp_path: Path) -> None:
    twice = dataclasses.replace(
        page, sessions=(*page.sessions, dataclasses.replace(page.sessions[0], label="B"))
    )
    _, parsed = render(twice, tmp_path)
    ids = [attributes["id"] for _, attributes in parsed.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = [(a["href"] or "")[1:] for a in parsed.all("a") if (a["href"] or "").startswith("#")]
    assert set(targets) <= set(ids)
    assert len(targets) == 10  # among them one an image that a command opens


def named(page: SubjectPage, name: str) -> SubjectPage:
    """The page with every text of its context replaced by one name."""
    (session,) = page.sessions
    texts = {
        field.name: name
        for field in dataclasses.fields(ImageCard)
        if field.type == "str" and field.name not in ("key", "status")
    }
    correction = Correction(name, name, name, name, name)
    image = dataclasses.replace(
        session.images[0], **texts, flags=(name,), slice_flags={name: 1}, correction=correction
    )
    cells = (RegionCell(name, "a", 1.0, 1.0, 1.0, 1.0, (name,)), *session.cells[1:])
    block = SessionBlock(name, (image, session.images[1]), cells, session.curves, (name,))
    left_out = (Exclusion(name, name), Exclusion(name, name, True))
    return SubjectPage(
        name, name, (block,), left_out, {name: name}, name, name, {name: name}, name, name, name
    )


def test_every_name_is_escaped(page: SubjectPage, tmp_path: Path) -> None:
    _, plain = render(named(page, "plain"), tmp_path)
    _, evil = render(named(page, EVIL), tmp_path)
    assert [(tag, list(attributes)) for tag, attributes in evil.elements] == [
        (tag, list(attributes)) for tag, attributes in plain.elements
    ]
    assert evil.text.count(EVIL) == plain.text.count("plain") >= 25


def test_a_session_without_label_figures_or_numbers(tmp_path: Path) -> None:
    card = ImageCard("a", "T2w", "i.nii.gz", "ax", (0.5, 0.5, 5))
    bare = SubjectPage("01", "Demo", (SessionBlock("", (card,)),))
    _, parsed = render(bare, tmp_path)
    assert "Session" not in parsed.text
    assert "Left out" not in parsed.text
    assert not parsed.all("table")
    assert not parsed.all("img")


def test_a_missing_figure_leaves_no_page(page: SubjectPage, tmp_path: Path) -> None:
    (tmp_path / "figures" / "m_soft.png").unlink()
    with pytest.raises(FileNotFoundError, match="m_soft"):
        report.subject_page(page, tmp_path / "out" / "sub-01.html")
    assert not (tmp_path / "out").exists()


def test_the_table_keeps_the_order_of_first_mention(page: SubjectPage) -> None:
    table = report.region_table(page.sessions[0])
    assert list(table) == ["vert-C3", "cord"]
    assert list(table["vert-C3"]) == ["a", "b"]


def test_commands_survive_a_shell() -> None:
    """Pasted after the lines that set the folders, each command opens these files."""
    correction = Correction("a b/$(i).nii.gz", "m;x.nii.gz", "`p`.nii.gz", "s", "/my corrections")
    page = SubjectPage("01", "d", (), bids="/my data", out="/o'ut; false")
    shell = 'fsleyes() { printf "%s\\n" "$@"; }\nitksnap() { fsleyes "$@"; }'
    for command, words in (
        (correction.itksnap, ["-g", "/my data/a b/$(i).nii.gz", "-s", "/o'ut; false/m;x.nii.gz"]),
        (
            correction.fsleyes,
            ["/my data/a b/$(i).nii.gz", "/o'ut; false/`p`.nii.gz", "-dr", "0", "1", "-cm", "hot", "-a", "50",
             "/o'ut; false/m;x.nii.gz", "-cm", "red", "-a", "40"],
        ),
    ):  # fmt: skip
        shown = f"{page.folders}\n{command}"
        done = subprocess.run(["bash", "-c", f"{shell}\n{shown}"], capture_output=True, text=True, check=True)
        assert done.stdout.splitlines() == words
    assert shlex.split(correction.option) == ["--derivatives", "corrected=/my corrections"]


def test_folders_are_named_where_a_mask_can_be_opened(page: SubjectPage, tmp_path: Path) -> None:
    assert page.can_be_opened
    content, parsed = render(page, tmp_path)
    [folders] = [tag for tag, attributes in parsed.elements if attributes.get("id") == "folders"]
    assert folders == "details" and 'getElementById("folders")' in content  # a link to it opens it
    without = dataclasses.replace(
        page, sessions=(dataclasses.replace(page.sessions[0], images=()),), exclusions=()
    )
    assert not without.can_be_opened
    assert "BIDS_DIR" not in report.subject_page(without, tmp_path / "p.html").read_text()


@pytest.mark.parametrize(
    ("part", "text"),
    [(1.0, "100 %"), (0.9999, "99 %"), (0.29, "29 %"), (0.0, "0 %"), (None, "n/a"), (np.nan, "n/a")],
)
def test_percent_claims_all_only_for_all(part: float | None, text: str) -> None:
    assert report.percent(part) == text
