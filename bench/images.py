"""The images of the synthetic benchmark, drawn from the ranges of `set.json`, each with its truth."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray

from bench import strangers, truth
from bench.template import template
from bench.truth import Cord, Floats, Section
from softseg_bids.image.grid import Grid
from softseg_bids.synthesis.anatomy import INDEX, render
from softseg_bids.synthesis.body import Body, draw_body
from softseg_bids.synthesis.contrast import Contrast, draw_contrast, paint
from softseg_bids.synthesis.scanner import (
    Acquisition,
    FineGrid,
    Spacing,
    acquire,
    displaced_points,
    draw_acquisition,
    fine_grid,
    native_axis,
)

SET: dict[str, Any] = json.loads(Path(__file__).with_name("set.json").read_text())
# An image must show this many whole slices of cord, or its body is drawn anew.
LEAST_SLICES = 3
# Bodies are rendered on voxels this share of the native ones, but on no more than so many.
FINER, FINEST_MM, MOST_VOXELS = 0.7, 0.4, 2.5e6
SLICE_PARTS, LONGEST_PART_MM = 5, 1.0
# Second number of a seed: images of the set, and others like them to fit something on.
SEED_OF = {"familiar": 1, "calibration": 4}
# The most that noise can be beaten by; a perfect scanner has no ratio.
MOST_CNR = 100.0


class Spec(NamedTuple):
    """What an image is to be; the rest is drawn from its own seed."""

    number: int
    kind: str
    contrast: str
    resolution: str
    pathology: str
    height: str


class Case(NamedTuple):
    """One image with its truth.

    Attributes
    ----------
    spec : Spec
    array, grid
        The image as a scanner would give it; axes run right, front, up.
    plane : str
        iso, ax, sag or cor.
    noise, blur_mm, cnr, step : float
        Noise SD over the cord's signal; acquired resolution across the cord; difference of CSF and
        cord over the noise SD (at most 100), and over the cord's signal with its sign.
    sections : list of Section
        One a slice; empty where there is no cord to measure.
    fraction : ndarray or None
        True share of each voxel; None if slices moved, and where there is no cord.
    distance : Cord or None, ndarray (3, 3)
        The cord and how the image is turned, to tell how far a voxel is from it.
    """

    spec: Spec
    array: NDArray[np.float32]
    grid: Grid
    plane: str
    noise: float
    blur_mm: float
    cnr: float
    step: float
    sections: list[Section]
    fraction: NDArray[np.float32] | None
    cord: Cord | None
    rotation: Floats


def plan(count: int | None = None) -> list[Spec]:
    """The first ``count`` images of the set (all by default); any beginning of it is balanced."""
    rng = np.random.default_rng([SET["seed"], 0])
    total = SET["images"]
    contrasts = _deal(rng, SET["contrasts"], total)
    others = _deal(rng, SET["stranger_contrasts"], total)
    resolutions = _deal(rng, _shares(SET["resolutions"]), total)
    pathologies = _deal(rng, SET["pathologies"], total)
    heights = _deal(rng, _shares(SET["heights"]), total)
    specs = []
    for n in range(total):
        if n % SET["stranger_every"] == SET["stranger_every"] - 1:
            illness = "compression" if pathologies[n] == "compression" else "none"
            specs.append(Spec(n, "stranger", others[n], resolutions[n], illness, "none"))
        else:
            specs.append(Spec(n, "familiar", contrasts[n], resolutions[n], pathologies[n], heights[n]))
    return specs[:count]


def plan_calibration(count: int) -> list[Spec]:
    """Other images of familiar bodies: what is fitted on these can be judged on the set."""
    rng = np.random.default_rng([SET["seed"], 4])
    decks = (SET["contrasts"], _shares(SET["resolutions"]), SET["pathologies"], _shares(SET["heights"]))
    dealt = [_deal(rng, cards, count) for cards in decks]
    return [Spec(n, "calibration", *cards) for n, cards in enumerate(zip(*dealt, strict=True))]


def plan_heads(count: int | None = None) -> list[Spec]:
    """Heads above the cord, brain scans with some cord at the bottom, phantoms of noise; a share of each."""
    share = 1.0 if count is None else count / SET["images"]
    kinds = {"head": "heads", "head_with_cord": "head_with_cord", "noise": "noise_phantoms"}
    return [
        Spec(n, kind, SET["contrasts"][n % 10], kind, "none", "head")
        for kind, entry in kinds.items()
        for n in range(max(round(SET[entry]["count"] * share), 2))
    ]


def make(spec: Spec) -> Case:
    """Draw, render and scan one image; the same every time."""
    if spec.kind == "noise":
        return _noise_phantom(spec)
    if spec.kind == "template":
        return _template(spec)
    if spec.kind in ("head", "head_with_cord"):
        return _head(spec)
    return _stranger(spec) if spec.kind == "stranger" else _familiar(spec)


def _familiar(spec: Spec) -> Case:
    rng = np.random.default_rng([SET["seed"], SEED_OF[spec.kind], spec.number])
    scan = _acquisition(rng, spec.resolution)
    while True:
        body = _with_illness(rng, _body(rng, spec.height), spec)
        cord = truth.cord_of(body)
        if _whole_slices(cord, scan) >= LEAST_SLICES:
            break
    contrast = _contrast(rng, spec.contrast)
    return _scanned(spec, rng, scan, body, contrast)


def _scanned(spec: Spec, rng: Generator, scan: Acquisition, body: Body, contrast: Contrast) -> Case:
    level = float(contrast.signal[INDEX["white"]])
    scan = scan._replace(noise=level * rng.uniform(*SET["noise_to_cord"]))
    grid = _render_grid(scan)
    scene = render(body, displaced_points(scan, grid, torch.device("cpu")), grid.spacing_mm)
    image = acquire(scan, paint(scene, contrast, grid.spacing_mm), grid)
    step = float(contrast.signal[INDEX["csf"]]) - level
    return _case(spec, scan, image.numpy(), truth.cord_of(body), level, step)


def _stranger(spec: Spec) -> Case:
    rng = np.random.default_rng([SET["seed"], 1, spec.number])
    scan = _acquisition(rng, spec.resolution)
    ranges = SET["strangers"]
    while True:
        body = strangers.draw_stranger(
            rng, spec.contrast, ranges["area_mm2"], ranges["aspect"], ranges["conus_share"]
        )
        if spec.pathology == "compression":
            ap_mm = rng.uniform(*SET["stranger_compression_ap_mm"])
            width = rng.uniform(*SET["compression"]["width_mm"])
            body = body._replace(cord=strangers.compressed(body.cord, ap_mm, width))
        if _whole_slices(body.cord, scan) >= LEAST_SLICES:
            break
    level = body.signal["cord"]
    scan = scan._replace(noise=level * rng.uniform(*SET["noise_to_cord"]))
    grid = _render_grid(scan)
    points = displaced_points(scan, grid, torch.device("cpu")).numpy()
    painted = strangers.paint(body, grid, points, scan.rotation)
    image = acquire(scan, torch.from_numpy(painted), grid)
    return _case(spec, scan, image.numpy(), body.cord, level, body.signal["csf"] - level)


def _head(spec: Spec) -> Case:
    rng = np.random.default_rng([SET["seed"], 2, spec.number, len(spec.kind)])
    ranges = SET["heads" if spec.kind == "head" else spec.kind]
    if spec.kind == "head":
        field = np.array([rng.uniform(*pair) for pair in ranges["field_mm"]])
        lowest = rng.uniform(*ranges["below_foramen_mm"])
    else:
        lowest = rng.uniform(*ranges["below_mm"])
        sides = [rng.uniform(*pair) for pair in ranges["field_mm"][:2]]
        field = np.array([*sides, lowest + rng.uniform(*ranges["above_mm"])])
    spacing = np.repeat(rng.uniform(*ranges["spacing_mm"]), 3)
    scan = _drawn(rng, spacing, -1, field)
    while True:
        body = draw_body(rng, s_centre_mm=lowest - 0.5 * field[2], wide=True)
        body = body._replace(has_cord=True, has_head=True, voids=np.empty((0, 6)))
        if spec.kind == "head":
            break
        body = body._replace(has_skull=True)
        if _whole_slices(truth.cord_of(body), scan) >= LEAST_SLICES:
            break
    return _scanned(spec, rng, scan, body, _contrast(rng, spec.contrast))


def _noise_phantom(spec: Spec) -> Case:
    """Noise alone, smooth clouds, or a bottle: what a scanner shows without a person in it."""
    rng = np.random.default_rng([SET["seed"], 3, spec.number])
    ranges = SET["noise_phantoms"]
    shape = tuple(int(rng.integers(*pair)) for pair in ranges["shape"])
    spacing = np.repeat(rng.uniform(*ranges["spacing_mm"]), 3)
    noise = np.abs(rng.standard_normal(shape) + 1j * rng.standard_normal(shape))
    if spec.number % 3 == 1:
        noise = noise + 3 * np.repeat(rng.uniform(0, 1, (*shape[:2], 1)), shape[2], axis=2) * rng.uniform()
    if spec.number % 3 == 2:
        x, y = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape[:2]], indexing="ij")
        noise = noise + rng.uniform(4, 15) * (np.hypot(x, y) < rng.uniform(0.4, 0.9))[:, :, None]
    grid = Grid((shape[0], shape[1], shape[2]), np.diag([*spacing, 1.0]))
    return _bare(spec, noise.astype(np.float32), grid)


def _template(spec: Spec) -> Case:
    volume = template()
    if volume is None:
        raise ValueError("the MNI152 template is not here: install nilearn")
    return _bare(spec, volume.array, volume.grid)


def _bare(spec: Spec, array: NDArray[np.float32], grid: Grid) -> Case:
    """An image of nobody's cord."""
    blur_mm = float(grid.spacing_mm[:2].mean())
    return Case(spec, array, grid, "iso", 1.0, blur_mm, 0.0, 0.0, [], None, None, np.eye(3))


def _case(
    spec: Spec, scan: Acquisition, image: NDArray[np.float32], cord: Cord, level: float, step: float
) -> Case:
    axes = (native_axis(scan, 0), native_axis(scan, 1), native_axis(scan, 2))
    affine = np.diag([*scan.spacing_mm, 1.0])
    affine[:3, 3] = [axis[0] for axis in axes]
    sections = truth.sections(cord, axes, scan.rotation)
    shares = None if scan.motion_mm else truth.fractions(cord, axes, scan.rotation)
    acquired = np.asarray(scan.spacing_mm) * scan.blur
    plane = "iso" if scan.slice_axis < 0 else {0: "sag", 1: "cor", 2: "ax"}[scan.slice_axis]
    return Case(
        spec=spec,
        array=np.asarray(image, dtype=np.float32),
        grid=Grid((image.shape[0], image.shape[1], image.shape[2]), affine),
        plane=plane,
        noise=scan.noise / level,
        blur_mm=float(acquired[:2].mean()),
        cnr=min(abs(step) / max(scan.noise, 1e-9), MOST_CNR),
        step=step / level,
        sections=sections,
        fraction=shares,
        cord=cord,
        rotation=scan.rotation,
    )


def _acquisition(rng: Generator, resolution: str) -> Acquisition:
    entry = SET["resolutions"][resolution]
    spacing = np.array([rng.uniform(*pair) for pair in entry["spacing_mm"]])
    if entry["slice_axis"] == 2:
        spacing[1] = spacing[0]
    field = np.array([5 * spacing[2] if pair is None else rng.uniform(*pair) for pair in entry["field_mm"]])
    return _drawn(rng, spacing, entry["slice_axis"], field)


def _drawn(rng: Generator, spacing: Floats, slice_axis: int, field: Floats) -> Acquisition:
    """A scan of the ranges of the set; what the generator may add to a scan some day stays perfect."""
    base = draw_acquisition(rng, -0.5 * field, 0.5 * field, quality=0.0)
    has_motion = slice_axis == 2 and rng.random() < SET["motion"]["share"]
    has_ghost = rng.random() < SET["ghost"]["share"]
    angles = rng.normal(0, SET["angles_deg"]) * np.pi / 180
    return base._replace(
        spacing_mm=(float(spacing[0]), float(spacing[1]), float(spacing[2])),
        slice_axis=slice_axis,
        thickness=rng.uniform(*SET["thickness"]) if slice_axis >= 0 else 1.0,
        blur=(rng.uniform(*SET["blur"]), rng.uniform(*SET["blur"]), rng.uniform(*SET["blur"])),
        window=rng.uniform(*SET["window"]),
        start_mm=-0.5 * field,
        end_mm=0.5 * field,
        rotation=_rotation(angles),
        noise_smooth=rng.uniform(*SET["noise_smooth"]),
        bias=rng.uniform(*SET["bias"]),
        bias_slope=rng.normal(0, SET["bias_slope"], 3),
        gamma=rng.uniform(*SET["gamma"]),
        ghost=rng.uniform(*SET["ghost"]["strength"]) if has_ghost else 0.0,
        ghost_shift=int(rng.integers(*SET["ghost"]["shift"])),
        ghost_axis=int(rng.integers(0, 2)),
        distortion_mm=0.0,
        motion_mm=rng.uniform(*SET["motion"]["mm"]) if has_motion else 0.0,
        sharpen=0.0,
        seed=int(rng.integers(2**31)),
    )


def _body(rng: Generator, height: str) -> Body:
    entry = SET["heights"][height]
    while True:
        s = rng.uniform(*entry["s_mm"]) if "s_mm" in entry else rng.uniform(320, 440)
        body = draw_body(rng, s_centre_mm=s)
        low, high = entry.get("above_conus_mm", (-np.inf, np.inf))
        if body.has_cord and low <= body.conus_mm - s <= high:
            return body._replace(has_skull=True, voids=np.empty((0, 6)), lesions=np.empty((0, 7)))


def _with_illness(rng: Generator, body: Body, spec: Spec) -> Body:
    at = float(np.interp(0.0, body.z_mm, body.s_of_z)) + rng.normal(0, 10)
    a, b = body.cord_a_mm, body.cord_b_mm
    if spec.pathology == "atrophy":
        factor = np.sqrt(rng.uniform(*SET["atrophy"]["factor"]))
        return body._replace(cord_a_mm=a * factor, cord_b_mm=b * factor)
    if spec.pathology == "compression":
        ranges = SET["compression"]
        deep = np.exp(-0.5 * ((body.s_mm - at) / rng.uniform(*ranges["width_mm"])) ** 2)
        pressed = np.maximum(b * (1 - rng.uniform(*ranges["depth"]) * deep), np.minimum(b, 1.25))
        return body._replace(cord_b_mm=pressed, cord_a_mm=a * (1 + 0.1 * deep))
    if spec.pathology == "stenosis":
        ranges = SET["stenosis"]
        deep = np.exp(-0.5 * ((body.s_mm - at) / rng.uniform(*ranges["width_mm"])) ** 2)
        narrow = b + rng.uniform(*ranges["gap_mm"])
        return body._replace(
            sac_b_mm=body.sac_b_mm + (np.minimum(narrow, body.sac_b_mm) - body.sac_b_mm) * deep,
            sac_v_mm=body.sac_v_mm * (1 - deep),
        )
    if spec.pathology in ("lesion", "syrinx"):
        is_syrinx = spec.pathology == "syrinx"
        where = np.zeros(2) if is_syrinx else rng.uniform(-0.6, 0.6, 2)
        size = rng.uniform([0.2, 0.2, 8], [0.6, 0.6, 30])
        return body._replace(lesions=np.array([[*where, at, *size, float(is_syrinx)]]))
    return body


def _contrast(rng: Generator, name: str) -> Contrast:
    if name != "free":
        return draw_contrast(rng, name)
    while (drawn := draw_contrast(rng)).name != "free":
        pass
    return drawn


def _render_grid(scan: Acquisition) -> FineGrid:
    native = np.asarray(scan.spacing_mm)
    fine = np.minimum(np.maximum(FINER * native, FINEST_MM), LONGEST_PART_MM)
    if scan.slice_axis >= 0:
        axis = scan.slice_axis
        fine[axis] = min(max(native[axis] / SLICE_PARTS, FINEST_MM), LONGEST_PART_MM)
    size = np.asarray(scan.end_mm) - scan.start_mm + 2 * native
    fine *= max(float(np.prod(size / fine)) / MOST_VOXELS, 1.0) ** (1 / 3)
    spacing: Spacing = (float(fine[0]), float(fine[1]), float(fine[2]))
    return fine_grid(scan, spacing)


def _whole_slices(cord: Cord, scan: Acquisition) -> int:
    axes = (native_axis(scan, 0), native_axis(scan, 1), native_axis(scan, 2))
    return sum(section.is_whole for section in truth.sections(cord, axes, scan.rotation))


def _rotation(angles: Floats) -> Floats:
    (cx, cy, cz), (sx, sy, sz) = np.cos(angles), np.sin(angles)
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return np.asarray(about_z @ about_y @ about_x)


def _shares(entries: dict[str, Any]) -> list[str]:
    return [name for name, entry in entries.items() for _ in range(entry["share"])]


def _deal(rng: Generator, cards: list[str], count: int) -> list[str]:
    """Whole shuffled decks, one after the other, so that every beginning holds its share of each card."""
    dealt: list[str] = []
    while len(dealt) < count:
        dealt += [cards[k] for k in rng.permutation(len(cards))]
    return dealt[:count]
