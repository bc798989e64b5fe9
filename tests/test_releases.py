"""Others' weights: the same numbers as the libraries that made them give, and nothing in a file is run."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections import OrderedDict, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import nibabel as nib
import numpy as np
import pytest
import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet as TheirNetwork
from monai import transforms
from monai.inferers import sliding_window_inference
from torch import nn

from softseg_bids.app import identity, level_steps, steps
from softseg_bids.image.grid import Grid, canonical
from softseg_bids.image.volume import DataError, Volume, read_volume
from softseg_bids.model import predict
from softseg_bids.model.checkpoint import load_level_network
from softseg_bids.model.releases import contrast_agnostic, nnunet, reading
from softseg_bids.model.releases.contrast_agnostic import ContrastAgnostic
from softseg_bids.model.releases.nnunet import NnUNet
from softseg_bids.model.releases.plainconv import PUBLISHED, PlainConvUNet, build, layout_of, own_names
from softseg_bids.model.releases.release import is_release, load_release
from softseg_bids.model.weights import digest

CPU = torch.device("cpu")
GOLDEN = Path(__file__).parent / "data" / "nnunet"
WINDOW = (32, 64, 64)
TOLERANCE = 1e-4


def their_network(widths: tuple[int, ...], seed: int = 0) -> nn.Module:
    """As the published training script builds it, with random weights."""
    torch.manual_seed(seed)
    network = TheirNetwork(
        input_channels=1, n_stages=6, features_per_stage=list(widths), conv_op=nn.Conv3d,
        kernel_sizes=[[3, 3, 3]] * 6, strides=[list(stride) for stride in PUBLISHED.strides],
        n_conv_per_stage=[2] * 6, num_classes=1, n_conv_per_stage_decoder=[2] * 5, conv_bias=True,
        norm_op=nn.InstanceNorm3d, norm_op_kwargs={"eps": 1e-5, "affine": True}, dropout_op=None,
        nonlin=nn.LeakyReLU, nonlin_kwargs={"inplace": True}, deep_supervision=True,
    )  # fmt: skip
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return network.eval()


def lightning_file(path: Path, network: nn.Module, **beside: object) -> Path:
    """A checkpoint with all that Lightning 2.0.9 writes, as the releases v2.x have it.

    Its keys and kinds are those of a file that `Trainer.save_checkpoint` wrote with Adam, a cosine, early
    stopping and the best model kept, after two epochs.
    """
    progress = {
        part: dict.fromkeys(("ready", "completed", "started", "processed"), 4)
        for part in ("total", "current")
    }
    loop = {"state_dict": {}, "batch_progress": progress | {"is_last_batch": True}}
    count = {"total": {"ready": 4, "completed": 4}, "current": {"ready": 2, "completed": 2}}
    zeroed = {part: values | {"started": 4} for part, values in count.items()}
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=2)
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()  # changes nothing but its own state
    schedule.step()
    best = {"monitor": "val_loss", "best_model_score": torch.tensor(0.25), "best_model_path": str(path),
            "current_score": torch.tensor(0.25), "dirpath": str(path.parent), "kth_value": torch.tensor(0.25),
            "best_k_models": {str(path): torch.tensor(0.25)}, "kth_best_model_path": str(path),
            "last_model_path": ""}  # fmt: skip
    stopping = {"wait_count": 0, "stopped_epoch": 0, "best_score": torch.tensor(0.25), "patience": 20}
    content = {
        "epoch": 2,
        "global_step": 4,
        "pytorch-lightning_version": "2.0.9",
        "state_dict": OrderedDict((f"net.{name}", each) for name, each in network.state_dict().items()),
        "loops": {
            "fit_loop": {
                "state_dict": {},
                "epoch_loop.state_dict": {"_batches_that_stepped": 4},
                "epoch_loop.batch_progress": progress | {"is_last_batch": True},
                "epoch_loop.scheduler_progress": count,
                "epoch_loop.automatic_optimization.state_dict": {},
                "epoch_loop.automatic_optimization.optim_progress": {
                    "optimizer": {"step": count, "zero_grad": zeroed}
                },
                "epoch_loop.manual_optimization.state_dict": {},
                "epoch_loop.manual_optimization.optim_step_progress": count,
                "epoch_loop.val_loop.state_dict": {},
                "epoch_loop.val_loop.batch_progress": progress | {"is_last_batch": True},
                "epoch_progress": progress,
            },
            "validate_loop": loop,
            "test_loop": loop,
            "predict_loop": {"state_dict": {}, "batch_progress": progress},
        },
        "callbacks": {
            "EarlyStopping{'monitor': 'val_loss', 'mode': 'min'}": stopping,
            "ModelCheckpoint{'monitor': 'val_loss', 'mode': 'min', 'every_n_train_steps': 0, "
            "'every_n_epochs': 1, 'train_time_interval': None}": best,
        },
        "optimizer_states": [optimizer.state_dict()],
        "lr_schedulers": [schedule.state_dict()],
        "hparams_name": "kwargs",
        # numpy's numbers, as configurations hold them.
        "hyper_parameters": {
            "lr": 1e-3,
            "best": np.float64(0.25),
            "epoch": np.int64(119),
            "rate": np.float32(1e-3),
        },
        **beside,
    }
    torch.save(content, path)
    return path


class AdapWingLoss(nn.Module):
    """Stands for the class of this name in the released files."""


AdapWingLoss.__module__ = "losses"


@pytest.mark.parametrize("deepest", [320, 384])
def test_the_layout_of_the_published_network_is_read_off_its_weights(deepest: int) -> None:
    with torch.device("meta"):
        theirs = their_network((32, 64, 128, 256, deepest, deepest))
    layout = layout_of(own_names(theirs.state_dict()))
    assert layout == PUBLISHED._replace(widths=(32, 64, 128, 256, deepest, deepest))
    assert sum(tensor.numel() for tensor in own_names(theirs.state_dict()).values()) > 3e7 * deepest / 384


def test_the_network_gives_the_same_values_at_every_scale() -> None:
    theirs = their_network((8, 12, 16, 24, 32, 32))
    ours = build(theirs.state_dict())
    image = torch.randn(1, 1, 16, 32, 64)
    with torch.no_grad():
        for here, there in zip(ours.supervised(image), theirs(image), strict=True):
            torch.testing.assert_close(here, there, atol=TOLERANCE, rtol=0)
        torch.testing.assert_close(ours(image), ours.supervised(image)[0])


def their_fraction(path: Path, network: nn.Module, native: bool = False) -> np.ndarray:
    """The published road by MONAI, up to the network's grid (axes to the right, back and down) or back."""
    road = transforms.Compose(
        [
            transforms.LoadImaged(keys=["image"], image_only=False),
            transforms.EnsureChannelFirstd(keys=["image"]),
            transforms.Orientationd(keys=["image"], axcodes="RPI", labels=None),
            transforms.Spacingd(keys=["image"], pixdim=(1.0, 1.0, 1.0), mode=2),
            transforms.ResizeWithPadOrCropd(keys=["image"], spatial_size=(*WINDOW[:2], -1)),
            transforms.DivisiblePadd(keys=["image"], k=32, mode="edge"),
            transforms.NormalizeIntensityd(keys=["image"], nonzero=False, channel_wise=False),
        ]
    )
    shown = road({"image": path})["image"]
    with torch.no_grad():
        out = sliding_window_inference(
            shown[None], WINDOW, 4, lambda windows: network(windows)[0], overlap=0.5, mode="gaussian"
        )
    positive = torch.relu(out) / torch.relu(out).max()
    found = torch.where(positive < 0.1, 0, positive)[0]
    if native:
        found = road.inverse({"image": found})["image"]
    return np.asarray(found[0])


def random_image(
    path: Path, shape: tuple[int, int, int], spacing: tuple[float, float, float], tilt: float = 0.0
) -> Volume:
    """A random image whose axes run down, to the left and to the back, tilted by an angle."""
    turn = np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]])
    stored = np.array([[0, -1, 0], [0, 0, -1], [-1, 0, 0]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ stored * spacing
    affine[:3, 3] = (12, -7, 30)
    rng = np.random.default_rng(0)
    coarse = rng.normal(100, 20, tuple(n // 2 + 1 for n in shape)).astype(np.float32)
    image = np.kron(coarse, np.ones((2, 2, 2), np.float32))[tuple(slice(n) for n in shape)]
    nib.save(nib.Nifti1Image(image, affine), path)
    return read_volume(path)


@pytest.mark.parametrize(
    ("shape", "spacing", "tilt"),
    [((70, 41, 75), (1.0, 1.0, 1.0), 0.17), ((24, 60, 130), (3.3, 0.7, 0.5), 0.0)],
)
def test_a_release_v2_gives_what_its_authors_pipeline_gives(
    tmp_path: Path, shape: tuple[int, int, int], spacing: tuple[float, float, float], tilt: float
) -> None:
    """With other voxels only where axes are the scanner's: MONAI begins tilted grids between two voxels."""
    theirs = their_network((4, 6, 8, 8, 8, 8))
    volume = random_image(tmp_path / "image.nii.gz", shape, spacing, tilt)
    path = lightning_file(tmp_path / "best_model_loss.ckpt", theirs)
    model = load_release(path, CPU)
    assert isinstance(model, ContrastAgnostic)
    model = model._replace(window=WINDOW)
    turned, grid = canonical(volume.array, volume.grid)
    shown = contrast_agnostic.prepare(np.asarray(turned), grid, WINDOW)
    expected = their_fraction(tmp_path / "image.nii.gz", theirs)
    ours = contrast_agnostic.infer(model, shown.array)
    assert ours.shape == expected.shape
    assert 0.05 < float((expected > 0).mean()) < 1
    np.testing.assert_allclose(ours, expected, atol=TOLERANCE)


def test_on_voxels_of_one_millimetre_every_voxel_is_what_its_authors_pipeline_gives(tmp_path: Path) -> None:
    """There and back again: nothing is interpolated on the way, only turned, cut, padded and put back."""
    theirs = their_network((4, 6, 8, 8, 8, 8))
    volume = random_image(tmp_path / "image.nii.gz", (75, 41, 50), (1.0, 1.0, 1.0), 0.17)
    model = load_release(
        lightning_file(tmp_path / "best_model_loss.ckpt", theirs, softseg={"window": WINDOW}), CPU
    )
    assert isinstance(model, ContrastAgnostic)
    ours = contrast_agnostic.segment_as_published(model, volume)
    expected = their_fraction(tmp_path / "image.nii.gz", theirs, native=True)
    assert ours.shape == expected.shape == volume.array.shape
    # The image is wider (41 voxels to the left), less deep (50 to the back) and longer than the window.
    assert 0.05 < (expected > 0).mean() < 32 / 41
    np.testing.assert_allclose(ours, expected, atol=TOLERANCE)


def ramp(grid: Grid) -> np.ndarray:
    """The z coordinate (scanner mm) plus twice the x of every voxel."""
    index = np.stack(np.meshgrid(*[np.arange(n) for n in grid.shape], indexing="ij"), axis=-1).astype(float)
    world = grid.to_world(index)
    return np.asarray(world[..., 2] + 2 * world[..., 0])


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.5, 0.5, 0.5), (0.4, 0.8, 3.0)])
def test_the_network_is_shown_the_places_it_is_told_of(spacing: tuple[float, float, float]) -> None:
    """A ramp in scanner mm stays that ramp on the grid that `prepare` reports."""
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = (-9, 4, 17)
    grid = Grid((80, 90, 34), affine)
    cord = np.array([[20.0, 10.0, 40.0], [20.0, 12.0, 50.0]])
    shown = contrast_agnostic.prepare(ramp(grid).astype(np.float32), grid, WINDOW, cord)
    found = shown.array[:, ::-1, ::-1]
    where = shown.grid
    assert where.shape == found.shape
    expected = ramp(where)
    index = np.stack(np.meshgrid(*[np.arange(n) for n in where.shape], indexing="ij"), axis=-1).astype(float)
    native = grid.to_index(where.to_world(index))
    inside = (
        (native >= 3 / np.array(spacing)) & (native <= np.array(grid.shape) - 1 - 3 / np.array(spacing))
    ).all(-1)
    assert inside.sum() > 1000
    # Normalised by one mean and deviation: a straight line through all voxels.
    slope, offset = np.polyfit(found[inside].astype(float), expected[inside], 1)
    np.testing.assert_allclose(slope * found[inside] + offset, expected[inside], atol=0.05)


def test_a_cord_outside_the_middle_moves_the_window_the_shortest_way() -> None:
    grid = Grid((200, 260, 40), np.eye(4))
    image = np.random.default_rng(0).random(grid.shape, dtype=np.float32)

    def low(cord: list[float] | None) -> np.ndarray:
        points = None if cord is None else np.array([[*cord, 5.0], [*cord, 35.0]])
        return contrast_agnostic.prepare(image, grid, (64, 192, 320), points).grid.affine[:3, 3]

    middle = low(None)
    np.testing.assert_array_equal(low([100, 130]), middle)
    np.testing.assert_array_equal(low([100 - 32 + 15, 130]), middle)
    np.testing.assert_array_equal(low([50, 130]), middle - [68 - 35, 0, 0])
    assert low([100, 240])[1] == 240 + 15 - 191
    points = np.array([[20.0, 130, 5], [160.0, 130, 35]])
    spread = contrast_agnostic.prepare(image, grid, (64, 192, 320), points).grid.affine[0, 3]
    assert spread == pytest.approx(90 - 31.5, abs=1)


def test_fractions_are_copied_to_equal_voxels_and_integrated_onto_larger_ones() -> None:
    soft = np.random.default_rng(0).random((20, 20, 20)).astype(np.float32)
    grid = Grid((20, 20, 20), np.eye(4))
    shifted = np.eye(4)
    shifted[:3, 3] = (-3, 5, 2)
    copied = contrast_agnostic.to_native(soft, grid, Grid((30, 10, 20), shifted))
    np.testing.assert_array_equal(copied[3:23, :, :18], soft[:, 5:15, 2:])
    assert copied[:3].max() == 0
    coarse = np.diag([4.0, 4, 4, 1])
    coarse[:3, 3] = -2.5
    integrated = contrast_agnostic.to_native(soft, grid, Grid((7, 7, 7), coarse))
    assert 64 * integrated.sum() == pytest.approx(soft.sum(), rel=1e-5)


def test_the_app_runs_a_release_by_its_path_and_looks_for_levels_with_its_own(tmp_path: Path) -> None:
    path = lightning_file(
        tmp_path / "best_model_loss.ckpt", their_network((2, 2, 2, 2, 2, 2)), softseg={"window": WINDOW}
    )
    volume = random_image(tmp_path / "image.nii.gz", (40, 30, 30), (1.0, 1.0, 1.0))
    soft = steps.run_network(volume, str(path), "cpu")
    assert soft.shape == volume.array.shape
    assert 0 <= soft.min() <= soft.max() <= 1
    folder = predict.load_model(tmp_path, "cpu")
    assert isinstance(folder, ContrastAgnostic)
    level_steps._loaded.cache_clear()
    found, own = load_level_network(path, CPU), load_level_network(predict.DEFAULT, CPU)
    assert (found is None) == (own is None)


@pytest.mark.parametrize("name", ["softmax", "regions"])
def test_a_folder_of_nnunet_gives_what_nnunet_gives(name: str) -> None:
    """Against files that nnU-Net 2.8.1 wrote and what its predictor made of them (data/nnunet/make.py)."""
    theirs = np.load(GOLDEN / name / "theirs.npz")
    model = load_release(GOLDEN / name, CPU)
    assert isinstance(model, NnUNet)
    volume = read_volume(GOLDEN / name / "image.nii.gz")
    shown, where = nnunet.prepare(volume.array, volume.grid, model.plan)
    np.testing.assert_allclose(shown, theirs["shown"], atol=TOLERANCE)
    # Its classes: background, lesion, SC; or, as regions, spinal_cord and lesion.
    channel = 2 if name == "softmax" else 0
    assert model.plan.channel == channel
    found = nnunet.infer(model, shown)
    expected = theirs["single"][channel]
    assert np.ptp(expected) > 0.1
    np.testing.assert_allclose(found, expected, atol=TOLERANCE)
    # As shipped, its sums are in half precision: nearly everywhere the same.
    assert np.quantile(np.abs(found - theirs["half"][channel]), 0.5) < 2e-3
    # The box that was not zero, in the image's own millimetres.
    spacing = volume.grid.spacing_mm
    low = where.to_world(np.full(3, -0.5))
    np.testing.assert_allclose(low, [2.5 * spacing[0], -0.5 * spacing[1], -0.5 * spacing[2]], atol=1e-5)
    extent = where.spacing_mm * where.shape
    np.testing.assert_allclose(extent, (np.array(volume.array.shape) - [3, 2, 0]) * spacing, atol=1e-5)
    soft = predict.segment(model, volume)
    assert soft.shape == volume.array.shape
    assert soft[:2].max() == 0
    assert soft[8:-8, 8:-8].min() > 0


def test_the_network_of_nnunet_sees_the_orientation_it_was_trained_on(tmp_path: Path) -> None:
    """The same anatomy stored backwards, for a network told so, gives the same fractions."""
    plain = load_release(GOLDEN / "softmax", CPU)
    folder = tmp_path / "turned"
    shutil.copytree(GOLDEN / "softmax", folder)
    dataset = json.loads((folder / "dataset.json").read_text())
    (folder / "dataset.json").write_text(json.dumps(dataset | {"image_orientation": "RAS"}))
    turned = load_release(folder, CPU)
    volume = read_volume(GOLDEN / "softmax" / "image.nii.gz")
    # SCT's RAS begins at the right, front and top: nibabel's LPI.
    backwards = Volume(np.ascontiguousarray(volume.array[::-1, ::-1, ::-1]), volume.grid)
    here = predict.segment(turned, backwards)
    np.testing.assert_allclose(here[::-1, ::-1, ::-1], predict.segment(plain, volume), atol=1e-5)


def test_folds_are_averaged_and_releases_found_in_the_folder_they_are_unpacked_to(tmp_path: Path) -> None:
    folder = tmp_path / "release" / "nnUNetTrainer__nnUNetPlans__3d_fullres"
    shutil.copytree(GOLDEN / "softmax", folder)
    (folder / "fold_0").rename(folder / "fold_all")
    shutil.copytree(folder / "fold_all", folder / "fold_1")
    model = load_release(tmp_path / "release", CPU)
    assert isinstance(model, NnUNet)
    assert len(model.folds) == 2
    same = load_release(folder / "fold_1" / "checkpoint_final.pth", CPU)
    assert isinstance(same, NnUNet)
    volume = read_volume(GOLDEN / "softmax" / "image.nii.gz")
    once = predict.segment(load_release(GOLDEN / "softmax", CPU), volume)
    np.testing.assert_allclose(predict.segment(model, volume), once, atol=1e-6)
    (folder / "training_log.txt").write_text("of no account")
    first = digest(folder)
    assert identity.checkpoint(folder) == (folder, first)
    (folder / "dataset.json").write_text((folder / "dataset.json").read_text() + "\n")
    assert digest(folder) != first


class Evil:
    """What reading must never run."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (exec, ("raise SystemExit('executed')",))


def test_a_checkpoint_with_a_program_in_it_is_refused_by_its_name(tmp_path: Path) -> None:
    path = lightning_file(tmp_path / "c.ckpt", nn.Conv3d(1, 1, 1), hyper_parameters={"loss": Evil()})
    with pytest.raises(
        DataError, match=r"exec, which would have to be executed; a checkpoint must hold weights"
    ):
        predict.load_model(path, "cpu")
    folder = tmp_path / "nnunet"
    shutil.copytree(GOLDEN / "softmax", folder)
    weights = folder / "fold_0" / "checkpoint_final.pth"
    content = torch.load(weights, weights_only=False)
    torch.save(content | {"logging": Evil()}, weights)
    with pytest.raises(DataError, match="would have to be executed"):
        predict.load_model(folder, "cpu")


@contextmanager
def in_library(module: str, *kinds: type) -> Iterator[None]:
    """While it lasts, classes of this file are another library's, which is not there afterwards."""
    with pytest.MonkeyPatch.context() as patch:
        parts = module.split(".")
        for number in range(1, len(parts) + 1):
            patch.setitem(sys.modules, ".".join(parts[:number]), ModuleType(parts[number - 1]))
        for kind in kinds:
            setattr(sys.modules[module], kind.__name__, kind)
            patch.setattr(kind, "__module__", module)
        yield
    assert module not in sys.modules


def test_what_the_published_files_keep_beside_their_weights_is_passed_over(tmp_path: Path) -> None:
    theirs = their_network((2, 2, 2, 2, 2, 2))
    with in_library("losses", AdapWingLoss):
        beside = {"loss_function": AdapWingLoss(), "optimizer_class": torch.optim.Adam, "root": Path("/data")}
        path = lightning_file(tmp_path / "renamed.bin", theirs, hyper_parameters=beside)
    assert is_release(path)
    assert isinstance(predict.load_model(path, "cpu"), ContrastAgnostic)
    assert "losses" not in sys.modules


class EasyDict(dict[str, object]):
    """Keeps its items as attributes, too, as the class of this name does."""

    def __setattr__(self, name: str, value: object) -> None:
        super().__setattr__(name, value)
        super().__setitem__(name, value)


class AttributeDict(dict[str, object]):
    """Stands for Lightning's class of this name, which has no attributes of its own."""


@pytest.mark.parametrize(
    ("module", "kind"),
    [
        ("easydict", EasyDict),
        ("pytorch_lightning.utilities.parsing", AttributeDict),
        ("lightning.fabric.utilities.data", AttributeDict),
    ],
)
def test_settings_in_dictionaries_of_any_kind_are_passed_over(
    tmp_path: Path, module: str, kind: type[dict[str, object]]
) -> None:
    config, inner = kind(), kind()
    inner |= {"sigma": np.float32(2), "names": ["T1w", "T2w"], "root": Path("/data")}
    config["inner"] = inner
    if kind is EasyDict:
        config.rate = 1e-3  # type: ignore[attr-defined]
    counts = defaultdict(list, {"T2w": [1, 2], "T1w": defaultdict(int, {"a": 1}), "DWI": defaultdict(dict)})
    beside = {"config": config, "counts": counts, "kind": kind}
    path = tmp_path / "renamed.bin"
    with in_library(module, kind):
        lightning_file(path, their_network((2, 2, 2, 2, 2, 2)), hyper_parameters=beside)
    assert is_release(path)
    assert isinstance(load_release(path, CPU), ContrastAgnostic)
    assert module not in sys.modules


class Losses(list[object]):
    """A kind of list that is not known."""


class Known(list[object]):
    """A kind of list that takes the name of something known."""


Known.__name__ = Known.__qualname__ = "AdapWingLoss"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (Losses([1, 2]), r"it names losses\.Losses, which would have to be executed"),
        (Known([1, 2]), r"it fills a losses\.AdapWingLoss, which would have to be executed"),
        (Known([1]), r"it fills a losses\.AdapWingLoss, which would have to be executed"),
        (EasyDict(a={"b": Evil()}), "it names (builtins.)?exec, which would have to be executed"),
        (defaultdict(os.getcwd, a=1), r"it names \w+\.getcwd, which would have to be executed"),
    ],
)
def test_what_is_refused_is_named(tmp_path: Path, value: object, words: str) -> None:
    path = tmp_path / "c.ckpt"
    with in_library("losses", Losses, Known), in_library("easydict", EasyDict):
        lightning_file(path, nn.Conv3d(1, 1, 1), hyper_parameters={"x": value})
    with pytest.raises(DataError, match=words) as told:
        load_release(path, CPU)
    assert str(path) in str(told.value)


@pytest.mark.parametrize("name", [*reading._NUMBERS, *reading._BESIDE, *reading._MAPPINGS])
def test_every_known_name_stands_for_something_of_ours(name: str) -> None:
    """Whatever is done with it on reading, it neither is nor makes a thing of that name."""
    (stand_in,) = (each for each, known in reading._KNOWN if known == name)
    assert issubclass(stand_in, reading.Ignored | reading.IgnoredMapping)
    made = stand_in("exec", {"a": 1})
    assert type(made) in (stand_in, OrderedDict)
    assert not getattr(made, "__dict__", {}) and (not isinstance(made, OrderedDict) or not made)


def changed(folder: Path, name: str, **entries: object) -> None:
    path = folder / name
    content = json.loads(path.read_text())
    if name == "plans.json":
        content["configurations"]["3d_fullres"] |= entries
    else:
        content |= entries
    path.write_text(json.dumps(content))


RESIDUAL = {"network_class_name": "dynamic_network_architectures.architectures.unet.ResidualEncoderUNet"}


@pytest.mark.parametrize(
    ("name", "entries", "words"),
    [
        ("plans.json", {"architecture": RESIDUAL}, "its network is a ResidualEncoderUNet"),
        ("plans.json", {"previous_stage": "3d_lowres"}, "cascade"),
        ("plans.json", {"patch_size": [64, 64]}, "2 dimensions"),
        ("plans.json", {"normalization_schemes": ["RGBTo01Normalization"]}, "RGBTo01Normalization"),
        ("plans.json", {"spacing": None}, "cannot be run here"),
        ("dataset.json", {"channel_names": {"0": "T1w", "1": "T2w"}}, "needs 2 images at once"),
        ("dataset.json", {"labels": {"background": 0, "gm": 1, "wm": 2}}, "gm, wm.*rename"),
        ("dataset.json", {"image_orientation": "RRI"}, "'RRI' is none"),
    ],
)
def test_a_result_folder_that_cannot_be_run_says_why(
    tmp_path: Path, name: str, entries: dict[str, object], words: str
) -> None:
    folder = tmp_path / "nnunet"
    shutil.copytree(GOLDEN / "softmax", folder)
    changed(folder, name, **entries)
    with pytest.raises(DataError, match=words) as error:
        load_release(folder, CPU)
    assert str(folder) in str(error.value)


def test_incomplete_folders_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "nnunet"
    shutil.copytree(GOLDEN / "softmax", folder)
    lone = tmp_path / "checkpoint_final.pth"
    shutil.copy(folder / "fold_0" / "checkpoint_final.pth", lone)
    with pytest.raises(DataError, match=r"one fold of nnU-Net; give --model the folder with plans\.json"):
        load_release(lone, CPU)
    (folder / "dataset.json").write_text("[]")
    with pytest.raises(DataError, match=r"dataset\.json: holds no JSON object"):
        load_release(folder, CPU)
    (folder / "dataset.json").unlink()
    with pytest.raises(DataError, match=r"dataset\.json: cannot be read as JSON"):
        load_release(folder, CPU)
    shutil.copy(GOLDEN / "softmax" / "dataset.json", folder)
    shutil.rmtree(folder / "fold_0")
    with pytest.raises(DataError, match=r"has no fold_\*/checkpoint_final\.pth"):
        load_release(folder, CPU)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"holds no result folder of nnU-Net and no best_model_loss\.ckpt"):
        load_release(tmp_path / "empty", CPU)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"epoch": 3}, "holds no weights"),
        ([1, 2], "holds a list"),
        ({"state_dict": {}}, "nothing is no part"),
        ({"state_dict": {"net.head.weight": torch.ones(1)}}, "head.weight is no part"),
        ({"state_dict": 5}, "holds no weights"),
    ],
)
def test_other_checkpoints_are_refused_with_a_reason(tmp_path: Path, content: object, words: str) -> None:
    path = tmp_path / "other.ckpt"
    torch.save(content, path)
    with pytest.raises(DataError, match=words):
        load_release(path, CPU)


def test_weights_of_another_shape_are_refused(tmp_path: Path) -> None:
    state = PlainConvUNet(PUBLISHED._replace(widths=(2, 2, 2, 2, 2, 2))).state_dict()
    flat = {name: tensor[..., 0] if tensor.ndim == 5 else tensor for name, tensor in state.items()}
    odd = dict(state) | {"decoder.seg_layers.4.bias": torch.ones(7)}
    torn = {name: tensor for name, tensor in state.items() if "transpconvs.0" not in name}
    short = {name: tensor for name, tensor in state.items() if not name.startswith("decoder.stages.4.")}
    reasons = (
        (flat, "2 spatial dimensions"),
        (odd, "size mismatch"),
        (torn, "missing"),
        (short, "do not fit together"),
    )
    for number, (wrong, words) in enumerate(reasons):
        path = tmp_path / f"{number}.ckpt"
        torch.save({"state_dict": wrong}, path)
        with pytest.raises(DataError, match=words):
            load_release(path, CPU)
    path = tmp_path / "window.ckpt"
    torch.save({"state_dict": dict(state), "softseg": {"ending": "tanh"}}, path)
    with pytest.raises(DataError, match="ending 'tanh'"):
        load_release(path, CPU)


def test_damaged_files_are_named(tmp_path: Path) -> None:
    whole = lightning_file(tmp_path / "whole.ckpt", nn.Conv3d(1, 1, 1))
    torn = tmp_path / "torn.ckpt"
    torn.write_bytes(whole.read_bytes()[:300])
    with pytest.raises(DataError, match=r"torn\.ckpt"):
        load_release(torn, CPU)
    with pytest.raises(DataError, match="does not exist"):
        load_release(tmp_path / "none.ckpt", CPU)
    garbage = tmp_path / "garbage.ckpt"
    garbage.write_bytes(b"\x80\x02garbage")
    with pytest.raises(DataError, match=r"garbage\.ckpt"):
        load_release(garbage, CPU)
