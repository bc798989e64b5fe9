"""The looks after the first network: alike in every contrast, and a training that mends edges."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from softseg_bids.model.checkpoint import load_checkpoint
from softseg_bids.model.network import Architecture, FoldedUNet
from softseg_bids.model.refine import LOOKS, Cascade, build, relative
from softseg_bids.training import pack, train, train_refiner
from softseg_bids.training.dataset import Pairs

TINY = Architecture((2, 2, 1), (4, 8), (1.0, 1.0, 2.0), (32, 32, 16), (6, 6))
CPU = torch.device("cpu")


def disc(radius_mm: float, shape: tuple[int, int, int] = (32, 32, 8)) -> Tensor:
    """A straight cord in the middle, fraction by distance from the edge (1 mm voxels)."""
    x, y = (torch.arange(n) - 0.5 * (n - 1) for n in shape[:2])
    across = (radius_mm - torch.hypot(x[:, None], y[None])).add(0.5).clamp(0, 1)
    return across[None, None, :, :, None].repeat(1, 1, 1, 1, shape[2])


@pytest.mark.parametrize(("cord", "csf"), [(1.0, 0.2), (0.2, 1.0), (310.0, 290.0)])
def test_an_image_seen_relative_to_its_estimate_is_the_fraction(cord: float, csf: float) -> None:
    """Mixtures of two brightnesses, whichever is the brighter; the estimate is too small by half a voxel."""
    truth = disc(6.0)
    seen, near = relative(csf + (cord - csf) * truth, disc(5.5), (1.0, 1.0, 2.0))
    assert near[truth > 0].all()
    assert not near[disc(9.5) == 0].any()
    torch.testing.assert_close(seen[:, :1][near], truth[near], atol=2e-2, rtol=0)
    assert float(seen[:, 1:][near].min()) > 0.9, "two flat brightnesses are a clear step"


def test_noise_makes_the_step_less_clear() -> None:
    torch.manual_seed(0)
    truth, noise = disc(6.0), torch.randn(1, 1, 32, 32, 8)
    clear = [
        float(relative(truth + level * noise, truth, (1.0, 1.0, 2.0))[0][0, 1, 16, 16, 4])
        for level in (0.1, 0.5)
    ]
    # The step over its standard deviation s is s / (s + 3): 10 and 2.
    assert clear == pytest.approx([10 / 13, 2 / 5], abs=0.03)


def test_without_an_estimate_nothing_is_seen() -> None:
    image = torch.randn(1, 1, 16, 16, 8)
    seen, near = relative(image, torch.zeros_like(image), (1.0, 1.0, 2.0))
    assert float(seen.abs().max()) == 0
    assert not near.any()


def test_far_from_the_estimate_nothing_changes() -> None:
    cascade = Cascade(TINY)
    cascade.refiner.head.bias = torch.nn.Parameter(torch.full((4,), 20.0))
    image, logits = torch.randn(1, 1, 32, 32, 8), torch.logit(disc(5.0), eps=1e-3)
    with torch.no_grad():
        found = cascade.look(image, logits)
    far = disc(9.5) == 0
    assert torch.equal(found[far], logits[far])
    assert float(found[disc(5.0) > 0].min()) > 10


def test_looks_begin_with_what_the_brightness_says() -> None:
    """Before any training, an estimate too narrow or too wide by a voxel comes closer to the truth."""
    cascade = Cascade(TINY)
    truth = disc(6.0)
    for radius in (5.0, 7.0):
        logits = torch.logit(disc(radius), eps=1e-3)
        with torch.no_grad():
            for _ in range(LOOKS):
                logits = cascade.look(3 - 2 * truth, logits)
        left = float(logits.sigmoid().sum() / truth.sum() - 1)
        assert abs(left) < 0.25 * abs(float(disc(radius).sum() / truth.sum() - 1))


def test_no_gradient_reaches_the_first_network() -> None:
    cascade = build(TINY)
    assert isinstance(cascade, Cascade)
    cascade.first.head.bias = torch.nn.Parameter(torch.full((4,), 1.0))
    cascade(torch.randn(1, 1, *TINY.window)).sum().backward()
    assert all(p.grad is None or not p.grad.any() for p in cascade.first.parameters())
    assert cascade.refiner.trust.grad is not None
    assert cascade.refiner.trust.grad.any()


def test_an_architecture_without_further_looks_is_the_first_network_alone() -> None:
    assert isinstance(build(TINY._replace(refine=())), FoldedUNet)


def test_the_loss_of_an_unsure_edge_is_least_at_the_mean_area() -> None:
    """Two cords, 4 or 6 mm wide, that look alike: the best single answer has the mean of their areas."""
    both = [disc(4.0), disc(6.0)]
    cord = torch.cat(both)
    seen = torch.ones_like(cord)
    shares = torch.linspace(0.1, 0.9, 81)
    answers = [
        torch.logit(both[1] * share + both[0] * (1 - share), eps=1e-4).repeat(2, 1, 1, 1, 1)
        for share in shares
    ]
    losses = torch.stack([train_refiner.refining_loss(answer, cord, seen) for answer in answers])
    assert float(shares[int(losses.argmin())]) == pytest.approx(0.5, abs=0.02)


def test_the_loss_counts_only_what_was_seen() -> None:
    cord = disc(5.0)
    seen = torch.ones_like(cord)
    seen[..., 4:] = 0
    right = torch.logit(cord, eps=1e-4)
    changed = right.clone()
    changed[..., 4:] += 3
    expected = float(train_refiner.refining_loss(right, cord, seen))
    assert float(train_refiner.refining_loss(changed, cord, seen)) == pytest.approx(expected, rel=1e-5)
    changed[..., :4] += 3
    assert float(train_refiner.refining_loss(changed, cord, seen)) > 2 * expected


def test_an_estimate_is_made_worse_over_neighbouring_slices_only_and_by_so_many_voxels() -> None:
    cord = disc(5.0).repeat(40, 1, 1, 1, 1)
    logits = torch.logit(cord, eps=1e-4)
    batch = train_refiner.Crops(cord, logits.clone(), cord, torch.ones_like(cord))
    worse = train_refiner.worsened(batch, np.random.default_rng(5))
    assert torch.equal(batch.logits, logits)
    assert all(torch.equal(getattr(worse, name), getattr(batch, name)) for name in ("image", "cord", "seen"))
    changed = (worse.logits != logits).any(dim=1).any(dim=1).any(dim=1)
    assert 0.1 < float(changed.any(dim=1).float().mean()) < 0.5
    areas = (worse.logits > 0).sum(dim=(1, 2, 3))
    plain = int((logits[0, 0, :, :, 0] > 0).sum())
    # A disc of 5 voxels' radius, up to 3 less or more in each row and column.
    assert int(areas.min()) < 0.4 * plain
    assert int(areas.max()) > 1.5 * plain
    for slices in changed[changed.any(dim=1)]:
        at = torch.nonzero(slices)[:, 0]
        assert int(at.max() - at.min()) + 1 == len(at)


class SamePairs(Pairs):
    """Four bodies again and again."""

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        return cycle(islice(super().__iter__(), 4))


def wide_estimate(self: FoldedUNet, image: Tensor) -> Tensor:
    """A first network that takes all that is brighter than the mean for cord."""
    return 3 * image


def test_training_mends_a_poor_first_network_goes_on_and_is_packed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train_refiner, "WIDTHS", TINY.refine)
    monkeypatch.setattr(train_refiner, "Pairs", SamePairs)
    monkeypatch.setattr(FoldedUNet, "forward", wide_estimate)
    plain = TINY._replace(refine=())
    for role in ("first", "locator"):
        (tmp_path / role).mkdir()
        train.save_weights(tmp_path / role / "weights.pt", 7, plain, FoldedUNet(plain))
    arguments = (
        f"--first {tmp_path / 'first'} --folder {tmp_path / 'refined'} --steps 60 --batch 4 --fresh 4 "
        "--rate 0.01 --workers 0 --every 20 --validation 4"
    ).split()
    assert train_refiner.main(arguments) == 0
    arguments[arguments.index("60")] = "20"
    assert train_refiner.main(arguments) == 0
    rows = [line.split("\t") for line in (tmp_path / "refined" / "log.tsv").read_text().splitlines()]
    assert [row[0] for row in rows] == ["20", "40", "60", "80"]
    losses = [float(row[3]) for row in rows]
    assert losses[-1] < 0.5 * losses[0]
    out = tmp_path / "both.pt"
    assert pack.main([str(tmp_path / "locator"), str(tmp_path / "refined"), "--out", str(out)]) == 0
    architecture, network = load_checkpoint(out, CPU)["segmenter"]
    assert architecture.refine == TINY.refine
    assert isinstance(network, Cascade)
