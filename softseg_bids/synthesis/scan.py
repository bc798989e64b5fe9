"""Scan a given body by a given protocol: images and where they lie.

Three frames: the *body's*; the *scanner's*, into which a :class:`Pose` puts the body; and the
*image's*, whose axes are the voxels' and whose origin is the body's.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from softseg_bids.synthesis.anatomy import Scene, render
from softseg_bids.synthesis.body import Body, Floats
from softseg_bids.synthesis.contrast import SEQUENCES, draw_contrast, paint
from softseg_bids.synthesis.scanner import (
    Acquisition,
    FineGrid,
    Spacing,
    acquire,
    displaced_points,
    fine_grid,
    native_axis,
)

# Texture within tissues, relative to the strongest that training draws.
TEXTURE = 0.4


class Pose(NamedTuple):
    """How a body lies in the scanner: ``scanner = rotation @ body + shift_mm``."""

    rotation: Floats
    shift_mm: Floats


class Sequence(NamedTuple):
    """What one image of a stack is.

    Attributes
    ----------
    contrast : str
        An entry of :data:`~softseg_bids.synthesis.contrast.SEQUENCES`.
    spacing_mm : tuple of float
        Voxel size (RL, AP, SI).
    slice_axis : int
        Axis of a slice profile, -1 for a three-dimensional sequence.
    noise : float
        Standard deviation, in units of the brightest tissue.
    """

    contrast: str
    spacing_mm: Spacing
    slice_axis: int = -1
    noise: float = 0.03


class Stack(NamedTuple):
    """Images of one prescription: one field of view, and what it shows rendered only once.

    Attributes
    ----------
    sequences : tuple of Sequence
    field_mm : tuple of float
        Field of view (RL, AP, SI).
    fine_mm : tuple of float
        The grid the body is rendered on: at most as coarse as the finest of the sequences.
    is_aligned : bool
        Whether slices are turned about the RL axis to cut the cord straight.
    distortion_mm : float
        Amplitude of smooth displacements along AP.
    shading : float
        Amplitude of the smooth logarithm of the coils' sensitivity.
    """

    sequences: tuple[Sequence, ...]
    field_mm: tuple[float, float, float]
    fine_mm: Spacing
    is_aligned: bool = False
    distortion_mm: float = 0.0
    shading: float = 0.1


class Image(NamedTuple):
    """A scanned image.

    Attributes
    ----------
    contrast : str
    array : ndarray of float32
        x right, y front, z up; about 0 to 1.3.
    affine : ndarray, shape (4, 4)
        Voxel indices to scanner mm.
    seen_mm : tuple of float
        The stretch of cord between its lowest and highest face, as positions s.
    """

    contrast: str
    array: NDArray[np.float32]
    affine: Floats
    seen_mm: tuple[float, float]


def draw_pose(rng: Generator) -> Pose:
    """How a person happens to lie: turned by some degrees, millimetres off the isocentre."""
    rotation = Rotation.from_euler("xyz", rng.normal(0, 2.0, 3), degrees=True).as_matrix()
    return Pose(rotation, rng.normal(0, [2.0, 4.0, 8.0]))


def scan(body: Body, pose: Pose, stack: Stack, centre_mm: Floats, seed: int) -> list[Image]:
    """Scan a body; the same arguments give the same images.

    Parameters
    ----------
    body : Body
    pose : Pose
    stack : Stack
    centre_mm : ndarray, shape (3,)
        Middle of the field of view, from the body's origin along the image's axes.
    seed : int
        Of noise, shading, texture and distortion.

    Returns
    -------
    list of Image
        One a sequence, in their order.
    """
    turn = _slice_turn(body, pose) if stack.is_aligned else np.eye(3)
    box = centre_mm - 0.5 * np.asarray(stack.field_mm), centre_mm + 0.5 * np.asarray(stack.field_mm)
    rotation = pose.rotation.T @ turn
    plans = [_plan(each, stack, box, rotation, seed + n) for n, each in enumerate(stack.sequences)]
    # Margins grow with the voxels: the largest grid covers what each sequence reaches.
    grid = max((fine_grid(plan, stack.fine_mm) for plan in plans), key=lambda grid: np.prod(grid.shape))
    scene = render(body, displaced_points(plans[0], grid, torch.device("cpu")), stack.fine_mm)
    seen = _seen_mm(body, plans[0])
    return [
        Image(each.contrast, _scan_one(scene, grid, plan, each.contrast), _affine(pose, turn, plan), seen)
        for each, plan in zip(stack.sequences, plans, strict=True)
    ]


def _plan(
    sequence: Sequence, stack: Stack, box: tuple[Floats, Floats], rotation: Floats, seed: int
) -> Acquisition:
    return Acquisition(
        spacing_mm=sequence.spacing_mm, slice_axis=sequence.slice_axis, thickness=1.0, blur=(1.0, 1.0, 1.0),
        window=0.5, start_mm=box[0], end_mm=box[1], rotation=rotation,
        noise=sequence.noise, noise_smooth=0.0, bias=stack.shading, bias_slope=np.zeros(3), gamma=1.0,
        ghost=0.0, ghost_shift=0, ghost_axis=0, distortion_mm=stack.distortion_mm, motion_mm=0.0,
        sharpen=0.0, seed=seed,
    )  # fmt: skip


def _scan_one(scene: Scene, grid: FineGrid, plan: Acquisition, contrast: str) -> NDArray[np.float32]:
    drawn = draw_contrast(np.random.default_rng(plan.seed), contrast, TEXTURE)
    painted = paint(scene, drawn._replace(signal=np.array(SEQUENCES[contrast])), grid.spacing_mm)
    return np.asarray(acquire(plan, painted, grid).numpy(), dtype=np.float32)


def _affine(pose: Pose, turn: Floats, plan: Acquisition) -> Floats:
    first = np.array([native_axis(plan, axis)[0] for axis in range(3)])
    affine = np.eye(4)
    affine[:3, :3] = turn * np.asarray(plan.spacing_mm)
    affine[:3, 3] = turn @ first + pose.shift_mm
    return affine


def _seen_mm(body: Body, plan: Acquisition) -> tuple[float, float]:
    z_mm = np.linspace(body.z_mm[0], body.z_mm[-1], 20001)
    points = np.stack([*(np.interp(z_mm, body.z_mm, column) for column in body.centre_mm.T), z_mm], axis=1)
    up = points @ plan.rotation[:, 2]
    inside = (up >= plan.start_mm[2]) & (up <= plan.end_mm[2])
    s_mm = np.interp(z_mm[inside], body.z_mm, body.s_of_z)
    return float(s_mm.min()), float(s_mm.max())


def _slice_turn(body: Body, pose: Pose) -> Floats:
    """Image axes in the scanner that bring slices across the cord's mean direction, seen from the side."""
    middle = np.abs(body.z_mm) < 35.0
    along = pose.rotation @ body.tangent[middle].mean(axis=0)
    return np.asarray(Rotation.from_euler("x", -np.arctan2(along[1], along[2])).as_matrix())
