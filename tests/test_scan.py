"""Scanning a drawn body: geometry against the body's own tables."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from softseg_bids.image.grid import Grid
from softseg_bids.synthesis.adult import draw_adult, mean_area_mm2
from softseg_bids.synthesis.anatomy import render
from softseg_bids.synthesis.body import Body
from softseg_bids.synthesis.protocol import NECK
from softseg_bids.synthesis.scan import Image, Pose, Sequence, Stack, draw_pose, scan

SMALL = Stack((Sequence("DWI", (0.8, 0.8, 4.0), 2, noise=0.0),), (40.0, 40.0, 48.0), (0.6, 0.6, 1.0))
MIDDLE = np.zeros(3)


@pytest.fixture(scope="module")
def body() -> Body:
    return draw_adult(np.random.default_rng(5), 48.0, 45.0)


@pytest.fixture(scope="module")
def pose() -> Pose:
    return draw_pose(np.random.default_rng(6))


def centres_mm(image: Image) -> np.ndarray:
    """Brightness-weighted centre of each slice, scanner mm: where DWI shows the cord."""
    bright = np.where(image.array > 0.4, image.array, 0)
    index = np.stack(np.meshgrid(*map(np.arange, bright.shape), indexing="ij"), axis=-1)
    total = bright.sum(axis=(0, 1))
    mean = (index * bright[..., None]).sum(axis=(0, 1)) / total[:, None]
    return Grid(bright.shape, image.affine).to_world(mean)


@pytest.mark.parametrize("is_aligned", [False, True])
def test_the_affine_puts_the_cord_where_the_pose_put_the_body(
    body: Body, pose: Pose, is_aligned: bool
) -> None:
    [image] = scan(body, pose, SMALL._replace(is_aligned=is_aligned), np.array([3.0, -2.0, 5.0]), seed=1)
    in_body = (centres_mm(image) - pose.shift_mm) @ pose.rotation
    expected = np.stack([np.interp(in_body[:, 2], body.z_mm, column) for column in body.centre_mm.T], axis=1)
    # The outline is not symmetric about the centreline, nor the grey matter about the cord.
    assert np.abs(in_body[:, :2] - expected).max() < 0.6
    assert np.abs((in_body[:, :2] - expected).mean(axis=0)).max() < 0.3


def test_an_aligned_stack_cuts_the_cord_straight_seen_from_the_side(body: Body, pose: Pose) -> None:
    [image] = scan(body, pose, SMALL._replace(is_aligned=True), MIDDLE, seed=1)
    normal = image.affine[:3, 2] / np.linalg.norm(image.affine[:3, 2])
    along = pose.rotation @ body.tangent[np.abs(body.z_mm) < 35].mean(axis=0)
    assert np.arctan2(along[1], along[2]) == pytest.approx(np.arctan2(normal[1], normal[2]), abs=1e-6)
    assert normal[0] == pytest.approx(0)


def test_the_seen_stretch_holds_the_volume_of_the_cord(body: Body) -> None:
    upright = Pose(np.eye(3), np.zeros(3))
    [image] = scan(body, upright, SMALL, MIDDLE, seed=1)
    spacing = (0.4, 0.4, 0.5)
    shape = (100, 100, 96)
    grids = [torch.arange(n) * h - 0.5 * (n - 1) * h for n, h in zip(shape, spacing, strict=True)]
    cord = render(body, torch.stack(torch.meshgrid(*grids, indexing="ij")), spacing).cord
    start, end = image.seen_mm
    volume = float(cord.double().sum()) * float(np.prod(spacing))
    assert volume / (end - start) == pytest.approx(mean_area_mm2(body, start, end), rel=5e-3)


def test_one_seed_gives_one_image_and_another_seed_other_noise(body: Body, pose: Pose) -> None:
    noisy = SMALL._replace(sequences=(SMALL.sequences[0]._replace(noise=0.03),))
    [first], [second], [other] = (scan(body, pose, noisy, MIDDLE, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.array, second.array)
    assert np.abs(first.array - other.array).mean() > 0.01


def test_distortion_moves_the_cord_along_ap_only(body: Body, pose: Pose) -> None:
    [still] = scan(body, pose, SMALL, MIDDLE, seed=1)
    [moved] = scan(body, pose, SMALL._replace(distortion_mm=1.0), MIDDLE, seed=1)
    shift = centres_mm(moved) - centres_mm(still)
    assert np.abs(shift[:, 1]).max() > 0.5
    assert np.abs(shift[:, [0, 2]]).max() < 0.35


def test_every_sequence_of_the_protocol_is_rendered_fine_enough() -> None:
    for stack in NECK:
        for sequence in stack.sequences:
            assert all(f <= s for f, s in zip(stack.fine_mm, sequence.spacing_mm, strict=True) if s >= 0.6)
            assert stack.field_mm == (60.0, 60.0, 90.0)
