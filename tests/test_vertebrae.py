"""Vertebrae: what tells one from another, without moving the cord or the draws of older bodies."""

from __future__ import annotations

import hashlib

import numpy as np
import torch

from softseg_bids.synthesis.adult import disc_tips_mm
from softseg_bids.synthesis.anatomy import Scene, grid_points, render
from softseg_bids.synthesis.body import Body, draw_body
from softseg_bids.synthesis.geometry import far_frame, near_frame
from softseg_bids.synthesis.head import throat_layers
from softseg_bids.synthesis.vertebrae import spine_of, vertebra_layers

SHAPE, SPACING = (24, 24, 16), (1.5, 1.5, 3.0)


def scene_of(body: Body) -> Scene:
    return render(body, grid_points(SHAPE, SPACING, torch.device("cpu")), SPACING)


def alpha_at(body: Body, tissue: str, points: np.ndarray) -> np.ndarray:
    """How much of a tissue the vertebrae show at points (n, 3), as painted in their order."""
    where = torch.as_tensor(points.T[:, :, None, None], dtype=torch.float32)
    total = torch.zeros(len(points))
    for layer in vertebra_layers(body, near_frame(body, where), 0.3, (0.3, 0.3, 0.3)):
        alpha = layer.alpha[:, 0, 0]
        total = torch.lerp(total, torch.full_like(total, float(layer.tissue == tissue)), alpha)
    return total.numpy()


def column_points(body: Body, s_mm: np.ndarray, before_tip_mm: float) -> np.ndarray:
    """Points in the middle of the column, in front of the line of the discs' tips."""
    z = np.interp(-s_mm, -body.s_of_z, body.z_mm)
    centre = np.column_stack([*(np.interp(z, body.z_mm, column) for column in body.centre_mm.T), z])
    tangent = np.column_stack([np.interp(z, body.z_mm, column) for column in body.tangent.T])
    front = np.cross(tangent, [1.0, 0.0, 0.0])
    front = front / np.linalg.norm(front, axis=1, keepdims=True)
    depth = np.interp(s_mm, body.s_mm, body.sac_b_mm + body.sac_v_mm + body.canal_gap_mm)
    return centre + (depth + 1.0 + before_tip_mm)[:, None] * front


def plain(seed: int, s_centre_mm: float) -> Body:
    body = draw_body(np.random.default_rng(seed), s_centre_mm=s_centre_mm, wide=True)
    return body._replace(has_bodies=True, has_arches=True)


def test_the_cord_of_a_seed_is_what_it_was_before_vertebrae_had_details() -> None:
    # Of the release that trained the first weights; a change here changes every training run.
    digest = hashlib.sha256()
    for seed in range(6):
        cord = scene_of(draw_body(np.random.default_rng(seed))).cord
        digest.update(np.round(cord.numpy() * 4096).astype(np.int16).tobytes())
    assert digest.hexdigest()[:16] == "bbba294575df9983"


def test_details_are_those_of_the_body_and_draw_nothing_from_its_source() -> None:
    body = draw_body(np.random.default_rng(3))
    one, two = spine_of(body), spine_of(body)
    assert all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))
    other = spine_of(body._replace(seed=body.seed + 1))
    assert not np.array_equal(one.tilt, other.tilt)


def test_a_disc_is_seen_at_its_tip_and_bone_between_discs() -> None:
    for seed in range(3):
        body = plain(seed, 80.0)
        spine = spine_of(body)
        for number in range(3, 9):
            if spine.disc_half_mm[number - 1] == 0:
                continue
            at = float(body.discs_mm[number - 1])
            below = float(body.discs_mm[number])
            points = column_points(body, np.array([at, at + 0.33 * (below - at)]), 5.0)
            # The middle of the body may show its veins; a third of the way down there is only marrow.
            marrow = alpha_at(body, "marrow", points)
            assert marrow[0] < 0.2 and marrow[1] > 0.8


def test_the_tip_does_not_move_when_the_disc_tilts() -> None:
    body = plain(5, 60.0)
    tip = disc_tips_mm(body)[4]
    mine = column_points(body, np.array([body.discs_mm[3]]), 0.0)[0]
    np.testing.assert_allclose(mine, tip, atol=0.15)


def test_no_disc_lies_between_dens_and_axis() -> None:
    for seed in range(6):
        body = plain(seed, 20.0)
        spine = spine_of(body)
        s = np.linspace(6.0, float(body.discs_mm[2]) - 6.0, 30)
        beside = np.abs(s - spine.remnant_s_mm) > spine.remnant_half_s_mm + 2.0
        marrow = alpha_at(body, "marrow", column_points(body, s[beside | (spine.remnant == 0)], 4.5))
        assert marrow.min() > 0.5


def test_the_remnant_of_their_joint_is_a_dark_lens_within_the_bone() -> None:
    seen = 0
    for seed in range(16):
        body = plain(seed, 20.0)
        spine = spine_of(body)
        if spine.remnant < 0.7 or spine.remnant_half_s_mm < 1.0 or spine.remnant_half_v_mm > 5.0:
            continue
        seen += 1
        depths = np.arange(0.0, 20.0, 0.25)
        points = [column_points(body, np.array([spine.remnant_s_mm]), d)[0] for d in depths]
        marrow = alpha_at(body, "marrow", np.array(points))
        bone = depths[marrow > 0.6]
        lens = depths[(marrow < 0.6) & (depths > bone[0]) & (depths < bone[-1])]
        assert 0.3 * spine.remnant_half_v_mm < 0.5 * np.ptp(lens) < spine.remnant_half_v_mm + 0.5
    assert seen > 1


def test_the_ring_of_c1_lies_before_the_dens_and_nowhere_else() -> None:
    body = plain(2, 10.0)
    spine = spine_of(body)
    middle = max(spine.dens_top_mm, 0.0) + 1.1 * spine.arch_half_s_mm
    ahead = 11.0 + spine.arch_gap_mm + spine.arch_half_v_mm
    bone = [
        alpha_at(body, t, column_points(body, np.array([middle, 70.0]), ahead)) for t in ("cortex", "marrow")
    ]
    assert sum(bone)[0] > 0.9
    gap = alpha_at(body, "marrow", column_points(body, np.array([middle]), 11.0 + 0.5 * spine.arch_gap_mm))
    assert gap[0] < 0.1


def test_fused_vertebrae_show_no_end_plates() -> None:
    seeds = (seed for seed in range(200) if (spine_of(plain(seed, 80.0)).disc_half_mm[3:8] == 0).any())
    body = plain(next(seeds), 80.0)
    fused = 3 + int(np.flatnonzero(spine_of(body).disc_half_mm[3:8] == 0)[0])
    points = column_points(body, np.array([body.discs_mm[fused]]), 5.0)
    assert alpha_at(body, "marrow", points)[0] > 0.8


def test_a_body_without_vertebrae_has_no_layers() -> None:
    body = plain(1, 60.0)._replace(has_bodies=False, has_arches=False)
    near = near_frame(body, grid_points(SHAPE, SPACING, torch.device("cpu")))
    assert vertebra_layers(body, near, 1.0, SPACING) == []


def test_arches_lie_behind_the_canal() -> None:
    body = plain(3, 90.0)._replace(has_bodies=False)
    s = np.linspace(60.0, 120.0, 40)
    for tissue in ("marrow", "cortex"):
        assert alpha_at(body, tissue, column_points(body, s, 8.0)).max() == 0


def test_the_throat_is_only_in_views_that_reach_it() -> None:
    body = plain(4, 50.0)._replace(has_head=True)
    near, wide = ((grid_points((8, n, 40), (2.0, 2.0, 2.0), torch.device("cpu"))) for n in (16, 90))
    assert throat_layers(body, far_frame(body, near), 2.0) == []
    assert any(float(layer.alpha.max()) == 1 for layer in throat_layers(body, far_frame(body, wide), 2.0))
