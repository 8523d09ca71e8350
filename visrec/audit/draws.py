"""Draws: random counts, as a bootstrap or a redraw needs them, thousands of times the same table.

Counts that vary little come from NumPy's exact generators. Where the variance of a count reaches `SMOOTH` it is a
normal number put through the Cornish-Fisher expansion (Cornish, Fisher 1938; up to the fourth cumulant, with Sheppard's
corrections for rounding) and rounded: within 2e-5 of the exact distribution in total variation, so that of 2,000 draws
of a count not one is likely to be another, in a fraction of the time. Tests compute that distance against SciPy's
distributions. Tables are drawn by halving: how many rows fall into each half of the squares, then into each half's
halves; where most counts vary little NumPy's own tables are as quick, and taken.
"""

import functools
from collections.abc import Callable
from typing import Protocol

import numpy as np

SMOOTH = 100.0
"""Variance of a count from which on it is drawn from the expansion."""
ROWS = 16
"""Rows of draws that are computed at a time: what a core's cache holds."""
KEPT, KEPT_NUMBERS = 256, 16 * 2_000
"""Blocks of normal numbers that are remembered, and the most numbers in one: 66 MB in all."""
MOSTLY = 0.25
"""Share of a table's counts that must reach `SMOOTH` for halving to pay."""


class Seeded(np.random.Generator):
    """A generator that remembers its normal numbers: whoever moves a slider asks for the same ones at every change.

    >>> first, again = Seeded(0, 7), Seeded(0, 7)
    >>> bool((first.normals((2, 3)) == again.normals((2, 3))).all())
    True
    """

    def __init__(self, *seeds: int) -> None:
        super().__init__(np.random.PCG64(seeds))
        self._seeds, self._blocks = seeds, 0

    def normals(self, shape: tuple[int, int]) -> np.ndarray:
        """The next block of standard normal numbers, to be read only; what else was drawn plays no part in it."""
        self._blocks += 1
        draw = _kept_normals if shape[0] * shape[1] <= KEPT_NUMBERS else _normals
        return draw((*self._seeds, self._blocks), shape)


def _normals(seeds: tuple[int, ...], shape: tuple[int, int]) -> np.ndarray:
    drawn = np.random.default_rng(seeds).standard_normal(shape)
    drawn.flags.writeable = False
    return drawn


_kept_normals = functools.lru_cache(KEPT)(_normals)


def binomial(n, p, replicates: int, rng: np.random.Generator) -> np.ndarray:
    """Successes among ``n`` trials, row by row.

    Parameters
    ----------
    n : int, shape (rows,)
    p : float, shape (rows,) or one number, in 0..1

    Returns
    -------
    int64, shape (rows, replicates)
    """
    n = np.asarray(n, dtype=np.int64)
    out = np.zeros((len(n), replicates), dtype=np.int64)
    if out.size:
        _draw(_Binomial(np.broadcast_to(p, n.shape)), n[:, None], out, rng)
    return out


def multinomial(total, share, replicates: int, rng: np.random.Generator) -> np.ndarray:
    """How ``total`` rows of each table fall into its squares.

    Parameters
    ----------
    total : int, shape (tables,)
    share : float, shape (tables, squares), each table's sum to 1

    Returns
    -------
    int64, shape (replicates, tables, squares), to be read only: in memory the replicates may stand side by side
    """
    total, share = np.asarray(total, dtype=np.int64), np.asarray(share, dtype=np.float64)
    if not _pays(total[:, None] * share * (1 - share), replicates):
        return rng.multinomial(total, share, size=(replicates, len(total)))

    def law(first: np.ndarray, both: np.ndarray) -> _Binomial:
        return _Binomial(np.divide(first, both, out=np.zeros_like(both), where=both != 0))

    return _halved(total, share, law, replicates, rng)


def dealt(places, many: int, replicates: int, rng: np.random.Generator) -> np.ndarray:
    """How many of ``many`` rows, taken from all places without putting back, come from each.

    Parameters
    ----------
    places : int, shape (cells,), rows at each place, fewer than 1e9 in all (NumPy's limit)

    Returns
    -------
    int64, shape (replicates, cells), to be read only: in memory the replicates may stand side by side
    """
    places = np.asarray(places, dtype=np.int64)
    law = _Hypergeometric(places, np.broadcast_to(places.sum(), places.shape))
    if not _pays(law.variance(np.array([[float(many)]]), slice(None)), replicates):
        return rng.multivariate_hypergeometric(places, many, size=replicates, method="marginals")
    return _halved(np.array([many]), places[None], _Hypergeometric, replicates, rng)[:, 0]


def _pays(variance: np.ndarray, replicates: int) -> bool:
    """Whether a table of counts that vary so is drawn by halving; the same table is always drawn alike."""
    return bool(replicates and variance.size and np.mean(variance >= SMOOTH) >= MOSTLY)


def _halved(total, weight: np.ndarray, law: Callable, replicates: int, rng: np.random.Generator) -> np.ndarray:
    """Counts (replicates, tables, squares) out of the counts of halves, of quarters, and so on.

    ``law(first, both)`` is that of the first halves' counts, of nodes whose halves have these weights.
    """
    tables, squares = weight.shape
    depth = (squares - 1).bit_length()
    padded = np.zeros((tables, 1 << depth), dtype=weight.dtype)
    padded[:, :squares] = weight
    node = total[:, None]
    for level in range(depth):
        halves = padded.reshape(tables << level, 2, -1).sum(axis=-1)
        split = np.empty((len(halves), 2, replicates), dtype=np.int64)
        _draw(law(halves[:, 0], halves.sum(axis=-1)), node, split[:, 0], rng)
        np.subtract(node, split[:, 0], out=split[:, 1])
        node = split.reshape(-1, replicates)
    counts = np.broadcast_to(node, (len(node), replicates)).reshape(tables, 1 << depth, replicates)
    return np.moveaxis(counts[:, :squares], -1, 0)


class _Law(Protocol):
    """How a count is distributed, row by row; ``rows`` chooses some of them. ``p`` is the share of successes."""

    p: np.ndarray

    def variance(self, n: np.ndarray, rows) -> np.ndarray: ...

    def third(self, n: np.ndarray, rows) -> np.ndarray:
        """Third cumulant, as a share of the variance."""

    def fourth(self, n: np.ndarray, rows) -> np.ndarray:
        """Fourth cumulant, as a share of the variance."""

    def exactly(self, n: np.ndarray, rows, replicates: int, rng: np.random.Generator) -> np.ndarray: ...


class _Binomial:
    def __init__(self, p: np.ndarray) -> None:
        self.p = np.asarray(p, dtype=np.float64)[:, None]

    def variance(self, n, rows) -> np.ndarray:
        return n * (self.p[rows] * (1 - self.p[rows]))

    def third(self, n, rows) -> np.ndarray:
        return 1 - 2 * self.p[rows]

    def fourth(self, n, rows) -> np.ndarray:
        return 1 - 6 * self.p[rows] * (1 - self.p[rows])

    def exactly(self, n, rows, replicates: int, rng: np.random.Generator) -> np.ndarray:
        return rng.binomial(n, self.p[rows], size=(len(n), replicates))


class _Hypergeometric:
    """Of ``total`` rows, ``hits`` of them hits, some are taken without putting back."""

    def __init__(self, hits: np.ndarray, total: np.ndarray) -> None:
        self.hits, self.total = hits[:, None], total[:, None]
        self.p = self.hits / np.maximum(self.total, 1)

    def variance(self, n, rows) -> np.ndarray:
        k = self.total[rows].astype(np.float64)
        return n * (k - n) * (self.p[rows] * (1 - self.p[rows]) / np.maximum(k - 1, 1))

    def third(self, n, rows) -> np.ndarray:
        k, hits = self.total[rows].astype(np.float64), self.hits[rows]
        return (k - 2 * n) * ((k - 2 * hits) / (k * (k - 2)))

    def fourth(self, n, rows) -> np.ndarray:
        k, hits = self.total[rows].astype(np.float64), self.hits[rows].astype(np.float64)
        misses, left = k - hits, k - n
        top = (k - 1) * k**2 * (k * (k + 1) - 6 * hits * misses - 6 * n * left)
        top += 6 * n * hits * misses * left * (5 * k - 6)
        return top / (k**2 * (k - 1) * (k - 2) * (k - 3))

    def exactly(self, n, rows, replicates: int, rng: np.random.Generator) -> np.ndarray:
        hits, total = self.hits[rows], self.total[rows]
        return rng.hypergeometric(hits, total - hits, n, size=(len(n), replicates))


def _draw(law: _Law, n: np.ndarray, out: np.ndarray, rng: np.random.Generator) -> None:
    """Fill ``out`` (rows, replicates) with draws; ``n`` (rows, 1 or replicates). All of a row is drawn in one way."""
    every = slice(None)
    least = np.minimum(*(law.variance(end(axis=1, keepdims=True), every) for end in (n.min, n.max))).ravel()
    sure = ((law.p == 0) | (law.p == 1)).ravel()
    out[sure] = n[sure] * law.p[sure]
    rest = np.flatnonzero(~(least >= SMOOTH) & ~sure)
    if len(rest):
        out[rest] = law.exactly(n[rest], rest, out.shape[1], rng)
    smooth = np.flatnonzero((least >= SMOOTH) & ~sure)
    for start in range(0, len(smooth), ROWS):
        rows = smooth[start : start + ROWS]
        out[rows] = _expanded(law, n[rows].astype(np.float64), rows, out.shape[1], rng)


def _expanded(law: _Law, n: np.ndarray, rows: np.ndarray, replicates: int, rng: np.random.Generator) -> np.ndarray:
    """Whole numbers, float64 (rows, replicates): a cubic in a normal number.

    Mean, variance and lean are each replicate's; what is small beside them is that of the mean ``n``. No count comes
    out that cannot be (below 0, above n, more hits or misses than there are): those are ten standard deviations away.
    """
    typical = n.mean(axis=1, keepdims=True)
    variance = law.variance(typical, rows)
    rounded = variance - 1 / 12  # rounding adds a twelfth
    scale, share = np.sqrt(rounded), variance / rounded / 6
    bend = law.third(n, rows) * share
    bent = (law.third(typical, rows) * share) ** 2 / scale
    tail = (law.fourth(typical, rows) * variance + 1 / 120) / (24 * scale**3)
    z = (rng.normals if isinstance(rng, Seeded) else rng.standard_normal)((len(n), replicates))
    drawn = z * (tail - 2 * bent)
    drawn += bend
    drawn *= z
    drawn += np.sqrt(law.variance(n, rows) - 1 / 12) + (5 * bent - 3 * tail)
    drawn *= z
    drawn += n * law.p[rows] - bend
    return np.rint(drawn, out=drawn)
