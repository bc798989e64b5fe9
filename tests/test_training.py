"""Training: pairs match inference, a short run learns, and it can stop and go on anywhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from softseg_bids.model.checkpoint import load_checkpoint
from softseg_bids.model.network import LOCATOR, SEGMENTER, Architecture
from softseg_bids.training import descent, pack, train
from softseg_bids.training.dataset import Pairs, draw_pair

CPU = torch.device("cpu")
TINY = Architecture((2, 2, 1), (4, 8), (1.5, 1.5, 3.0), (16, 16, 8))


@pytest.mark.parametrize("wide", [False, True])
def test_a_pair_is_normalised_and_its_label_a_fraction(wide: bool) -> None:
    shape = (24, 24, 16)
    for seed in range(4):
        pair = draw_pair(np.random.default_rng(seed), shape, (1.5, 1.5, 3.0), CPU, wide)
        assert all(part.shape == shape for part in pair)
        assert abs(float(pair.image.mean())) < 1e-3
        assert float(pair.image.std()) == pytest.approx(1, abs=0.01)
        assert float(pair.cord.min()) >= 0
        assert float(pair.cord.max()) <= 1
        assert set(np.unique(pair.seen.numpy())) <= {0.0, 1.0}
        assert float(pair.seen.mean()) > 0.05


def test_a_seed_repeats_and_workers_differ() -> None:
    first = next(iter(Pairs((16, 16, 8), (1.5, 1.5, 3.0), 7, wide=False)))
    again = next(iter(Pairs((16, 16, 8), (1.5, 1.5, 3.0), 7, wide=False)))
    other = next(iter(Pairs((16, 16, 8), (1.5, 1.5, 3.0), 8, wide=False)))
    assert torch.equal(first[0], again[0])
    assert not torch.equal(first[0], other[0])


def run(folder: Path, role: str, steps: int) -> list[list[str]]:
    arguments = (
        f"{role} --folder {folder} --steps {steps} --decay 2 --batch 2 --workers 0 --every 20 --rate 0.02"
    )
    assert train.main(arguments.split()) == 0
    return [line.split("\t") for line in (folder / "log.tsv").read_text().splitlines()]


class SamePairs(Pairs):
    """Four bodies again and again: what a network of any size can learn."""

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        return cycle(islice(super().__iter__(), 4))


def test_a_short_training_halves_its_loss_and_goes_on_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(train.ROLES, "segmenter", TINY)
    monkeypatch.setattr(train, "WARMUP_STEPS", 5)
    monkeypatch.setattr(train, "Pairs", SamePairs)
    first = run(tmp_path, "segmenter", 40)
    assert [row[0] for row in first] == ["20", "40"]
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    assert state["step"] == 38, "the state before the decay is what a later run resumes"
    rows = run(tmp_path, "segmenter", 160)
    assert [row[0] for row in rows] == ["20", "40", *map(str, range(40, 161, 20))]
    assert float(rows[-1][3]) < 0.5 * float(rows[0][3])


def test_pack_joins_both_networks_into_one_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for role, grid in (("locator", LOCATOR), ("segmenter", SEGMENTER)):
        tiny = TINY._replace(spacing_mm=grid.spacing_mm)
        monkeypatch.setitem(train.ROLES, role, tiny)
        run(tmp_path / role, role, 20)
    out = tmp_path / "both.pt"
    assert pack.main([str(tmp_path / "locator"), str(tmp_path / "segmenter"), "--out", str(out)]) == 0
    networks = load_checkpoint(out, CPU)
    assert networks["locator"][0].spacing_mm == LOCATOR.spacing_mm
    assert networks["segmenter"][0].channels == TINY.channels


def test_a_run_ends_by_the_pace_of_its_later_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    clock = descent.Clock(minutes=10, decay=100)
    late = []
    for step in range(600):
        # Fifty steps of four seconds, the others of one: the slow ones must not hasten the end.
        now += 4.0 if step < descent.SLOW_STEPS else 1.0
        clock.step()
        late.append(clock.is_late)
    assert clock.spent_s == pytest.approx(200 + 550)
    # 600 s, less 100 steps of 1 s, less the 200 s of the slow ones: 300 quick steps are left.
    assert late.index(True) == descent.SLOW_STEPS + 300 - 1


def test_batches_come_from_the_latest_bodies_and_their_parts_stay_together() -> None:
    def bodies() -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        for number in range(40):
            image = torch.arange(4.0).reshape(1, 1, 4, 1, 1) + 10 * number
            yield image, image + 1, image + 2

    batches = list(train.mirrored(bodies(), 6, 5, np.random.default_rng(1)))
    assert len(batches) == 40
    mirrored = set()
    for number, (image, cord, seen) in enumerate(batches):
        assert image.shape == (6, 1, 4, 1, 1)
        assert torch.equal(cord, image + 1)
        assert torch.equal(seen, image + 2)
        for one in image:
            body, first = divmod(int(one.min()), 10)
            assert first == 0
            assert max(0, number - 4) <= body <= number
            mirrored.add(bool(one[0, 0] > one[0, -1]))
    assert mirrored == {True, False}
