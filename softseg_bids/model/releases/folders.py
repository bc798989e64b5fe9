"""Which folders are models: the one rule of `--model` and of every command that takes models; no torch."""

from __future__ import annotations

from pathlib import Path

from softseg_bids.image.volume import DataError

PLANS = "plans.json"
LIGHTNING_NAMES = ("best_model_loss.ckpt", "best_model.ckpt")
# nnU-Net copies its plans beside masks that it predicted, and says so by this file.
PREDICTIONS = "predict_from_raw_data_args.json"


def model_in(folder: Path) -> Path | None:
    """The model that a folder is: the folder of nnU-Net's plans, or a checkpoint of the releases v2.x.

    Parameters
    ----------
    folder : Path
        A result folder of nnU-Net, the folder of such a checkpoint, or an unpacked release with one result
        folder in it.

    Returns
    -------
    Path or None
        None if there is none, as in a folder of masks.

    Raises
    ------
    DataError
        If several result folders lie in it.
    """
    if _is_result(folder):
        return folder
    for name in LIGHTNING_NAMES:
        if (folder / name).is_file():
            return folder / name
    below = sorted(plans.parent for plans in folder.glob(f"*/{PLANS}") if _is_result(plans.parent))
    if len(below) > 1:
        names = ", ".join(one.name for one in below)
        raise DataError(
            f"{folder}: holds {len(below)} result folders of nnU-Net ({names}); name the one to use"
        )
    return below[0] if below else None


def _is_result(folder: Path) -> bool:
    return (folder / PLANS).is_file() and not (folder / PREDICTIONS).exists()
