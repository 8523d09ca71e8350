"""Counting rows into a cube, all at once or batch by batch.

A row is *counted* when all that is kept of it is one more on a line of the cube. A batch builder does so for tables
of any size; where scores exist it also counts each class's scores in `BINS` equal bins, for ROC and calibration.
"""

from collections.abc import Sequence

import numpy as np

from visrec.audit.cube import Attribute, Cube

BINS = 2_000
"""Score bins of a table too large to keep; at least 1,000 bounds the error of the AUC below 0.001 in practice."""

SCORE_BIN = "score bin"
DENSE = 1 << 24


def count_rows(
    attributes: Sequence[Attribute],
    labels: Sequence[str],
    codes: np.ndarray,
    label: np.ndarray,
    prediction: np.ndarray,
    scores: np.ndarray | None = None,
) -> Cube:
    """The cube of rows held in memory; shapes as in `visrec.audit.predictions.Rows`."""
    columns = np.vstack([codes, label, prediction + 1]) if len(codes) else np.vstack([label, prediction + 1])
    lines, place = unique_columns(columns)
    count = np.bincount(place, minlength=lines.shape[1]).astype(np.int64)
    sums = None if scores is None else sum_by(place, scores, lines.shape[1])
    return Cube(tuple(attributes), tuple(labels), lines[:-2], lines[-2], lines[-1] - 1, count, sums)


def unique_columns(columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The different columns of a matrix of codes.

    Parameters
    ----------
    columns : int32, shape (d, rows), all >= 0

    Returns
    -------
    lines : int32, shape (d, different columns), sorted
    place : int64, shape (rows,), which of them each column is
    """
    if not columns.shape[1]:
        return columns, np.empty(0, dtype=np.int64)
    key = np.zeros(columns.shape[1], dtype=np.int64)
    size = 1
    for row in columns:
        width = int(row.max()) + 1
        if size * width > 1 << 62:  # renumber before the keys overflow
            present, key = np.unique(key, return_inverse=True)
            size = len(present)
        key = key * width + row
        size *= width
    present, place = _ranked(key, size)
    first = np.zeros(len(present), dtype=np.int64)
    first[place[::-1]] = np.arange(len(place) - 1, -1, -1)
    return columns[:, first], place


def sum_by(place: np.ndarray, values: np.ndarray, size: int) -> np.ndarray:
    """Sum of each column of ``values`` (rows, k) by place: float64 (size, k); NaN counts as nothing."""
    clean = np.nan_to_num(values)
    return np.stack([np.bincount(place, weights=clean[:, j], minlength=size) for j in range(values.shape[1])], axis=1)


def score_bin(scores: np.ndarray, bins: int = BINS) -> np.ndarray:
    """Which of the equal bins of 0..1 a score falls in; 1.0 belongs to the last."""
    return np.minimum((scores * bins).astype(np.int32), bins - 1)


def _ranked(key: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    if size > DENSE:
        return np.unique(key, return_inverse=True)
    seen = np.zeros(size, dtype=bool)
    seen[key] = True
    present = np.flatnonzero(seen)
    rank = np.zeros(size, dtype=np.int64)
    rank[present] = np.arange(len(present))
    return present, rank[key]


class CubeBuilder:
    """A cube that grows batch by batch; codes may be in order of arrival, and are put in order at the end."""

    def __init__(self, attributes: int, score_columns: int):
        self._attributes = attributes
        self._lines = _Lines(attributes + 2)
        self._bins = [_Lines(attributes + 3) for _ in range(score_columns)]

    @property
    def label(self) -> np.ndarray:
        """Label code of each line that holds rows."""
        return self._lines.codes[-2][self._lines.counts > 0]

    def add(self, codes, label, prediction, scores=None, sign: int = 1) -> None:
        """Count the rows of one batch; ``sign=-1`` takes them away again."""
        self._lines.add(np.vstack([codes, label, prediction + 1]), scores, sign)
        known = prediction >= 0
        for j, lines in enumerate(self._bins):
            place = score_bin(scores[known, j])
            columns = np.vstack([codes[:, known], place, label[known], prediction[known] + 1])
            lines.add(columns, scores[known, j : j + 1], sign)

    def cubes(self, reader) -> tuple[Cube, dict[str, Cube] | None]:
        """The cube, and for each class with scores of its own the cube over score bins (the last attribute)."""
        cube = self._ordered(self._lines, reader, ())
        if not self._bins:
            return cube, None
        bins = Attribute(SCORE_BIN, tuple(str(i) for i in range(BINS)))
        owners = reader.score_owners()
        return cube, {name: self._ordered(b, reader, (bins,)) for name, b in zip(owners, self._bins, strict=True)}

    def _ordered(self, held: "_Lines", reader, more: tuple[Attribute, ...]) -> Cube:
        keep = held.counts > 0
        codes, counts = held.codes[:, keep], held.counts[keep]
        values = [reader.value_order(i)[codes[i]] for i in range(self._attributes)]
        values += list(codes[self._attributes : self._attributes + len(more)])
        order = reader.class_order()
        sums = None if held.sums is None else held.sums[keep]
        if sums is not None and not more:
            sums = reader.full_scores(sums, counts)
        attributes = (*reader.attributes(), *more)
        shaped = np.array(values, dtype=np.int32).reshape(len(attributes), len(counts))
        return Cube(attributes, reader.labels(), shaped, order[codes[-2]], order[codes[-1] - 1], counts, sums)


class _Lines:
    """Lines met so far: codes int32 (depth, lines), counts int64 (lines,), sums float64 (lines, columns) or None."""

    def __init__(self, depth: int):
        self.codes = np.empty((depth, 0), dtype=np.int32)
        self.counts = np.empty(0, dtype=np.int64)
        self.sums: np.ndarray | None = None

    def add(self, columns: np.ndarray, values: np.ndarray | None, sign: int) -> None:
        lines, place = unique_columns(columns)
        counts = sign * np.bincount(place, minlength=lines.shape[1])
        sums = None if values is None else sign * sum_by(place, values, lines.shape[1])
        self._merge(lines, counts, sums)

    def _merge(self, lines: np.ndarray, counts: np.ndarray, sums: np.ndarray | None) -> None:
        before = self.codes.shape[1]
        self.codes, place = unique_columns(np.concatenate([self.codes, lines.astype(np.int32)], axis=1))
        size = self.codes.shape[1]
        weights = np.concatenate([self.counts, counts])
        self.counts = np.rint(np.bincount(place, weights=weights, minlength=size)).astype(np.int64)
        if sums is not None:
            held = np.zeros((before, sums.shape[1])) if self.sums is None else self.sums
            self.sums = sum_by(place, np.concatenate([held, sums]), size)
