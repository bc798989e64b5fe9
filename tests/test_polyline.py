"""Lengths along a polyline and the nearest point on it."""

from __future__ import annotations

import numpy as np

from softseg_bids.core.polyline import arc_mm, project


def test_arc_of_a_staircase() -> None:
    points = np.array([[0, 0, 9], [0, 3, 5], [0, 3, 3], [2, 3, 3]])
    np.testing.assert_allclose(arc_mm(points), [0, 5, 7, 9])
    np.testing.assert_allclose(arc_mm(points[:1]), [0])


def test_project_on_a_corner() -> None:
    line = np.array([[0.0, 0, 10], [0, 0, 0], [10, 0, 0]])
    points = np.array([[3.0, 0, 8], [6, -4, 0], [0, 0, 12], [-3, 0, -4], [20, 0, 0]])
    position, distance = project(points, line)
    np.testing.assert_allclose(position, [2, 16, 0, 10, 20])
    np.testing.assert_allclose(distance, [3, 4, 2, 5, 10])


def test_project_agrees_with_a_dense_search() -> None:
    rng = np.random.default_rng(2)
    line = np.cumsum(rng.normal(size=(30, 3)), axis=0)
    line[7] = line[6]  # a doubled point
    points = rng.normal(scale=4, size=(25, 3))
    position, distance = project(points, line)
    arc = arc_mm(line)
    at = np.linspace(0, arc[-1], 20001)
    keep = np.r_[True, np.diff(arc) > 0]
    dense = np.column_stack([np.interp(at, arc[keep], line[keep, k]) for k in range(3)])
    apart = np.linalg.norm(points[:, None] - dense[None], axis=2)
    np.testing.assert_allclose(distance, apart.min(axis=1), atol=1e-3)
    np.testing.assert_allclose(position, at[apart.argmin(axis=1)], atol=0.2)
