"""Linear mixed models by restricted maximum likelihood, for ten people or ten thousand.

``y = X b + Z u + e``. Random terms may be nested (participants in sites) or crossed (travelling
volunteers), with slopes. The likelihood is that of Bates et al., J. Stat. Softw. 67(1), 2015: variances
relative to the residual's, the residual's profiled out, so a variance of zero is a value like any
other and not a failure to converge. statsmodels' MixedLM loops over groups in Python, has no crossed
terms at this speed and no degrees of freedom; it is the reference of the tests.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, sparse
from scipy.linalg import cho_factor, cho_solve, solve_triangular
from scipy.sparse.linalg import splu

from softseg_bids.stats.estimate import Interval

Floats = NDArray[np.float64]

# tan of the angle is the ratio of a random SD to the residual's: 1e4 at the upper end.
STEEPEST = np.arctan(1e4)
DENSE_BELOW = 300
NEGLIGIBLE_ANGLE = 1e-3
STEP = 1e-3


class Random(NamedTuple):
    """One random term: which group each row belongs to, and what varies between groups.

    Attributes
    ----------
    codes : ndarray of int, shape (n,)
        0 to number of groups - 1.
    columns : ndarray, shape (n, k), optional
        What is multiplied by the group's effects; by default an intercept.
    """

    codes: NDArray[np.intp]
    columns: Floats | None = None


class _Pieces(NamedTuple):
    """The likelihood's parts at one set of variance ratios, for an orthonormal design."""

    logdet: float
    inner: Floats  # Q' V^-1 Q
    coefficients: Floats
    rss: float
    solved: Floats  # P^-1 Lambda' Z' [Q y]


@dataclass(frozen=True)
class Fit:
    """A fitted model.

    Attributes
    ----------
    coefficients : ndarray, shape (p,)
    covariance : ndarray, shape (p, p)
        Of the coefficients, given the variances.
    residual_sd : float
    random_covariances : list of ndarray, shape (k, k)
        Of each random term; its variance for an intercept.
    effects : list of ndarray, shape (groups, k)
        Predicted effects (BLUP) of each term's groups.
    n, df_residual : int
    deviance : float
        -2 log restricted likelihood, up to a constant.
    """

    coefficients: Floats
    covariance: Floats
    residual_sd: float
    random_covariances: list[Floats]
    effects: list[Floats]
    n: int
    df_residual: int
    deviance: float
    _model: _Model
    _theta: Floats

    @property
    def random_sds(self) -> list[float]:
        """Standard deviation of each term's first column (its intercept)."""
        return [float(np.sqrt(matrix[0, 0])) for matrix in self.random_covariances]

    def degrees_of_freedom(self, weights: Floats) -> float:
        """Satterthwaite's degrees of freedom of a weighted sum of coefficients.

        Parameters
        ----------
        weights : ndarray, shape (p,)
        """
        return self._model.satterthwaite(self._theta, self.residual_sd, weights)

    def total_variance(self, chosen: Sequence[int] = ()) -> tuple[float, float]:
        """Sum of the residual's variance and those of some random intercepts, with its degrees of freedom.

        Parameters
        ----------
        chosen : sequence of int
            Which of the terms.
        """
        return self._model.total_variance(self._theta, self.residual_sd, chosen)

    def interval(self, weights: Floats) -> Interval:
        """A weighted sum of coefficients with its t interval (Satterthwaite)."""
        estimate = float(weights @ self.coefficients)
        error = float(np.sqrt(weights @ self.covariance @ weights))
        return Interval.t(estimate, error, self.degrees_of_freedom(weights))

    def robust(self, clusters: NDArray[np.intp]) -> Floats | None:
        """Covariance of the coefficients from leaving out one cluster after the other (CR3), (p, p).

        It holds whatever the variances within clusters are. Clusters must be independent of each
        other under the model. None where leaving one out would leave a coefficient without data.
        """
        return self._model.jackknife(self._theta, self.coefficients, clusters)


def fit(outcome: NDArray[np.floating], design: NDArray[np.floating], terms: Sequence[Random] = ()) -> Fit:
    """Fit by restricted maximum likelihood.

    Parameters
    ----------
    outcome : ndarray, shape (n,)
    design : ndarray, shape (n, p)
        Full column rank.
    terms : sequence of Random
        None is ordinary least squares.

    Raises
    ------
    ValueError
        If there are no more rows than columns, or columns depend on each other.
    """
    model = _Model(np.asarray(outcome, dtype=float), np.asarray(design, dtype=float), terms)
    return model.fitted(model.best())


class _Model:
    def __init__(self, outcome: Floats, design: Floats, terms: Sequence[Random]) -> None:
        self.n, self.p = design.shape
        if self.n <= self.p:
            raise ValueError(f"{self.n} rows cannot determine {self.p} coefficients")
        self.design, self.outcome = design, outcome
        self.q, self.r = np.linalg.qr(design)
        scale = np.abs(np.diag(self.r))
        if (scale < 1e-9 * np.linalg.norm(design, axis=0).clip(min=1e-300)).any():
            raise ValueError("columns of the design depend on each other")
        # What least squares leaves: small numbers, so that nothing is lost in the sums of squares.
        self.start = self.q.T @ outcome
        self.y = outcome - self.q @ self.start
        self.both = np.column_stack([self.q, self.y])
        self.sizes = [1 if term.columns is None else term.columns.shape[1] for term in terms]
        self.groups = [int(term.codes.max()) + 1 for term in terms]
        self.z = sparse.hstack([incidence(term) for term in terms]).tocsc() if terms else None
        self.blocks: Floats | None = None
        if self.z is not None:
            self.ztz = (self.z.T @ self.z).tocsc()
            self.ztb = np.asarray(self.z.T @ self.both)
            self.small = self.ztz.shape[0] <= DENSE_BELOW
            if len(terms) == 1:
                # Groups do not touch each other: one small matrix each.
                columns = np.ones((self.n, 1)) if terms[0].columns is None else terms[0].columns
                products = np.einsum("ni,nj->nij", columns, columns).reshape(self.n, -1)
                shape = (self.groups[0], self.sizes[0], self.sizes[0])
                self.blocks = _sums(products, terms[0].codes, self.groups[0]).reshape(shape)
            elif self.small:
                self.dense = self.ztz.toarray()
        self.btb = self.both.T @ self.both
        self.df = self.n - self.p
        # Degrees of freedom of many sums of coefficients (one a site) look at the same few points.
        self.pieces_at = lru_cache(maxsize=9)(lambda *theta: self.pieces(np.array(theta)))

    # Parameters: an angle for each intercept (its tangent is the ratio of SDs), the lower
    # triangle of the relative Cholesky factor for a term with slopes.

    def factors(self, theta: Floats) -> list[Floats]:
        found, at = [], 0
        for size in self.sizes:
            if size == 1:
                found.append(np.array([[np.tan(theta[at])]]))
                at += 1
                continue
            lower = np.zeros((size, size))
            count = size * (size + 1) // 2
            lower[np.tril_indices(size)] = theta[at : at + count]
            found.append(lower)
            at += count
        return found

    def bounds(self) -> list[tuple[float, float]]:
        found: list[tuple[float, float]] = []
        for size in self.sizes:
            if size == 1:
                found.append((0.0, float(STEEPEST)))
            else:
                rows, columns = np.tril_indices(size)
                found += [(0.0 if r == c else -1e3, 1e3) for r, c in zip(rows, columns, strict=True)]
        return found

    def pieces(self, theta: Floats) -> _Pieces:
        solved = np.zeros((0, self.p + 1))
        logdet, crossed = 0.0, self.btb
        if self.z is not None:
            inner, solved, logdet = self._absorbed(theta)
            crossed = self.btb - inner.T @ solved
        inner_x = crossed[:-1, :-1]
        coefficients = np.linalg.solve(inner_x, crossed[:-1, -1])
        rss = float(crossed[-1, -1] - crossed[-1, :-1] @ coefficients)
        logdet += float(np.linalg.slogdet(inner_x)[1])
        return _Pieces(logdet, inner_x, coefficients, max(rss, 1e-300), solved)

    def _absorbed(self, theta: Floats) -> tuple[Floats, Floats, float]:
        """Lambda' Z' [Q y], P^-1 of it, and log |P|, for P = Lambda' Z'Z Lambda + I."""
        if self.blocks is not None:
            lower = self.factors(theta)[0]
            right = lower.T @ self.ztb.reshape(*self.blocks.shape[:2], -1)
            matrix = lower.T @ self.blocks @ lower + np.eye(len(lower))
            solved = np.linalg.solve(matrix, right)
            logdet = float(np.linalg.slogdet(matrix)[1].sum())
            return right.reshape(self.ztb.shape), solved.reshape(self.ztb.shape), logdet
        if all(size == 1 for size in self.sizes):
            ratio = np.repeat(np.tan(theta), self.groups)
            inner = ratio[:, None] * self.ztb
            if self.small:
                scaled = ratio[:, None] * self.dense * ratio
            else:
                scaled = sparse.diags(ratio) @ self.ztz @ sparse.diags(ratio)
        else:
            lam = self.relative(theta)
            inner = np.asarray(lam.T @ self.ztb)
            scaled = lam.T @ self.ztz @ lam
        solved, logdet = _solve(scaled, inner)
        return inner, solved, logdet

    def relative(self, theta: Floats) -> sparse.csc_matrix:
        blocks = [
            sparse.kron(sparse.identity(groups), lower, format="csc")
            for groups, lower in zip(self.groups, self.factors(theta), strict=True)
        ]
        return sparse.csc_matrix(sparse.block_diag(blocks, format="csc"))

    def deviance(self, theta: NDArray[Any]) -> float:
        found = self.pieces(theta)
        return float(found.logdet + self.df * (1.0 + np.log(2 * np.pi * found.rss / self.df)))

    def best(self) -> Floats:
        bounds = self.bounds()
        if not bounds:
            return np.zeros(0)
        if len(bounds) == 1:
            return self._along(lambda angle: self.deviance(np.array([angle])))
        start = np.array([0.7 if low == 0.0 else 0.0 for low, _ in bounds])
        found: Any = optimize.minimize(self.deviance, start, method="L-BFGS-B", bounds=bounds)
        return np.asarray(found.x, dtype=float)

    def _along(self, function: Callable[[float], float]) -> Floats:
        """Minimum over one angle, its lower end included."""
        result = optimize.minimize_scalar(
            function, bounds=(0.0, STEEPEST), method="bounded", options={"xatol": 1e-7}
        )
        return np.array([0.0 if function(0.0) <= result.fun else result.x])

    def fitted(self, theta: Floats) -> Fit:
        found = self.pieces(theta)
        sigma2 = found.rss / self.df
        back = solve_triangular(self.r, np.eye(self.p))
        coefficients = back @ (self.start + found.coefficients)
        covariance = sigma2 * back @ np.linalg.inv(found.inner) @ back.T
        effects: list[Floats] = []
        covariances: list[Floats] = []
        if self.z is not None:
            spherical = found.solved[:, -1] - found.solved[:, :-1] @ found.coefficients
            everything = np.asarray(self.relative(theta) @ spherical)
            at = 0
            for groups, size, lower in zip(self.groups, self.sizes, self.factors(theta), strict=True):
                effects.append(everything[at : at + groups * size].reshape(groups, size))
                covariances.append(sigma2 * lower @ lower.T)
                at += groups * size
        return Fit(
            coefficients, covariance, float(np.sqrt(sigma2)), covariances, effects, self.n, self.df,
            self.deviance(theta), self, theta,
        )  # fmt: skip

    def satterthwaite(self, theta: Floats, residual_sd: float, weights: Floats) -> float:
        """Degrees of freedom of a weighted sum of coefficients."""
        rotated = solve_triangular(self.r, weights, trans="T")
        return self._behind(
            theta, residual_sd, lambda _, found: float(rotated @ np.linalg.solve(found.inner, rotated))
        )

    def total_variance(self, theta: Floats, residual_sd: float, chosen: Sequence[int]) -> tuple[float, float]:
        """Residual variance and those of the chosen terms' intercepts, summed; its degrees of freedom."""

        def relative(angles: Floats, _: _Pieces | None = None) -> float:
            factors = self.factors(angles)
            return 1.0 + sum(float(factors[n][0, 0]) ** 2 for n in chosen)

        return residual_sd**2 * relative(theta), self._behind(theta, residual_sd, relative)

    def _behind(
        self, theta: Floats, residual_sd: float, relative: Callable[[Floats, _Pieces], float]
    ) -> float:
        """Degrees of freedom 2 f² / (g' A g): f a variance, over the residual's as ``relative`` gives it,
        g its gradient with respect to (free ratios, log residual SD), A their covariance (Kuznetsova et
        al., J. Stat. Softw. 82(13))."""
        free = [n for n, (low, _) in enumerate(self.bounds()) if low < 0 or theta[n] > NEGLIGIBLE_ANGLE]
        if not free:
            return float(self.df)
        variance = residual_sd**2

        def at(*moves: tuple[int, float]) -> tuple[float, float, float]:
            moved = theta.copy()
            for index, step in moves:
                moved[index] += step
            found = self.pieces_at(*moved)
            spread = relative(moved, found)
            return found.logdet + found.rss / variance, found.rss / variance, variance * spread

        middle = at()
        m = len(free)
        hessian, gradient = np.zeros((m + 1, m + 1)), np.zeros(m + 1)
        for a, i in enumerate(free):
            step = min(STEP, 0.5 * abs(theta[i])) if theta[i] else STEP
            plus, minus = at((i, step)), at((i, -step))
            hessian[a, a] = (plus[0] - 2 * middle[0] + minus[0]) / step**2
            hessian[a, m] = hessian[m, a] = -2.0 * (plus[1] - minus[1]) / (2 * step)
            gradient[a] = (plus[2] - minus[2]) / (2 * step)
            for b, j in enumerate(free[:a]):
                corner = [at((i, s * STEP), (j, t * STEP))[0] for s in (1, -1) for t in (1, -1)]
                hessian[a, b] = hessian[b, a] = (corner[0] - corner[1] - corner[2] + corner[3]) / (
                    4 * STEP**2
                )
        hessian[m, m] = 4.0 * middle[1]
        gradient[m] = 2.0 * middle[2]
        spread = float(gradient @ np.linalg.pinv(0.5 * hessian, hermitian=True) @ gradient)
        if spread <= 0:
            return float(self.df)
        return float(np.clip(2.0 * middle[2] ** 2 / spread, 1.0, self.df))

    def jackknife(self, theta: Floats, coefficients: Floats, clusters: NDArray[np.intp]) -> Floats | None:
        whitened = self.design
        if self.z is not None:
            back = np.asarray(self.z @ (self.relative(theta) @ self.pieces(theta).solved[:, :-1]))
            whitened = self.design - back @ self.r
        count = int(clusters.max()) + 1
        outer = np.einsum("ni,nj->nij", self.design, whitened).reshape(self.n, -1)
        each = _sums(outer, clusters, count).reshape(count, self.p, self.p)
        score = _sums(whitened * (self.outcome - self.design @ coefficients)[:, None], clusters, count)
        left = each.sum(axis=0) - each
        if (np.linalg.cond(left) > 1e12).any():
            return None
        change = np.linalg.solve(left, score[:, :, None])[:, :, 0]
        change -= change.mean(axis=0)
        return np.asarray((count - 1) / count * change.T @ change)


def incidence(term: Random) -> sparse.csc_matrix:
    """The matrix Z of one term: rows by groups times columns."""
    n = len(term.codes)
    columns = np.ones((n, 1)) if term.columns is None else term.columns
    k = columns.shape[1]
    rows = np.repeat(np.arange(n), k)
    at = (term.codes[:, None] * k + np.arange(k)).ravel()
    return sparse.csc_matrix((columns.ravel(), (rows, at)), shape=(n, (int(term.codes.max()) + 1) * k))


def _solve(scaled: Any, right: Floats) -> tuple[Floats, float]:
    """Solution of (matrix + I) x = right and its log-determinant; the matrix dense or sparse, symmetric."""
    size = scaled.shape[0]
    if size <= DENSE_BELOW:
        matrix = scaled if isinstance(scaled, np.ndarray) else scaled.toarray()
        factor = cho_factor(matrix + np.eye(size), lower=True)
        return cho_solve(factor, right), 2.0 * float(np.log(np.diag(factor[0])).sum())
    options: dict[str, Any] = {"SymmetricMode": True}
    whole = (scaled + sparse.identity(size)).tocsc()
    lu = splu(whole, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options=options)
    return lu.solve(right), float(np.log(np.abs(lu.U.diagonal())).sum())


def _sums(values: Floats, clusters: NDArray[np.intp], count: int) -> Floats:
    return np.column_stack([np.bincount(clusters, column, minlength=count) for column in values.T])
