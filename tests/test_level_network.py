"""The network that reads levels: its shapes, its checkpoint, what it is trained on."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import centred_grid
from numpy.typing import NDArray
from scipy import ndimage

from softseg_bids.core.evidence import LEVEL_CLASSES, MARKS, Evidence
from softseg_bids.image.grid import Grid
from softseg_bids.image.straight import Planes
from softseg_bids.image.volume import DataError, Volume
from softseg_bids.model.checkpoint import LEVEL_ROLE, load_checkpoint, load_level_network, save_checkpoint
from softseg_bids.model.levels import (
    LEVELS,
    LOOKS,
    OUTPUTS,
    ROWS,
    STEP_MM,
    LevelArchitecture,
    LevelNet,
    network_input,
    offsets_of,
    read_levels,
    step_along_mm,
    windows_of,
)
from softseg_bids.model.network import Architecture, FoldedUNet
from softseg_bids.training import pack, train_levels
from softseg_bids.training.levels_data import NOTHING, as_tensors, draw_examples, marks_mm
from softseg_bids.training.train_levels import level_loss

SMALL = LevelArchitecture((4, 8), (-5.0, 0.0, 5.0), (-10.0, 2.5, 16))
CPU = torch.device("cpu")


def small_checkpoint(path: Path, with_levels: bool = True) -> Path:
    architecture = Architecture((2, 2, 2), (2, 2), (4.0, 4.0, 4.0), (16, 16, 16))
    networks: dict[str, tuple[Architecture | LevelArchitecture, dict[str, torch.Tensor]]] = {
        role: (architecture, FoldedUNet(architecture).state_dict()) for role in ("locator", "segmenter")
    }
    if with_levels:
        networks[LEVEL_ROLE] = SMALL, LevelNet(SMALL).state_dict()
    save_checkpoint(path, networks, {})
    return path


def test_rows_of_any_number_have_outputs_of_their_own() -> None:
    network = LevelNet(SMALL).eval()
    for rows in (8, 20):
        assert network(torch.zeros(2, 4, rows, 16)).shape == (2, OUTPUTS, rows)


def test_the_checkpoint_gives_back_the_network_and_may_come_without(tmp_path: Path) -> None:
    path = small_checkpoint(tmp_path / "model.pt")
    found = load_level_network(path, CPU)
    assert found is not None and found[0] == SMALL
    assert set(load_checkpoint(path, CPU)) == {"locator", "segmenter"}
    assert load_level_network(small_checkpoint(tmp_path / "old.pt", with_levels=False), CPU) is None


def test_a_damaged_level_network_is_told(tmp_path: Path) -> None:
    path = small_checkpoint(tmp_path / "model.pt")
    content = torch.load(path, weights_only=True)
    del content["networks"][LEVEL_ROLE]["state"]["head.weight"]
    torch.save(content, path)
    with pytest.raises(DataError, match="levels is incomplete"):
        load_level_network(path, CPU)


def test_input_is_normalised_where_it_was_seen_and_nothing_elsewhere() -> None:
    rng = np.random.default_rng(0)
    seen = np.zeros((3, 10, 16), dtype=bool)
    seen[:, 2:8] = True
    values = np.where(seen, rng.normal(500, 40, seen.shape), 0).astype(np.float32)
    found = network_input(Planes(values, seen))
    assert found.shape == (4, 10, 16)
    assert abs(found[:-1][seen].mean()) < 1e-4 and found[:-1][seen].std() == pytest.approx(1, abs=1e-4)
    assert (found[:-1][~seen] == 0).all() and (found[-1] == seen[1]).all()
    brighter = network_input(Planes(values * 3, seen))
    np.testing.assert_allclose(brighter, found, atol=1e-3)
    assert not network_input(Planes(values * 0, seen & False)).any()


def test_levels_are_read_along_the_line_and_beyond_it_only_where_the_image_is() -> None:
    grid = centred_grid((40, 60, 60))
    volume = Volume(np.random.default_rng(0).normal(size=grid.shape).astype(np.float32), grid)
    line = np.array([[0.0, 0.0, z] for z in np.linspace(20, -20, 21)])
    where, evidence = read_levels(SMALL, LevelNet(SMALL).eval(), volume, line, CPU)
    height = where.points_mm[:, 2]
    assert len(height) == len(evidence.seen) and height[0] == pytest.approx(80, abs=STEP_MM)
    assert evidence.seen[np.abs(height) < 28].all() and not evidence.seen[np.abs(height) > 32].any()
    assert np.ptp(evidence.classes[:, evidence.seen], axis=0).max() > 0
    away = line + np.array([500.0, 0, 0])
    assert not read_levels(SMALL, LevelNet(SMALL).eval(), volume, away, CPU)[1].seen.any()


@pytest.mark.parametrize(("slice_mm", "tells"), [(3.0, True), (5.0, False)])
def test_slices_too_far_apart_to_show_a_disc_say_nothing_of_levels(slice_mm: float, tells: bool) -> None:
    grid = centred_grid((40, 60, 20), (1.0, 1.0, slice_mm))
    volume = Volume(np.random.default_rng(0).normal(size=grid.shape).astype(np.float32), grid)
    line = np.array([[0.0, 0.0, z] for z in np.linspace(20, -20, 21)])
    assert step_along_mm(volume, line) == pytest.approx(slice_mm)
    assert read_levels(SMALL, LevelNet(SMALL).eval(), volume, line, CPU)[1].seen.any() == tells
    beside = line[:, [2, 1, 0]]
    assert step_along_mm(volume, beside) == pytest.approx(1.0)


def test_examples_put_marks_where_the_body_has_its_discs() -> None:
    rng = np.random.default_rng(4)
    for example in draw_examples(rng, count=1) + draw_examples(rng, count=1):
        marks, tip, level = example.targets
        rows = len(example.where.points_mm)
        assert marks.shape == (len(MARKS), rows) and tip.shape == level.shape == (rows,)
        assert level.max() < LEVEL_CLASSES and (np.diff(level[level != NOTHING]) >= 0).all()
        points = marks_mm(example.body)
        for row in np.flatnonzero(marks[0] > 0.95):
            at = example.where.points_mm[row] + 10 * tip[row] * example.where.front[row]
            nearest = min(np.linalg.norm(points[n] - at) for n in range(3, 26))
            assert nearest < 3.0
            # At the field's edge the row above is not seen.
            assert level[row] - level[row - 1] in (0, 1) or level[row - 1] == NOTHING
    image, marks_t, _, level_t = as_tensors(rng, example)
    assert image.shape[1] == marks_t.shape[1] == level_t.shape[0] == ROWS
    assert image.isfinite().all() and not marks_t[:, level_t == NOTHING].any()


def test_loss_is_least_for_the_truth_and_blind_to_unseen_rows() -> None:
    marks, tip = torch.zeros(1, len(MARKS), 6), torch.zeros(1, 6)
    marks[0, 0, 2] = 1.0
    level = torch.tensor([[3, 3, 4, 4, NOTHING, NOTHING]])
    good = torch.full((1, OUTPUTS, 6), -6.0)
    good[0, 0, 2], good[0, len(MARKS)] = 6.0, 0.0
    for row, kind in enumerate([3, 3, 4, 4, 0, 0]):
        good[0, len(MARKS) + 1 + kind, row] = 6.0
    best = float(level_loss(good, marks, tip, level)[0])
    assert best < 0.2
    other = good.clone()
    other[..., 4:] = 9.0
    assert float(level_loss(other, marks, tip, level)[0]) == pytest.approx(best)
    assert float(level_loss(torch.zeros_like(good), marks, tip, level)[0]) > best + 2


def test_training_saves_what_can_be_packed_and_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    fixed = as_tensors(np.random.default_rng(2), draw_examples(np.random.default_rng(2), count=1)[0])
    monkeypatch.setattr(train_levels, "Examples", lambda seed: [fixed] * 8)
    monkeypatch.setattr(train_levels, "_validation", lambda bodies: [fixed])
    folder = str(tmp_path / "levels")
    common = ["--folder", folder, "--batch", "2", "--workers", "0", "--decay", "1", "--every", "1"]
    assert train_levels.main([*common, "--steps", "2"]) == 0
    assert train_levels.main([*common, "--steps", "4"]) == 0
    state = torch.load(tmp_path / "levels" / "state.pt", weights_only=True)
    assert state["step"] == 3
    for role in ("locator", "segmenter"):
        architecture = Architecture((2, 2, 2), (2, 2), (4.0, 4.0, 4.0), (16, 16, 16))
        (tmp_path / role).mkdir()
        content = {
            "step": 1,
            "architecture": architecture._asdict(),
            "state": FoldedUNet(architecture).state_dict(),
        }
        torch.save(content, tmp_path / role / "weights.pt")
    folders = [str(tmp_path / role) for role in ("locator", "segmenter", "levels")]
    assert pack.main([*folders, "--scaling", "1.7", "0.1", "--out", str(tmp_path / "all.pt")]) == 0
    assert load_level_network(tmp_path / "all.pt", CPU) is not None
    packed = load_checkpoint(tmp_path / "all.pt", CPU)
    assert packed["segmenter"][0].scaling == (1.7, 0.1) and packed["locator"][0].scaling == (1.0, 0.0)
    assert pack.main([*folders[:2], "--out", str(tmp_path / "two.pt")]) == 0
    assert load_level_network(tmp_path / "two.pt", CPU) is None
    with pytest.raises(SystemExit):
        pack.main([*folders[:1], "--out", str(tmp_path / "one.pt")])
    assert "give the folders" in capsys.readouterr().err


@pytest.mark.parametrize("rows", [1, 40, 200, 208, 224, 330])
def test_rows_are_looked_at_from_even_and_odd_places_amid_empty_ones(rows: int) -> None:
    offsets, length = offsets_of(rows, LEVELS.multiple)
    assert len(offsets) == LOOKS and len(set(offsets)) == LOOKS
    assert length % LEVELS.multiple == 0 and length >= max(ROWS, rows)
    assert min(offsets) >= 0 and max(offsets) + rows <= length
    assert sum(offset % 2 for offset in offsets) == LOOKS // 2


@pytest.mark.parametrize("rows", [1, ROWS - 1, ROWS, ROWS + 1, 330, 2 * ROWS, 500])
def test_windows_cover_all_rows_and_overlap_by_half(rows: int) -> None:
    windows = windows_of(rows)
    assert windows[0].start == 0 and windows[-1].stop == rows
    assert all(window.stop - window.start == min(rows, ROWS) for window in windows)
    assert all(after.start - before.start <= ROWS // 2 for before, after in pairwise(windows))
    assert len(windows) == 1 or rows > ROWS


def test_the_lower_end_of_a_long_spine_says_nothing_of_its_upper_one() -> None:
    """Features are normalised over what the network sees at a time: no more than it learnt from."""
    torch.manual_seed(5)
    network = LevelNet(LEVELS).eval()
    rng = np.random.default_rng(6)
    array = ndimage.gaussian_filter(rng.normal(0, 1, (24, 60, 2 * ROWS)), 1.5).astype(np.float32)
    line = np.column_stack([np.full(60, 12.0), np.full(60, 25.0), np.linspace(2 * ROWS * STEP_MM, 5, 60)])

    def evidence(brighter: float) -> Evidence:
        changed = array.copy()
        changed[..., : ROWS // 2] *= brighter
        grid = Grid(changed.shape, np.diag([1.0, 1.0, STEP_MM, 1.0]))
        return read_levels(LEVELS, network, Volume(changed, grid), line, CPU)[1]

    plain, other = evidence(1.0), evidence(30.0)
    top = np.flatnonzero(plain.seen)[: ROWS // 2]
    bottom = np.flatnonzero(plain.seen)[-ROWS // 4 :]
    assert np.array_equal(plain.marks[:, top], other.marks[:, top])
    assert np.abs(plain.classes[:, bottom] - other.classes[:, bottom]).max() > 0.01


def test_where_the_rows_begin_hardly_matters() -> None:
    """A view that is a row shorter at its top says the same of what it still shows."""
    torch.manual_seed(3)
    network = LevelNet(LEVELS).eval()
    rng = np.random.default_rng(4)
    array = ndimage.gaussian_filter(rng.normal(0, 1, (24, 60, 120)), 1.5).astype(np.float32)
    line = np.column_stack([np.full(60, 12.0), np.full(60, 25.0), np.linspace(140, 10, 60)])

    def marks(cut: int) -> NDArray[np.float64]:
        part = array[..., : array.shape[2] - cut]
        grid = Grid(part.shape, np.diag([1.0, 1.0, STEP_MM, 1.0]))
        where, evidence = read_levels(LEVELS, network, Volume(part, grid), line, CPU)
        z = where.points_mm[evidence.seen][:, 2]
        return np.interp(np.arange(30, 110), z[::-1], evidence.marks[0][evidence.seen][::-1])

    whole = marks(0)
    for cut in (1, 2):
        assert np.abs(marks(cut) - whole).std() < 0.3 * whole.std()
