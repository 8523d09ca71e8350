"""A cell table: predictions counted by the cells of one crossing, by label and by prediction.

A *cell* is one subgroup: a value of one attribute, or an intersection of several. Everything that is said about
cells (rates, gaps, verdicts, metrics) is computed from these counts and nothing else.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from visrec.errors import InputError, nearest

CORRECT = "correct"
TN, FP, FN, TP = range(4)
"""Order of the last axis of binary counts: label first, prediction second."""


@dataclass(frozen=True)
class CellTable:
    """Counts of the non-empty cells of one crossing.

    Attributes
    ----------
    by : names of the crossed attributes; empty for the one cell that holds everything
    keys : the value of each attribute, cell by cell, in natural order
    labels : class names, length k
    counts : int64, shape (cells, k, k)
        Rows with a prediction: [cell, label, prediction].
    missing : int64, shape (cells, k)
        Rows without a prediction: [cell, label].
    """

    by: tuple[str, ...]
    keys: tuple[tuple[str, ...], ...]
    labels: tuple[str, ...]
    counts: np.ndarray
    missing: np.ndarray

    @property
    def size(self) -> int:
        """Number of cells."""
        return len(self.keys)

    @property
    def predicted(self) -> np.ndarray:
        """Rows with a prediction in each cell, int64 (cells,)."""
        return self.counts.sum(axis=(1, 2))

    @property
    def absent(self) -> np.ndarray:
        """Rows without a prediction in each cell, int64 (cells,)."""
        return self.missing.sum(axis=1)

    def names(self) -> list[str]:
        """Each cell in words.

        >>> t = CellTable(("race", "age"), (("White", "3-9"),), ("a",), np.ones((1, 1, 1)), np.zeros((1, 1)))
        >>> t.names()
        ['White · 3-9']
        """
        return [" · ".join(key) if key else "all" for key in self.keys]

    def index(self) -> pd.DataFrame:
        """One column per attribute of the crossing, one row per cell."""
        return pd.DataFrame(list(self.keys), columns=list(self.by), dtype=object)

    def total(self) -> "CellTable":
        """The same rows as one cell."""
        return CellTable(
            (), ((),), self.labels, self.counts.sum(axis=0, keepdims=True), self.missing.sum(axis=0, keepdims=True)
        )

    def select(self, keep: np.ndarray) -> "CellTable":
        """Only the cells where ``keep`` (bool, (cells,)) is true."""
        keys = tuple(key for key, kept in zip(self.keys, keep, strict=True) if kept)
        return CellTable(self.by, keys, self.labels, self.counts[keep], self.missing[keep])


def outcome_index(labels: tuple[str, ...], outcome: str) -> int | None:
    """Position of the outcome's class; None for the outcome ``correct``.

    Raises
    ------
    InputError
        If the outcome is neither ``correct`` nor a class.
    """
    if outcome in labels:
        return labels.index(outcome)
    if outcome == CORRECT:
        return None
    raise InputError(
        f"The outcome '{outcome}' is neither 'correct' nor one of the classes. {nearest(outcome, [CORRECT, *labels])}"
    )


def binary_counts(table: CellTable, outcome: str, missing: str = "leave") -> np.ndarray:
    """The two-by-two view of an outcome: int64, shape (cells, 4) as TN, FP, FN, TP.

    For a class, label and prediction are one-vs-rest. For ``correct`` every row *should* be favourable (answered
    rightly), so that it is TP when right and FN when wrong, and there are no negatives.

    ``missing="wrong"`` counts a row without a prediction as an error: FN where the label is the class, else FP.
    """
    place = outcome_index(table.labels, outcome)
    n, absent = table.predicted, table.missing
    result = np.zeros((table.size, 4), dtype=np.int64)
    if place is None:
        right = np.trace(table.counts, axis1=1, axis2=2)
        result[:, TP], result[:, FN] = right, n - right
        wrong = {FN: absent.sum(axis=1)}
    else:
        positive, selected = table.counts[:, place, :].sum(axis=1), table.counts[:, :, place].sum(axis=1)
        both = table.counts[:, place, place]
        result[:, TP], result[:, FN], result[:, FP] = both, positive - both, selected - both
        result[:, TN] = n - positive - selected + both
        wrong = {FN: absent[:, place], FP: absent.sum(axis=1) - absent[:, place]}
    if missing == "wrong":
        for column, more in wrong.items():
            result[:, column] += more
    return result
