from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from softseg_bids.core.levels import Region
from softseg_bids.pages import curves
from softseg_bids.pages.curves import Curve

REGIONS = [
    Region("cord", 0.0, 60.0),
    Region("common", 10.0, 50.0),
    Region("vert-C3", 12.0, 30.0),
    Region("vert-C4", 30.0, 47.0),
    Region("vert-C2:C3", -5.0, 30.0),
    Region("vert-T5", 200.0, 220.0),
]


def curve(contrast: str = "T2w", label: str = "T2w", area: float = 70.0, n: int = 12) -> Curve:
    position = np.linspace(0, 55, n)
    areas = area + np.sin(position / 10)
    light = np.zeros(n, bool)
    light[[0, -1]] = True
    areas[-1] = 20.0
    return Curve(contrast, label, position, areas, areas + 2, light)


def texts(path: Path) -> list[str]:
    """The strings of an SVG, which draws them as outlines and names them in comments."""
    return re.findall(r"<!-- (.*?) -->", path.read_text())


def test_draws_legend_levels_and_regions(tmp_path: Path) -> None:
    path = curves.draw(tmp_path / "c.svg", [curve(), curve("T1w", "T1w acq-full")], REGIONS)
    assert [p.name for p in tmp_path.iterdir()] == ["c.svg"]
    found = texts(path)
    assert {"T2w", "T1w acq-full", "C3", "C4", "common", "vert-C2:C3"} <= set(found)
    assert "cord" not in found
    assert "vert-C3" not in found
    assert "T5" not in found
    assert any("mm, downwards" in text for text in found)
    content = path.read_text().lower()
    assert curves.colour("T2w").lower() in content
    assert curves.colour("T1w").lower() in content


def test_refers_to_nothing_outside_itself(tmp_path: Path) -> None:
    content = curves.draw(tmp_path / "c.svg", [curve()], REGIONS).read_text()
    assert "<script" not in content
    assert "<image" not in content
    references = re.findall(r'(?:href|src)="([^"]*)"', content) + re.findall(r"url\(([^)]*)\)", content)
    assert references
    assert all(reference.startswith("#") for reference in references)


def test_equal_input_gives_equal_files(tmp_path: Path) -> None:
    first = curves.draw(tmp_path / "a.svg", [curve()], REGIONS)
    second = curves.draw(tmp_path / "b.svg", [curve()], REGIONS)
    assert first.read_bytes() == second.read_bytes()


def test_names_are_text(tmp_path: Path) -> None:
    odd = curve("<script>", r"$\frac{ <script>", 70.0)
    path = curves.draw(tmp_path / "c.svg", [odd], [Region("$x_{", 0.0, 9.0)])
    assert "<script" not in path.read_text()


def test_area_range_is_that_of_the_slices_in_use() -> None:
    low, high = curves.area_range([curve(area=70.0), curve(area=80.0)])
    assert 60 < low < 69
    assert 83 < high < 90
    only_light = curve()._replace(light=np.ones(12, bool))
    assert curves.area_range([only_light])[0] < 20
    empty = curve()._replace(area_mm2=np.full(12, np.nan), area_binary_mm2=np.full(12, np.nan))
    assert curves.area_range([empty]) == (0.0, 100.0)


def test_draws_single_slices_gaps_and_no_regions(tmp_path: Path) -> None:
    one = curve(n=1)
    gap = curve()
    gap.area_mm2[4:6] = np.nan
    assert curves.draw(tmp_path / "c.svg", [one, gap], []).stat().st_size > 1000


def test_no_curve_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no image has a curve"):
        curves.draw(tmp_path / "c.svg", [], REGIONS)
    assert not list(tmp_path.iterdir())


def test_each_contrast_has_one_colour_that_reads_on_white() -> None:
    assert len(set(curves.COLOURS.values())) == len(curves.COLOURS)
    for shade in curves.COLOURS.values():
        assert np.dot(to_rgb(shade), [0.2126, 0.7152, 0.0722]) < 0.72
    assert curves.colour("T2w") == curves.COLOURS["T2w"]
    assert curves.colour("MYown") == curves.colour("MYown")
    assert curves.colour("MYown") in curves.COLOURS.values()


def test_repeats_of_a_contrast_differ_by_marker() -> None:
    found = curves.markers([curve("T2w"), curve("T1w"), curve("T2w"), curve("T2w")])
    assert found[0] == found[1]
    assert len({found[0], found[2], found[3]}) == 3
