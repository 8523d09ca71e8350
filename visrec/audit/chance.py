"""What chance alone would show: cells redrawn as if all were truly alike.

The *null band* of a figure is where it falls when every cell has the same true rate and keeps its own size. A rate
is redrawn at its pooled value with each cell's own denominator; a composite (F1, balanced accuracy) has no single
denominator, so there the rows are dealt out anew among the cells, label by label. Every draw comes from a
generator seeded by (seed, what is drawn): results do not depend on the order of calls, and no global seed is touched.
"""

import zlib

import numpy as np

REPLICATES = 2_000
BLOCK = 2_000
"""Replicates whose pairs are compared at a time."""


def generator(seed: int, *about: str) -> np.random.Generator:
    """A generator of its own for each thing drawn.

    >>> int(generator(0, "race", "tpr").integers(100)) == int(generator(0, "race", "tpr").integers(100))
    True
    """
    return np.random.default_rng([seed, zlib.crc32("\x1f".join(about).encode())])


def redraw_shares(x, n, replicates: int, rng: np.random.Generator) -> np.ndarray:
    """Counts of cells that all have the pooled rate.

    Parameters
    ----------
    x, n : int (cells,), the counts seen

    Returns
    -------
    int64, shape (cells, replicates)
    """
    n = np.asarray(n, dtype=np.int64)
    pooled = np.sum(x) / max(n.sum(), 1)
    return rng.binomial(n[:, None], pooled, size=(len(n), replicates))


def largest_pair_statistic(x, n) -> np.ndarray:
    """Largest squared pooled-variance pair statistic among the cells.

    Parameters
    ----------
    x : int, shape (cells, replicates)
    n : int, shape (cells,), all above 0

    Returns
    -------
    float32, shape (replicates,)
        max over pairs of (p_i - p_j)^2 / (p (1 - p) (1/n_i + 1/n_j)), p pooled over the pair; 0 where a pair does
        not vary. Single precision: it is only ever compared with itself.
    """
    x, n = np.asarray(x), np.asarray(n, dtype=np.float64)
    pooled = x.sum(axis=0) / n.sum()
    share = (x / n[:, None] - pooled).astype(np.float32)  # centred first: differences keep their digits
    hits, size = x.astype(np.float32), n.astype(np.float32)
    parts = [slice(start, start + BLOCK) for start in range(0, x.shape[1], BLOCK)]
    return np.concatenate([_largest_of_block(share[:, p], hits[:, p], size) for p in parts])


def _largest_of_block(share: np.ndarray, hits: np.ndarray, size: np.ndarray) -> np.ndarray:
    """The same for as many replicates as the processor's cache holds; float32 (cells, block) to (block,)."""
    share, hits = np.ascontiguousarray(share), np.ascontiguousarray(hits)
    largest = np.zeros(share.shape[1], dtype=np.float32)
    squares, spread, others = (np.empty_like(share) for _ in range(3))  # reused: fresh memory costs more than sums
    for i in range(len(size) - 1):
        rest = slice(i + 1, None)
        total = (size[i] + size[rest])[:, None]
        square, varies, other = squares[rest], spread[rest], others[rest]
        np.subtract(share[i], share[rest], out=square)
        np.multiply(square, square, out=square)
        np.add(hits[i], hits[rest], out=varies)  # p (1 - p) = hits (total - hits) / total^2
        np.subtract(total, varies, out=other)
        np.multiply(varies, other, out=varies)
        np.maximum(varies, np.float32(0.25), out=varies)  # 0 only where both shares are 0 or both are 1
        np.divide(square, varies, out=square)
        np.multiply(square, (size[i] * size[rest])[:, None] * total, out=square)
        np.maximum(largest, square.max(axis=0), out=largest)
    return largest


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
    held = np.empty_like(values)
    for i in range(len(variance) - 1):
        difference = held[i + 1 :]
        np.subtract(values[i], values[i + 1 :], out=difference)
        np.multiply(difference, difference, out=difference)
        difference *= (1 / np.maximum(variance[i] + variance[i + 1 :], 1e-30)).astype(np.float32)[:, None]
        np.maximum(largest, difference.max(axis=0), out=largest)
    return largest


def exceedance_p(seen: float, drawn: np.ndarray) -> float:
    """p of a figure: how often chance gives at least as much, (1 + hits) / (1 + draws), so never 0.

    A tie counts as a hit; a relative 1e-5 keeps rounding from breaking ties.
    """
    if np.isnan(seen):
        return float("nan")
    drawn = drawn[~np.isnan(drawn)]
    return float((1 + np.sum(drawn >= seen * (1 - 1e-5))) / (1 + len(drawn)))


def permute_binary(counts: np.ndarray, replicates: int, rng: np.random.Generator) -> np.ndarray:
    """Deal the answers out anew among the cells, among positives and among negatives.

    Parameters
    ----------
    counts : int, shape (cells, 4) as TN, FP, FN, TP

    Returns
    -------
    int64, shape (replicates, cells, 4); each cell keeps its positives and negatives, each label its answers
    """
    negative, positive = counts[:, 0] + counts[:, 1], counts[:, 2] + counts[:, 3]
    fp = rng.multivariate_hypergeometric(negative, int(counts[:, 1].sum()), size=replicates, method="marginals")
    tp = rng.multivariate_hypergeometric(positive, int(counts[:, 3].sum()), size=replicates, method="marginals")
    return np.stack([negative - fp, fp, positive - tp, tp], axis=-1)


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
    for label in range(k):
        left = np.repeat(counts[:, label, :].sum(axis=1)[None, :], replicates, axis=0)
        for answer in range(m - 1):
            drawn = _deal(left, int(counts[:, label, answer].sum()), rng)
            result[:, :, label, answer] = drawn
            left = left - drawn
        result[:, :, label, m - 1] = left
    return result


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
