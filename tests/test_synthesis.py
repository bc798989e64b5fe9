"""Procedural bodies: the label is the geometry, and a seed is a body."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from softseg_bids.synthesis.anatomy import INDEX, Scene, grid_points, render
from softseg_bids.synthesis.body import Body, draw_body, landmarks, true_area_mm2
from softseg_bids.synthesis.contrast import SEQUENCES, Inflow, draw_contrast, paint
from softseg_bids.synthesis.scanner import (
    NEAREST_MM,
    REDUCED_MM,
    Acquisition,
    acquire,
    displaced_points,
    draw_acquisition,
    fine_grid,
    native_axis,
    reduced_field,
)

CPU = torch.device("cpu")


def scene_of(body: Body, shape: tuple[int, int, int], spacing: tuple[float, float, float]) -> Scene:
    return render(body, grid_points(shape, spacing, CPU), spacing)


def neck(seed: int) -> Body:
    rng = np.random.default_rng(seed)
    while not (body := draw_body(rng, s_centre_mm=70.0)).has_cord:
        pass
    return body


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_rendered_area_is_that_of_the_geometry(seed: int) -> None:
    body = neck(seed)
    spacing = (0.4, 0.4, 1.0)
    cord = scene_of(body, (100, 120, 24), spacing).cord
    z = (np.arange(24) - 11.5) * spacing[2]
    upward = np.interp(z, body.z_mm, body.tangent[:, 2])
    s = np.interp(z, body.z_mm, body.s_of_z)
    area = cord.sum((0, 1)).numpy() * 0.16 * upward
    np.testing.assert_allclose(area, true_area_mm2(body, s), rtol=0.01)
    assert area.sum() == pytest.approx(true_area_mm2(body, s).sum(), rel=0.002)


def test_partial_volume_agrees_with_supersampling() -> None:
    body = neck(4)
    spacing, k = (0.75, 0.75, 1.5), 8
    shape = (32, 40, 8)
    cord = scene_of(body, shape, spacing).cord
    fine = scene_of(body, (32 * k, 40 * k, 8 * k), (0.75 / k, 0.75 / k, 1.5 / k)).cord
    exact = (fine > 0.5).float().reshape(32, k, 40, k, 8, k).mean((1, 3, 5))
    edge = (exact > 0.01) & (exact < 0.99)
    assert float((cord - exact)[edge].abs().mean()) < 0.03
    assert float(cord.sum()) == pytest.approx(float(exact.sum()), rel=0.002)


def test_label_ends_at_the_foramen_magnum_and_at_the_conus() -> None:
    rng = np.random.default_rng(11)
    for height in (0.0, None):
        body = draw_body(rng, s_centre_mm=height if height is not None else 0.0)
        body = body._replace(has_cord=True)
        scene = scene_of(body, (48, 64, 40), (1.0, 1.0, 1.0))
        assert float(scene.cord[scene.along_mm < -1.5].max()) == 0
        assert float(scene.cord[(scene.along_mm > 2) & (scene.along_mm < 12)].max()) > 0.9
    low = draw_body(rng)._replace(has_cord=True)
    table = true_area_mm2(low, np.array([low.conus_mm + 1, -1.0, 50.0]))
    assert table[0] == table[1] == 0 < table[2]


def test_a_body_without_cord_has_no_label() -> None:
    scene = scene_of(neck(5)._replace(has_cord=False), (40, 40, 10), (1.0, 1.0, 2.0))
    assert float(scene.cord.max()) == 0


def test_discs_descend_in_order_and_c2_is_disc_three_minus_two() -> None:
    discs = landmarks(neck(6))
    heights = np.array([discs[n] for n in range(2, 27)])
    assert (np.diff(heights) > 8).all()
    assert 12 < discs[3] - discs[2] < 28


def test_one_seed_is_one_body_and_one_image() -> None:
    images = []
    for _ in range(2):
        rng = np.random.default_rng(8)
        body = draw_body(rng, s_centre_mm=60.0)
        scene = scene_of(body, (24, 24, 8), (1.5, 1.5, 3.0))
        images.append(paint(scene, draw_contrast(rng), (1.5, 1.5, 3.0)))
    assert torch.equal(*images)
    other = draw_body(np.random.default_rng(9), s_centre_mm=60.0)
    assert not torch.equal(scene_of(other, (24, 24, 8), (1.5, 1.5, 3.0)).cord, scene.cord)


@pytest.mark.parametrize("name", sorted(SEQUENCES))
def test_a_plain_sequence_has_its_own_signals(name: str) -> None:
    contrast = draw_contrast(np.random.default_rng(0), name, strength=0.0)
    assert contrast.name == name
    np.testing.assert_allclose(contrast.signal, SEQUENCES[name])
    body = neck(1)
    image = paint(scene_of(body, (24, 24, 6), (0.8, 0.8, 2.0)), contrast, (0.8, 0.8, 2.0))
    cord = scene_of(body, (24, 24, 6), (0.8, 0.8, 2.0)).cord > 0.999
    low, high = sorted((SEQUENCES[name][INDEX["white"]], SEQUENCES[name][INDEX["grey"]]))
    assert low - 0.15 < float(image[cord].median()) < high + 0.15


def perfect(**changes: object) -> Acquisition:
    box = np.array([12.0, 12.0, 12.0])
    scan = draw_acquisition(np.random.default_rng(0), -box, box, quality=0.0)
    plain = scan._replace(
        spacing_mm=(1.0, 1.0, 4.0), slice_axis=2, thickness=1.0, blur=(1.0, 1.0, 1.0), window=1.0,
        start_mm=-box, end_mm=box, rotation=np.eye(3), gamma=1.0, sharpen=0.0, noise_smooth=0.0,
    )  # fmt: skip
    return plain._replace(**changes)  # type: ignore[arg-type]


def test_a_slice_averages_its_thickness_and_a_constant_stays() -> None:
    scan = perfect()
    grid = fine_grid(scan, (0.5, 0.5, 0.5))
    ramp = torch.as_tensor(grid.centres(2), dtype=torch.float32).expand(grid.shape).contiguous() + 50
    native = acquire(scan, ramp, grid)
    assert native.shape == (24, 24, 6)
    np.testing.assert_allclose(native[12, 12].numpy(), native_axis(scan, 2) + 50, atol=1e-3)
    assert float(acquire(scan, torch.full(grid.shape, 0.7), grid).std()) < 1e-5


def test_truncated_fourier_rings_and_apodisation_calms_it() -> None:
    overshoot = []
    for window in (0.0, 1.0):
        scan = perfect(window=window, blur=(1.6, 1.0, 1.0))
        grid = fine_grid(scan, (0.25, 0.5, 1.0))
        step = (torch.as_tensor(grid.centres(0)) > 0).float()[:, None, None].expand(grid.shape).contiguous()
        overshoot.append(float(acquire(scan, step, grid).max()) - 1)
    assert overshoot[0] > 0.07
    assert overshoot[1] < 0.6 * overshoot[0]


def test_noise_is_rician_of_the_drawn_strength() -> None:
    scan = perfect(noise=0.05)
    grid = fine_grid(scan, (0.5, 0.5, 1.0))
    assert float(acquire(scan, torch.full(grid.shape, 1.0), grid).std()) == pytest.approx(0.05, rel=0.1)
    background = acquire(scan, torch.zeros(grid.shape), grid)
    assert float(background.mean()) == pytest.approx(0.05 * np.sqrt(np.pi / 2), rel=0.05)


def test_distortion_and_motion_displace_the_points_and_so_the_label() -> None:
    for change in ({"distortion_mm": 2.0}, {"motion_mm": 1.0}):
        scan = perfect(**change)
        grid = fine_grid(scan, (1.0, 1.0, 1.0))
        still = displaced_points(perfect(), grid, CPU)
        moved = displaced_points(scan, grid, CPU) - still
        assert 0.2 < float(moved.abs().max()) < 10
        assert float(moved[2].abs().max()) < 1e-4


def test_sacs_hold_the_cord_off_their_middle_and_narrow_behind() -> None:
    bodies = [draw_body(np.random.default_rng(seed), 60.0) for seed in range(40)]
    aside = np.array([np.interp(60.0, body.s_mm, body.sac_u_mm) for body in bodies])
    slack = np.array([np.interp(60.0, body.s_mm, body.sac_a_mm - body.cord_a_mm) for body in bodies])
    assert (np.abs(aside) <= 0.8 * slack).all() and np.abs(aside / slack).mean() > 0.2
    assert np.mean([body.sac_form[0] for body in bodies]) > 0.05


def test_narrow_fields_keep_the_cord_in_view_but_seldom_in_their_middle() -> None:
    start, end = np.array([-24.0, -24, -24]), np.array([24.0, 24, 24])
    scans = [draw_acquisition(np.random.default_rng(seed), start, end) for seed in range(400)]
    narrow = [one for one in scans if (one.end_mm - one.start_mm < end - start - 1e-6).any()]
    assert 0.15 < len(narrow) / len(scans) < 0.35
    nearest = np.array([np.minimum(-one.start_mm, one.end_mm)[:2].min() for one in narrow])
    assert nearest.min() >= NEAREST_MM - 1e-6 and (nearest < 12).mean() > 0.1


def test_a_reduced_field_is_hardly_deeper_than_the_canal_and_holds_the_cord() -> None:
    whole = draw_acquisition(np.random.default_rng(0), np.full(3, -36.0), np.full(3, 36.0))
    fields = [reduced_field(np.random.default_rng(seed), whole) for seed in range(100)]
    depth = np.array([one.end_mm[1] - one.start_mm[1] for one in fields])
    assert depth.max() <= REDUCED_MM[1] and np.median(depth) > REDUCED_MM[0]
    assert all(-one.start_mm[1] >= NEAREST_MM and one.end_mm[1] >= NEAREST_MM for one in fields)
    assert all((one.start_mm[[0, 2]] == whole.start_mm[[0, 2]]).all() for one in fields)


def test_a_box_beside_the_cord_is_not_narrowed_to_nothing() -> None:
    start, end = np.array([-36.0, 40.0, -36.0]), np.full(3, 110.0)
    beside = draw_acquisition(np.random.default_rng(0), start, end)
    assert all(reduced_field(np.random.default_rng(seed), beside) == beside for seed in range(50))


def test_diffusion_images_keep_a_floor_under_what_is_dark() -> None:
    drawn = [draw_contrast(np.random.default_rng(seed), "DWI") for seed in range(60)]
    share = np.array([one.signal[INDEX["csf"]] / one.signal[INDEX["white"]] for one in drawn])
    plain = SEQUENCES["DWI"][INDEX["csf"]] / SEQUENCES["DWI"][INDEX["white"]]
    assert share.mean() > 1.2 * plain and share.max() < 1


def test_few_diffusion_images_show_fluid() -> None:
    drawn = [draw_contrast(np.random.default_rng(seed), "DWI") for seed in range(200)]
    share = np.array([one.signal[INDEX["csf"]] / one.signal[INDEX["white"]] for one in drawn])
    assert (share < 0.5).mean() > 0.8 and (share > 0.5).any()


def test_the_pia_is_no_cord_but_looks_like_it_on_t2w() -> None:
    spacing = (0.5, 0.5, 2.0)
    bare = neck(3)._replace(lesions=np.empty((0, 7)), has_roots=False, murk=np.zeros(2), pia_mm=0.0)
    scenes = [scene_of(bare._replace(pia_mm=thick), (64, 64, 3), spacing) for thick in (0.0, 0.2)]
    assert torch.equal(scenes[0].cord, scenes[1].cord)
    # What a coat of 0.2 mm adds to an outline as long as an ellipse of this area has, or a little more.
    cord_mm2 = float(scenes[0].cord[:, :, 1].sum()) * spacing[0] * spacing[1]
    coat_mm2 = 0.2 * 2 * np.sqrt(np.pi * cord_mm2)

    def added_mm2(name: str) -> float:
        contrast = draw_contrast(np.random.default_rng(0), name, strength=0.0)
        plain, coated = (paint(scene, contrast, spacing)[:, :, 1] for scene in scenes)
        step = contrast.signal[INDEX["white"]] - contrast.signal[INDEX["csf"]]
        return float((coated - plain).sum() / step) * spacing[0] * spacing[1]

    assert 0.95 * coat_mm2 < added_mm2("T2w") < 1.3 * coat_mm2
    assert added_mm2("DWI") == pytest.approx(0, abs=0.02 * coat_mm2)
    assert 0.1 * coat_mm2 < added_mm2("GRET1w") < 0.5 * coat_mm2


def test_fluid_that_flows_in_is_bright_towards_an_end() -> None:
    drawn = [draw_contrast(np.random.default_rng(seed), "MToff") for seed in range(100)]
    assert 0.03 < np.mean([one.inflow is not None for one in drawn]) < 0.3
    body, spacing = neck(2)._replace(has_roots=False, murk=np.zeros(2)), (0.6, 0.6, 2.0)
    scene = scene_of(body, (72, 72, 20), spacing)
    plain = draw_contrast(np.random.default_rng(0), "MToff", strength=0.0)
    flowing = plain._replace(inflow=Inflow(signal=1.0, share=1.0, above_mm=0.0, below_mm=90.0, over_mm=2.0))
    before, after = (paint(scene, contrast, spacing) for contrast in (plain, flowing))
    csf, white = plain.signal[INDEX["csf"]], plain.signal[INDEX["white"]]
    inside = [layer.alpha for layer in scene.layers if layer.tissue == "csf"][-1] > 0.999  # the sac
    fluid = inside & ((before - csf).abs() < 1e-3)
    low, high = (float(after[:, :, part][fluid[:, :, part]].mean()) for part in (slice(4), slice(-4, None)))
    assert low < white < high and csf < white
    assert torch.equal(before[scene.cord > 0.999], after[scene.cord > 0.999])
