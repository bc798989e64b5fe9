"""The benchmark's set: balanced, reproducible, and partly of bodies that training never draws."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch

from bench import images, losses, strangers
from bench.images import SET, Spec


def test_the_set_is_what_it_says() -> None:
    specs = images.plan()
    assert len(specs) == SET["images"] == 200
    kinds = Counter(spec.kind for spec in specs)
    assert kinds["stranger"] * 3 == pytest.approx(200, abs=3)
    assert {spec.contrast for spec in specs if spec.kind == "familiar"} == set(SET["contrasts"])
    assert {spec.contrast for spec in specs if spec.kind == "stranger"} == set(SET["stranger_contrasts"])
    assert {spec.resolution for spec in specs} == set(SET["resolutions"])
    assert {spec.pathology for spec in specs} == set(SET["pathologies"])


def test_any_beginning_is_balanced() -> None:
    start = images.plan(40)
    assert start == images.plan()[:40]
    share = Counter(spec.resolution for spec in start)["iso 1 mm"] / 40
    assert share == pytest.approx(5 / 22, abs=0.06)
    few, all_of_them = images.plan_heads(40), images.plan_heads()
    assert {spec.kind for spec in few} == {"head", "head_with_cord", "noise"}
    assert len(few) < len(all_of_them) == 32


def test_images_to_fit_on_are_not_in_the_set() -> None:
    ours = images.plan_calibration(12)
    assert len(ours) == 12 and {spec.kind for spec in ours} == {"calibration"}
    twin = ours[0]._replace(kind="familiar", resolution="slab of 5")
    one, other = images.make(twin), images.make(twin._replace(kind="calibration"))
    assert one.array.shape != other.array.shape or not np.array_equal(one.array, other.array)


def test_one_number_is_one_image_and_another_another() -> None:
    spec = next(s for s in images.plan() if s.kind == "stranger" and s.resolution == "slab of 5")
    one, again = images.make(spec), images.make(spec)
    np.testing.assert_array_equal(one.array, again.array)
    assert one.array.shape[2] == 5 and sum(s.is_whole for s in one.sections) >= images.LEAST_SLICES
    assert one.grid.spacing_mm[2] >= 3 and one.plane == "ax"
    if one.fraction is not None:
        area = one.fraction.sum((0, 1)) * one.grid.spacing_mm[0] * one.grid.spacing_mm[1]
        true = np.array([s.area_mm2 for s in one.sections])
        assert (area >= 0.98 * true).all() and (area <= 1.6 * true).all()


def test_a_familiar_image_shows_its_cord_where_the_truth_is() -> None:
    spec = Spec(3, "familiar", "T2w", "slab of 5", "compression", "neck")
    case = images.make(spec)
    assert case.step > 0 and 0 < case.cnr <= images.MOST_CNR
    if case.fraction is not None:
        inside = case.array[case.fraction > 0.99].mean()
        ring = (case.fraction > 0.01) & (case.fraction < 0.3)
        assert inside < case.array[ring].mean()


def test_phantoms_of_noise_have_no_truth() -> None:
    case = images.make(Spec(2, "noise", "T1w", "noise", "none", "head"))
    assert case.cord is None and case.fraction is None and case.sections == []
    assert np.isfinite(case.array).all() and case.array.std() > 0


def test_without_nilearn_there_is_no_template(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "template", lambda: None)
    with pytest.raises(ValueError, match="install nilearn"):
        images.make(Spec(0, "template", "T1w", "template", "none", "head"))


def test_fluid_of_every_kind_differs_from_the_cord_as_it_says() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        bright = strangers._draw_signals(rng, "bright_csf")
        assert bright["csf"] > bright["cord"]
        dark, faint = strangers._draw_signals(rng, "dark_csf"), strangers._draw_signals(rng, "faint_csf")
        assert dark["csf"] < dark["cord"]
        assert 0.79 < faint["csf"] / faint["cord"] < 1.21
        bone = strangers._draw_signals(rng, "inverted_bone")
        assert bone["plate"] > bone["block"]


def test_losses_start_alike_and_share_their_schedule() -> None:
    learners = losses.start_learners(None)
    states = [learner.network.state_dict() for learner in learners.values()]
    assert len(states) == 5
    for name, tensor in states[0].items():
        assert all(bool((state[name] == tensor).all()) for state in states[1:])
    rates, remaining = zip(*[losses.schedule(step, 1000) for step in range(1000)], strict=True)
    assert rates[0] == pytest.approx(losses.RATE / 100) and max(rates) == losses.RATE
    assert remaining[700] == 1 and remaining[875] == pytest.approx(0.5)
    assert rates[875] == pytest.approx(losses.RATE / 2) and rates[-1] < 0.01 * losses.RATE


def test_every_loss_teaches_a_small_patch() -> None:
    torch.manual_seed(0)
    cord = torch.zeros(1, 1, 16, 16, 8)
    cord[:, :, 5:11, 5:11] = 1
    batch = (cord + 0.1 * torch.randn_like(cord), cord, torch.ones_like(cord))
    for name, learner in losses.start_learners(None).items():
        values = [learner.step(batch, losses.RATE, 1.0) for _ in range(6)]
        assert values[-1] < values[0], name
