"""Plots and figures of the pages that judge methods: equal numbers, equal bytes; nothing is out of place."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from study_phantoms import checkpoint, shared_study

from softseg_bids.core.calibration import fraction_bins, reliability
from softseg_bids.image.volume import DataError, read_grid
from softseg_bids.pages import plots
from softseg_bids.pages.pairs import ABOUT_CORD_MM, TILE_MM, TILE_PIXELS, between, pair_figure
from softseg_bids.pages.study import p_value, shown
from softseg_bids.study.doors import compare, drift, evaluate
from softseg_bids.study.ours import read_ours
from softseg_bids.study.pairs import conformed
from softseg_bids.study.place import place_of_table

NAN = float("nan")
SPACING = np.ones(3)


def body(half: int) -> np.ndarray:
    array = np.zeros((21, 21, 20), dtype=np.float32)
    array[10 - half : 11 + half, 10 - half : 11 + half] = 1
    return array


class TestPlots:
    """Each draws, also of little or nothing, and twice the same."""

    rng = np.random.default_rng(0)
    x = rng.uniform(50, 90, 12)

    def differences(self) -> bytes:
        panels = [
            plots.Differences("T$1$w <b>", "#0072B2", self.x, self.x - 70, 1.0, -3.0, 5.0),
            plots.Differences("alone", "#D55E00", self.x[:1], np.zeros(1), NAN, NAN, NAN),
        ]
        return plots.bland_altman(panels, "ours - theirs")

    def test_equal_numbers_give_equal_bytes(self) -> None:
        assert self.differences() == self.differences()
        groups = {"one": self.x, "two": self.x[:2], "none": np.array([NAN])}
        assert plots.violins(groups, "mm") == plots.violins(groups, "mm")

    def test_texts_are_no_markup_and_no_formula(self) -> None:
        text = self.differences().decode()
        assert "<b>" not in text and "+5.0" in text

    def test_scatter_and_reliability(self) -> None:
        panel = plots.Scatter("method", "#0072B2", self.x, 0.5 * self.x + 30, 0.5, 30.0)
        empty = plots.Scatter("empty", "#0072B2", np.array([NAN]), np.array([NAN]))
        assert plots.scatters([panel, empty], "true", "measured").startswith(b"<?xml")
        curve = reliability(fraction_bins(self.x / 100, self.x / 100))
        drawn = plots.reliability_curves({"method": curve, "nothing": np.zeros((10, 3))})
        assert b"<svg" in drawn

    def test_a_reference_is_grey_and_methods_keep_their_colours(self) -> None:
        groups = {"labels": self.x, "one": self.x}
        first = plots.method_colour(0).lower()
        assert first in plots.violins(groups, "mm", "labels").decode().lower()
        assert first not in plots.violins({"labels": self.x}, "mm", "labels").decode().lower()
        assert plots.method_colour(len(plots.METHOD_COLOURS)) == plots.method_colour(0)


class TestPairFigure:
    """One picture, two outlines of one size."""

    def test_the_outlines_are_those_of_the_masks(self) -> None:
        image = 100 * body(4) + 10
        found = pair_figure(image, body(3), body(5), SPACING, [3, 9, 15])
        pictures = [Image.open(io.BytesIO(each)) for each in found]
        assert len({picture.size for picture in pictures}) == 1
        widths = []
        for outline in pictures[1:]:
            x = np.nonzero(np.asarray(outline)[24:192, 4:172])[1]
            widths.append((x.max() - x.min()) / 7.0)
        assert widths[0] == pytest.approx(7.0, abs=0.5) and widths[1] == pytest.approx(11.0, abs=0.5)

    def test_masks_that_lie_apart_are_seen_from_their_middle(self) -> None:
        """Neither outline is the one in the middle, and swapping the masks swaps the outlines alone."""
        first, second = np.roll(body(2), -3, axis=0), np.roll(body(2), 3, axis=0)
        one, other = (
            pair_figure(body(4), *masks, SPACING, [3, 9]) for masks in ((first, second), (second, first))
        )
        assert one.picture == other.picture
        assert (one.first, one.second) == (other.second, other.first)
        offsets = sorted(_middle(each) - 0.5 * TILE_PIXELS for each in (one.first, one.second))
        away = 3 * TILE_PIXELS / (6 + 2 * ABOUT_CORD_MM)
        assert offsets == pytest.approx([-away, away], abs=1)

    def test_tiles_are_wide_enough_for_both_masks(self) -> None:
        first, second = (np.zeros((60, 21, 20), dtype=np.float32) for _ in range(2))
        first[5:10, 8:13], second[45:50, 8:13] = 1, 1
        found = pair_figure(first, first, second, SPACING, [9])
        wide = 40 + 2 * ABOUT_CORD_MM
        assert wide > TILE_MM
        for outline in (found.first, found.second):
            away = abs(_middle(outline) - 0.5 * TILE_PIXELS)
            assert away == pytest.approx(20 * TILE_PIXELS / wide, abs=1)

    def test_where_one_mask_ends_the_tile_is_about_the_other(self) -> None:
        first, second = body(2), np.roll(body(2), 4, axis=1)
        first[:, :, 8:], second[:, :, :6] = 0, 0
        second[:, :, 12:14] = 0
        line, apart = between(first, second, np.array([1.0, 0.5, 2.0]))
        assert line.slices.tolist() == list(range(20))
        assert line.points_mm[:, 1].tolist() == [5.0] * 6 + [6.0] * 2 + [7.0] * 12
        assert line.points_mm[:, 2].tolist() == [2.0 * k for k in range(20)]
        assert apart.tolist() == [0.0] * 6 + [2.0] * 2 + [0.0] * 12

    def test_refused(self) -> None:
        with pytest.raises(ValueError, match="differ in shape"):
            pair_figure(body(3)[1:], body(3), body(3), SPACING, [3])
        with pytest.raises(ValueError, match="at least one slice"):
            pair_figure(body(3), body(3), body(3), SPACING, [])
        with pytest.raises(ValueError, match=r"not \[3, 20\]"):
            pair_figure(body(3), body(3), body(3), SPACING, [3, 20])
        with pytest.raises(ValueError, match="that reaches"):
            pair_figure(body(3), 0.4 * body(3), 0.4 * body(3), SPACING, [3])


def _middle(png: bytes) -> float:
    """Column about which an outline of the first tile lies."""
    x = np.nonzero(np.asarray(Image.open(io.BytesIO(png)))[24:192, 4:172])[1]
    return float(0.5 * (x.min() + x.max()))


@pytest.mark.parametrize(
    ("value", "digits", "sign", "text"),
    [(1.25, 1, False, "1.2"), (1.0, 2, True, "+1.00"), (None, 1, False, "n/a"), (NAN, 1, True, "n/a")],
)
def test_numbers_on_pages(value: float | None, digits: int, sign: bool, text: str) -> None:
    assert shown(value, digits, sign) == text


@pytest.mark.parametrize(("value", "text"), [(0.0, "< 0.001"), (0.0421, "0.042"), (None, "n/a")])
def test_p_is_never_nought(value: float | None, text: str) -> None:
    assert p_value(value) == text


class TestResultsThatDoNotFit:
    """OUT and dataset changed under the comparison."""

    @pytest.fixture
    def study(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        return shared_study(tmp_path_factory)

    def test_a_table_of_another_mask(self, study: Path, tmp_path: Path) -> None:
        image = next(each for each in read_ours(study / "out") if each.contrast == "T1w")
        table = tmp_path / image.slices.name
        lines = image.slices.read_text().splitlines()
        first = lines[1].split("\t")
        lines[1] = "\t".join(["9999", *first[1:]])
        table.write_text("\n".join(lines) + "\n")
        with pytest.raises(DataError, match="names slice 9999"):
            place_of_table(table, read_grid(image.soft), image.rows)

    def test_an_image_that_is_gone(self, study: Path, tmp_path: Path) -> None:
        image = read_ours(study / "out")[0]
        assert conformed(image, study / "bids", tmp_path) == study / "bids" / image.source
        with pytest.raises(DataError, match="does not exist"):
            conformed(image, tmp_path / "gone", tmp_path)


@pytest.mark.parametrize("program", [compare, drift, evaluate])
def test_a_folder_that_cannot_be_written(
    program: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    model = checkpoint(tmp_path / "m.pt")
    arguments = {
        compare: [tmp_path, tmp_path], drift: [model, model, tmp_path], evaluate: [tmp_path, f"a={model}"],
    }[program]  # type: ignore[index]  # fmt: skip
    assert program([*map(str, arguments), "-o", str(tmp_path / "file" / "x")]) == 73  # type: ignore[operator]
    assert "cannot be made" in capsys.readouterr().err
