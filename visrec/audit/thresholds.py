"""Thresholds: what every cell's rates become when the outcome is answered from another score on.

A *threshold* is the score from which on the outcome is answered; one for all cells, or one per cell (which needs the
attribute at prediction time). A threshold found by searching a table flatters that table, so what it achieves is
reported by five-fold cross-fitting: searched on four fifths, counted on the fifth, all fifths added up.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from visrec.audit import chance
from visrec.audit.cells import FN, FP, TN, TP, CellTable
from visrec.audit.gaps import Question, gap_table
from visrec.audit.rates import PARTS, Shares, ratio
from visrec.audit.scores import CellScores, calibration_table
from visrec.errors import InputError, nearest

STEPS = 200
"""Thresholds tried: 0, 0.005, ... 1; searching finer only fits noise."""

FOLDS = 5
EDGES = np.arange(STEPS + 1) / STEPS


@dataclass(frozen=True)
class Choice:
    """A threshold that makes one gap small, and what it costs.

    Attributes
    ----------
    rate : whose gap was made small
    thresholds : float64 (cells,), the same everywhere when one serves all
    keys : the cells
    gap, accuracy : as seen on the very rows searched: flattering
    fitted_gap, fitted_accuracy : by cross-fitting
    before_gap, before_accuracy : of the model's own answers
    cost : accuracy given up, before minus cross-fitted; negative = gained
    table : the cross-fitted counts, for rates, intervals and verdicts
    gaps : the gap table of those counts
    """

    rate: str
    thresholds: np.ndarray
    keys: tuple[tuple[str, ...], ...]
    gap: float
    accuracy: float
    fitted_gap: float
    fitted_accuracy: float
    before_gap: float
    before_accuracy: float
    table: CellTable
    gaps: pd.DataFrame

    @property
    def cost(self) -> float:
        """Accuracy given up."""
        return self.before_accuracy - self.fitted_accuracy


def table_at(scores: CellScores, threshold: "float | Sequence[float]", outcome: str) -> CellTable:
    """The cells counted anew: the outcome is answered from ``threshold`` on.

    Parameters
    ----------
    threshold : 0..1, or one per cell

    Returns
    -------
    CellTable
        With the two classes ``not <outcome>`` and ``<outcome>``; rows without a prediction take no part.
    """
    limits = np.broadcast_to(np.asarray(threshold, dtype=float), (scores.size,))
    selected = (scores.score >= limits[scores.cell]).astype(np.int64)
    counts = np.empty((scores.size, 2, 2), dtype=np.int64)
    for label, which in enumerate((scores.negative, scores.positive)):
        place = np.bincount(scores.cell * 2 + selected, weights=which, minlength=scores.size * 2)
        counts[:, label] = np.rint(place).astype(np.int64).reshape(-1, 2)
    return _two_classes(scores, counts, outcome)


def sweep(scores: CellScores, rate: str, min_count: int = 30) -> pd.DataFrame:
    """The gap in one rate and the accuracy at every threshold.

    Returns
    -------
    DataFrame: threshold, gap (over the cells that rest on ``min_count`` rows at the model's own answers; NaN where
    these are fewer than two, or where one of them falls below at this threshold), accuracy (all rows)
    """
    counts = counts_at_steps(scores)
    gap, accuracy = _gap(counts, rate, min_count, _asked(scores, rate, min_count)), _accuracy(counts)
    return pd.DataFrame({"threshold": EDGES, "gap": gap, "accuracy": accuracy})


def counts_at_steps(scores: CellScores) -> np.ndarray:
    """Counts at each threshold of `EDGES`: float64, shape (steps + 1, cells, 4) as TN, FP, FN, TP."""
    place = scores.cell * (STEPS + 1) + np.searchsorted(EDGES, scores.score, side="right") - 1
    size = scores.size * (STEPS + 1)
    result = np.empty((STEPS + 1, scores.size, 4))
    for which, (below, above) in ((scores.negative, (TN, FP)), (scores.positive, (FN, TP))):
        held = np.bincount(place, weights=which, minlength=size).reshape(scores.size, STEPS + 1)
        at_least = held[:, ::-1].cumsum(axis=1)[:, ::-1]
        result[:, :, above] = at_least.T
        result[:, :, below] = (held.sum(axis=1, keepdims=True) - at_least).T
    return result


def choose(
    scores: CellScores,
    question: Question,
    rate: str = "tpr",
    per_cell: bool = False,
    most_cost: float = 0.02,
) -> Choice:
    """The threshold where a gap is smallest, among those that keep the accuracy.

    Parameters
    ----------
    question : of the audit; its outcome, minimum count and seed are used
    rate : whose gap to make small, a proportion
    per_cell : search one threshold per cell instead of one for all
    most_cost : accuracy that may be given up against the best threshold; without such a bound, answering always
        the same is the smallest gap of all

    Raises
    ------
    InputError
        For a rate that no threshold decides.
    """
    if rate not in PARTS:
        raise InputError(f"No threshold decides the rate '{rate}'. {nearest(rate, PARTS)}")
    least, asked = question.min_count, _asked(scores, rate, question.min_count)
    counts = counts_at_steps(scores)
    search = _search_each if per_cell else _search_one
    found = search(counts, rate, least, most_cost, asked)
    seen = _picked(counts, found)
    fitted = np.zeros((scores.size, 4))
    for others, held in folds(scores, question.seed):
        # of a cell's rows four fifths are in the others, by chance more or fewer: half of the minimum count will do
        place = search(counts_at_steps(others), rate, least / 2, most_cost, asked)
        fitted += _picked(counts_at_steps(held), place)
    table = _two_classes(scores, np.rint(fitted).astype(np.int64).reshape(-1, 2, 2), question.outcome)
    own = _own_counts(scores)
    return Choice(
        rate,
        EDGES[found],
        scores.keys,
        float(_gap(seen, rate, least, asked)),
        float(_accuracy(seen)),
        float(_gap(fitted, rate, least, asked)),
        float(_accuracy(fitted)),
        float(_gap(own, rate, least, asked)),
        float(_accuracy(own)),
        table,
        gap_table(table, question),
    )


def recalibrate(scores: CellScores, seed: int = 0, per_cell: bool = False) -> CellScores:
    """The same rows with scores recalibrated by Platt's logistic curve, cross-fitted.

    Parameters
    ----------
    per_cell : one curve per cell (needs the attribute at prediction time) instead of one for all

    Returns
    -------
    CellScores
        Every row's score comes from a curve that was fitted without it.

    References
    ----------
    Platt (1999), Advances in Large Margin Classifiers; ridge of 1e-3 keeps separable cells finite.
    """
    parts = []
    for others, held in folds(scores, seed):
        curve = _platt_by_cell(others, per_cell)
        slope, offset = curve[:, 0][held.cell], curve[:, 1][held.cell]
        parts.append(replace(held, score=_sigmoid(slope * _logit(held.score) + offset)))
    return _concatenated(parts)


def calibration_comparison(scores: CellScores, seed: int = 0) -> pd.DataFrame:
    """Calibration of each cell as it is, and cross-fitted after one curve for all or one per cell.

    Returns
    -------
    DataFrame: the attributes, n, then ``ece`` and ``brier`` as they are, ``..._one`` and ``..._each`` after
    """
    before = calibration_table(scores)
    frame = before[[*scores.by, "n", "ece", "brier"]].copy()
    for name, per_cell in (("one", False), ("each", True)):
        after = calibration_table(recalibrate(scores, seed, per_cell))
        frame[f"ece_{name}"], frame[f"brier_{name}"] = after["ece"], after["brier"]
    return frame


def folds(scores: CellScores, seed: int) -> list[tuple[CellScores, CellScores]]:
    """Five (others, held-out) parts; every row is held out once. Bins of many rows are dealt out row by row."""
    rng = chance.generator(seed, *scores.by, "folds")
    equal = np.full(FOLDS, 1 / FOLDS)
    dealt = {name: _dealt(getattr(scores, name), equal, rng) for name in ("negative", "positive")}
    result = []
    for fold in range(FOLDS):
        negative, positive = dealt["negative"][:, fold], dealt["positive"][:, fold]
        held = _weighted(scores, negative, positive)
        result.append((_weighted(scores, scores.negative - negative, scores.positive - positive), held))
    return result


def _dealt(count: np.ndarray, equal: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    if count.max(initial=0) > 1:
        return rng.multinomial(count, equal)
    dealt = np.zeros((len(count), FOLDS), dtype=np.int64)
    rows = np.flatnonzero(count)
    dealt[rng.permutation(rows), np.arange(len(rows)) % FOLDS] = 1
    return dealt


def _weighted(scores: CellScores, negative: np.ndarray, positive: np.ndarray) -> CellScores:
    keep = (negative + positive) > 0
    nothing = np.zeros(int(keep.sum()), dtype=np.int64)  # the model's own answers are not split
    return replace(
        scores,
        cell=scores.cell[keep],
        score=scores.score[keep],
        negative=negative[keep],
        positive=positive[keep],
        selected=nothing,
        right=nothing,
    )


def _concatenated(parts: Sequence[CellScores]) -> CellScores:
    columns = ("cell", "score", "negative", "positive", "selected", "right")
    return replace(parts[0], **{name: np.concatenate([getattr(p, name) for p in parts]) for name in columns})


def _asked(scores: CellScores, rate: str, min_count: int) -> np.ndarray:
    """Which cells a gap is of, bool (cells,): those whose rate rests on enough rows at the model's own answers.

    The same cells at every threshold: else a threshold that nobody of the worst cell reaches would close the gap.
    """
    return _own_counts(scores)[:, list(PARTS[rate][1])].sum(-1) >= max(min_count, 1)


def _search_one(counts: np.ndarray, rate: str, min_count: float, most_cost: float, asked: np.ndarray) -> np.ndarray:
    gap, accuracy = _gap(counts, rate, min_count, asked), _accuracy(counts)
    allowed = (accuracy >= np.nanmax(accuracy) - most_cost) & _discriminates(counts)
    value = np.where(allowed & ~np.isnan(gap), gap, np.inf)
    best = np.flatnonzero(value <= value.min() + 1e-12)
    return np.full(counts.shape[1], best[np.argmax(accuracy[best])])


def _search_each(counts: np.ndarray, rate: str, min_count: float, most_cost: float, asked: np.ndarray) -> np.ndarray:
    """Aim every cell at one level of the rate; the level with the smallest gap that keeps the accuracy."""
    one = _most_accurate(counts)
    limit = _accuracy(_picked(counts, one)) - most_cost
    top, base = PARTS[rate]
    value = ratio(counts[:, :, list(top)].sum(-1), counts[:, :, list(base)].sum(-1))
    options = []
    for level in np.linspace(0, 1, 101):
        off = np.where(np.isnan(value), np.inf, np.abs(value - level))
        place = np.where(~asked | np.isinf(off.min(axis=0)), one, off.argmin(axis=0))
        picked = _picked(counts, place)
        gap, accuracy = float(_gap(picked, rate, min_count, asked)), float(_accuracy(picked))
        if accuracy >= limit and not np.isnan(gap) and _discriminates(picked):
            options.append((round(gap, 12), -accuracy, place))
    return min(options, key=lambda o: o[:2])[2] if options else one


def _discriminates(counts: np.ndarray) -> np.ndarray:
    """Whether not everybody is answered alike, which closes every gap and serves nobody: (..., cells, 4) to (...)."""
    total = counts.sum(axis=-2)
    selected = total[..., FP] + total[..., TP]
    return (selected > 0) & (selected < total.sum(axis=-1))


def _most_accurate(counts: np.ndarray) -> np.ndarray:
    return np.full(counts.shape[1], int(np.nanargmax(_accuracy(counts))))


def _picked(counts: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Each cell's counts at its own threshold: (cells, 4)."""
    return counts[place, np.arange(counts.shape[1])]


def _gap(counts: np.ndarray, rate: str, min_count: float, asked: np.ndarray) -> np.ndarray:
    """Max-min gap of a rate over the cells asked for: counts (..., cells, 4) to (...); NaN where one is too small."""
    top, base = PARTS[rate]
    share = Shares(counts[..., asked, :][..., list(top)].sum(-1), counts[..., asked, :][..., list(base)].sum(-1))
    if asked.sum() < 2:
        return np.full(counts.shape[:-2], np.nan)
    known = (share.n >= max(min_count, 1)).all(axis=-1)
    return np.where(known, share.value.max(axis=-1) - share.value.min(axis=-1), np.nan)


def _accuracy(counts: np.ndarray) -> np.ndarray:
    total = counts.sum(axis=-2)
    return ratio(total[..., TN] + total[..., TP], total.sum(axis=-1))


def _own_counts(scores: CellScores) -> np.ndarray:
    def total(which: np.ndarray) -> np.ndarray:
        return np.bincount(scores.cell, weights=which, minlength=scores.size)

    tp, positive, selected, negative = map(total, (scores.right, scores.positive, scores.selected, scores.negative))
    fp = selected - tp
    return np.stack([negative - fp, fp, positive - tp, tp], axis=1)


def _two_classes(scores: CellScores, counts: np.ndarray, outcome: str) -> CellTable:
    missing = np.zeros((scores.size, 2), dtype=np.int64)
    return CellTable(scores.by, scores.keys, (f"not {outcome}", outcome), counts, missing)


def _logit(score: np.ndarray) -> np.ndarray:
    bounded = np.clip(score, 1e-6, 1 - 1e-6)
    return np.log(bounded) - np.log1p(-bounded)


def _sigmoid(value: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(value, -30, 30)))


def _platt_by_cell(scores: CellScores, per_cell: bool) -> np.ndarray:
    """Slope and offset for every cell, float64 (cells, 2); a cell without both labels takes the common curve."""
    common = _platt(scores.score, scores.negative, scores.positive)
    curves = np.repeat(common[None], scores.size, axis=0)
    if per_cell:
        order = np.argsort(scores.cell, kind="stable")
        ends = np.searchsorted(scores.cell[order], np.arange(scores.size + 1))
        for cell in range(scores.size):
            mine = order[ends[cell] : ends[cell + 1]]
            negative, positive = scores.negative[mine], scores.positive[mine]
            if negative.sum() and positive.sum():
                curves[cell] = _platt(scores.score[mine], negative, positive)
    return curves


def _platt(score: np.ndarray, negative: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """Newton's method, halving steps that do not improve, for a weighted logistic curve: (slope, offset)."""
    design = np.stack([_logit(score), np.ones(len(score))], axis=1)
    weight, ridge, start = negative + positive, 1e-3, np.array([1.0, 0.0])

    def loss(curve: np.ndarray) -> float:
        value = design @ curve
        return float(
            (weight * np.logaddexp(0, value) - positive * value).sum() + ridge / 2 * ((curve - start) ** 2).sum()
        )

    curve, best = start, loss(start)
    for _ in range(50):
        p = _sigmoid(design @ curve)
        gradient = design.T @ (positive - weight * p) - ridge * (curve - start)
        hessian = (design * (weight * p * (1 - p))[:, None]).T @ design + ridge * np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        while (found := loss(curve + step)) > best and np.abs(step).max() > 1e-10:
            step = step / 2
        if found > best or best - found <= 1e-10 * abs(best):
            break
        curve, best = curve + step, found
    return curve
