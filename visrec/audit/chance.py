"""What chance alone would show: cells redrawn as if all were truly alike.

The *null band* of a figure is where it falls when every cell has the same true rate and keeps its own size. A rate
is redrawn at its pooled value with each cell's own denominator; a composite (F1, balanced accuracy) has no single
denominator, so there the rows are dealt out anew among the cells, label by label. Every draw comes from a
generator seeded by (seed, what is drawn): results do not depend on the order of calls, and no global seed is touched.
"""

import zlib
from collections.abc import Iterator

import numpy as np

from visrec.audit import draws

REPLICATES = 2_000
FAR = 6
"""Cells at each end, in standard errors from the mean, whose pairs are compared before all pairs are."""
BLOCK = 2_000
"""Replicates whose pairs are compared at a time."""
MOST_BYTES = 400_000_000
"""What the redraws of a table of many classes may take at a time."""
PAIR_NUMBERS = 400_000
"""How many numbers of pairs are computed at a time."""
TIE = 1e-5
"""Relative difference below which a draw counts as a tie with what was seen."""


def generator(seed: int, *about: str) -> np.random.Generator:
    """A generator of its own for each thing drawn.

    >>> int(generator(0, "race", "tpr").integers(100)) == int(generator(0, "race", "tpr").integers(100))
    True
    """
    return draws.Seeded(seed, zlib.crc32("\x1f".join(about).encode()))


def redraw_shares(x, n, replicates: int, rng: np.random.Generator) -> np.ndarray:
    """Counts of cells that all have the pooled rate.

    Parameters
    ----------
    x, n : int (cells,), the counts seen

    Returns
    -------
    int64, shape (cells, replicates)
    """
    return draws.binomial(n, np.sum(x) / max(np.sum(n), 1), replicates, rng)


def pair_statistics(x, n) -> np.ndarray:
    """Squared pooled-variance statistic of every pair of cells.

    Parameters
    ----------
    x, n : int, shape (cells,), n all above 0

    Returns
    -------
    float64, shape (cells, cells)
        (p_i - p_j)^2 / (p (1 - p) (1/n_i + 1/n_j)), p pooled over the pair; 0 where a pair does not vary.
    """
    x, n = np.asarray(x, dtype=np.float64), np.asarray(n, dtype=np.float64)
    hits, total = x[:, None] + x, n[:, None] + n
    varies = hits * (total - hits) / total**2 * (1 / n[:, None] + 1 / n)
    square = (x[:, None] / n[:, None] - x / n) ** 2
    return np.divide(square, varies, out=np.zeros_like(square), where=varies > 0)


def largest_pair_p(x, n, drawn: np.ndarray) -> float:
    """p of the largest pair statistic of a table, as `exceedance_p` counts it.

    Parameters
    ----------
    x, n : int, shape (cells,), the table seen; n all above 0
    drawn : int, shape (cells, replicates), counts under the redraw
    """
    level = pair_statistics(x, n).max() * (1 - TIE)
    return float((1 + np.sum(largest_pair_reaches(drawn, n, level))) / (1 + drawn.shape[1]))


def largest_pair_reaches(x: np.ndarray, n, level: float) -> np.ndarray:
    """Whether the largest pair statistic of each replicate is at least ``level``.

    The pair's own spread is what its cells have within and between them, so statistic >= level exactly where
    (p_i - p_j)^2 k_ij >= w_i + w_j, with w = x (n - x) / n, k_ij = (T - level) n_i n_j / (T level), T = n_i + n_j.
    Most replicates need few pairs: no pair exceeds (n_i d_i^2, if d_i > 0) + (n_j d_j^2, if d_j < 0) over the least
    p (1 - p), d from any common centre, so only cells far from it in standard errors can reach the level.

    Parameters
    ----------
    x : int, shape (cells, replicates)
    n : int, shape (cells,), all above 0

    Returns
    -------
    bool, shape (replicates,)
    """
    n = np.asarray(n, dtype=np.float64)
    if level <= 0:
        return np.ones(x.shape[1], dtype=bool)
    total = n[:, None] + n
    weight = ((total - level) * n[:, None] * n / (total * level)).astype(np.float32)
    rate = x / n[:, None]
    share = (rate - x.sum(axis=0) / n.sum()).astype(np.float32)  # centred first: differences keep their digits
    far = share * np.sqrt(n).astype(np.float32)[:, None]
    drawn = far, share, rate
    reached, left = np.zeros(x.shape[1], dtype=bool), np.arange(x.shape[1])
    for decide in (_decided_by_two, _decided_by_few, _decided_by_all):
        yes, open_ = decide(*drawn, n, weight, level)
        reached[left[yes]] = True
        open_ = np.flatnonzero(open_)
        left, drawn = left[open_], tuple(values[:, open_] for values in drawn)
    return reached


def _within(rate: np.ndarray, n: np.ndarray) -> np.ndarray:
    """n p (1 - p) as float32, above 0 so that cells without variation reach no level."""
    return np.maximum(rate * (1 - rate) * n, 1e-6).astype(np.float32)


def _needed(rate: np.ndarray, level: float) -> np.ndarray:
    """What the squares of two cells must come to, a little less for rounding: p (1 - p) is least at an end."""
    return level * (1 - 1e-4) * np.min([end * (1 - end) for end in (rate.max(axis=0), rate.min(axis=0))], axis=0)


def _decided_by_two(far, share, rate, n, weight, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Replicates whose two farthest cells reach the level, and those left open, as these two might; (replicates,)."""
    high, low = far.argmax(axis=0), far.argmin(axis=0)
    each = np.arange(share.shape[1])
    bound = np.maximum(far[high, each], 0) ** 2 + np.minimum(far[low, each], 0) ** 2
    apart = (share[high, each] - share[low, each]) ** 2 * weight[high, low]
    reached = apart >= _within(rate[high, each], n[high]) + _within(rate[low, each], n[low])
    return reached, ~reached & (bound >= _needed(rate, level))


def _decided_by_few(far, share, rate, n, weight, level: float) -> tuple[np.ndarray, np.ndarray]:
    """As `_decided_by_two`, by the `FAR` cells at each end; open is what a pair with any other cell might reach."""
    if len(n) <= 2 * FAR:
        return np.zeros(share.shape[1], dtype=bool), np.ones(share.shape[1], dtype=bool)
    order = np.argsort(far, axis=0)
    high, low = order[-FAR:][:, None], order[:FAR][None]
    each = np.arange(share.shape[1])
    square = (share[high, each] - share[low, each]) ** 2 * weight[high, low]
    reached = (square >= _within(rate[high, each], n[high]) + _within(rate[low, each], n[low])).any(axis=(0, 1))
    top, next_top = (np.maximum(far[order[place], each], 0) ** 2 for place in (-1, -FAR - 1))
    end, next_end = (np.minimum(far[order[place], each], 0) ** 2 for place in (0, FAR))
    return reached, ~reached & (np.maximum(next_top + end, top + next_end) >= _needed(rate, level))


def _decided_by_all(far, share, rate, n, weight, level: float) -> tuple[np.ndarray, np.ndarray]:
    """As `_decided_by_two`, by all pairs; nothing is left open."""
    reached = np.zeros(share.shape[1], dtype=bool)
    for start in range(0, share.shape[1], BLOCK):
        part = slice(start, start + BLOCK)
        reached[part] = _any_pair_reaches(share[:, part], _within(rate[:, part], n[:, None]), weight)
    return reached, np.zeros_like(reached)


def _any_pair_reaches(share: np.ndarray, within: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The rule of `largest_pair_reaches` over all pairs; a cell paired with itself never reaches."""
    reached = np.zeros(share.shape[1], dtype=bool)
    for rows, rest in _pair_blocks(share):
        square = share[rows, None] - share[rest]
        square *= square
        square *= weight[rows, rest, None]
        square -= within[rest]
        reached |= (square.max(axis=1) >= within[rows]).any(axis=0)
    return reached


def _pair_blocks(values: np.ndarray) -> Iterator[tuple[slice, slice]]:
    """All pairs of rows as (some rows, all rows from the first of them on), as many at a time as a cache holds.

    Few large steps: a small one costs more to begin than to compute.
    """
    cells, replicates = values.shape
    step = max(1, PAIR_NUMBERS // max(1, cells * replicates))
    for start in range(0, cells - 1, step):
        yield slice(start, start + step), slice(start, None)


def largest_scaled_pair(values: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Largest squared difference between two cells in units of its variance under the redraw.

    Parameters
    ----------
    values : float, shape (cells, replicates), as deviations from each cell's mean under the redraw
    variance : float, shape (cells,), of each cell's value under the redraw

    Returns
    -------
    float32, shape (replicates,); NaN values take no part
    """
    values = np.where(np.isnan(values), np.float32(0), values).astype(np.float32)
    largest = np.zeros(values.shape[1], dtype=np.float32)
    for rows, rest in _pair_blocks(values):
        difference = values[rows, None] - values[rest]
        difference *= difference
        difference *= (1 / np.maximum(variance[rows, None] + variance[rest], 1e-30)).astype(np.float32)[..., None]
        np.maximum(largest, difference.max(axis=(0, 1)), out=largest)
    return largest


def largest_scaled_p(values, variance: np.ndarray, drawn: np.ndarray) -> float:
    """p of the largest `largest_scaled_pair` of what was seen, as `exceedance_p` counts it.

    No pair exceeds (largest value / s.d.)^2 above 0 + (largest below it)^2, and the pair of these two is at most the
    largest: most replicates need no other pairs.

    Parameters
    ----------
    values : float, shape (cells,), deviations seen
    variance : float, shape (cells,)
    drawn : float, shape (cells, replicates), deviations under the redraw
    """
    level = np.float32(largest_scaled_pair(np.asarray(values)[:, None], variance)[0] * (1 - TIE))
    drawn = np.where(np.isnan(drawn), 0, drawn).astype(np.float32)
    far = drawn / np.sqrt(np.maximum(variance, 1e-30)).astype(np.float32)[:, None]
    high, low = far.argmax(axis=0), far.argmin(axis=0)
    each = np.arange(drawn.shape[1])
    bound = np.maximum(far[high, each], 0) ** 2 + np.minimum(far[low, each], 0) ** 2
    above = bound * np.float32(1 + 1e-4) >= level
    apart = (drawn[high, each] - drawn[low, each]) ** 2
    reached = above & (apart >= level * (variance[high] + variance[low]) * (1 + 1e-4))
    open_ = np.flatnonzero(above & ~reached)
    reached[open_] = largest_scaled_pair(drawn[:, open_], variance) >= level
    return float((1 + np.sum(reached)) / (1 + len(reached)))


def exceedance_p(seen: float, drawn: np.ndarray) -> float:
    """p of a figure: how often chance gives at least as much, (1 + hits) / (1 + draws), so never 0.

    A tie counts as a hit; `TIE` keeps rounding from breaking ties.
    """
    if np.isnan(seen):
        return float("nan")
    drawn = drawn[~np.isnan(drawn)]
    return float((1 + np.sum(drawn >= seen * (1 - TIE))) / (1 + len(drawn)))


def permute_binary(counts: np.ndarray, replicates: int, rng: np.random.Generator) -> np.ndarray:
    """Deal the answers out anew among the cells, among positives and among negatives.

    Parameters
    ----------
    counts : int, shape (cells, 4) as TN, FP, FN, TP

    Returns
    -------
    int64, shape (replicates, cells, 4); each cell keeps its positives and negatives, each label its answers. In memory
    the replicates stand side by side.
    """
    negative, positive = counts[:, 0] + counts[:, 1], counts[:, 2] + counts[:, 3]
    result = np.empty((4, len(counts), replicates), dtype=np.int64)
    for place, places in ((1, negative), (3, positive)):
        result[place] = draws.dealt(places, int(counts[:, place].sum()), replicates, rng).T
        np.subtract(places[:, None], result[place], out=result[place - 1])
    return result.T


def permute_classes(counts: np.ndarray, replicates: int, rng: np.random.Generator) -> np.ndarray:
    """Deal the answers out anew among the cells, label by label, for any number of classes.

    Parameters
    ----------
    counts : int, shape (cells, k, m) as [cell, label, answer]

    Returns
    -------
    int64, shape (replicates, cells, k, m)
    """
    cells, k, m = counts.shape
    result = np.zeros((replicates, cells, k, m), dtype=np.int64)
    for label, answer, drawn in _dealt_answers(counts, replicates, rng):
        result[:, :, label, answer] = drawn
    return result


def permute_margins(counts: np.ndarray, replicates: int, rng: np.random.Generator) -> Iterator[tuple]:
    """What balanced accuracy and F1 need of `permute_classes`, without a square of the classes in memory.

    Yields
    ------
    right, answered : int64, shape (some replicates, cells, k)
        Rows of each class answered with it, and all rows answered with it. All replicates come at once unless the
        two would take more than `MOST_BYTES`.
    """
    cells, k, _ = counts.shape
    block = max(1, MOST_BYTES // (16 * cells * k))
    for start in range(0, replicates, block):
        many = min(block, replicates - start)
        right, answered = np.zeros((2, many, cells, k), dtype=np.int64)
        for label, answer, drawn in _dealt_answers(counts, many, rng):
            if answer < k:  # a further answer stands for none
                answered[:, :, answer] += drawn
            if answer == label:
                right[:, :, label] = drawn
        yield right, answered


def _dealt_answers(counts: np.ndarray, replicates: int, rng: np.random.Generator) -> Iterator[tuple]:
    """(label, answer, how many such rows fall into each cell: (replicates, cells)), but no answer never given."""
    _, k, m = counts.shape
    for label in range(k):
        left = np.repeat(counts[:, label, :].sum(axis=1)[None, :], replicates, axis=0)
        for answer in np.flatnonzero(counts[:, label, : m - 1].any(axis=0)):
            drawn = _deal(left, int(counts[:, label, answer].sum()), rng)
            yield label, answer, drawn
            left = left - drawn
        yield label, m - 1, left


def _deal(left: np.ndarray, many: int, rng: np.random.Generator) -> np.ndarray:
    """How many of ``many`` answers fall into each cell, when each cell has ``left`` (replicates, cells) rows free."""
    drawn = np.zeros_like(left)
    to_go = np.full(left.shape[0], many)
    after = left.sum(axis=1)
    for cell in range(left.shape[1]):
        after = after - left[:, cell]
        drawn[:, cell] = rng.hypergeometric(left[:, cell], after, to_go)
        to_go = to_go - drawn[:, cell]
    return drawn
