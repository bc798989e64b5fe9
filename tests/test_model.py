"""The network, its losses, its checkpoint, and how it is run on an image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from softseg_bids.image.grid import Grid, canonical, like_stored
from softseg_bids.image.volume import DataError, Volume
from softseg_bids.model import predict
from softseg_bids.model.checkpoint import load_checkpoint, save_checkpoint
from softseg_bids.model.loss import cross_entropy, soft_dice
from softseg_bids.model.network import Architecture, FoldedUNet, fold, normalise, unfold
from softseg_bids.model.weights import DEFAULT, digest

CPU = torch.device("cpu")
TINY = Architecture((2, 2, 1), (4, 8), (1.0, 1.0, 2.0), (16, 16, 8))


def test_fold_and_unfold_are_inverse_and_keep_neighbours_together() -> None:
    image = torch.randn(2, 1, 8, 6, 4)
    assert torch.equal(unfold(fold(image, (2, 3, 1)), (2, 3, 1)), image)
    assert torch.equal(fold(image, (2, 2, 2))[0, :, 0, 0, 0], image[0, 0, :2, :2, :2].flatten())


def test_the_network_keeps_the_shape_and_ignores_the_intensity_scale() -> None:
    network = FoldedUNet(TINY).eval()
    image = torch.randn(1, 1, *TINY.window)
    with torch.no_grad():
        plain, scaled = network(normalise(image)), network(normalise(400 * image + 1000))
    assert plain.shape == image.shape
    torch.testing.assert_close(plain, scaled, atol=2e-3, rtol=0)


def test_normalise_survives_a_constant() -> None:
    assert float(normalise(torch.full((4, 4, 4), 7.0)).abs().max()) == 0


def test_cross_entropy_is_least_at_the_expected_fraction() -> None:
    """A voxel that is cord in 3 cases of 10: the best answer is 0.3, so that areas are unbiased."""
    target = torch.tensor([1.0] * 3 + [0.0] * 7).reshape(10, 1, 1, 1, 1)
    guesses = torch.linspace(0.05, 0.95, 91)
    losses = [
        cross_entropy(torch.logit(g).expand_as(target), target, torch.ones_like(target)) for g in guesses
    ]
    assert float(guesses[int(torch.stack(losses).argmin())]) == pytest.approx(0.3, abs=0.006)


def test_losses_ignore_what_was_not_seen() -> None:
    logits, target = torch.randn(2, 1, 4, 4, 4), torch.rand(2, 1, 4, 4, 4)
    seen = torch.ones_like(target)
    seen[..., 2:] = 0
    for loss in (cross_entropy, soft_dice):
        changed = logits.clone()
        changed[..., 2:] += 5
        assert float(loss(changed, target, seen)) == pytest.approx(
            float(loss(logits, target, seen)), rel=1e-6
        )


def test_soft_dice_is_zero_for_a_perfect_answer() -> None:
    target = (torch.rand(1, 1, 6, 6, 6) > 0.5).float()
    assert float(soft_dice(40 * (target - 0.5), target, torch.ones_like(target))) < 1e-6


def checkpoint(path: Path) -> Path:
    state = FoldedUNet(TINY).state_dict()
    save_checkpoint(path, {"locator": (TINY, state), "segmenter": (TINY, state)}, {"note": "a test"})
    return path


def test_a_checkpoint_comes_back_in_half_precision(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = FoldedUNet(TINY)
    both = {"locator": (TINY, network.state_dict()), "segmenter": (TINY, network.state_dict())}
    save_checkpoint(tmp_path / "c.pt", both, {})
    architecture, loaded = load_checkpoint(tmp_path / "c.pt", CPU)["segmenter"]
    assert architecture == TINY
    for before, after in zip(network.parameters(), loaded.parameters(), strict=True):
        torch.testing.assert_close(before.detach(), after, atol=1e-3, rtol=1e-3)


class Evil:
    """What unpickling must never run."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (exec, ("raise SystemExit('executed')",))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"format": 99, "networks": {}}, "format 99"),
        ({"format": 1}, "no networks"),
        ([1, 2], "no networks"),
        ({"format": 1, "networks": {"locator": {}}}, "locator is incomplete"),
        ({"format": 1, "networks": {}, "x": Evil()}, "weights alone"),
    ],
)
def test_other_files_are_refused_with_a_reason(tmp_path: Path, content: object, words: str) -> None:
    path = tmp_path / "odd.pt"
    torch.save(content, path)
    with pytest.raises(DataError, match=words) as error:
        load_checkpoint(path, CPU)
    assert str(path) in str(error.value)


def test_a_missing_or_broken_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such checkpoint"):
        predict.load_model(tmp_path / "none.pt", "cpu")
    broken = tmp_path / "broken.pt"
    broken.write_bytes(checkpoint(tmp_path / "whole.pt").read_bytes()[:500])
    with pytest.raises(DataError, match=r"broken\.pt"):
        predict.load_model(broken, "cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has the device that should be missing")
def test_a_device_that_is_not_there_is_named() -> None:
    with pytest.raises(DataError, match="cuda"):
        predict.load_model(DEFAULT, "cuda")


def phantom(
    spacing: tuple[float, float, float], shape: tuple[int, int, int], lean: float = 0.2
) -> tuple[np.ndarray, Grid]:
    """A bright sac around a grey cord that leans to the front, amid mottled tissue; canonical axes."""
    x, y, z = np.meshgrid(
        *[(np.arange(n) - (n - 1) / 2) * h for n, h in zip(shape, spacing, strict=True)], indexing="ij"
    )
    v = y - lean * z
    cord, sac = (x / 6) ** 2 + (v / 4) ** 2 < 1, (x / 9) ** 2 + (v / 7) ** 2 < 1
    rng = np.random.default_rng(0)
    image = 0.25 + 0.06 * rng.standard_normal(shape) + 0.7 * sac - 0.45 * cord
    return image.astype(np.float32), Grid(shape, np.diag([*spacing, 1.0]))


def test_noise_has_no_cord() -> None:
    rng = np.random.default_rng(3)
    noise = np.abs(rng.standard_normal((60, 60, 40))).astype(np.float32)
    found = predict.segment(predict.load_model(), Volume(noise, Grid((60, 60, 40), np.diag([2.0, 2, 2, 1]))))
    assert found.shape == noise.shape
    assert float(found.max()) == 0


@pytest.mark.parametrize(
    ("spacing", "shape"), [((1.0, 1.0, 1.0), (60, 70, 60)), ((0.6, 0.6, 5.0), (90, 100, 12))]
)
def test_the_cord_of_a_phantom_is_found_with_its_area(
    spacing: tuple[float, float, float], shape: tuple[int, int, int]
) -> None:
    image, grid = phantom(spacing, shape)
    soft = predict.segment(predict.load_model(), Volume(image, grid))
    assert soft.min() >= 0 and soft.max() <= 1
    middle = slice(shape[2] // 4, -(shape[2] // 4))
    area = soft[:, :, middle].sum(axis=(0, 1)).mean() * spacing[0] * spacing[1]
    assert area == pytest.approx(np.pi * 24, rel=0.25)


def test_a_coarse_line_a_little_beside_the_cord_hardly_matters(monkeypatch: pytest.MonkeyPatch) -> None:
    image, grid = phantom((1.0, 1.0, 2.0), (50, 56, 24))
    model = predict.load_own(DEFAULT, torch.device("cpu"))
    line = predict._cord_points(model, image, grid)
    assert line is not None
    areas = []
    for aside_mm in (0.0, 2.0):
        moved = line + np.array([aside_mm, 0.0, 0.0])
        monkeypatch.setattr(predict, "_cord_points", lambda *_, moved=moved: moved)
        areas.append(predict.segment(model, Volume(image, grid))[:, :, 6:-6].sum())
    assert areas[1] == pytest.approx(areas[0], rel=0.002)


def test_storage_order_does_not_matter() -> None:
    image, grid = phantom((1.0, 1.0, 2.0), (50, 56, 24))
    model = predict.load_model()
    plain = predict.segment(model, Volume(image, grid))
    turned_affine = np.array([[0, 0, -1.0, 49], [-1, 0, 0, 55], [0, 2.0, 0, 0], [0, 0, 0, 1]])
    stored = Grid((56, 24, 50), turned_affine)
    turned = like_stored(image, stored)
    np.testing.assert_array_equal(canonical(turned, stored)[0], image)
    again = predict.segment(model, Volume(np.ascontiguousarray(turned), stored))
    np.testing.assert_allclose(canonical(again, stored)[0], plain, atol=1e-5)


def test_intensity_scale_does_not_matter() -> None:
    image, grid = phantom((1.0, 1.0, 2.0), (50, 56, 24))
    model = predict.load_model()
    plain = predict.segment(model, Volume(image, grid))
    scaled = predict.segment(model, Volume(np.float32(800) * image + np.float32(30), grid))
    np.testing.assert_allclose(scaled, plain, atol=2e-3)


def test_the_packaged_weights_have_a_name() -> None:
    assert len(digest(DEFAULT)) == 12
    assert DEFAULT.stat().st_size < 15e6
