"""How the files beside this were made: by nnU-Net itself, with random weights.

Run where nnunetv2 (2.8.1) is installed: ``python make.py``. Two folders, each with the plans.json,
dataset.json and fold_0/checkpoint_final.pth of nnU-Net's trainer, an image, and the probabilities
that nnU-Net's predictor gave.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path

for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
    os.environ.setdefault(name, tempfile.mkdtemp())

import nibabel as nib  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor  # noqa: E402
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer  # noqa: E402

HERE = Path(__file__).parent
RESAMPLING = {
    f"resampling_fn_{what}": "resample_data_or_seg_to_shape" for what in ("data", "seg", "probabilities")
}
KWARGS = {
    "resampling_fn_data_kwargs": {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None},
    "resampling_fn_seg_kwargs": {"is_seg": True, "order": 1, "order_z": 0, "force_separate_z": None},
    "resampling_fn_probabilities_kwargs": {
        "is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None,
    },
}  # fmt: skip


def plans(forward: list[int], masked: bool, spacing: list[float], patch: list[int]) -> dict:
    backward = [int(n) for n in np.argsort(forward)]
    architecture = {
        "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
        "arch_kwargs": {
            "n_stages": 3, "features_per_stage": [4, 6, 8], "conv_op": "torch.nn.modules.conv.Conv3d",
            "kernel_sizes": [[1, 3, 3], [3, 3, 3], [3, 3, 3]], "strides": [[1, 1, 1], [1, 2, 2], [2, 2, 2]],
            "n_conv_per_stage": [2, 2, 2], "n_conv_per_stage_decoder": [2, 2], "conv_bias": True,
            "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
            "norm_op_kwargs": {"eps": 1e-05, "affine": True}, "dropout_op": None, "dropout_op_kwargs": None,
            "nonlin": "torch.nn.LeakyReLU", "nonlin_kwargs": {"inplace": True},
        },
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }  # fmt: skip
    configuration = {
        "data_identifier": "nnUNetPlans_3d_fullres", "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2, "patch_size": patch, "median_image_size_in_voxels": [40.0, 40.0, 40.0],
        "spacing": spacing, "normalization_schemes": ["ZScoreNormalization"], "use_mask_for_norm": [masked],
        **RESAMPLING, **KWARGS, "architecture": architecture, "batch_dice": False,
    }  # fmt: skip
    return {
        "dataset_name": "Dataset900_Random", "plans_name": "nnUNetPlans", "image_reader_writer": "NibabelIO",
        "original_median_spacing_after_transp": spacing, "original_median_shape_after_transp": [40, 40, 40],
        "transpose_forward": forward, "transpose_backward": backward,
        "experiment_planner_used": "ExperimentPlanner", "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {"0": {"mean": 1.0, "std": 1.0}},
        "configurations": {"3d_fullres": configuration},
    }  # fmt: skip


def make(
    name: str, plan: dict, dataset: dict, shape: tuple[int, int, int], spacing: tuple, seed: int
) -> None:
    torch.manual_seed(seed)
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "fold_0").mkdir(parents=True)
    (folder / "plans.json").write_text(json.dumps(plan, indent=1) + "\n")
    (folder / "dataset.json").write_text(json.dumps(dataset, indent=1) + "\n")
    trainer = nnUNetTrainer(
        {**plan, "continue_training": False}, "3d_fullres", 0, dataset, torch.device("cpu")
    )
    cases = Path(trainer.preprocessed_dataset_folder)
    cases.mkdir(parents=True, exist_ok=True)
    (cases / "case.b2nd").touch()  # the trainer only looks for its ending
    trainer.initialize()
    # As after an epoch: the log holds numpy's numbers.
    trainer._best_ema = np.float64(0.5)
    for key in ("train_losses", "val_losses", "mean_fg_dice", "ema_fg_dice"):
        trainer.logger.log(key, np.float64(0.5) if "dice" in key else np.float32(0.5), 0)
    with torch.no_grad():
        for parameter in trainer.network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    path = folder / "fold_0" / "checkpoint_final.pth"
    trainer.save_checkpoint(path)
    content = torch.load(path, weights_only=False)
    content["optimizer_state"] = {"state": {}, "param_groups": content["optimizer_state"]["param_groups"]}
    torch.save(content, path)

    rng = np.random.default_rng(seed)
    image = rng.normal(100, 30, shape).astype(np.float32)
    image[:3] = image[:, -2:] = 0  # what nnU-Net crops off
    nib.save(nib.Nifti1Image(image, np.diag([*spacing, 1.0])), folder / "image.nii.gz")
    predictor = nnUNetPredictor(use_mirroring=False, device=torch.device("cpu"), allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(str(folder), (0,))
    # In the network's own voxels, before they are brought back: what is compared voxel by voxel.
    preprocessor = predictor.configuration_manager.preprocessor_class(verbose=False)
    properties = {"spacing": list(spacing[::-1])}
    data, _, _ = preprocessor.run_case_npy(
        image.transpose(2, 1, 0)[None], None, properties, predictor.plans_manager,
        predictor.configuration_manager, dataset,
    )  # fmt: skip
    # As it is, and with its sums in single precision: in half, the small weights at a window's corners
    # leave a few steps between 0 and 1 there.
    found = {}
    for name, precision in (("half", torch.float16), ("single", torch.float32)):
        torch.half = precision
        logits = predictor.predict_logits_from_preprocessed_data(torch.from_numpy(data))
        found[name] = predictor.label_manager.apply_inference_nonlin(logits.float()).numpy()
    np.savez_compressed(folder / "theirs.npz", shown=data[0], **found)


if __name__ == "__main__":
    softmax = {
        "channel_names": {"0": "MRI"}, "labels": {"background": 0, "lesion": 1, "SC": 2},
        "numTraining": 1, "file_ending": ".nii.gz", "image_orientation": "LPI",
    }  # fmt: skip
    regions = {
        "channel_names": {"0": "MRI"}, "labels": {"background": 0, "spinal_cord": [1, 2], "lesion": [2]},
        "regions_class_order": [1, 2], "numTraining": 1, "file_ending": ".nii.gz",
        "image_orientation": "LPI",
    }  # fmt: skip
    make(
        "softmax", plans([0, 1, 2], False, [1.0, 1.0, 1.0], [16, 16, 16]), softmax, (20, 26, 30), (1, 1, 1), 1
    )
    thick = plans([1, 0, 2], True, [0.9, 4.0, 0.8], [16, 8, 16])
    make("regions", thick, regions, (28, 24, 10), (1.0, 0.7, 5.0), 2)
