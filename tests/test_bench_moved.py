"""`bench.moved`: what moves is the neck, not the field of view; and the table counts as it says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.moved import FIRST, MOVES, Change, Move, changes_in, scanned, table
from softseg_bids.synthesis.adult import draw_adult
from softseg_bids.synthesis.body import Body
from softseg_bids.synthesis.protocol import CENTRE_S_MM, FIELD_MM


@pytest.fixture(scope="module")
def body() -> Body:
    return draw_adult(np.random.default_rng(1), CENTRE_S_MM, 0.5 * FIELD_MM[2])


def test_the_neck_moves_in_the_field_of_view(body: Body) -> None:
    still = scanned(body, FIRST, Move(0.0, 0.0, ""), 3)
    moved = scanned(body, "up", MOVES["up"], 4)
    np.testing.assert_allclose(moved.grid.affine, still.grid.affine, atol=1e-9)
    for value, point in still.discs_mm.items():
        np.testing.assert_allclose(moved.discs_mm[value] - point, [0.0, 0.0, 5.0], atol=1e-9)
    # About the canal the picture has moved with it, by five of its slices of 1 mm.
    about = np.s_[20:40, 16:36]
    here, there = still.array[about], moved.array[about]
    alike = [
        np.corrcoef(here[..., 10:-10].ravel(), there[..., 10 + by : by - 10].ravel()) for by in range(10)
    ]
    assert int(np.argmax([each[0, 1] for each in alike])) == 5
    nodded = scanned(body, "front", MOVES["front"], 3)
    turn = np.deg2rad(10.0)
    for value, point in still.discs_mm.items():
        assert nodded.discs_mm[value][2] == pytest.approx(
            np.sin(turn) * point[1] + np.cos(turn) * point[2], abs=1e-9
        )


def test_the_table_counts_what_is_within_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "group_change.tsv"
    path.write_text(
        "region\tchange_percent\talignment\nstretch\t-0.4\tmidpoint\nvert-C3\t0.8\tlabels\ncord\t9\tlabels\n"
    )
    found = [*changes_in(path, "up"), Change("up", "stretch", 1.2, "midpoint")]
    lines = table(found, {"up": MOVES["up"]})
    assert lines[2] == "| 5 mm up | 0.80 / 1.20 (2) | n/a | 0.80 / 0.80 (1) | n/a | n/a |"
    assert lines[-1] == "Of 3 changes 1 are within 0.5 %, and 2 within 1 %; 2 are of aligned scans."
