"""The masks of methods: those of a folder as they are, those of a model after running it."""

from __future__ import annotations

import re
import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path

from softseg_bids.app.outcome import Exit, Stop
from softseg_bids.bids.dataset import Dataset, Scan
from softseg_bids.bids.derivatives import sidecar
from softseg_bids.bids.masks import masks_of
from softseg_bids.bids.sidecars import read_json
from softseg_bids.study.arguments import Asked, Part
from softseg_bids.study.judge import Method, known_of
from softseg_bids.study.masks import EMPTY, MISSING, Found
from softseg_bids.study.ours import FAILED, MEASURED, read_ours
from softseg_bids.study.running import has_results, run_model


def check_contrasts(asked: Sequence[Asked], labelled: Sequence[Scan]) -> None:
    """Refuse, before anything is run, a method with paths for contrasts that has none for a labelled one.

    Parameters
    ----------
    asked : sequence of Asked
    labelled : sequence of Scan
        Images with a label.

    Raises
    ------
    Stop
        64, with the contrasts that lack a path.
    """
    there = list(dict.fromkeys(scan.contrast for scan in labelled))
    for method in asked:
        own = {part.contrast.casefold() for part in method.parts if part.contrast is not None}
        if not own:
            continue
        if lacking := [contrast for contrast in there if contrast.casefold() not in own]:
            raise Stop(
                Exit.USAGE,
                f"method {method.name}: names no path for {', '.join(lacking)}, of which there are labels; "
                f"add {lacking[0]}:PATH, or choose contrasts by --contrasts",
            )


def found_methods(chosen: Namespace, dataset: Dataset, codes: list[Exit]) -> list[Method]:
    """All methods with their masks; what is a model is run over the dataset first.

    A model that several methods name (as it is and cut at 0.5, say) is run once for all of them. A path for
    a contrast of which there is no image is left out, and told.

    Parameters
    ----------
    chosen : Namespace
        ``data methods output`` and the options of running.
    dataset : Dataset
    codes : list of Exit
        What the runs ended with is added.
    """
    ran: dict[tuple[Path | None, str | None], Path] = {}
    return [_method(asked, chosen, dataset, ran, codes) for asked in chosen.methods]


def uncorrected(found: Mapping[str, list[Path]]) -> dict[str, list[Path]]:
    """The network's own masks among results of the app: what people corrected may be the labels themselves.

    Where a correction was merged, the mask of the network before it; nothing where it had found no cord.
    """
    return {key: [own for path in paths if (own := _of_network(path))] for key, paths in found.items()}


def without_mask(folder: Path, scans: Sequence[Scan]) -> dict[str, Found]:
    """What results of the app say of images, for those that turn out to have no mask.

    Only where it looked and found no cord is the mask an empty one: an image that could not be processed, or
    that nobody ran, says nothing about the model.

    Parameters
    ----------
    folder : Path
    scans : sequence of Scan

    Returns
    -------
    dict of str to Found
        By key: ``empty``, ``failed`` or ``missing``; nothing of an image whose mask was measured.
    """
    results = {image.source: image for image in read_ours(folder)} if has_results(folder) else {}
    found = {}
    for scan in scans:
        image = results.get(scan.relative)
        if image is None:
            reason = f"{folder} has no result of it; run softseg on it"
            found[scan.key] = Found(MISSING, reason)
        elif image.status == FAILED:
            found[scan.key] = Found(FAILED, image.reason)
        elif image.status != MEASURED or image.card.get("mask_source") == "corrected":
            # Beside a correction the network's own mask is stored, unless it had found nothing.
            found[scan.key] = Found(EMPTY, "no cord was found")
    return found


def _of_network(path: Path) -> Path | None:
    said = sidecar(path)
    if not said.is_file() or read_json(said).get("MaskSource") != "corrected":
        return path
    before = path.with_name(re.sub(r"(desc-[a-zA-Z0-9]+)_[a-z]+\.nii", r"\1Model_probseg.nii", path.name))
    return before if before.is_file() else None


def _method(
    asked: Asked,
    chosen: Namespace,
    dataset: Dataset,
    ran: dict[tuple[Path | None, str | None], Path],
    codes: list[Exit],
) -> Method:
    masks: dict[str, list[Path]] = {}
    without: dict[str, Found] = {}
    for part in asked.parts:
        scans = [
            scan
            for scan in dataset.scans
            if part.contrast is None or scan.contrast.casefold() == part.contrast.casefold()
        ]
        if not scans:
            sys.stderr.write(
                f"softseg-evaluate: method {asked.name}: no image is {part.contrast}; left out\n"
            )
            continue
        if part.path is not None and not part.runs:
            folder = part.path
        else:
            model = part.path, part.contrast
            if model not in ran:
                ran[model] = _run(asked.name, part, chosen, codes)
            folder = ran[model]
        own = {scan.key for scan in scans}
        # All images are asked for, so that a mask goes to the image whose name fits best.
        found = {key: paths for key, paths in _masks_in(folder, dataset).items() if key in own}
        if part.runs or has_results(folder):
            told = without_mask(folder, scans)
            without |= told
            # What lies there of an image that failed is of an earlier run.
            failed = {key for key, said in told.items() if said.status == FAILED}
            found = {key: paths for key, paths in uncorrected(found).items() if key not in failed}
        masks |= found
    return Method(asked.name, masks, without, asked.cut)


def _run(name: str, part: Part, chosen: Namespace, codes: list[Exit]) -> Path:
    """Results of a model, over all images or those of its contrast."""
    out: Path = chosen.output / "methods" / name
    if part.contrast is not None:
        # Beside that of all contrasts, not in it: masks are found however deep they lie.
        out = out.with_name(f"{name}@{part.contrast}")
        chosen = Namespace(**{**vars(chosen), "contrasts": [part.contrast]})
    codes.append(run_model(part.path, chosen.data, out, chosen))
    return out


def _masks_in(folder: Path, dataset: Dataset) -> dict[str, list[Path]]:
    return masks_of(folder, [known_of(scan) for scan in dataset.scans])
