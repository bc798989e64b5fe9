"""softseg-train: who is on which side, what the network is shown, two steps that make a model."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import MakeDataset, centred_grid, cylinder, write_image

from softseg_bids.bids.rows import read_rows
from softseg_bids.image.grid import Grid
from softseg_bids.image.volume import DataError, read_volume
from softseg_bids.lab import train
from softseg_bids.lab.cli import main
from softseg_bids.model.predict import Model, load_model, segment
from softseg_bids.model.releases.contrast_agnostic import SIGMOID, ContrastAgnostic, prepare
from softseg_bids.model.releases.plainconv import PUBLISHED
from softseg_bids.training import fit as fitting
from softseg_bids.training.augment import augmentation
from softseg_bids.training.cases import case_of, cut_patch, normalised
from softseg_bids.training.dataset import Pair
from softseg_bids.training.recipes import LOSSES, network_of, recipe_of, total_loss
from softseg_bids.training.split import Person, check, split

CPU = torch.device("cpu")
TINY = PUBLISHED._replace(widths=(2, 2, 2, 2, 2, 2))
PATCH = {"plainconvunet": (32, 32, 32), "folded": (32, 32, 16)}


def people(*sites: str) -> list[Person]:
    return [Person("d", f"{n:02}", f"p{n}", site) for n, site in enumerate(sites)]


def test_whole_sites_are_kept_apart_and_a_seed_repeats() -> None:
    everybody = people(*"aaaaaabbbbbbccdde")
    given = split(everybody, 1)
    assert set(given.values()) == {"train", "validation", "test"}
    assert given == split(everybody, 1)
    assert any(given != split(everybody, seed) for seed in range(2, 6))
    for site in "abcde":
        assert len({side for person, side in given.items() if person.site == site}) == 1
    assert sum(side == "train" for side in given.values()) >= len(everybody) / 2
    assert set(split(people("a", "b"), 0).values()) == {"train", "validation"}
    assert set(split(people(*"aaaa"), 0, within_site=True).values()) == {"train", "validation", "test"}


def test_one_site_cannot_be_split_unless_within_it() -> None:
    with pytest.raises(DataError, match=r"one site \(a\).*--within-site"):
        split(people("a", "a"), 0)
    with pytest.raises(DataError, match="of one person"):
        split([Person("d", "01", "same", "a"), Person("d", "02", "same", "b")], 0, within_site=True)


def rows(*sides: str) -> list[dict[str, str | None]]:
    return [{"dataset": "d", "participant_id": f"sub-{n:02}", "split": side} for n, side in enumerate(sides)]


def test_a_split_by_hand_is_checked() -> None:
    everybody = people("a", "a", "b")
    assert list(check(rows("train", "train", "validation"), everybody, False).values())[-1] == "validation"
    cases = [
        (rows("train", "validation", "validation"), everybody, r"site a on 2 sides \(train, validation\)"),
        (rows("train", "train"), everybody, "sub-02 of d no side"),
        (rows("train", "train", "holdout"), everybody, "sub-02 of d holdout; it must be one of"),
        (rows("train", "train", "train"), everybody, "nobody for validation"),
        (
            rows("train", "validation"),
            [Person("d", "00", "p", ""), Person("d", "01", "p", "")],
            "person p on 2 sides",
        ),
    ]
    for table, who, words in cases:
        with pytest.raises(DataError, match=words):
            check(table, who, False)
    assert check(rows("train", "validation", "validation"), everybody, within_site=True)


@pytest.mark.parametrize("name", ["plainconvunet", "folded"])
def test_a_case_shows_the_image_as_inference_does_with_its_label_in_place(name: str) -> None:
    """A tube off the middle of an anisotropic image; the label is the image's own fraction."""
    grid = centred_grid((60, 60, 20), (0.8, 0.8, 3.0))
    tube = cylinder(grid, 5.0, centre_mm=(4.0, -3.0, 0.0))
    label = tube.copy()
    label[:, :, 15:] = 0
    recipe = recipe_of(name, PATCH[name])
    case = case_of("x", 50 * tube + 10, label, grid, recipe)
    assert case.image.shape == case.cord.shape == case.seen.shape
    inside = case.seen > 0
    assert 0.9 < np.corrcoef(case.image[inside], case.cord[inside])[0, 1] <= 1
    assert not case.seen[case.cord == case.cord.min()].all()
    # Slices without a label are not learnt from, though the image shows cord there.
    heights = np.flatnonzero(inside.any(axis=(0, 1)))
    assert len(heights) * recipe.spacing_mm[2] == pytest.approx(45, abs=4)
    if name == "plainconvunet":
        line = np.array([[4.0, -3.0, z] for z in (-20.0, 10.0)])
        np.testing.assert_array_equal(case.image, prepare(50 * tube + 10, grid, recipe.window, line).array)
    pair = normalised(cut_patch(case, recipe, None), recipe)
    assert pair.image.shape == recipe.window
    area = float((pair.cord * pair.seen).sum() / (pair.seen.amax((0, 1))).sum()) * np.prod(
        recipe.spacing_mm[:2]
    )
    if name == "plainconvunet":
        assert area == pytest.approx(25 * np.pi, rel=0.05)
    assert abs(float(pair.image.mean())) < 1e-4
    jittered = [cut_patch(case, recipe, np.random.default_rng(seed)).image for seed in range(2)]
    assert not torch.equal(*jittered)


def test_labels_that_cannot_be_learnt_from_are_named() -> None:
    grid = centred_grid((40, 40, 20))
    recipe = recipe_of("folded", PATCH["folded"])
    with pytest.raises(DataError, match="x: its label is empty"):
        case_of("x", np.ones(grid.shape, np.float32), np.zeros(grid.shape, np.float32), grid, recipe)
    faint = np.zeros(grid.shape, np.float32)
    faint[:, :, 3] = 0.5  # a lone slice is never wholly a slice of the network's
    with pytest.raises(DataError, match="x: its label lies out of the field of view"):
        case_of("x", np.ones(grid.shape, np.float32), faint, grid, recipe)


def test_the_augmentation_moves_image_label_and_view_together() -> None:
    grid = torch.meshgrid(*[torch.arange(32.0) - 15.5] * 3, indexing="ij")
    ball = (sum(axis**2 for axis in grid) < 100).float()
    seen = torch.ones_like(ball)
    sizes, agreements = [], []
    for seed in range(12):
        image, cord, view = augmentation((32, 32, 32), seed)(Pair(6 * ball - 1, ball, seen))
        assert image.isfinite().all() and 0 <= cord.min() <= cord.max() <= 1
        assert set(np.unique(view)) <= {0.0, 1.0}
        sizes.append(float(cord.sum()))
        chosen = view > 0
        agreements.append(abs(float(np.corrcoef(image[chosen], cord[chosen])[0, 1])))
    assert np.std(sizes) > 0.05 * np.mean(sizes)
    assert np.median(agreements) > 0.8
    again = [augmentation((32, 32, 32), 5)(Pair(ball, ball, seen)).image for _ in range(2)]
    assert torch.equal(again[0], again[1])


@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_every_loss_is_least_for_the_truth_on_every_scale(loss: str) -> None:
    torch.manual_seed(0)
    recipe = recipe_of("plainconvunet", (32, 32, 32))
    network = network_of(recipe, TINY)
    cord = torch.zeros(1, 1, 32, 32, 32)
    cord[..., 8:24, 8:24, :] = 1
    seen = torch.ones_like(cord)

    def of(logits: float) -> float:
        network.supervised = lambda image: [
            logits * (2 * torch.nn.functional.avg_pool3d(cord, 2**n) - 1) for n in range(3)
        ]  # type: ignore[method-assign]
        return float(total_loss(network, cord, cord, seen, LOSSES[loss], 1.0))

    assert of(8.0) < of(1.0) < of(-8.0)


def test_patches_that_do_not_fit_are_refused() -> None:
    for name, patch in (
        ("plainconvunet", (32, 32, 40)),
        ("plainconvunet", (16, 32, 32)),
        ("folded", (30, 32, 16)),
    ):
        with pytest.raises(ValueError, match="does not fit"):
            recipe_of(name, patch)


@pytest.fixture
def study(bids: MakeDataset) -> MakeDataset:
    """Four people of two sites, one contrast each, with masks; the last without one."""
    lines = ["participant_id\tsite"]
    for number in range(4):
        name = f"sub-{number}"
        lines.append(f"{name}\t{'ab'[number // 2]}")
        body = {"centre_mm": (number - 1.0, 0.0, 0.0)}
        bids.image(f"{name}/anat/{name}_T2w.nii.gz", radius_mm=4.0 + number / 2, **body)
        if number < 3:
            mask = cylinder(centred_grid(), 4.0 + number / 2, **body) >= 0.5  # type: ignore[arg-type]
            path = bids.root / "derivatives" / "labels" / f"{name}_T2w_label-SC_seg.nii.gz"
            write_image(path, mask.astype(np.uint8), centred_grid())
    (bids.root / "participants.tsv").write_text("\n".join(lines) + "\n")
    return bids


def command(study: MakeDataset, folder: Path, architecture: str, *more: object) -> list[str]:
    patch = PATCH[architecture]
    words = ["--data", study.root, study.root / "derivatives", "--architecture", architecture]
    words += ["--patch", *patch, "--batch", 1, "--every", 1, *more]
    return [str(folder), *map(str, words)]


@pytest.mark.parametrize("architecture", ["plainconvunet", "folded"])
def test_two_steps_make_a_checkpoint_that_runs_with_model_and_go_on(
    study: MakeDataset,
    tmp_path: Path,
    architecture: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(train, "network_of", partial(network_of, layout=TINY))
    folder = tmp_path / "run"
    assert (
        main(
            command(study, folder, architecture, "--steps", 2, "--synthetic", 0.5, "--loss", "adaptive-wing")
        )
        == 0
    )
    assert {row["split"] for row in read_rows(folder / "split.tsv")} == {"train", "validation"}
    log = read_rows(folder / "log.tsv")
    assert [row["step"] for row in log] == ["1", "2"]
    facts = json.loads((folder / "training.json").read_text())
    assert (facts["steps"], facts["loss"], facts["participants"]["train"]) == (
        2,
        "adaptive-wing",
        facts["participants"]["train"],
    )
    path = folder / ("model.ckpt" if architecture == "plainconvunet" else "model.pt")
    model = load_model(path, "cpu")
    if isinstance(model, ContrastAgnostic):
        assert (model.ending, model.window) == (SIGMOID, PATCH[architecture])
    else:
        assert isinstance(model, Model) and model.segmenter[0].window == PATCH[architecture]
    volume = read_volume(study.root / "sub-0" / "anat" / "sub-0_T2w.nii.gz")
    soft = segment(model, volume)
    assert soft.shape == volume.array.shape and 0 <= soft.min() <= soft.max() <= 1
    assert main(command(study, folder, architecture, "--steps", 3, "--loss", "adaptive-wing")) == 0
    assert [row["step"] for row in read_rows(folder / "log.tsv")] == ["1", "2", "3"]
    # Fine-tuning begins with the weights it was given.
    again = tmp_path / "fine"
    assert main(command(study, again, architecture, "--steps", 1, "--start", path, "--rate", 1e-9)) == 0
    tuned = load_model(again / path.name, "cpu")
    for one, other in ((model, tuned),):
        pair = [m.network if isinstance(m, ContrastAgnostic) else m.segmenter[1] for m in (one, other)]  # type: ignore[union-attr]
        here, there = (p.state_dict() for p in pair)
        assert max(float((here[key] - there[key]).abs().max()) for key in here) < 5e-3
    other = "folded" if architecture == "plainconvunet" else "plainconvunet"
    assert main(command(study, tmp_path / "odd", other, "--steps", 1, "--start", path)) == 64
    assert f"is no {other}" in capsys.readouterr().err
    if architecture == "folded":
        assert main(command(study, folder, "plainconvunet", "--steps", 4)) == 64
        assert "is of another network or patch" in capsys.readouterr().err


def test_training_stops_early_learns_and_keeps_the_best(tmp_path: Path) -> None:
    grid = centred_grid((40, 40, 24))
    tube = cylinder(grid, 5.0)
    recipe = recipe_of("folded", PATCH["folded"])
    rng = np.random.default_rng(0)
    case = case_of("x", 100 * tube + rng.normal(0, 3, grid.shape).astype(np.float32), tube, grid, recipe)
    torch.manual_seed(0)
    settings = fitting.Settings(steps=40, batch=1, rate=0.02, every=10, augment=False)
    said: list[str] = []
    network = network_of(recipe)
    result = fitting.fit(
        network, recipe, LOSSES["ours"], [case], [case], settings, tmp_path, CPU, said.append
    )
    losses = [float(row["validation_loss"] or "nan") for row in read_rows(tmp_path / "log.tsv")]
    assert len(said) == 4 and losses[-1] < 0.8 * losses[0]
    assert result.best_loss == pytest.approx(min(losses), rel=1e-4)
    frozen = tmp_path / "frozen"
    frozen.mkdir()
    stuck = settings._replace(rate=0.0, every=1, patience=2)
    stopped = fitting.fit(network, recipe, LOSSES["ours"], [case], [case], stuck, frozen, CPU, said.append)
    assert (stopped.step, stopped.best_step, stopped.stopped_early) == (3, 1, True)


def test_a_step_sees_the_same_examples_however_often_a_run_was_stopped() -> None:
    grid = centred_grid((40, 40, 24))
    tube = cylinder(grid, 5.0)
    recipe = recipe_of("folded", PATCH["folded"])
    case = case_of("x", 100 * tube, tube, grid, recipe)
    settings = fitting.Settings(steps=9, synthetic=0.5)
    first, again, later = (fitting.examples([case], recipe, settings, step, CPU) for step in (4, 4, 5))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], later[0])
    rates = [fitting.schedule(step, settings._replace(steps=1000))[0] for step in (0, 99, 500, 1000)]
    assert rates == pytest.approx([1e-5, 0.9761e-3, 0.5e-3, 0.0], abs=1e-5)


def test_a_log_for_tensorboard_needs_tensorboard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[tuple[str, float, int]] = []

    class Board:
        def __init__(self, folder: str) -> None:
            assert folder == str(tmp_path / "tensorboard")

        def add_scalar(self, name: str, value: float, step: int) -> None:
            written.append((name, value, step))

        def flush(self) -> None: ...

        def close(self) -> None: ...

    grid = centred_grid((40, 40, 24))
    recipe = recipe_of("folded", PATCH["folded"])
    case = case_of("x", 100 * cylinder(grid), cylinder(grid), grid, recipe)
    settings = fitting.Settings(steps=1, batch=1, augment=False, tensorboard=True)
    everything = (network_of(recipe), recipe, LOSSES["ours"], [case], [case], settings, tmp_path, CPU, print)
    monkeypatch.setattr(
        fitting.importlib, "import_module", lambda name: type(name, (), {"SummaryWriter": Board})
    )
    fitting.fit(*everything)
    assert {name for name, *_ in written} >= {"loss", "validation/loss", "validation/dice", "rate"}

    def missing(name: str) -> None:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(fitting.importlib, "import_module", missing)
    with pytest.raises(DataError, match="pip install tensorboard"):
        fitting.fit(*everything)


def test_bad_input_is_told_with_its_exit_code(
    study: MakeDataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    table = [f"{study.root.name}\tsub-{n}\t{side}" for n, side in enumerate(("train", "validation", "train"))]
    (folder / "split.tsv").write_text("\n".join(["dataset\tparticipant_id\tsplit", *table]) + "\n")
    assert main(command(study, folder, "folded", "--steps", 1)) == 64
    assert "site a on 2 sides (train, validation)" in capsys.readouterr().err
    (tmp_path / "nothing").mkdir()
    words = command(study, folder, "folded")
    words[3] = str(tmp_path / "nothing")
    assert main(words) == 64
    assert "holds no label of any image" in capsys.readouterr().err
    label = study.root / "derivatives" / "labels" / "sub-0_T2w_label-SC_seg.nii.gz"
    write_image(label, np.ones((5, 5, 5), np.uint8), Grid((5, 5, 5), np.eye(4)))
    assert main(command(study, tmp_path / "other", "folded")) == 64
    assert "sub-0_T2w_label-SC_seg.nii.gz: is not on the grid of its image" in capsys.readouterr().err
    plain = command(study, tmp_path / "other", "folded")
    for more, words_told in (
        (["--data", str(study.root), str(study.root)], "two datasets have one name"),
        (["--synthetic", "2"], "no share between 0 and 1"),
        (["--rate", "fast"], "is not a number above 0"),
        (["--patch", "7", "7", "7"], "does not fit folded"),
    ):
        assert main([*plain, *more]) == 64
        assert words_told in capsys.readouterr().err
    assert main([str(study.root), *plain[1:]]) == 64
    assert "is no dataset to train on" in capsys.readouterr().err
