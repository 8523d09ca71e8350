"""Predictions: a table of what a model answered, one row per image, made ready to be counted.

An audit needs nothing else: a label, a prediction, attributes, and (optionally) scores. Any CSV or Parquet file or
DataFrame becomes *predictions* by naming its columns. Nothing is guessed silently: each row left out is counted and
named in `Predictions.skipped`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from visrec.audit.counting import CubeBuilder, count_rows
from visrec.audit.cube import Attribute, Cube
from visrec.audit.filenames import JoinedSource, Repeats, file_keys, join, repeated, sort_repeats
from visrec.audit.plan import Plan, make_plan
from visrec.audit.reading import Chunk, Reader, Skips
from visrec.audit.sources import Source, open_source
from visrec.errors import InputError

KEEP_ROWS = 2_000_000
"""Up to this many rows are kept one by one (for exact ROC and galleries); larger tables are only counted."""

OWN_COLUMNS = ("file", "split", "label", "prediction", "score")
"""Columns of `Predictions.frame` and of a run's predictions that no attribute may overwrite."""

Bins = Mapping[str, Sequence[float] | int]


@dataclass(frozen=True)
class Rows:
    """Predictions row by row, as codes.

    Attributes
    ----------
    codes : int32, shape (attributes, rows)
    label, prediction : int32, shape (rows,); prediction -1 = none
    scores : float64, shape (rows, k) in 0..1, or None
    files : Arrow array of file names, or None
    """

    codes: np.ndarray
    label: np.ndarray
    prediction: np.ndarray
    scores: np.ndarray | None
    files: pa.ChunkedArray | None

    def __len__(self) -> int:
        return len(self.label)


@dataclass(frozen=True)
class Skipped:
    """Rows left out, and why: ``examples`` are file names or words."""

    reason: str
    count: int
    examples: tuple[str, ...]


@dataclass(frozen=True)
class Predictions:
    """A table of predictions, counted.

    Attributes
    ----------
    name : what it is called in messages
    cube : the counts over all attributes
    rows : the rows themselves, None for a table too large to keep
    binned : by class, counts over score bins for a table too large to keep, else None
    total : rows in the source, of any split, before anything was left out
    other_splits : rows of splits that were not asked for
    skipped : what was left out
    notes : what was decided on the way, in sentences
    """

    name: str
    cube: Cube
    rows: Rows | None
    binned: "dict[str, Cube] | None"
    total: int
    other_splits: int = 0
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = field(default=())

    @property
    def labels(self) -> tuple[str, ...]:
        """The class names, in natural order or as given."""
        return self.cube.labels

    @property
    def attributes(self) -> tuple[Attribute, ...]:
        """The attributes that make subgroups."""
        return self.cube.attributes

    @property
    def has_scores(self) -> bool:
        """Whether the table has a score for each class."""
        return self.cube.score_sum is not None

    def frame(self, places: np.ndarray) -> pd.DataFrame:
        """Some rows in words: file, label, prediction, score of the prediction, attributes as `column_names` has them.

        Parameters
        ----------
        places : int (n,), row numbers in `rows`
        """
        rows = self._kept()
        labels = np.array([*self.labels, ""], dtype=object)
        columns = {} if rows.files is None else {"file": rows.files.take(pa.array(places)).to_pylist()}
        columns |= {"label": labels[rows.label[places]], "prediction": labels[rows.prediction[places]]}
        if rows.scores is not None:
            chosen = np.maximum(rows.prediction[places], 0)
            score = rows.scores[places, chosen]
            columns["score"] = np.where(rows.prediction[places] < 0, np.nan, score)
        names = column_names([a.name for a in self.attributes])
        for i, attribute in enumerate(self.attributes):
            columns[names[attribute.name]] = np.array(attribute.values, dtype=object)[rows.codes[i, places]]
        return pd.DataFrame(columns)

    def find(self, where: Mapping[str, Sequence[str]] | None = None, label=None, prediction=None, wrong=None):
        """Row numbers that pass: int64 (n,).

        Parameters
        ----------
        where : attribute values, as in an audit
        label, prediction : class names, or None for any
        wrong : True for wrongly answered rows only, False for rightly answered ones
        """
        from visrec.audit.cube import value_codes

        rows = self._kept()
        keep = np.ones(len(rows), dtype=bool)
        for name, wanted in (where or {}).items():
            place = self.cube.attribute(name)
            keep &= np.isin(rows.codes[place], value_codes(self.attributes[place], wanted))
        for name, column in ((label, rows.label), (prediction, rows.prediction)):
            if name is not None:
                keep &= column == self.labels.index(name)
        if wrong is not None:
            keep &= ((rows.label != rows.prediction) & (rows.prediction >= 0)) == wrong
        return np.flatnonzero(keep)

    def _kept(self) -> Rows:
        if self.rows is None:
            raise InputError(
                f"{self.name} has {self.total:,} rows and was only counted; single rows are kept up to {KEEP_ROWS:,}."
            )
        return self.rows


def column_names(attributes: Sequence[str]) -> dict[str, str]:
    """The column of each attribute in a table in words: its name, or ``NAME (column)`` where we need the name.

    >>> column_names(["race", "label"])
    {'race': 'race', 'label': 'label (column)'}
    """
    columns: dict[str, str] = {}
    for name in attributes:
        column = name
        while column in OWN_COLUMNS or (column != name and column in attributes):
            column += " (column)"
        columns[name] = column
    return columns


def load_predictions(
    source: "Path | str | pd.DataFrame | pa.Table",
    *,
    label: str = "label",
    prediction: str | None = "prediction",
    scores: Sequence[str] | str | None = None,
    score_class: str | None = None,
    attributes: Sequence[str] | None = None,
    bins: Bins | None = None,
    split: str | None = None,
    labels: Sequence[str] | None = None,
    file: str = "file",
    attribute_table: "Path | str | pd.DataFrame | None" = None,
    keep_rows: bool | None = None,
) -> Predictions:
    """Read and count a table of predictions.

    Parameters
    ----------
    source : path of a CSV or Parquet file, or a table in memory
    label, prediction : columns; ``prediction=None`` takes the class with the highest score
    scores : one column (the score of ``score_class``, for two classes), or the ``score:<class>`` columns; None takes
        whatever ``score:<class>`` columns there are
    score_class : class a single score column speaks for; None takes the class predicted at high scores
    attributes : columns that make subgroups; None takes every column with few enough values
    bins : edges, or a number of equally large groups, for numeric attributes
    split : keep only rows of this split, in a table that has a ``split`` column
    labels : the classes, when known beforehand; other words are then left out and counted
    file : column with file names, if there is one
    attribute_table : a second table with more attributes, joined by file name
    keep_rows : keep single rows; None decides by size (2 million)

    Returns
    -------
    Predictions

    Raises
    ------
    InputError
        A missing column, scores outside 0..1, no rows, an attribute with too many values, text where numbers belong.
    """
    table = open_source(source)
    notes: list[str] = []
    if attribute_table is not None:
        table, found = join(table, open_source(attribute_table), file)
        notes.append(_join_note(found))
    plan = make_plan(table, label, prediction, scores, score_class, attributes, bins, split, labels, file)
    reader = Reader(table, plan)
    keep = table.rows is None or table.rows <= KEEP_ROWS if keep_rows is None else keep_rows
    if keep:
        return _kept(table, plan, reader, notes, keep_rows is None)
    return _counted(table, plan, reader, notes)


def _kept(table: Source, plan: Plan, reader: Reader, notes: list[str], may_switch: bool) -> Predictions:
    chunks: list[Chunk] = []
    for chunk in reader.chunks():
        chunks.append(chunk)
        if may_switch and reader.skips.total > KEEP_ROWS:
            return _counted(table, plan, Reader(table, plan), notes)
    whole = Chunk.joined(chunks)
    if whole.keys is not None:
        whole = _without_repeats(whole, reader.skips)
    _require_rows(whole.label, plan, reader.skips, table)
    ordered = reader.in_order(whole)
    attributes, labels = reader.attributes(), reader.labels()
    rows = Rows(ordered.codes, ordered.label, ordered.prediction, ordered.scores, ordered.files)
    cube = count_rows(attributes, labels, rows.codes, rows.label, rows.prediction, rows.scores)
    return _made(table, reader, cube, rows, None, notes)


def _counted(table: Source, plan: Plan, reader: Reader, notes: list[str]) -> Predictions:
    builder = CubeBuilder(len(plan.attributes), len(plan.scores))
    keys: list[np.ndarray] = []
    for chunk in reader.chunks(with_files=False):
        builder.add(chunk.codes, chunk.label, chunk.prediction, chunk.scores)
        if chunk.keys is not None:
            keys.append(chunk.keys)
    if keys:
        again = _repeated_in_place(keys)
        if len(again):
            _take_away_repeats(Reader(table, plan, like=reader), again, builder, reader.skips)
    _require_rows(builder.label, plan, reader.skips, table)
    cube, binned = builder.cubes(reader)
    return _made(table, reader, cube, None, binned, notes)


def _repeated_in_place(keys: list[np.ndarray]) -> np.ndarray:
    """Keys that occur twice, in memory for one copy: 50 million of them are 400 MB."""
    whole = np.empty(sum(map(len, keys)), dtype=np.uint64)
    end = 0
    while keys:
        part = keys.pop()
        whole[end : end + len(part)] = part
        end += len(part)
    whole.sort()
    return np.unique(whole[1:][(whole[1:] == whole[:-1]) & (whole[1:] != 0)])


def _without_repeats(chunk: Chunk, skips: Skips) -> Chunk:
    again = repeated(chunk.keys)
    if not len(again):
        return chunk
    places = np.flatnonzero(np.isin(chunk.keys, again))
    repeats = sort_repeats(chunk.keys[places], chunk.answers()[places], places)
    _tell_repeats(repeats, skips, lambda p: chunk.names(p))
    keep = np.ones(len(chunk), dtype=bool)
    keep[repeats.again] = keep[repeats.conflicting] = False
    return chunk.select(keep)


def _take_away_repeats(reader: Reader, again: np.ndarray, builder: CubeBuilder, skips: Skips) -> None:
    """Read once more, only for the repeated files, and take what should not have been counted away again."""
    found = Chunk.joined([chunk.select(np.isin(chunk.keys, again)) for chunk in reader.chunks()])
    repeats = sort_repeats(found.keys, found.answers(), np.arange(len(found)))
    _tell_repeats(repeats, skips, lambda p: found.names(p))
    leave = np.zeros(len(found), dtype=bool)
    leave[repeats.again] = leave[repeats.conflicting] = True
    out = found.select(leave)
    builder.add(out.codes, out.label, out.prediction, out.scores, sign=-1)


def _tell_repeats(repeats: Repeats, skips: Skips, names) -> None:
    skips.add("file repeated with the same answer (kept once)", len(repeats.again), names(repeats.again[:5]))
    skips.add("file with contradicting rows", len(repeats.conflicting), names(repeats.conflicting[:5]))


def _require_rows(label: np.ndarray, plan: Plan, skips: Skips, table: Source) -> None:
    if len(label):
        return
    if plan.split is not None and skips.other_splits:
        raise InputError(
            f"{table.name} has no rows of the split '{plan.split}' that can be used; its splits are "
            f"{', '.join(sorted(skips.splits))}."
        )
    why = "; ".join(f"{s.count:,} x {s.reason}" for s in skips.listed()) or "it holds none"
    raise InputError(f"{table.name} has no rows that can be audited: {why}.")


def _made(table, reader, cube, rows, binned, notes) -> Predictions:
    skipped = tuple(Skipped(s.reason, s.count, s.examples) for s in reader.skips.listed())
    return Predictions(
        table.name,
        cube,
        rows,
        binned,
        reader.skips.total,
        reader.skips.other_splits,
        skipped,
        (*notes, *reader.notes),
    )


def _join_note(found: dict[str, int]) -> str:
    how = "whole path" if not found["depth"] else f"last {found['depth']} part(s) of the path"
    return f"Attributes joined by the {how}: {found['matched']:,} of the first {sum(list(found.values())[:2]):,} rows."


__all__ = ["JoinedSource", "Predictions", "Rows", "Skipped", "file_keys", "load_predictions"]
