"""How often each cell is recognised: rates, their counts and what NaN means here.

A *rate* is a share of a cell's rows, a number in 0..1, with the count it was taken over. A rate with nothing to
divide by is NaN, never 0: an empty cell is unknown, not unfair. Two composites (balanced accuracy, F1) are
functions of several rates and have no single count.
"""

from dataclasses import dataclass

import numpy as np

from visrec.audit.cells import CORRECT, FN, FP, TN, TP, CellTable, binary_counts

ALL = (TN, FP, FN, TP)
PARTS = {
    "accuracy": ((TN, TP), ALL),
    "selection_rate": ((FP, TP), ALL),
    "tpr": ((TP,), (FN, TP)),
    "fpr": ((FP,), (TN, FP)),
    "tnr": ((TN,), (TN, FP)),
    "fnr": ((FN,), (FN, TP)),
    "ppv": ((TP,), (FP, TP)),
    "npv": ((TN,), (TN, FN)),
    "fdr": ((FP,), (FP, TP)),
    "for": ((FN,), (TN, FN)),
}
"""Numerator and denominator of each rate, as places in TN, FP, FN, TP."""

COMPLEMENT = {"fnr": "tpr", "tnr": "fpr", "fdr": "ppv", "for": "npv"}
"""Rates that are one minus another: the same question, so the same test."""

PROPORTIONS = (*PARTS, "missing")
COMPOSITES = ("balanced_accuracy", "f1")
RATES = (*PROPORTIONS, *COMPOSITES)
MEANINGFUL_FOR_CORRECT = ("accuracy", "selection_rate", "missing", *COMPOSITES)


@dataclass(frozen=True)
class Shares:
    """Numerators and denominators of one rate over the cells of a table.

    Attributes
    ----------
    x, n : int64, shape (cells,)
    """

    x: np.ndarray
    n: np.ndarray

    @property
    def value(self) -> np.ndarray:
        """float64 (cells,) in 0..1; NaN where n is 0."""
        return ratio(self.x, self.n)


def ratio(x, n) -> np.ndarray:
    """x / n, NaN where n is 0.

    >>> ratio([1, 0], [2, 0]).tolist()
    [0.5, nan]
    """
    x, n = np.asarray(x, dtype=float), np.asarray(n, dtype=float)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.asarray(x / n)  # in memory as x is: draws lie replicate beside replicate
    if not (n > 0).all():
        np.copyto(found, np.nan, where=n <= 0)
    return found


def shares(table: CellTable, outcome: str = CORRECT, missing: str = "leave") -> dict[str, Shares]:
    """Numerator and denominator of every proportion, cell by cell.

    For the outcome ``correct`` only accuracy, selection rate (the same: the share answered rightly) and missing
    are known; the others have n = 0, because no row is *meant* to be answered wrongly.
    """
    binary = binary_counts(table, outcome, missing)
    found = {name: Shares(_pick(binary, top), _pick(binary, base)) for name, (top, base) in PARTS.items()}
    if is_correct(table, outcome):
        nothing = np.zeros(table.size, dtype=np.int64)
        found = {k: s if k in MEANINGFUL_FOR_CORRECT else Shares(nothing, nothing) for k, s in found.items()}
    found["missing"] = Shares(table.absent, table.predicted + table.absent)
    return found


def is_correct(table: CellTable, outcome: str) -> bool:
    """Whether the outcome is ``correct`` (a class of that very name wins)."""
    return outcome == CORRECT and CORRECT not in table.labels


def composites(counts: np.ndarray, outcome_is_class: bool) -> dict[str, np.ndarray]:
    """Balanced accuracy and F1 from counts.

    Parameters
    ----------
    counts : int, shape (..., 4) as TN, FP, FN, TP for a class, else shape (..., k, k) [label, prediction];
        a further last column holds rows without a prediction that count as wrong
    outcome_is_class : which of the two

    Returns
    -------
    dict of float64 (...)
        For a class: mean of TPR and TNR, and the class's F1 = 2 TP / (2 TP + FP + FN). For ``correct``: the mean
        recall over classes and the mean F1 over classes (macro). NaN where any part is undefined. 1 is perfect.
    """
    if outcome_is_class:
        tn, fp, fn, tp = np.moveaxis(counts, -1, 0)
        balanced = (ratio(tp, tp + fn) + ratio(tn, tn + fp)) / 2
        return {"balanced_accuracy": balanced, "f1": ratio(2 * tp, 2 * tp + fp + fn)}
    right = np.diagonal(counts, axis1=-2, axis2=-1)
    return macro_averages(right, counts.sum(axis=-1), counts.sum(axis=-2)[..., : counts.shape[-2]])


def macro_averages(right: np.ndarray, labelled: np.ndarray, answered: np.ndarray) -> dict[str, np.ndarray]:
    """Mean recall and mean F1 over classes, float64 (...), from three counts of each class, int (..., k).

    >>> float(macro_averages(np.array([1, 2]), np.array([2, 2]), np.array([1, 3]))["balanced_accuracy"])
    0.75
    """
    return {
        "balanced_accuracy": ratio(right, labelled).mean(axis=-1),
        "f1": ratio(2 * right, labelled + answered).mean(axis=-1),
    }


def composite_bases(counts: np.ndarray, outcome_is_class: bool) -> dict[str, np.ndarray]:
    """How many rows a composite rests on: its smallest base, int64 (...); shapes as in `composites`.

    Balanced accuracy rests on the rarest label, F1 on the rows labelled or answered so (of the rarest class).
    """
    if outcome_is_class:
        tn, fp, fn, tp = np.moveaxis(counts, -1, 0)
        return {"balanced_accuracy": np.minimum(tp + fn, tn + fp), "f1": tp + fp + fn}
    right = np.diagonal(counts, axis1=-2, axis2=-1)
    labelled, answered = counts.sum(axis=-1), counts.sum(axis=-2)[..., : counts.shape[-2]]
    return {"balanced_accuracy": labelled.min(axis=-1), "f1": (labelled + answered - right).min(axis=-1)}


def averages(table: CellTable) -> dict[str, np.ndarray]:
    """Micro and macro averages over the classes, float64 (cells,).

    Each row has one label and one prediction, so every micro average (precision, recall, F1) is the accuracy.
    Macro averages are NaN where a class has nothing to divide by.
    """
    counts = table.counts
    right = np.diagonal(counts, axis1=-2, axis2=-1)
    labelled, answered = counts.sum(axis=-1), counts.sum(axis=-2)
    n = table.predicted[:, None]
    micro = ratio(right.sum(axis=-1), table.predicted)
    return {
        "micro_tpr": micro,
        "micro_ppv": micro,
        "micro_f1": micro,
        "macro_tpr": ratio(right, labelled).mean(axis=-1),
        "macro_fpr": ratio(answered - right, n - labelled).mean(axis=-1),
        "macro_ppv": ratio(right, answered).mean(axis=-1),
        "macro_f1": ratio(2 * right, labelled + answered).mean(axis=-1),
    }


def _pick(binary: np.ndarray, places: tuple[int, ...]) -> np.ndarray:
    return binary[:, list(places)].sum(axis=1)
