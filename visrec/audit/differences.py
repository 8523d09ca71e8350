"""Signed differences: each cell against all the others together, with bootstrap intervals and null bands.

A *difference* is a cell's rate minus the rate of all other rows (the rest); 0 = alike. A *ratio* is the one divided
by the other; 1 = alike. Intervals come from redrawing the whole table of counts (a multinomial bootstrap), null
bands from redrawing every cell at the pooled rate.
"""

import math
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from visrec.audit import chance, draws
from visrec.audit.cells import FN, TP, CellTable, binary_counts
from visrec.audit.gaps import Question, askable, composite_counts, composite_simultaneous, verdict
from visrec.audit.intervals import LEVEL, holm, pair_p_values
from visrec.audit.rates import (
    COMPLEMENT,
    COMPOSITES,
    PARTS,
    Shares,
    composite_bases,
    composites,
    is_correct,
    macro_averages,
    ratio,
    shares,
)

BLOCK_BYTES = 64_000_000
"""What a block of redraws may take."""
TAILS = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)


def base_rate(table: CellTable, question: Question) -> np.ndarray:
    """Share of each cell's rows that are labelled with the outcome; NaN for ``correct``."""
    if is_correct(table, question.outcome):
        return np.full(table.size, np.nan)
    counts = binary_counts(table, question.outcome, question.missing)
    return ratio(counts[:, FN] + counts[:, TP], counts.sum(axis=1))


def bootstrap(counts: np.ndarray, replicates: int, rng: np.random.Generator) -> np.ndarray:
    """Redraw a table of counts: multinomial with the shares seen.

    Parameters
    ----------
    counts : int, any shape

    Returns
    -------
    int64, shape (replicates, *counts.shape), each summing to the same total. In memory the replicates stand side by
    side.
    """
    flat = counts.reshape(-1)
    total = int(flat.sum())
    drawn = draws.multinomial([total], flat[None] / max(total, 1), replicates, rng)
    return np.moveaxis(drawn[:, 0].T.reshape(*counts.shape, replicates), -1, 0)


def composite_intervals(table: CellTable, question: Question) -> dict[str, tuple]:
    """Balanced accuracy and F1 of each cell: value, low, high, n.

    Percentiles of a multinomial bootstrap within each cell. Where all draws agree (a cell without a single error)
    a bootstrap claims certainty that 7 images cannot give; there the exact interval stands.
    """
    is_class = not is_correct(table, question.outcome)
    counts = composite_counts(table, question)
    seen = composites(counts, is_class)
    exact = composite_simultaneous(counts, is_class, together=False)
    n = composite_bases(counts, is_class)
    rng = chance.generator(question.seed, *table.by, "composite intervals")
    drawn = _bootstrap_composites(counts, is_class, question.replicates, rng)
    result = {}
    for rate in COMPOSITES:
        low, high = percentiles(drawn[rate])
        certain = ~(high > low)
        low, high = np.where(certain, exact[rate][0], low), np.where(certain, exact[rate][1], high)
        unknown = np.isnan(seen[rate])
        low, high = np.where(unknown, np.nan, low), np.where(unknown, np.nan, high)
        result[rate] = (seen[rate], low, high, n[rate])
    return result


def _bootstrap_composites(counts: np.ndarray, is_class: bool, replicates: int, rng) -> dict[str, np.ndarray]:
    """Balanced accuracy and F1, float64 (replicates, cells), of every cell redrawn at its own size.

    Drawn block by block and reduced at once: whole tables of many classes would fill the memory. Squares of the
    matrix that no row of any cell is in are not drawn.
    """
    flat = counts.reshape(len(counts), -1)
    total, used = flat.sum(axis=1), flat.any(axis=0)
    used |= is_class
    used[-1] = True  # the last one takes what the others leave
    share = np.where(total[:, None] > 0, flat / np.maximum(total, 1)[:, None], 1 / flat.shape[1])[:, used]
    reduce = _class_composites if is_class else _macro_composites(np.flatnonzero(used), *counts.shape[1:])
    block = max(1, BLOCK_BYTES // (4 * share.nbytes))  # halves, and halves of halves, are held beside the counts
    sizes = [min(block, replicates - start) for start in range(0, replicates, block)]
    blocks = [reduce(draws.multinomial(total, share, size, rng)) for size in sizes]
    return {rate: np.concatenate([block[rate] for block in blocks]) for rate in COMPOSITES}


def _class_composites(drawn: np.ndarray) -> dict[str, np.ndarray]:
    return composites(drawn, True)


def _macro_composites(squares: np.ndarray, k: int, m: int):
    """A function from redrawn counts (..., squares) of some squares of k x m matrices to `macro_averages`."""
    label, answer = np.divmod(squares, m)
    by_answer = np.argsort(answer, kind="stable")

    def reduce(drawn: np.ndarray) -> dict[str, np.ndarray]:
        right = np.zeros((*drawn.shape[:-1], k), dtype=np.int64)
        right[..., label[label == answer]] = drawn[..., label == answer]
        labelled = _summed(drawn, label, k)
        return macro_averages(right, labelled, _summed(drawn[..., by_answer], answer[by_answer], m)[..., :k])

    return reduce


def _summed(drawn: np.ndarray, place: np.ndarray, many: int) -> np.ndarray:
    """Sums of the last axis by place (sorted), shape (..., many)."""
    result = np.zeros((*drawn.shape[:-1], many), dtype=np.int64)
    there, starts = np.unique(place, return_index=True)
    result[..., there] = np.add.reduceat(drawn, starts, axis=-1)
    return result


def against_rest(table: CellTable, question: Question) -> pd.DataFrame:
    """Each cell against all other rows, rate by rate.

    Returns
    -------
    DataFrame
        rate, cell, n, rest_n, value, rest, difference, low, high, null_low, null_high, ratio, ratio_low, ratio_high,
        p (pooled-variance score test, Fisher's where a count is small), p_holm (over the table), verdict
    """
    known = shares(table, question.outcome, question.missing)
    alike = {*COMPLEMENT, *({"selection_rate"} if is_correct(table, question.outcome) else ())}
    counts = np.concatenate([binary_counts(table, question.outcome, question.missing), table.absent[:, None]], axis=1)
    rng = chance.generator(question.seed, *table.by, "against rest")
    drawn = bootstrap(counts, question.replicates, rng)
    names = table.names()
    frame = stacked(
        [
            _against_rest(rate, known[rate], drawn, names, table, question)
            for rate in askable(known)
            if rate not in alike
        ]
    )
    frame["p_holm"] = holm(frame["p"])
    frame["verdict"] = [verdict(p, few) for p, few in zip(frame["p_holm"], frame["too_few"], strict=True)]
    return frame


def stacked(parts: list[dict[str, Any]]) -> pd.DataFrame:
    """One frame of parts below each other, each a column to its values or to the one value of all its rows.

    A frame for each part would cost more than what is in it, where cells are few.
    """
    rows = [next(len(values) for values in part.values() if np.ndim(values)) for part in parts]
    return pd.DataFrame(
        {
            name: np.concatenate([np.broadcast_to(part[name], n) for part, n in zip(parts, rows, strict=True)])
            for name in parts[0]
        }
    )


def _against_rest(
    rate: str, share: Shares, drawn: np.ndarray, names: list[str], table: CellTable, question: Question
) -> dict[str, Any]:
    x, n = share.x, share.n
    seen, rest = ratio(x, n), ratio(x.sum() - x, n.sum() - n)
    boot_x, boot_n = drawn_share(rate, drawn)
    boot = ratio(boot_x, boot_n)
    boot_rest = ratio(boot_x.sum(1, keepdims=True) - boot_x, boot_n.sum(1, keepdims=True) - boot_n)
    null_x = chance.redraw_shares(x, n, question.replicates, chance.generator(question.seed, *table.by, rate)).T
    null = ratio(null_x, n) - ratio(null_x.sum(1, keepdims=True) - null_x, n.sum() - n)
    low, high = percentiles(boot - boot_rest)
    null_low, null_high = percentiles(null)
    ratio_low, ratio_high = percentiles(_divided(boot, boot_rest))
    few = (n < max(question.min_count, 1)) | (n.sum() - n < max(question.min_count, 1))
    p = np.full(len(n), np.nan)
    p[~few], _ = pair_p_values(x[~few], n[~few], (x.sum() - x)[~few], (n.sum() - n)[~few])
    return {
        "rate": rate,
        "cell": names,
        "n": n,
        "rest_n": n.sum() - n,
        "value": seen,
        "rest": rest,
        "difference": seen - rest,
        "low": low,
        "high": high,
        "null_low": null_low,
        "null_high": null_high,
        "ratio": _divided(seen, rest),
        "ratio_low": ratio_low,
        "ratio_high": ratio_high,
        "p": p,
        "too_few": few,
    }


def drawn_share(rate: str, drawn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Numerator and denominator of a rate in redrawn counts (..., 5) as TN, FP, FN, TP, absent: each (...)."""
    if rate == "missing":
        return drawn[..., 4], drawn.sum(axis=-1)
    top, base = PARTS[rate]
    return drawn[..., list(top)].sum(axis=-1), drawn[..., list(base)].sum(axis=-1)


def _divided(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(b > 0, a / b, np.nan)


def percentiles(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """2.5th and 97.5th percentile over replicates (axis 0), NaN draws left out."""
    values = np.ascontiguousarray(values.T)  # replicates side by side: sorting them is several times faster
    if not np.isnan(values).any():
        return tuple(_quantiles(values, TAILS))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a cell that is unknown in every draw
        return tuple(np.nanquantile(values, TAILS, axis=-1))


def _quantiles(values: np.ndarray, shares: Sequence[float]) -> Iterator[np.ndarray]:
    """NumPy's own (linear) quantiles of the last axis, without NaN, to the last digit.

    One number put in its place, and the largest below it: a third of the time of NumPy's way, which places six.
    """
    for share in shares:
        place = share * (values.shape[-1] - 1)
        upper = math.ceil(place)
        values = np.partition(values, upper, axis=-1)
        above = values[..., upper]
        below = values[..., :upper].max(axis=-1) if upper > place else above
        part = place - math.floor(place)
        yield below + (above - below) * part if part < 0.5 else above - (above - below) * (1 - part)
