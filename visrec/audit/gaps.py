"""Gaps: how far apart the cells of a table are, beside what chance alone would show, with a verdict.

A *gap* is the largest minus the smallest known rate among the cells that reach the minimum count. Its *verdict* is
one of three: *supported* (chance does not explain it), *cannot tell* (it might), *too few images* (fewer than two
cells reach the minimum count). The verdicts of one table are one family: Holm's rule bounds the chance that any
of them is wrong. Nothing bounds it over many tables looked at in turn.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import numpy as np
import pandas as pd

from visrec.audit import chance
from visrec.audit.cells import CellTable, binary_counts
from visrec.audit.intervals import LEVEL, holm, sidak_level, simultaneous
from visrec.audit.rates import (
    COMPLEMENT,
    COMPOSITES,
    PROPORTIONS,
    Shares,
    composite_bases,
    composites,
    is_correct,
    macro_averages,
    shares,
)

SUPPORTED, CANNOT_TELL, TOO_FEW = "supported", "cannot tell", "too few images"
LEAST_IS_BEST = {"fpr", "fnr", "fdr", "for", "missing"}
ALPHA = 0.05


@dataclass(frozen=True)
class Question:
    """What is asked of a table; everything that its figures depend on.

    Attributes
    ----------
    outcome : ``correct`` or a class
    missing : ``leave`` or ``wrong``, what a row without a prediction is
    min_count : rows a rate of a cell must rest on to take part in gaps and verdicts
    seed, replicates : of the redraws
    """

    outcome: str
    missing: str = "leave"
    min_count: int = 30
    seed: int = 0
    replicates: int = chance.REPLICATES


@dataclass(frozen=True)
class Gap:
    """One rate's gap over the cells of one table; all values are in the rate's unit, NaN is unknown."""

    rate: str
    value: float = np.nan
    low: float = np.nan
    high: float = np.nan
    null_low: float = np.nan
    null_mean: float = np.nan
    null_high: float = np.nan
    p: float = np.nan
    worst: str | None = None
    best: str | None = None
    worst_value: float = np.nan
    best_value: float = np.nan
    worst_n: int = 0
    best_n: int = 0
    cells: int = 0
    too_few: bool = False


Draws = dict[str, np.ndarray]
"""Composites under chance, by name: float64 (replicates, cells)."""


def gap_table(table: CellTable, question: Question, dealt: Callable[[], Draws] | None = None) -> pd.DataFrame:
    """Every rate's gap over one table, with interval, null band, p and verdict.

    Parameters
    ----------
    dealt : gives `composite_draws` of this table, where they are kept between questions; None draws them

    Returns
    -------
    DataFrame, one row per rate that can be asked of the outcome
        The fields of `Gap`, ``excess`` (value minus the mean under chance; not clamped), ``p_holm`` and ``verdict``.
    """
    known = shares(table, question.outcome, question.missing)
    asked = askable(known)
    mirrors = {r: COMPLEMENT[r] for r in asked if r in COMPLEMENT}
    if is_correct(table, question.outcome) and "selection_rate" in asked:
        mirrors["selection_rate"] = "accuracy"
    names = table.names()
    gaps = {r: share_gap(r, known[r], names, table.by, question) for r in asked if r not in mirrors}
    gaps |= composite_gaps(table, question, dealt)
    gaps |= {rate: mirrored(rate, gaps[mirrors[rate]]) for rate in mirrors}
    order = [*(r for r in PROPORTIONS if r in gaps), *COMPOSITES]
    rows = [gaps[rate] for rate in order]
    columns = {field.name: [getattr(gap, field.name) for gap in rows] for field in fields(Gap)}
    return pd.DataFrame(columns | _verdicts(rows, [r for r in order if r not in mirrors]))


def askable(known: dict[str, Shares]) -> list[str]:
    """Rates that exist for this outcome; ``missing`` only where a prediction is missing somewhere."""
    return [r for r in PROPORTIONS if known[r].n.any() and (r != "missing" or known[r].x.any())]


def _verdicts(gaps: Sequence[Gap], family: Sequence[str]) -> dict[str, list]:
    """``excess``, ``p_holm`` and ``verdict`` of each gap: one rule for every table.

    ``family`` are the rates that are tests of their own; a complement takes the verdict of the rate it mirrors.
    """
    own = {gap.rate: gap.p for gap in gaps if gap.rate in family}
    adjusted = dict(zip(own, holm(list(own.values())), strict=True))
    mirrored_from = {**COMPLEMENT, "selection_rate": "accuracy"}
    p_holm = [float(adjusted.get(gap.rate, adjusted.get(mirrored_from.get(gap.rate), np.nan))) for gap in gaps]
    return {
        "excess": [gap.value - gap.null_mean for gap in gaps],
        "p_holm": p_holm,
        "verdict": [verdict(p, gap.too_few) for p, gap in zip(p_holm, gaps, strict=True)],
    }


def verdict(p_holm: float, too_few: bool) -> str:
    """The one rule.

    >>> verdict(0.03, False), verdict(0.2, False), verdict(float("nan"), True)
    ('supported', 'cannot tell', 'too few images')
    """
    if too_few:
        return TOO_FEW
    return SUPPORTED if p_holm <= ALPHA else CANNOT_TELL


def share_gap(rate: str, share: Shares, names: list[str], by: Sequence[str], question: Question) -> Gap:
    """Gap of one proportion: interval from simultaneous ones, null band and p from redraws at the pooled rate."""
    enough = share.n >= max(question.min_count, 1)
    if enough.sum() < 2:
        return Gap(rate, cells=int(enough.sum()), too_few=True)
    x, n = share.x[enough], share.n[enough]
    kept = [name for name, keep in zip(names, enough, strict=True) if keep]
    rng = chance.generator(question.seed, *by, rate)
    drawn = chance.redraw_shares(x, n, question.replicates, rng)
    spread = np.ptp(drawn / n[:, None], axis=0)
    low, high = max_min_interval(*simultaneous(x, n))
    return Gap(
        rate,
        low=low,
        high=high,
        p=chance.largest_pair_p(x, n, drawn),
        **_null(spread),
        **_ends(rate, x / n, n, kept),
    )


def mirrored(rate: str, gap: Gap) -> Gap:
    """The gap of one minus a rate: the same gap, seen from the other end."""
    fields = vars(gap) | {"rate": rate}
    if rate not in COMPLEMENT:
        return Gap(**fields)
    fields |= {"worst_value": 1 - gap.worst_value, "best_value": 1 - gap.best_value}
    return Gap(**fields)


def composite_draws(table: CellTable, question: Question) -> Draws:
    """Balanced accuracy and F1 of every cell, with rows dealt out anew among the cells within each label.

    Depends on the counts, outcome, seed and replicates of the question, not on its minimum count.
    """
    rng = chance.generator(question.seed, *table.by, "composites")
    counts = composite_counts(table, question)
    if not is_correct(table, question.outcome):
        return composites(chance.permute_binary(counts, question.replicates, rng), True)
    labelled = counts.sum(axis=2)  # a cell keeps its labels
    blocks = [
        macro_averages(right, labelled, answered)
        for right, answered in chance.permute_margins(counts, question.replicates, rng)
    ]
    return {rate: np.concatenate([block[rate] for block in blocks]) for rate in COMPOSITES}


def composite_gaps(table: CellTable, question: Question, dealt: Callable[[], Draws] | None = None) -> dict[str, Gap]:
    """Gaps of balanced accuracy and F1; ``dealt`` as in `gap_table`."""
    is_class = not is_correct(table, question.outcome)
    counts = composite_counts(table, question)
    n = composite_bases(counts, is_class)
    seen = composites(counts, is_class)
    enough = {rate: (n[rate] >= max(question.min_count, 1)) & ~np.isnan(seen[rate]) for rate in COMPOSITES}
    if max(int(e.sum()) for e in enough.values()) < 2:
        return {rate: Gap(rate, cells=int(enough[rate].sum()), too_few=True) for rate in COMPOSITES}
    drawn = dealt() if dealt else composite_draws(table, question)
    ends = composite_simultaneous(counts, is_class)
    names = table.names()
    return {
        rate: _composite_gap(rate, seen[rate], drawn[rate], ends[rate], n[rate], enough[rate], names)
        for rate in COMPOSITES
    }


def composite_counts(table: CellTable, question: Question) -> np.ndarray:
    """What a composite is computed from: (cells, 4) for a class; (cells, k, k or k + 1) for ``correct``."""
    if not is_correct(table, question.outcome):
        return binary_counts(table, question.outcome, question.missing)
    if question.missing != "wrong":
        return table.counts
    return np.concatenate([table.counts, table.missing[:, :, None]], axis=2)


def composite_simultaneous(counts: np.ndarray, is_class: bool, together: bool = True) -> dict[str, tuple]:
    """Intervals of balanced accuracy and F1, exact because both are made of shares.

    Balanced accuracy is a mean of recalls, and F1 = 2 J / (1 + J) with the share J = TP / (TP + FP + FN).
    ``together`` makes them hold for all cells at once.
    """
    if is_class:
        tn, fp, fn, tp = np.moveaxis(counts, -1, 0)
        recalls = np.stack([tp, tn], axis=1), np.stack([tp + fn, tn + fp], axis=1)
        hits, any_of = tp[:, None], (tp + fp + fn)[:, None]
    else:
        right = np.diagonal(counts, axis1=1, axis2=2)
        labelled, answered = counts.sum(axis=2), counts.sum(axis=1)[:, : counts.shape[1]]
        recalls, (hits, any_of) = (right, labelled), (right, labelled + answered - right)
    low, high = _exact(*recalls, together)
    f_low, f_high = _exact(hits, any_of, together)
    return {
        "balanced_accuracy": (low.mean(axis=1), high.mean(axis=1)),
        "f1": ((2 * f_low / (1 + f_low)).mean(axis=1), (2 * f_high / (1 + f_high)).mean(axis=1)),
    }


def max_min_interval(low: np.ndarray, high: np.ndarray) -> tuple[float, float]:
    """Interval of a max-min gap from intervals that hold for all cells at once.

    low = max(0, largest lower end - smallest upper end), high = largest upper end - smallest lower end. Never a
    percentile bootstrap of a maximum, which at equal rates excludes the truth every time.
    """
    return max(0.0, float(np.nanmax(low) - np.nanmin(high))), float(np.nanmax(high) - np.nanmin(low))


def _exact(x, n, together: bool):
    from visrec.audit.intervals import clopper_pearson

    count = int((np.asarray(n) > 0).sum()) if together else n.shape[1]
    return clopper_pearson(x, n, sidak_level(count, LEVEL))


def _composite_gap(rate, seen, drawn, ends, n, enough, names) -> Gap:
    if enough.sum() < 2:
        return Gap(rate, cells=int(enough.sum()), too_few=True)
    seen, drawn, n = seen[enough], np.ascontiguousarray(drawn.T)[enough], n[enough]
    kept = [name for name, keep in zip(names, enough, strict=True) if keep]
    # a composite depends on the cell's mix of labels, so even under chance each cell has its own mean
    mean, variance = np.nanmean(drawn, axis=1), np.nanvar(drawn, axis=1)
    low, high = max_min_interval(ends[0][enough], ends[1][enough])
    return Gap(
        rate,
        low=low,
        high=high,
        p=chance.largest_scaled_p(seen - mean, variance, drawn - mean[:, None]),
        **_null(np.nanmax(drawn, axis=0) - np.nanmin(drawn, axis=0)),
        **_ends(rate, seen, n, kept),
    )


def _null(spread: np.ndarray) -> dict[str, float]:
    return {"null_low": 0.0, "null_mean": float(spread.mean()), "null_high": float(np.quantile(spread, LEVEL))}


def _ends(rate: str, value: np.ndarray, n: np.ndarray, names: list[str]) -> dict:
    least, most = int(np.argmin(value)), int(np.argmax(value))
    worst, best = (most, least) if rate in LEAST_IS_BEST else (least, most)
    return {
        "value": float(value[most] - value[least]),
        "worst": names[worst],
        "best": names[best],
        "worst_value": float(value[worst]),
        "best_value": float(value[best]),
        "worst_n": int(n[worst]),
        "best_n": int(n[best]),
        "cells": len(names),
    }
