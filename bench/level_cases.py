"""The synthetic images on which found levels are judged, each with the true places of what it shows."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.random import Generator

from softseg_bids.image.grid import Floats, Grid
from softseg_bids.image.volume import Volume
from softseg_bids.synthesis.anatomy import render
from softseg_bids.synthesis.body import Body, draw_body
from softseg_bids.synthesis.contrast import draw_contrast, paint
from softseg_bids.synthesis.scanner import (
    Acquisition,
    acquire,
    displaced_points,
    draw_acquisition,
    fine_grid,
    native_axis,
)
from softseg_bids.synthesis.vertebrae import spine_of
from softseg_bids.training.levels_data import marks_mm

# Of this set; figures of two versions are not compared.
VERSION = 4
# Seeds of three numbers: training draws from lists of two and can meet none of them.
SEED, IMAGES = 7_400_001, 200
CONTRASTS = ("T2w", "T1w", "T2w", "PDw", "STIR", "T1w", "T2starw")
# Field of view: where it begins (mm below the top of C1), and how long it is.
VIEWS = {
    "neck": ((-25.0, 5.0), (140.0, 210.0)),
    "head and neck": ((-80.0, -55.0), (180.0, 250.0)),
    "whole spine": ((-30.0, 0.0), (520.0, 600.0)),
    "lumbar": ((330.0, 380.0), (250.0, 300.0)),
}
ORDER = ("neck", "head and neck", "neck", "lumbar", "whole spine")
FINE_MM = (1.5, 1.0, 1.2)
ASIDE_MM, BEHIND_MM, BEFORE_MM = 26.0, 55.0, 62.0
# A disc this near the border of the field of view need not be found.
BORDER_MM = 4.0
# Levels lie along a cord: so much of it is in view, as it is in any lumbar scan of a clinic.
LEAST_CORD_MM = 30.0
# Labels that are no discs of the count: the joint of C1 and C2, the pontomedullary junction, the conus.
LANDMARKS = (2, 50, 60)
# A third of the spines have heights that neither training nor the labelling expects; by so much each.
REGIONS, REGION_SPREAD, LEVEL_SPREAD = (7, 19, 26), 0.10, 0.08
# What is right: as the labels themselves define their confidence, but asked here on its own account.
WITHIN_MM, CONUS_WITHIN_MM = 3.0, 10.0


class Case(NamedTuple):
    """An image with the true places of its visible discs and landmarks (scanner mm) and its body.

    ``places_mm`` holds those of all discs and landmarks, in view or not.
    """

    view: str
    volume: Volume
    tips_mm: dict[int, Floats]
    landmarks_mm: dict[int, Floats]
    places_mm: dict[int, Floats]
    body: Body


def make(number: int) -> Case:
    """Draw, render and scan one image; the same every time."""
    rng = np.random.default_rng([SEED, 1, number])
    view = ORDER[number % len(ORDER)]
    top, length = (float(rng.uniform(*ends)) for ends in VIEWS[view])
    while True:
        body = draw_body(rng, s_centre_mm=top + 0.5 * length, wide=True)
        inside = np.abs(body.z_mm) <= 0.5 * length
        drift = np.ptp(body.centre_mm[inside], axis=0)
        usual = body.has_cord and body.has_bodies and body.has_skull and body.conus_mm > top + LEAST_CORD_MM
        if usual and drift[0] < 30 and drift[1] < 90:
            break
    if number % 3 == 2:
        body = with_other_heights(body, np.random.default_rng([SEED, 2, number]))
    low, high = body.centre_mm[inside].min(axis=0), body.centre_mm[inside].max(axis=0)
    start = np.array([low[0] - ASIDE_MM, low[1] - BEHIND_MM, -0.5 * length])
    end = np.array([high[0] + ASIDE_MM, high[1] + BEFORE_MM, 0.5 * length])
    plan = draw_acquisition(rng, start, end)
    fine = float(rng.uniform(0.8, 1.1))
    sagittal = rng.random() < 0.6
    plan = plan._replace(
        spacing_mm=(float(rng.uniform(2.0, 4.0)), fine, fine) if sagittal else (fine, fine, fine),
        slice_axis=0 if sagittal else -1, start_mm=start, end_mm=end, motion_mm=0.0, distortion_mm=0.0,
        noise=float(rng.uniform(0.005, 0.04)), ghost=0.0,
    )  # fmt: skip
    grid = fine_grid(plan, FINE_MM)
    contrast = draw_contrast(rng, CONTRASTS[number % len(CONTRASTS)], 0.5)
    scene = render(body, displaced_points(plan, grid, torch.device("cpu")), FINE_MM)
    image = acquire(plan, paint(scene, contrast, FINE_MM), grid).numpy()
    volume = Volume(np.asarray(image, dtype=np.float32), _grid_of(plan, image.shape))
    return Case(view, volume, *visible(body, volume.grid), marks_mm(body), body)


def with_other_heights(body: Body, rng: Generator) -> Body:
    """The same person with vertebrae of other heights; the cord stays as it is."""
    heights = np.diff(body.discs_mm)
    region = np.searchsorted(REGIONS, np.arange(len(heights)), side="right")
    factors = rng.uniform(1 - REGION_SPREAD, 1 + REGION_SPREAD, len(REGIONS) + 1)[region]
    factors = factors * rng.uniform(1 - LEVEL_SPREAD, 1 + LEVEL_SPREAD, len(heights))
    return body._replace(discs_mm=body.discs_mm[0] + np.concatenate([[0.0], np.cumsum(heights * factors)]))


def visible(body: Body, grid: Grid) -> tuple[dict[int, Floats], dict[int, Floats]]:
    """Posterior tips of the discs C2-C3 to L5-S1, and the landmarks, that a field of view shows."""
    shown = spine_of(body).disc_half_mm > 0
    there = {2: body.has_bodies, 50: body.has_head, 60: body.has_cord}
    places = {value: place for value, place in marks_mm(body).items() if _is_inside(place, grid)}
    discs = {value: place for value, place in places.items() if 3 <= value <= 25 and shown[value - 1]}
    return discs, {value: places[value] for value in LANDMARKS if value in places and there[value]}


def _is_inside(place: Floats, grid: Grid) -> bool:
    at_mm = grid.to_index(place) * grid.spacing_mm
    last = (np.asarray(grid.shape) - 1) * grid.spacing_mm
    return bool((at_mm > BORDER_MM).all() and (at_mm < last - BORDER_MM).all())


def true_line(case: Case) -> Floats:
    """The body's own centreline within the image, from the top of the cord down."""
    body = case.body
    points = np.column_stack([body.centre_mm, body.z_mm])
    index = case.volume.grid.to_index(points)
    inside = ((index >= 0) & (index <= np.asarray(case.volume.grid.shape) - 1)).all(axis=1)
    inside &= (body.s_of_z > 0) & (body.s_of_z < body.conus_mm)
    return np.asarray(points[inside][::-1])


def _grid_of(plan: Acquisition, shape: tuple[int, ...]) -> Grid:
    affine = np.eye(4)
    affine[:3, :3] = plan.rotation * np.asarray(plan.spacing_mm)
    affine[:3, 3] = plan.rotation @ np.array([native_axis(plan, axis)[0] for axis in range(3)])
    return Grid((shape[0], shape[1], shape[2]), affine)
