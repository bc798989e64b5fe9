"""The steps of one scan: files in, files out, no knowledge of the workflow around them.

conform -> segment -> trace -> find (level_steps) -> save. Soft masks between steps are compressed
arrays on the image's stored grid, because an empty mask (no cord) is a result here and no error.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from softseg_bids.app import combine as volumes
from softseg_bids.app.identity import code_digest
from softseg_bids.app.jobs import ScanJob
from softseg_bids.app.records import (
    Record,
    centreline_image,
    line_as_json,
    line_from,
    load_soft,
    save_soft,
    to_canonical,
    to_stored,
)
from softseg_bids.app.resources import GIB, usable_memory_gb
from softseg_bids.bids import derivatives
from softseg_bids.core.cord import keep_cord
from softseg_bids.core.cord import trace as trace_line
from softseg_bids.core.correction import merge
from softseg_bids.image.grid import Array, Grid, canonical, like_stored
from softseg_bids.image.volume import (
    DataError,
    Volume,
    check_file,
    read_grid,
    read_series,
    read_volume,
    reading_bytes,
    write_volume,
)

THRESHOLD = 0.5
# Header rounding between an image and its mask; a tenth of the smallest voxel in use.
SAME_PLACE_MM = 0.05


class Conformed(NamedTuple):
    """A 3-D image to be segmented, and the digest of what it was made from."""

    image: str
    checksum: str


class Segmented(NamedTuple):
    """The model's soft mask."""

    soft: Path


class Traced(NamedTuple):
    """The soft mask that counts, and the centreline with what a correction changed."""

    soft: Path
    line: Path


class Saved(NamedTuple):
    """The scan's record, all that the session needs to know; and the files written to OUT."""

    record: Path
    outputs: list[str]


def conform(sources: list[str], stamps: list[str], combine: str, bval: str, folder: Path) -> Conformed:
    """Check the image; combine echoes or diffusion volumes into one.

    Parameters
    ----------
    sources : list of str
        The image's files (several only for split echoes).
    stamps : list of str
        Size and time of each, so that a changed file is noticed without reading it.
    combine : str
        ``single``, ``echoes`` or ``diffusion``.
    bval : str
        File of b-values, or empty.
    folder : Path
        Where a combined image is written; a plain 3-D image stays where it is.

    Raises
    ------
    DataError
        If a file is no sane image, or its volumes cannot be combined.
    """
    paths = [Path(source) for source in sources]
    check_memory(paths)
    checksum = digest([*paths, *([Path(bval)] if bval else [])])
    series = [read_series(path) for path in paths]
    first = series[0]
    for path, other in zip(paths[1:], series[1:], strict=True):
        if other.array.shape[:3] != first.array.shape[:3] or not same_place(other.grid, first.grid):
            raise DataError(
                f"{path}: lies elsewhere than {paths[0]}; echoes of one image must share its grid"
            )
    stack = np.concatenate([volume.array for volume in series], axis=-1)
    if stack.shape[-1] == 1:
        return Conformed(str(paths[0]), checksum)
    if combine == "single":
        raise DataError(
            f"{paths[0]}: has {stack.shape[-1]} volumes where one is expected; "
            "split it, or name it as a multi-echo or diffusion series"
        )
    image = (
        diffusion_mean(paths[0], stack, first.grid, bval)
        if combine == "diffusion"
        else volumes.root_mean_square(stack)
    )
    combined = folder / "combined.nii.gz"
    write_volume(combined, image, first.grid, paths[0])
    return Conformed(str(combined), checksum)


def check_memory(paths: list[Path]) -> None:
    """Refuse, by their headers, images that do not fit into memory.

    Raises
    ------
    DataError
        If there is less memory than reading them takes.
    """
    needed_gb = sum(reading_bytes(path) for path in paths) / GIB
    there_gb = usable_memory_gb()
    if needed_gb > there_gb:
        raise DataError(
            f"{paths[0]}: reading it takes {needed_gb:.1f} GiB of memory, and there are {there_gb:.1f}; "
            "crop it, or give the run more memory"
        )


def diffusion_mean(path: Path, stack: Array, grid: Grid, bval: str) -> Array:
    """Mean of the diffusion-weighted volumes of a series, aligned slice by slice.

    Raises
    ------
    DataError
        If there are no b-values, not one a volume, or none above 200 s/mm².
    """
    if not bval:
        raise DataError(f"{path}: has {stack.shape[-1]} volumes but no .bval file; add it beside the image")
    try:
        bvals = np.array(
            [float(word) for word in Path(bval).read_text(encoding="utf-8", errors="replace").split()]
        )
    except (OSError, ValueError) as error:
        raise DataError(f"{bval}: cannot be read as b-values ({error}); write one number a volume") from error
    if len(bvals) != stack.shape[-1]:
        raise DataError(
            f"{bval}: has {len(bvals)} b-values for {stack.shape[-1]} volumes of {path}; correct it"
        )
    try:
        chosen = volumes.weighted_volumes(bvals)
    except ValueError as error:
        raise DataError(f"{bval}: {error}; {path} has no diffusion-weighted volume to segment") from error
    return volumes.aligned_mean(stack[..., chosen], grid.spacing_mm, slice_axis=slice_axis(grid))


def segment(
    image: str, checksum: str, model: str, model_hash: str, device: str, stored: list[str], folder: Path
) -> Segmented:
    """The model's soft mask of an image, from an earlier run if image and model are unchanged.

    Parameters
    ----------
    image, checksum : str
        From :func:`conform`.
    model, model_hash : str
        The checkpoint and its digest.
    device : str
        ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
    stored : list of str
        Soft masks in OUT that may hold the model's own result.
    """
    soft = stored_soft([Path(path) for path in stored], checksum, model_hash)
    if soft is None:
        volume = read_volume(Path(image))
        raw, grid = to_canonical(run_network(volume, model, device), volume.grid)
        soft = to_stored(keep_cord(raw, grid.spacing_mm), volume.grid)
    return Segmented(save_soft(folder / "soft.npz", soft))


def run_network(volume: Volume, model: str, device: str) -> Array:
    """Segment one volume; the only place where the app meets torch."""
    from softseg_bids.model.predict import segment as predict

    return predict(_loaded(model, device), volume)


@lru_cache(maxsize=1)
def _loaded(model: str, device: str) -> Any:
    from softseg_bids.model.predict import load_model

    return load_model(Path(model), device)


def stored_soft(candidates: list[Path], checksum: str, model_hash: str) -> Array | None:
    """The model's own soft mask among files in OUT, if made from this image by this model."""
    for path in candidates:
        sidecar = derivatives.sidecar(path)
        try:
            facts = json.loads(sidecar.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            continue
        wanted = {
            "SourceChecksum": checksum,
            "ModelHash": model_hash,
            "CodeHash": code_digest(),
            "MaskSource": "model",
        }
        if isinstance(facts, dict) and all(facts.get(name) == value for name, value in wanted.items()):
            with contextlib.suppress(DataError):  # damaged since: it is made again
                return read_volume(path).array
    return None


def trace(image: str, soft: Path, corrected: str, stamp: str, folder: Path) -> Traced:
    """Merge a corrected mask, if there is one, and find the centreline.

    Parameters
    ----------
    image : str
        The conformed image.
    soft : Path
        From :func:`segment`.
    corrected : str
        A corrected mask of this image, or empty.
    stamp : str
        Its size and time.

    Raises
    ------
    DataError
        If the corrected mask lies on another grid than the image.
    """
    stored = read_grid(Path(image))
    values, grid = to_canonical(load_soft(soft), stored)
    facts: dict[str, Any] = {"mask_source": "model", "edited": []}
    if corrected:
        values, facts = _corrected(values, grid, Path(corrected))
    line = trace_line(values, grid.spacing_mm)
    facts["line"] = None if line is None else line_as_json(line)
    out = folder / "line.json"
    out.write_text(json.dumps(facts), encoding="utf-8")
    return Traced(save_soft(folder / "soft.npz", to_stored(values, stored)), out)


def _corrected(soft: Array, grid: Grid, path: Path) -> tuple[Array, dict[str, Any]]:
    mask = read_volume(path)
    array, where = canonical(mask.array, mask.grid)
    if array.shape != soft.shape or not same_place(where, grid):
        raise DataError(
            f"{path}: is not on the grid of the image it corrects; save it on the image's own grid"
        )
    merged = merge(soft, array, grid.spacing_mm)
    changed = ((merged >= THRESHOLD) != (soft >= THRESHOLD)).any(axis=(0, 1))
    return merged, {"mask_source": "corrected", "edited": np.flatnonzero(changed).tolist()}


def save(
    image: str, checksum: str, model_soft: Path, soft: Path, line: Path, sight: Path, job: str, folder: Path
) -> Saved:
    """Write the scan's masks to OUT, and the record the session works from.

    Parameters
    ----------
    image, checksum : str
        From :func:`conform`.
    model_soft, soft, line, sight : Path
        From :func:`segment`, :func:`trace` and `level_steps.find`.
    job : str
        The :class:`~softseg_bids.app.jobs.ScanJob` as JSON.
    """
    work = ScanJob.from_json(job)
    found = json.loads(line.read_text(encoding="utf-8"))
    grid = read_grid(Path(image))
    remarks = work.remarks(checksum)
    merged = remarks | {"MaskSource": found["mask_source"]}
    values, model = load_soft(soft), load_soft(model_soft)
    wanted: dict[str, tuple[NDArray[np.generic], dict[str, Any]]] = {}
    if found["line"] is not None:
        centre = centreline_image(line_from(found["line"]), canonical(values, grid)[1])
        wanted["probseg"] = values, merged
        wanted["mask"] = values >= THRESHOLD, merged
        wanted["centreline"] = like_stored(centre, grid), remarks
    if found["mask_source"] == "corrected" and model.any():
        wanted["model"] = model, remarks | {"MaskSource": "model"}
    for product in ("probseg", "mask", "centreline", "model"):
        path = Path(work.outputs[product])
        if product in wanted:
            array, extra = wanted[product]
            derivatives.write_mask(path, array, grid, Path(image), product, extra)
        else:
            derivatives.remove(path)
    record = Record(
        job=work,
        image=image,
        soft=str(soft),
        checksum=checksum,
        status="no_cord" if found["line"] is None else "measured",
        mask_source=found["mask_source"],
        edited=found["edited"],
        line=found["line"],
        shape=list(grid.shape),
        affine=grid.affine.tolist(),
        sight=str(sight),
    )
    return Saved(record.write(folder / "record.json"), [work.outputs[product] for product in wanted])


def digest(paths: list[Path]) -> str:
    """First 16 hexadecimal digits of the SHA-256 of files, one after the other.

    Raises
    ------
    DataError
        If one cannot be read.
    """
    total = hashlib.sha256()
    for path in paths:
        check_file(path)
        try:
            with path.open("rb") as file:
                total.update(hashlib.file_digest(file, "sha256").digest())
        except OSError as error:
            hint = (
                "run `git annex get` on it" if path.is_symlink() else "check that it exists and may be read"
            )
            raise DataError(f"{path}: cannot be read ({error.strerror}); {hint}") from error
    return total.hexdigest()[:16]


def same_place(one: Grid, other: Grid) -> bool:
    """Whether two grids of one shape put every corner at the same place, but for header rounding."""
    corners = (
        np.array(np.meshgrid(*[(0, n - 1) for n in one.shape], indexing="ij"), dtype=float).reshape(3, -1).T
    )
    return bool(np.abs(one.to_world(corners) - other.to_world(corners)).max() < SAME_PLACE_MM)


def slice_axis(grid: Grid) -> int:
    """The stored axis across which slices were acquired: that of the largest voxel size, else the third."""
    spacing = grid.spacing_mm
    return int(spacing.argmax()) if spacing.max() > 1.2 * np.median(spacing) else 2
