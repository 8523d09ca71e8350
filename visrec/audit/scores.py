"""Scores: how well the outcome's score ranks and how well it is calibrated, cell by cell.

A *score* is the model's number in 0..1 for a class. Up to two million rows every score is kept, and ROC and AUC are
exact; a larger table is counted in 2,000 bins, and the AUC comes with a bound on its error. *Calibration* asks
whether, of the images scored 0.8, eight in ten are of the class.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import special

from visrec.audit.cells import CORRECT, outcome_index
from visrec.audit.counting import BINS, SCORE_BIN, score_bin, unique_columns
from visrec.audit.cube import Cube, value_codes
from visrec.audit.intervals import LEVEL, wilson
from visrec.audit.predictions import Predictions
from visrec.audit.rates import ratio
from visrec.errors import InputError


@dataclass(frozen=True)
class CellScores:
    """The outcome's scores of the rows with a prediction, with the cell of each.

    Attributes
    ----------
    by, keys : the crossing and its cells, as in `visrec.audit.cells.CellTable`
    cell : int64, shape (m,)
    score : float64, shape (m,), in 0..1
    positive : int64, shape (m,), rows labelled with the outcome
    negative : int64, shape (m,), all other rows
    selected : int64, shape (m,), rows predicted as the outcome
    right : int64, shape (m,), rows labelled *and* predicted as the outcome
    width : float, width of a score bin; 0 where every score is exact
    """

    by: tuple[str, ...]
    keys: tuple[tuple[str, ...], ...]
    cell: np.ndarray
    score: np.ndarray
    positive: np.ndarray
    negative: np.ndarray
    selected: np.ndarray
    right: np.ndarray
    width: float = 0.0

    @property
    def size(self) -> int:
        """Number of cells."""
        return len(self.keys)


def cell_scores(
    predictions: Predictions, by: Sequence[str], outcome: str, where: Mapping[str, Sequence[str]] | None = None
) -> CellScores:
    """Scores by cell: one entry per row where rows are kept, else one per bin.

    Raises
    ------
    InputError
        If there are no scores, or the outcome is ``correct`` (which no score speaks for).
    """
    place = _require_scores(predictions, outcome)
    if predictions.rows is not None:
        return _from_rows(predictions, tuple(by), place, where)
    return _from_bins(predictions, tuple(by), outcome, place, where)


def auc_table(scores: CellScores) -> pd.DataFrame:
    """Area under the ROC curve of each cell.

    Returns
    -------
    DataFrame, one row per cell
        the attributes, ``positives``, ``negatives``, ``auc`` (chance that a random positive scores above a random
        negative, ties half; 1 = perfect, 0.5 = chance; NaN without both), ``low``, ``high``, ``error`` (largest
        possible error from binning, 0 where exact)

    References
    ----------
    Mann and Whitney (1947); the interval is Newcombe's (2006, Statistics in Medicine 25, 559-573, method 5), which
    stays proper at an AUC of 1.
    """
    p, n, auc, error = _auc(scores)
    low, high = auc_interval(auc, p, n)
    frame = pd.DataFrame(list(scores.keys), columns=list(scores.by), dtype=object)
    columns = {"positives": p, "negatives": n, "auc": auc, "low": low, "high": high, "error": error}
    return pd.concat([frame, pd.DataFrame(columns)], axis=1)


def roc(scores: CellScores, cell: int | None = None, points: int | None = None) -> pd.DataFrame:
    """The ROC curve of one cell, or of everything.

    Parameters
    ----------
    cell : place in ``scores.keys``; None for all rows
    points : thin out to at most so many points for drawing; None keeps every threshold

    Returns
    -------
    DataFrame: threshold (descending, first above 1), fpr, tpr
    """
    keep = slice(None) if cell is None else scores.cell == cell
    order = np.argsort(-scores.score[keep])  # whoever ties is taken together
    score = scores.score[keep][order]
    last = np.flatnonzero(np.append(np.diff(score) != 0, True)) if len(score) else np.empty(0, dtype=int)
    tp, fp = (np.cumsum(a[keep][order])[last] for a in (scores.positive, scores.negative))
    tpr = np.append(0.0, ratio(tp, scores.positive[keep].sum()))
    fpr = np.append(0.0, ratio(fp, scores.negative[keep].sum()))
    frame = pd.DataFrame({"threshold": np.append(np.inf, score[last]), "fpr": fpr, "tpr": tpr})
    if points is None or len(frame) <= points:
        return frame
    return frame.iloc[np.unique(np.linspace(0, len(frame) - 1, points).astype(int))].reset_index(drop=True)


def calibration(scores: CellScores, cell: int | None = None, bins: int = 10) -> pd.DataFrame:
    """Predicted against observed, in equal bins of the score.

    Returns
    -------
    DataFrame, one row per non-empty bin
        from, to, n, score (mean), observed (share labelled with the outcome) and its Wilson interval low, high.
        Perfectly calibrated: observed = score.
    """
    keep = slice(None) if cell is None else scores.cell == cell
    place = score_bin(scores.score[keep], bins)
    n = np.bincount(place, weights=(scores.positive + scores.negative)[keep], minlength=bins)
    x = np.bincount(place, weights=scores.positive[keep], minlength=bins)
    total = np.bincount(place, weights=(scores.score * (scores.positive + scores.negative))[keep], minlength=bins)
    low, high = wilson(x, n)
    frame = pd.DataFrame(
        {
            "from": np.arange(bins) / bins,
            "to": (np.arange(bins) + 1) / bins,
            "n": n.astype(np.int64),
            "score": ratio(total, n),
            "observed": ratio(x, n),
            "low": low,
            "high": high,
        }
    )
    return frame[frame["n"] > 0].reset_index(drop=True)


def calibration_table(scores: CellScores, bins: int = 10) -> pd.DataFrame:
    """How far off the scores are in each cell.

    Returns
    -------
    DataFrame, one row per cell
        the attributes, n, ``mean_score``, ``observed`` with low and high (Wilson), ``calibration_gap`` (observed
        minus mean score; 0 = right on average), ``ece`` (expected calibration error over equal bins; 0 = perfect,
        always above 0 by chance), ``brier`` (mean squared error of the score)
    """
    size = scores.size
    n_row = scores.positive + scores.negative
    n = np.bincount(scores.cell, weights=n_row, minlength=size)
    x = np.bincount(scores.cell, weights=scores.positive, minlength=size)
    total = np.bincount(scores.cell, weights=scores.score * n_row, minlength=size)
    square = np.bincount(
        scores.cell,
        weights=scores.positive * (1 - scores.score) ** 2 + scores.negative * scores.score**2,
        minlength=size,
    )
    place = scores.cell * bins + score_bin(scores.score, bins)
    in_bin = [np.bincount(place, weights=w, minlength=size * bins) for w in (scores.positive, scores.score * n_row)]
    ece = np.abs(in_bin[0] - in_bin[1]).reshape(size, bins).sum(axis=1)
    low, high = wilson(x, n)
    frame = pd.DataFrame(list(scores.keys), columns=list(scores.by), dtype=object)
    columns = {
        "n": n.astype(np.int64),
        "mean_score": ratio(total, n),
        "observed": ratio(x, n),
        "low": low,
        "high": high,
        "calibration_gap": ratio(x, n) - ratio(total, n),
        "ece": ratio(ece, n),
        "brier": ratio(square, n),
    }
    return pd.concat([frame, pd.DataFrame(columns)], axis=1)


def histogram(scores: CellScores, bins: int = 100) -> tuple[np.ndarray, np.ndarray]:
    """Counts and score sums by cell, label and bin: int64 and float64, shape (cells, 2, bins)."""
    place = scores.cell * bins + score_bin(scores.score, bins)
    size = scores.size * bins
    counts = np.stack(
        [np.bincount(place, weights=w, minlength=size).reshape(-1, bins) for w in (scores.negative, scores.positive)],
        axis=1,
    )
    sums = np.stack(
        [
            np.bincount(place, weights=w * scores.score, minlength=size).reshape(-1, bins)
            for w in (scores.negative, scores.positive)
        ],
        axis=1,
    )
    return np.rint(counts).astype(np.int64), sums


def auc_interval(auc, positives, negatives, level: float = LEVEL) -> tuple[np.ndarray, np.ndarray]:
    """Newcombe's score-like interval for an AUC: the values whose own standard error reaches the one seen."""
    auc, p, n = (np.asarray(a, dtype=float) for a in (auc, positives, negatives))
    z = special.ndtri((1 + level) / 2)
    ends = []
    for sign in (-1, 1):
        inside, outside = auc.copy(), np.where(np.isnan(auc), np.nan, float(sign > 0))
        for _ in range(60):
            middle = (inside + outside) / 2
            reached = np.abs(middle - auc) <= z * np.sqrt(_auc_variance(middle, p, n))
            inside, outside = np.where(reached, middle, inside), np.where(reached, outside, middle)
        ends.append(inside)
    return ends[0], ends[1]


def _auc_variance(a, p, n):
    middle = (p + n) / 2 - 1
    with np.errstate(invalid="ignore", divide="ignore"):
        return a * (1 - a) / (p * n) * (1 + middle * (1 - a) / (2 - a) + middle * a / (1 + a))


def _auc(scores: CellScores) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Positives, negatives, AUC and its largest error, per cell, from one sort of all scores."""
    order = np.argsort(scores.score)  # whoever ties is taken together; several times faster than a stable sort
    order = order[np.argsort(_small(scores.cell[order], scores.size), kind="stable")]
    cell, score = scores.cell[order], scores.score[order]
    positive, negative = scores.positive[order].astype(float), scores.negative[order].astype(float)
    size = scores.size
    p = np.bincount(cell, weights=positive, minlength=size)
    n = np.bincount(cell, weights=negative, minlength=size)
    if not len(cell):
        return p.astype(np.int64), n.astype(np.int64), np.full(size, np.nan), np.zeros(size)
    new = np.append(True, (np.diff(score) != 0) | (np.diff(cell) != 0))
    group = np.cumsum(new) - 1
    tied_p, tied_n = np.bincount(group, weights=positive), np.bincount(group, weights=negative)
    cell_of = cell[new]
    below = np.cumsum(tied_n) - tied_n
    first = np.append(True, np.diff(cell_of) != 0)
    below -= np.repeat(below[first], np.diff(np.append(np.flatnonzero(first), len(cell_of))))
    wins = np.bincount(cell_of, weights=tied_p * (below + tied_n / 2), minlength=size)
    error = np.zeros(size)
    if scores.width:
        error = ratio(np.bincount(cell_of, weights=tied_p * tied_n / 2, minlength=size), p * n)
    return p.astype(np.int64), n.astype(np.int64), ratio(wins, p * n), error


def _small(cell: np.ndarray, size: int) -> np.ndarray:
    return cell.astype(np.int16) if size < 2**15 else cell  # 16 bits are sorted by radix, many times faster


def _require_scores(predictions: Predictions, outcome: str) -> int:
    place = outcome_index(predictions.labels, outcome)
    if not predictions.has_scores:
        raise InputError(
            f"{predictions.name} has no scores; thresholds, ROC and calibration need a column with the score of "
            "the class (--score), or one per class named score:<class>."
        )
    if place is None:
        raise InputError(
            f"Scores speak for a class, not for '{CORRECT}'; choose one of {', '.join(predictions.labels)}."
        )
    return place


def _from_rows(predictions: Predictions, by, place: int, where) -> CellScores:
    rows = predictions.rows
    keep = rows.prediction >= 0
    for name, wanted in (where or {}).items():
        column = predictions.cube.attribute(name)
        keep &= np.isin(rows.codes[column], value_codes(predictions.attributes[column], wanted))
    cell, keys = _cells(by, rows.codes[:, keep], predictions.cube)
    positive, selected = rows.label[keep] == place, rows.prediction[keep] == place
    return CellScores(
        by, keys, cell, rows.scores[keep, place], positive.astype(np.int64), (~positive).astype(np.int64),
        selected.astype(np.int64), (positive & selected).astype(np.int64),
    )  # fmt: skip


def _from_bins(predictions: Predictions, by, outcome: str, place: int, where) -> CellScores:
    binned = predictions.binned
    mirrored = outcome not in binned
    cube = binned[next(iter(binned)) if mirrored else outcome].where(where)
    cell, keys = _cells(by, cube.codes, cube)
    score = cube.score_sum[:, 0] / cube.count
    score = 1 - score if mirrored else score
    # one entry per cell and bin: rows of one bin are tied, whatever their label
    bins = cube.codes[cube.attribute(SCORE_BIN)]
    key, entry = np.unique(cell.astype(np.int64) * BINS + bins, return_inverse=True)
    positive, selected = cube.label == place, cube.prediction == place

    def total(weight):
        return np.rint(np.bincount(entry, weights=weight, minlength=len(key))).astype(np.int64)

    n = np.bincount(entry, weights=cube.count, minlength=len(key))
    # rounded, lest a mean of scores that are all 0.8 fall just below a threshold of 0.8
    mean = np.round(np.bincount(entry, weights=score * cube.count, minlength=len(key)) / n, 9)
    return CellScores(
        by, keys, key // BINS, mean, total(cube.count * positive), total(cube.count * ~positive),
        total(cube.count * selected), total(cube.count * (positive & selected)), 1 / BINS,
    )  # fmt: skip


def _cells(by, codes: np.ndarray, cube: Cube):
    present, cell = unique_columns(codes[[cube.attribute(name) for name in by]])
    return cell, cube.value_names(by, present.T)
