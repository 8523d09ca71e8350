"""How sure we can be: intervals for shares, and what many comparisons cost.

An *interval* is the range of true values that the counts do not contradict at the 95 % level. One cell alone:
Wilson. All cells of a table at once: Clopper-Pearson at the Šidák level, exact and therefore wide. Many tests at
once: Holm. A share of nothing has the interval NaN..NaN.
"""

import numpy as np
from scipy import special

LEVEL = 0.95
BLOCK = 1 << 20
"""Probabilities worked on at once in Fisher's test."""


def wilson(x, n, level: float = LEVEL) -> tuple[np.ndarray, np.ndarray]:
    """Wilson's score interval for a share.

    Parameters
    ----------
    x, n : int arrays of one shape, 0 <= x <= n
    level : confidence of each interval alone

    Returns
    -------
    low, high : float64 arrays in 0..1, NaN where n is 0

    References
    ----------
    Wilson (1927), JASA 22, 209-212. Keeps its level on average, not for every single true share.

    Examples
    --------
    >>> low, high = wilson([9], [10])
    >>> f"{low[0]:.4f} {high[0]:.4f}"
    '0.5958 0.9821'
    """
    x, n = np.asarray(x, dtype=float), np.asarray(n, dtype=float)
    z = special.ndtri((1 + level) / 2)
    known = n > 0
    size = np.where(known, n, 1.0)
    share = x / size
    centre = (share + z**2 / (2 * size)) / (1 + z**2 / size)
    half = z / (1 + z**2 / size) * np.sqrt(share * (1 - share) / size + z**2 / (4 * size**2))
    # a share of 0 or 1 ends there exactly; rounding must not push the end past it
    low, high = np.where(x == 0, 0.0, centre - half), np.where(x == n, 1.0, centre + half)
    return np.where(known, low, np.nan), np.where(known, high, np.nan)


def clopper_pearson(x, n, level: float = LEVEL) -> tuple[np.ndarray, np.ndarray]:
    """Clopper and Pearson's exact interval for a share; at least ``level`` whatever the true share.

    >>> low, high = clopper_pearson([9], [10])
    >>> f"{low[0]:.4f} {high[0]:.4f}"
    '0.5550 0.9975'

    References
    ----------
    Clopper, Pearson (1934), Biometrika 26, 404-413.
    """
    x, n = np.asarray(x, dtype=float), np.asarray(n, dtype=float)
    tail = (1 - level) / 2
    known = n > 0
    with np.errstate(invalid="ignore"):
        low = np.where(x > 0, special.betaincinv(np.maximum(x, 1e-300), n - x + 1, tail), 0.0)
        high = np.where(x < n, special.betaincinv(x + 1, np.maximum(n - x, 1e-300), 1 - tail), 1.0)
    return np.where(known, low, np.nan), np.where(known, high, np.nan)


def sidak_level(count: int, level: float = LEVEL) -> float:
    """Confidence each of ``count`` independent intervals needs so that all hold together at ``level``.

    >>> round(sidak_level(7), 5)
    0.9927
    """
    return level ** (1 / max(count, 1))


def simultaneous(x, n, level: float = LEVEL) -> tuple[np.ndarray, np.ndarray]:
    """Intervals that hold for all known cells of a table at once: Clopper-Pearson at the Šidák level."""
    return clopper_pearson(x, n, sidak_level(int((np.asarray(n) > 0).sum()), level))


def holm(p) -> np.ndarray:
    """Holm's adjusted p values; NaN is no test, and takes no part.

    >>> holm([0.01, 0.04, float("nan"), 0.03]).round(2).tolist()
    [0.03, 0.06, nan, 0.06]

    References
    ----------
    Holm (1979), Scandinavian Journal of Statistics 6, 65-70. Keeps the chance of *any* false claim, whatever the
    tests' dependence.
    """
    p = np.asarray(p, dtype=float)
    tested = np.flatnonzero(~np.isnan(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    steps = p[order] * np.arange(len(order), 0, -1)
    adjusted = np.full(p.shape, np.nan)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted


def score_test(x1, n1, x2, n2) -> np.ndarray:
    """Two-sided p of equal shares by the pooled-variance score test; NaN without rows, 1 without variation."""
    return 2 * special.ndtr(-np.abs(score_statistic(x1, n1, x2, n2)))


def score_statistic(x1, n1, x2, n2) -> np.ndarray:
    """Difference of two shares in standard errors, their variance pooled over the two; 0 where nothing varies."""
    x1, n1, x2, n2 = (np.asarray(a, dtype=float) for a in (x1, n1, x2, n2))
    with np.errstate(invalid="ignore", divide="ignore"):
        pooled = (x1 + x2) / (n1 + n2)
        variance = pooled * (1 - pooled) * (1 / n1 + 1 / n2)
        z = (x1 / n1 - x2 / n2) / np.sqrt(variance)
    z = np.where(variance == 0, 0.0, z)
    return np.where((n1 > 0) & (n2 > 0), z, np.nan)


def pair_p_values(x1, n1, x2, n2) -> tuple[np.ndarray, np.ndarray]:
    """p of equal shares, pair by pair: score test, or Fisher's exact test where an expected count is below 5.

    Returns
    -------
    p : float64
    exact : bool, where Fisher's test was used
    """
    x1, n1, x2, n2 = np.broadcast_arrays(*(np.asarray(a, dtype=float) for a in (x1, n1, x2, n2)))
    total = n1 + n2
    pooled = np.divide(x1 + x2, total, out=np.zeros(total.shape), where=total > 0)
    least = np.minimum(n1, n2) * np.minimum(pooled, 1 - pooled)
    known = (n1 > 0) & (n2 > 0)
    exact = known & (least < 5)
    p = score_test(x1, n1, x2, n2)
    if exact.any():
        p = p.copy()
        p[exact] = fisher(x1[exact], n1[exact], x2[exact], n2[exact])
    return p, exact


def fisher(x1, n1, x2, n2) -> np.ndarray:
    """Fisher's two-sided exact p: the probability of all tables no likelier than the one seen, margins fixed.

    Parameters
    ----------
    x1, n1, x2, n2 : arrays (pairs,), x of n in each of the two cells

    Notes
    -----
    Works on one row of hypergeometric probabilities per pair, over how many of the rarer answers the smaller cell may
    hold. Where an expected count is below 5, that is at most the root of five times the rows of both.
    """
    x1, n1, x2, n2 = (np.asarray(a, dtype=np.int64) for a in (x1, n1, x2, n2))
    swap = n1 > n2
    x1, n1, x2, n2 = (np.where(swap, b, a) for a, b in ((x1, x2), (n1, n2), (x2, x1), (n2, n1)))
    flip = 2 * (x1 + x2) > n1 + n2
    x1, x2 = np.where(flip, n1 - x1, x1), np.where(flip, n2 - x2, x2)
    hits = x1 + x2
    result = np.empty(len(x1))
    most = np.minimum(hits, n1)
    block = max(1, BLOCK // (int(most.max(initial=0)) + 1))
    for start in range(0, len(x1), block):
        part = slice(start, start + block)
        k = np.arange(int(most[part].max(initial=0)) + 1)[None, :]
        weights = _hypergeometric(k, n1[part, None], n2[part, None], hits[part, None])
        seen = np.take_along_axis(weights, x1[part, None], axis=1)
        # tables exactly as likely as the one seen count; 1e-7 forgives rounding, as R and scipy do
        result[part] = np.where(weights <= seen * (1 + 1e-7), weights, 0.0).sum(axis=1)
    return np.minimum(result, 1.0)


def _hypergeometric(k, n1, n2, hits) -> np.ndarray:
    """Probability that ``k`` of the ``hits`` fall among the first ``n1`` of ``n1 + n2`` rows."""
    possible = (k <= n1) & (k <= hits) & (hits - k <= n2)
    k = np.where(possible, k, np.maximum(hits - n2, 0))  # any possible count: its value is not used
    log = _log_choose(n1, k) + _log_choose(n2, hits - k) - _log_choose(n1 + n2, hits)
    return np.where(possible, np.exp(log), 0.0)


def _log_choose(n, k) -> np.ndarray:
    return special.gammaln(n + 1) - special.gammaln(k + 1) - special.gammaln(n - k + 1)
