"""softseg-train: who is on which side, what the network is shown, two steps that make a model."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import MakeDataset, centred_grid, cylinder, write_image

from softseg_bids.bids.rows import read_rows
from softseg_bids.image.grid import Grid
from softseg_bids.image.volume import DataError, read_volume
from softseg_bids.lab import start
from softseg_bids.lab.cli import main
from softseg_bids.model.checkpoint import load_level_network, save_checkpoint
from softseg_bids.model.levels import LEVELS, LevelNet
from softseg_bids.model.network import LOCATOR, SEGMENTER, FoldedUNet
from softseg_bids.model.predict import Model, load_model, segment
from softseg_bids.model.releases.contrast_agnostic import SIGMOID, ContrastAgnostic, prepare
from softseg_bids.model.releases.nnunet import NnUNet
from softseg_bids.model.releases.plainconv import PUBLISHED, PlainConvUNet
from softseg_bids.model.weights import DEFAULT, digest
from softseg_bids.training import fit as fitting
from softseg_bids.training.batches import Examples, batches
from softseg_bids.training.cases import Case, case_of, cut_patch, normalised
from softseg_bids.training.dataset import Pair
from softseg_bids.training.ending import affine, end_in_sigmoid
from softseg_bids.training.recipes import (
    LOSSES,
    LossRecipe,
    Recipe,
    network_of,
    recipe_of,
    total_loss,
)
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


def test_sites_that_share_a_person_are_on_one_side() -> None:
    """A person at a, b and c ties three sites; d and e share another under two labels."""
    at = [("d", "01", "p1", site) for site in "abc"] + [("d", "02", "p2", "a"), ("d", "03", "p3", "c")]
    at += [("d", "04", "p4", "d"), ("d2", "04", "p4", "e"), ("d", "05", "p5", "e"), ("d", "06", "p6", "f")]
    everybody = [Person(*one) for one in at]
    for seed in range(6):
        given = split(everybody, seed)
        assert set(given) == set(everybody)
        for tied in ("abc", "de"):
            assert len({side for one, side in given.items() if one.site in tied}) == 1
        rows = [{"dataset": p.dataset, "participant_id": p.participant, "split": s} for p, s in given.items()]
        assert check(rows, everybody, False) == given
    within = split(everybody, 0, within_site=True)
    assert len({within[one] for one in everybody[:3]}) == 1
    with pytest.raises(DataError, match=r"the sites a, b, c cannot be on different sides.*--within-site"):
        split(everybody[:5], 0)


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


def test_patches_are_augmented_on_their_networks_own_voxels(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def noted(window: object, spacing_mm: object, seed: int) -> Callable[[Pair], Pair]:
        asked.append((window, spacing_mm))
        return lambda pair: pair

    monkeypatch.setattr("softseg_bids.training.batches.augmentation", noted)
    recipes = [recipe_of(name, PATCH[name]) for name in ("plainconvunet", "folded")]
    for recipe in recipes:
        Examples([labelled_case(recipe)], recipe, 1, 0.0, True, 0)[0]
    assert asked == [(recipe.window, recipe.spacing_mm) for recipe in recipes]
    assert [spacing_mm for _, spacing_mm in asked] == [(1.0, 1.0, 1.0), (0.75, 0.75, 1.5)]


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
    monkeypatch.setattr(start, "network_of", partial(network_of, layout=TINY))
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
    longer = ("--steps", 3, "--synthetic", 0.5, "--loss", "adaptive-wing", "--workers", 1)
    assert main(command(study, folder, architecture, *longer)) == 0
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
    assert f"is no {other}, but {architecture}" in capsys.readouterr().err
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


def labelled_case(recipe: Recipe, radius_mm: float = 5.0) -> Case:
    grid = centred_grid((40, 40, 24))
    tube = cylinder(grid, radius_mm)
    return case_of("x", 100 * tube, tube, grid, recipe)


def test_a_step_sees_the_same_examples_however_often_a_run_was_stopped() -> None:
    recipe = recipe_of("folded", PATCH["folded"])
    settings = fitting.Settings(steps=9, synthetic=0.5)
    shown = fitting.examples([labelled_case(recipe)], recipe, settings)
    first, again, later = (shown[step] for step in (4, 4, 5))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], later[0])
    rates = [fitting.schedule(step, settings._replace(steps=1000))[0] for step in (0, 99, 500, 1000)]
    assert rates == pytest.approx([1e-5, 0.9761e-3, 0.5e-3, 0.0], abs=1e-5)


def test_any_number_of_workers_draws_the_same_examples_and_makes_the_same_network(tmp_path: Path) -> None:
    recipe = recipe_of("folded", PATCH["folded"])
    case = labelled_case(recipe)
    settings = fitting.Settings(steps=5, batch=2, every=5, synthetic=0.4)
    shown = fitting.examples([case, labelled_case(recipe, 4.0)], recipe, settings)
    threads = torch.get_num_threads()
    drawn = [list(batches(shown, range(2, 5), workers, CPU)) for workers in (0, 1, 2)]
    assert torch.get_num_threads() == threads
    for other in drawn[1:]:
        assert len(other) == 3
        for here, there in zip(drawn[0], other, strict=True):
            assert all(torch.equal(a, b) for a, b in zip(here, there, strict=True))
    weights = []
    for workers in (0, 2):
        torch.manual_seed(0)
        network, folder = network_of(recipe), tmp_path / str(workers)
        folder.mkdir()
        alike = settings._replace(workers=workers)
        fitting.fit(network, recipe, LOSSES["ours"], [case], [case], alike, folder, CPU, print)
        weights.append(network.state_dict())
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_a_killed_worker_is_told_and_another_error_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = recipe_of("folded", PATCH["folded"])
    shown = fitting.examples([labelled_case(recipe)], recipe, fitting.Settings(steps=1))
    monkeypatch.setattr(Examples, "__getitem__", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
    with pytest.raises(DataError, match=r"draws examples was killed.*fewer --workers"):
        list(batches(shown, range(1), 1, CPU))

    def wrong(*_: object) -> None:
        raise RuntimeError("sizes differ")

    monkeypatch.setattr(Examples, "__getitem__", wrong)
    for workers in (0, 1):
        with pytest.raises(RuntimeError, match="sizes differ"):
            list(batches(shown, range(1), workers, CPU))


def test_only_the_same_training_goes_on(tmp_path: Path) -> None:
    recipe = recipe_of("folded", PATCH["folded"])
    case = labelled_case(recipe)
    settings = fitting.Settings(steps=1, batch=1, every=1, augment=False)
    defined = {"--start": "none", "train data": "3 images (aa)"}
    said: list[str] = []

    def go_on(loss: str = "ours", changed: fitting.Settings = settings, **others: str) -> fitting.Result:
        all_of = defined | {name.replace("_", " "): value for name, value in others.items()}
        network = network_of(recipe)
        return fitting.fit(
            network, recipe, LOSSES[loss], [case], [case], changed, tmp_path, CPU, said.append, all_of
        )

    assert go_on().step == 1
    before = (tmp_path / "state.pt").read_bytes()
    for loss, changed, others, words in (
        ("dice", settings, {}, r"--loss cross_entropy \+ 1 fading soft_dice, not soft_dice"),
        ("ours", settings._replace(seed=3), {}, r"--seed 0, not 3"),
        ("ours", settings._replace(rate=1e-4), {}, r"--rate 0.001, not 0.0001"),
        ("ours", settings._replace(batch=2, synthetic=0.5), {}, r"--batch 1, not 2; --synthetic 0, not 0.5"),
        ("ours", settings._replace(augment=True), {}, r"augmentation no, not yes"),
        (
            "ours",
            settings,
            {"train_data": "3 images (bb)"},
            r"train data 3 images \(aa\), not 3 images \(bb\)",
        ),
        ("ours", settings, {"hard": "yes"}, r"hard none, not yes"),
    ):
        with pytest.raises(DataError, match=f"this training began with {words}. Give the same again"):
            go_on(loss, changed, **others)
    assert (tmp_path / "state.pt").read_bytes() == before
    assert go_on(changed=settings._replace(steps=2, every=2, patience=3, workers=1)).step == 2
    # States of earlier versions do not say.
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    del state["defined"]
    torch.save(state, tmp_path / "state.pt")
    said.clear()
    assert go_on("dice", settings._replace(steps=3)).step == 3
    assert "does not say what it was trained with" in said[0]


def test_a_training_without_a_finite_loss_is_told(tmp_path: Path) -> None:
    recipe = recipe_of("folded", PATCH["folded"])
    case = labelled_case(recipe)
    network = network_of(recipe)
    torch.nn.init.constant_(network.head.bias, float("nan"))  # type: ignore[union-attr,arg-type]
    settings = fitting.Settings(steps=1, batch=1, augment=False)
    with pytest.raises(DataError, match="no step gave a finite validation loss"):
        fitting.fit(network, recipe, LOSSES["ours"], [case], [case], settings, tmp_path, CPU, print)


def test_values_become_fractions_by_scale_and_shift() -> None:
    """Of a logistic relation it finds the coefficients; where there is none, nothing is changed."""
    values = torch.linspace(-3, 5, 4001)
    assert affine(values, (2.5 * values - 4).sigmoid()) == pytest.approx((2.5, -4), rel=0.02)
    assert affine(values, (-values).sigmoid()) == (1.0, 0.0)
    assert affine(torch.ones(5), torch.linspace(0, 1, 5)) == (1.0, 0.0)
    steep, at = affine(values, (values > 1).float())
    assert np.isfinite(steep) and steep > 3 and -at / steep == pytest.approx(1, abs=0.1)


def relu_over_its_maximum(logits: torch.Tensor, target: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
    """What the published weights were trained to, but for the form of the error."""
    positive = torch.relu(logits)
    return ((positive / positive.max().clamp_min(1e-3) - target).square() * seen).mean()


def test_weights_that_end_in_a_relu_mean_the_same_under_a_sigmoid(tmp_path: Path) -> None:
    torch.manual_seed(1)
    recipe = recipe_of("plainconvunet", PATCH["plainconvunet"])
    network = network_of(recipe, PUBLISHED._replace(widths=(4, 4, 4, 4, 4, 4)))
    for head in network.decoder.seg_layers:  # type: ignore[union-attr]
        torch.nn.init.constant_(head.bias, 0.3)
        torch.nn.init.normal_(head.weight, std=0.3)
    case = labelled_case(recipe)
    settings = fitting.Settings(steps=80, batch=1, rate=0.02, every=80, augment=False)
    published = LossRecipe(relu_over_its_maximum)
    fitting.fit(network, recipe, published, [case], [case], settings, tmp_path, CPU, print)
    patches = [normalised(cut_patch(case, recipe, None), recipe)]
    assert isinstance(network, PlainConvUNet)
    with torch.no_grad():
        before = network(patches[0].image[None, None])
    first_loss, _, first_volume = fitting.validate(network, recipe, LOSSES["cross-entropy"], patches, CPU)
    changes = end_in_sigmoid(network, [case], recipe, CPU)
    loss, dice, volume = fitting.validate(network, recipe, LOSSES["cross-entropy"], patches, CPU)
    assert first_volume > 1 and abs(volume) < 0.05
    assert dice > 0.85 and loss < 0.5 * first_loss
    # The finest head's own values, scaled and shifted: their order is kept.
    with torch.no_grad():
        after = network(patches[0].image[None, None])
    torch.testing.assert_close(after, changes[0][0] * before + changes[0][1], rtol=1e-3, atol=1e-3)


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


def test_the_packaged_network_is_fine_tuned(
    study: MakeDataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its checkpoint runs with --model, the other networks as they were."""
    whole = ["--data", study.root, study.root / "derivatives", "--batch", 1, "--start", "packaged"]
    whole += ["--patch", 32, 32, 16, "--every", 2]
    folder, still = tmp_path / "tuned", tmp_path / "still"
    assert main([str(word) for word in (folder, *whole, "--steps", 2, "--rate", 1e-2)]) == 0
    assert main([str(word) for word in (still, *whole, "--steps", 1, "--rate", 1e-9)]) == 0
    packaged, tuned = load_model(None, "cpu"), load_model(folder / "model.pt", "cpu")
    same = load_model(still / "model.pt", "cpu")
    assert isinstance(packaged, Model) and isinstance(tuned, Model) and isinstance(same, Model)
    # What was fitted to the packaged weights' logits does not hold for others.
    assert tuned.segmenter[0] == packaged.segmenter[0]._replace(window=(32, 32, 16), scaling=(1.0, 0.0))
    assert packaged.segmenter[0].scaling != (1.0, 0.0)
    facts = json.loads((folder / "training.json").read_text())
    assert facts["architecture"] == "folded" and facts["start"] == f"packaged ({digest()})"

    def moved(model: Model) -> float:
        here, there = (one.segmenter[1].state_dict() for one in (packaged, model))
        return max(float((here[key] - there[key]).abs().max()) for key in here)

    assert moved(tuned) > 1e-5 and moved(same) == 0
    for one, other in (
        (packaged.locator, tuned.locator),
        (load_level_network(DEFAULT, CPU), load_level_network(folder / "model.pt", CPU)),
    ):
        if one is None or other is None:  # packaged without a level network
            assert one is other
            continue
        assert one[0] == other[0]
        there = other[1].state_dict()
        assert all(torch.equal(tensor, there[name]) for name, tensor in one[1].state_dict().items())
    volume = read_volume(study.root / "sub-0" / "anat" / "sub-0_T2w.nii.gz")
    soft = segment(tuned, volume)
    assert soft.shape == volume.array.shape and 0 <= soft.min() <= soft.max() <= 1
    assert main([str(word) for word in (tmp_path / "odd", *whole, "--architecture", "plainconvunet")]) == 64
    assert "is no plainconvunet, but folded; leave --architecture out" in capsys.readouterr().err


@pytest.mark.parametrize("levelled", [True, False])
def test_what_travels_along_is_of_the_checkpoint_it_began_with(
    study: MakeDataset, tmp_path: Path, levelled: bool
) -> None:
    """A small network of other widths; a level network is neither lost nor made up when it is tuned."""
    architecture = SEGMENTER._replace(channels=(4, 8), window=(32, 32, 16))
    finder = LOCATOR._replace(channels=(4, 8))
    networks = {
        name: (each, FoldedUNet(each).state_dict())
        for name, each in (("locator", finder), ("segmenter", architecture))
    }
    small = LEVELS._replace(channels=(2, 4))
    if levelled:
        networks["levels"] = small, LevelNet(small).state_dict()  # type: ignore[assignment]
    save_checkpoint(tmp_path / "small.pt", networks, {})  # type: ignore[arg-type]
    words = ["--data", study.root, study.root / "derivatives", "--batch", 1, "--every", 1, "--steps", 1]
    assert main([str(word) for word in (tmp_path / "run", *words, "--start", tmp_path / "small.pt")]) == 0
    tuned = load_model(tmp_path / "run" / "model.pt", "cpu")
    assert isinstance(tuned, Model)
    assert (tuned.segmenter[0], tuned.locator[0]) == (architecture, finder)
    found, given = tuned.locator[1].state_dict(), networks["locator"][1]
    assert all(torch.allclose(found[name], given[name], atol=1e-3) for name in given)
    levels = load_level_network(tmp_path / "run" / "model.pt", CPU)
    assert (None if levels is None else levels[0]) == (small if levelled else None)


def test_published_weights_are_started_from_with_a_sigmoid(
    study: MakeDataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = recipe_of("plainconvunet", PATCH["plainconvunet"])
    torch.manual_seed(0)
    state = network_of(recipe, TINY).state_dict()
    path = tmp_path / "best_model_loss.ckpt"
    torch.save({"state_dict": {f"net.{name}": tensor for name, tensor in state.items()}}, path)
    words = ["--patch", 32, 32, 32, "--batch", 1, "--every", 1, "--start", path, "--data", study.root]
    words += [study.root / "derivatives", "--rate", 1e-9, "--no-augmentation"]
    assert main([str(word) for word in (tmp_path / "run", *words, "--steps", 1)]) == 0
    assert "these weights end in a ReLU" in capsys.readouterr().err
    model = load_model(tmp_path / "run" / "model.ckpt", "cpu")
    assert isinstance(model, ContrastAgnostic) and model.ending == SIGMOID
    # A training that goes on was mended when it began.
    assert main([str(word) for word in (tmp_path / "run", *words, "--steps", 2)]) == 0
    assert "these weights end in a ReLU" not in capsys.readouterr().err


def test_who_was_scanned_at_several_sites_is_on_one_side_with_them(
    study: MakeDataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """sub-0 was at a and b, in two sessions: only c can be on the other side, and the file is read again."""
    (study.root / "participants.tsv").write_text("participant_id\nsub-0\nsub-1\nsub-2\n")
    sites = {"sub-0": {"1": "a", "2": "b"}, "sub-1": {"1": "b"}, "sub-2": {"1": "c"}, "sub-4": {"1": "a"}}
    for person, sessions in sites.items():
        table = ["session_id\tsite", *(f"ses-{name}\t{site}" for name, site in sessions.items())]
        for name in sessions:
            stem = f"{person}/ses-{name}/anat/{person}_ses-{name}_T2w"
            study.image(f"{stem}.nii.gz")
            mask = (cylinder(centred_grid()) >= 0.5).astype(np.uint8)
            path = study.root / "derivatives" / "labels" / f"{Path(stem).name}_label-SC_seg.nii.gz"
            write_image(path, mask, centred_grid())
        (study.root / person / f"{person}_sessions.tsv").write_text("\n".join(table) + "\n")
    for path in study.root.rglob("sub-?_T2w*"):
        path.unlink()
    words = command(study, tmp_path / "run", "folded", "--steps", 1)
    assert main(words) == 0
    rows = {str(row["participant_id"]): row for row in read_rows(tmp_path / "run" / "split.tsv")}
    assert {name: row["site"] for name, row in rows.items()} == {
        "sub-0": "a, b", "sub-1": "b", "sub-2": "c", "sub-4": "a"
    }  # fmt: skip
    assert len({rows[name]["split"] for name in ("sub-0", "sub-1", "sub-4")}) == 1
    assert rows["sub-2"]["split"] != rows["sub-0"]["split"]
    assert main(command(study, tmp_path / "run", "folded", "--steps", 2)) == 0
    text = (tmp_path / "run" / "split.tsv").read_text()
    line = next(line for line in text.splitlines() if "sub-1" in line)
    mended = line.replace("train", "?").replace("validation", "train").replace("?", "validation")
    (tmp_path / "run" / "split.tsv").write_text(text.replace(line, mended))
    assert main(command(study, tmp_path / "run", "folded", "--steps", 2)) == 64
    assert "site a on 2 sides" in (said := capsys.readouterr().err) or "site b on 2 sides" in said


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


def test_a_result_of_nnunet_is_not_fine_tuned(
    study: MakeDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    released = NnUNet(*[None] * len(NnUNet._fields))  # type: ignore[arg-type]
    monkeypatch.setattr(start, "load_model", lambda *_: released)
    words = command(study, tmp_path / "run", "folded", "--start", study.root)
    assert main(words) == 64
    assert "is a result of nnU-Net, which is not fine-tuned here" in capsys.readouterr().err
    assert main([*words, "--workers", "-1"]) == 64
    assert "--workers" in capsys.readouterr().err
