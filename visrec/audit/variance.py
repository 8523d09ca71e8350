"""How much the cells truly differ, and in which order: spread corrected for chance, rates shrunk for ranking.

The raw spread of rates over cells is too large, because small cells scatter by chance. The *corrected* between-group
variance takes that scatter away once; its bootstrap, which scatters twice, has it taken away twice. It may be
negative: then the cells scatter less than chance would make them. Shrunken rates are for ranking only.
"""

import numpy as np
import pandas as pd
from scipy import special

from visrec.audit import chance
from visrec.audit.cells import CellTable, binary_counts
from visrec.audit.differences import TAILS, bootstrap, drawn_share
from visrec.audit.gaps import Question, askable
from visrec.audit.intervals import LEVEL
from visrec.audit.rates import COMPLEMENT, Shares, is_correct, ratio, shares


def spread_table(table: CellTable, question: Question) -> pd.DataFrame:
    """Between-group variance of every rate.

    Returns
    -------
    DataFrame: rate, cells, raw (variance of the rates), corrected, low, high (2.5 and 97.5 % of the double-corrected
    bootstrap; none of them clamped at 0), sd (square root of ``corrected``, NaN where negative)

    References
    ----------
    Lum, Zhang, Bower (2022), FAccT, arXiv:2205.05770.
    """
    known = shares(table, question.outcome, question.missing)
    counts = np.concatenate([binary_counts(table, question.outcome, question.missing), table.absent[:, None]], axis=1)
    drawn = bootstrap(counts, question.replicates, chance.generator(question.seed, *table.by, "spread"))
    rows = []
    for rate in _asked(table, known, question):
        share = known[rate]
        enough = share.n >= max(question.min_count, 2)
        if enough.sum() < 2:
            rows.append({"rate": rate, "cells": int(enough.sum())} | dict.fromkeys(FIELDS, np.nan))
            continue
        x, n = drawn_share(rate, drawn)
        raw = between_variance(share.value[enough])
        corrected = raw - sampling_variance(share.x[enough], share.n[enough])
        twice = _twice_corrected(x[:, enough], n[:, enough], share.x[enough], share.n[enough])
        low, high = np.nanquantile(twice, TAILS)
        sd = np.sqrt(corrected) if corrected >= 0 else np.nan
        values = (raw, corrected, low, high, sd)
        rows.append({"rate": rate, "cells": int(enough.sum())} | dict(zip(FIELDS, map(float, values), strict=True)))
    return pd.DataFrame(rows)


FIELDS = ("raw", "corrected", "low", "high", "sd")


def between_variance(values: np.ndarray) -> np.ndarray:
    """Sample variance over cells (last axis), every cell weighing the same."""
    return np.var(values, axis=-1, ddof=1)


def sampling_variance(x, n) -> np.ndarray:
    """Mean over cells of the unbiased variance of a share, p (1 - p) / (n - 1)."""
    share = ratio(x, n)
    return np.mean(share * (1 - share) / np.maximum(np.asarray(n) - 1, 1), axis=-1)


def _twice_corrected(drawn_x, drawn_n, x, n) -> np.ndarray:
    """Bootstrap draws of the between-group variance: once for the draw's own scatter, once for the sample's."""
    draw = between_variance(ratio(drawn_x, drawn_n)) - sampling_variance(drawn_x, drawn_n)
    return draw - sampling_variance(x, n)


def ranking(table: CellTable, question: Question) -> pd.DataFrame:
    """Rates pulled towards the mean as far as their cells are small, beside the raw rates.

    Returns
    -------
    DataFrame: rate, cell, n, value (raw), shrunken (posterior mean), low, high (95 % credible, NaN = unknown), rank
    (1 = lowest shrunken rate). For ranking only: a shrunken rate is never shown instead of the raw one.

    Notes
    -----
    Beta-binomial with moments after Kleinman (1973), JASA 68, 46-54. Where the cells scatter no more than chance,
    all shrunken rates are the pooled rate, and how far a cell's own rate may lie from it is unknown.
    """
    known = shares(table, question.outcome, question.missing)
    names = table.names()
    frames = []
    for rate in _asked(table, known, question):
        share = known[rate]
        mean, weight = beta_moments(share)
        a, b = share.x + mean * weight, share.n - share.x + (1 - mean) * weight
        shrunken = np.full(len(names), mean) if np.isinf(weight) else ratio(a, a + b)
        low, high = (_beta_quantile(a, b, q, weight) for q in ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
        order = np.argsort(np.argsort(shrunken, kind="stable"), kind="stable") + 1
        columns = {"rate": rate, "cell": names, "n": share.n, "value": share.value, "shrunken": shrunken}
        frames.append(pd.DataFrame(columns | {"low": low, "high": high, "rank": order}))
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def beta_moments(share: Shares) -> tuple[float, float]:
    """Mean and weight (in images) of the beta distribution that the cells' true rates would come from.

    Returns
    -------
    mean : the pooled rate
    weight : how many images' worth of pull; inf where the cells scatter no more than chance
    """
    known = share.n > 0
    x, n = share.x[known].astype(float), share.n[known].astype(float)
    mean = float(x.sum() / n.sum()) if n.sum() else np.nan
    if len(n) < 2 or mean in (0.0, 1.0):
        return mean, np.inf
    between = float((n * (x / n - mean) ** 2).sum())
    expected = mean * (1 - mean) * (len(n) - 1)
    scale = mean * (1 - mean) * (n.sum() - (n**2).sum() / n.sum() - (len(n) - 1))
    correlation = (between - expected) / scale if scale > 0 else 0.0
    return mean, (1 / correlation - 1 if 0 < correlation < 1 else np.inf if correlation <= 0 else 0.0)


def _beta_quantile(a, b, q: float, weight: float) -> np.ndarray:
    if np.isinf(weight):
        return np.full(np.shape(a), np.nan)
    return np.where((a > 0) & (b > 0), special.betaincinv(np.maximum(a, 1e-9), np.maximum(b, 1e-9), q), np.nan)


def _asked(table: CellTable, known: dict[str, Shares], question: Question) -> list[str]:
    alike = {*COMPLEMENT, *({"selection_rate"} if is_correct(table, question.outcome) else ())}
    return [rate for rate in askable(known) if rate not in alike]
